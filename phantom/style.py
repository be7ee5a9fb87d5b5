"""How a study is acquired: vendor, field, geometry, noise, series and their names. Drawn apart from the disease: it tells nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from phantom.signal import Sequence, Weighting, null_time
from phantom.tissue import TISSUES

VENDORS = ("Siemens", "GE", "Philips", "Canon")
MODELS = {"Siemens": "Avanto fit", "GE": "Signa HDxt", "Philips": "Ingenia", "Canon": "Vantage"}
W = Weighting
NAMES: dict[str, dict[Weighting | str, tuple[str, ...]]] = {
    "Siemens": {
        W.T1: ("t1_se_tra", "t1_tse_tra_5mm"),
        W.T2: ("t2_tse_tra", "t2_tse_tra_512_5mm"),
        W.FLAIR: ("t2_tirm_tra_dark-fluid", "flair_tra_fs"),
        W.DWI: ("ep2d_diff_b1000_TRACEW", "ep2d_diff_3scan_trace_TRACEW"),
        W.ADC: ("ep2d_diff_b1000_ADC", "ep2d_diff_3scan_trace_ADC"),
        W.SWI: ("t2_fl2d_tra_hemo", "SWI_Images"),
        W.T1_POST: ("t1_se_tra_KM", "t1_tse_tra_post_gad"),
        "sagittal T1": ("t1_se_sag", "t1_tse_sag"),
        "coronal T2": ("t2_tse_cor", "t2_tse_cor_4mm"),
        "coronal T1 post-contrast": ("t1_se_cor_KM", "t1_tse_cor_post_gad"),
        "3-D T1": ("t1_mprage_{plane}_iso", "t1_mpr_ns_{plane}_p2_iso"),
        "3-D T1 post-contrast": ("t1_mprage_{plane}_iso_KM", "t1_mpr_{plane}_post_gad"),
        "3-D FLAIR": ("t2_space_dark-fluid_{plane}_iso", "flair_space_{plane}_p2_iso"),
    },
    "GE": {
        W.T1: ("AX T1", "Ax T1 SE"),
        W.T2: ("AX T2 FSE", "Ax T2 PROPELLER"),
        W.FLAIR: ("AX FLAIR", "Ax T2 FLAIR"),
        W.DWI: ("AX DWI B1000", "DWI"),
        W.ADC: ("ADC (10^-6 mm2/s)", "Apparent Diffusion Coefficient"),
        W.SWI: ("AX SWAN", "AX T2* GRE"),
        W.T1_POST: ("AX T1 +C", "Ax T1 POST GAD"),
        "sagittal T1": ("SAG T1", "Sag T1 FLAIR"),
        "coronal T2": ("COR T2 FSE", "Cor T2"),
        "coronal T1 post-contrast": ("COR T1 +C", "Cor T1 POST GAD"),
        "3-D T1": ("{plane} BRAVO", "{plane} 3D FSPGR"),
        "3-D T1 post-contrast": ("{plane} BRAVO POST", "{plane} 3D FSPGR POST GAD"),
        "3-D FLAIR": ("{plane} CUBE T2 FLAIR", "3D {plane} FLAIR"),
    },
    "Philips": {
        W.T1: ("T1W_SE", "T1W_TSE_AX"),
        W.T2: ("T2W_TSE", "T2W_TSE_AX"),
        W.FLAIR: ("FLAIR_longTR", "T2W_FLAIR"),
        W.DWI: ("DWI_b1000", "sDWI_SSh"),
        W.ADC: ("dADC", "ADC_map"),
        W.SWI: ("SWIp", "T2W_FFE"),
        W.T1_POST: ("T1W_SE +GAD", "sT1W_TSE GADO"),
        "sagittal T1": ("T1W_SE_SAG", "sT1W_SAG"),
        "coronal T2": ("T2W_TSE_COR", "T2W_COR"),
        "coronal T1 post-contrast": ("T1W_SE_COR +GAD", "sT1W_TSE_COR GADO"),
        "3-D T1": ("T1W_3D_TFE_{plane}", "sT1W_3D_FFE_{plane}"),
        "3-D T1 post-contrast": ("T1W_3D_TFE_{plane} +GAD", "sT1W_3D_FFE_{plane} GADO"),
        "3-D FLAIR": ("3D_FLAIR_{plane}", "VISTA_FLAIR_{plane}"),
    },
    "Canon": {
        W.T1: ("Ax T1", "T1 SE Axial"),
        W.T2: ("Ax T2", "T2 FSE Axial"),
        W.FLAIR: ("Ax FLAIR", "FLAIR Axial"),
        W.DWI: ("Ax DWI 1000", "DWI b=1000"),
        W.ADC: ("ADC", "Ax ADC"),
        W.SWI: ("Ax FSBB", "T2* Axial"),
        W.T1_POST: ("Ax T1 Gd", "T1 SE Axial post"),
        "sagittal T1": ("Sag T1", "T1 SE Sagittal"),
        "coronal T2": ("Cor T2", "T2 FSE Coronal"),
        "coronal T1 post-contrast": ("Cor T1 Gd", "T1 SE Coronal post"),
        "3-D T1": ("{plane} 3D T1", "3D MPRAGE {plane}"),
        "3-D T1 post-contrast": ("{plane} 3D T1 Gd", "3D MPRAGE {plane} post"),
        "3-D FLAIR": ("{plane} 3D FLAIR", "3D FLAIR {plane}"),
    },
}
PLANES = {
    "Siemens": {"axial": "tra", "sagittal": "sag"},
    "GE": {"axial": "Ax", "sagittal": "Sag"},
    "Philips": {"axial": "TRA", "sagittal": "SAG"},
    "Canon": {"axial": "Ax", "sagittal": "Sag"},
}
THREE_D = 0.12  # share of studies with a 3-D series
MOVED = 0.10  # share of studies in one series of which the patient moved


@dataclass(frozen=True)
class SeriesPlan:
    """One series to acquire.

    plane: "axial", "sagittal" or "coronal". noise: as a share of white matter's signal.
    voxel: edge of the voxels of a 3-D acquisition, mm; None = 2-D. motion: how far the head moved while the lines were read, mm.
    """

    name: str
    sequence: Sequence
    plane: str
    noise: float
    voxel: float | None = None
    motion: float = 0.0


@dataclass(frozen=True)
class Style:
    """The acquisition of one study.

    matrix: pixels per row and column. field_of_view, spacing (between slice centres), thickness: mm. slices: of the axial series.
    tilt: head position, three small angles in radians (about x, y, z) and offset: mm. bias: strength of the receive field's unevenness.
    blur: in-plane point spread, mm. scale: stored value of white matter on T1. seed: of noise and bias.
    """

    vendor: str
    tesla: float
    matrix: int
    field_of_view: float
    slices: int
    spacing: float
    thickness: float
    tilt: tuple[float, float, float]
    offset: tuple[float, float, float]
    bias: float
    blur: float
    scale: float
    seed: int
    series: tuple[SeriesPlan, ...]


def draw_style(rng: np.random.Generator, vendor: str | None = None) -> Style:
    """A random acquisition."""
    vendor = vendor or str(rng.choice(VENDORS, p=[0.35, 0.28, 0.25, 0.12]))
    tesla = float(rng.choice([1.5, 3.0]))
    slices = int(rng.integers(20, 25))
    spacing = round(float(np.clip(rng.uniform(132, 148) / slices, 5.0, 6.5)), 2)
    noise = float(rng.uniform(0.012, 0.05)) * (1.3 if tesla < 2 else 1.0)
    x, y, z = rng.normal(0, 1.0, 3)
    a, b, c = rng.normal(0, 1.0, 3)
    return Style(
        vendor=vendor,
        tesla=tesla,
        matrix=int(rng.choice([144, 160, 192, 224, 256, 320], p=[0.2, 0.35, 0.3, 0.06, 0.07, 0.02])),
        field_of_view=float(rng.choice([220.0, 230.0, 240.0])),
        slices=slices,
        spacing=spacing,
        thickness=round(spacing - float(rng.uniform(0.0, 1.0)), 1),
        tilt=(0.05 * a, 0.03 * b, 0.03 * c),
        offset=(3 * x, 4 * y, float(np.clip(2 * z, -4, 4))),
        bias=float(rng.uniform(0.03, 0.14)),
        blur=float(rng.uniform(0.3, 0.9)),
        scale=float(rng.uniform(250, 900)),
        seed=int(rng.integers(2**31)),
        series=_series(rng, vendor, noise),
    )


def _series(rng: np.random.Generator, vendor: str, noise: float) -> tuple[SeriesPlan, ...]:
    """The usual five, often ADC, sometimes T2*; now and then one or two missing, a sagittal, a coronal or a 3-D series, or motion."""
    chosen = int(rng.integers(2))
    plans = [SeriesPlan(NAMES[vendor][w][chosen], draw_sequence(rng, w), "axial", noise * _NOISE[w]) for w in _protocol(rng)]
    if rng.random() < 0.35:
        plans.insert(0, SeriesPlan(NAMES[vendor]["sagittal T1"][chosen], draw_sequence(rng, W.T1), "sagittal", noise))
    if rng.random() < 0.15:
        post = any(plan.sequence.contrast for plan in plans) and rng.random() < 0.5
        weighting = W.T1_POST if post else W.T2
        name = NAMES[vendor][f"coronal {weighting}"][chosen]
        plans.append(SeriesPlan(name, draw_sequence(rng, weighting), "coronal", noise * _NOISE[weighting]))
    if rng.random() < THREE_D:
        plans = _with(plans, draw_volume(rng, vendor, noise, chosen))
    if rng.random() < MOVED:
        moved = int(rng.integers(len(plans)))
        plans[moved] = replace(plans[moved], motion=float(rng.uniform(0.8, 2.6)))
    return tuple(plans)


def _protocol(rng: np.random.Generator) -> list[Weighting]:
    """The axial series, in the order of acquisition."""
    protocol: list[Weighting] = [W.T1, W.T2, W.FLAIR, W.DWI]
    if rng.random() < 0.7:
        protocol.append(W.ADC)
    if rng.random() < 0.4:
        protocol.append(W.SWI)
    protocol.append(W.T1_POST)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.72, 0.2, 0.08]))):
        droppable = [w for w in protocol if w not in (W.T2, W.ADC)]
        gone = droppable[int(rng.integers(len(droppable)))]
        protocol.remove(gone)
        if gone is W.DWI and W.ADC in protocol:
            protocol.remove(W.ADC)
    return protocol


def _with(plans: list[SeriesPlan], volume: SeriesPlan) -> list[SeriesPlan]:
    """The protocol with a 3-D series in place of the 2-D one of the same contrast and plane; otherwise after all, as after gadolinium."""
    same = [k for k, p in enumerate(plans) if (p.plane, p.sequence.weighting) == (volume.plane, volume.sequence.weighting)]
    if same:
        return [volume if k == same[0] else plan for k, plan in enumerate(plans)]
    return [*plans, volume] if volume.sequence.contrast else [volume, *plans]


def draw_volume(rng: np.random.Generator, vendor: str, noise: float, chosen: int = 0) -> SeriesPlan:
    """A 3-D series: inversion-prepared or spoiled gradient echo T1, before or after contrast, or FLAIR; sagittal, sometimes axial."""
    weighting = (W.T1, W.T1_POST, W.FLAIR)[int(rng.choice(3, p=[0.55, 0.25, 0.2]))]
    plane = "sagittal" if rng.random() < 0.75 else "axial"
    voxel = float(rng.choice([1.0, 1.1, 1.2, 1.3], p=[0.2, 0.2, 0.4, 0.2]))
    if weighting is W.FLAIR:
        tr = float(rng.integers(4800, 6500))
        sequence = Sequence(weighting, tr, float(rng.integers(105, 130)), ti=round(null_time(TISSUES["csf"].t1, tr)))
    elif rng.random() < 0.6:
        sequence = Sequence(
            weighting, float(rng.integers(1900, 2350)), round(float(rng.uniform(2.2, 3.6)), 2), float(rng.integers(880, 960)), flip=9.0
        )
    else:
        sequence = Sequence(
            weighting, float(rng.integers(18, 26)), round(float(rng.uniform(3.5, 5.5)), 2), flip=float(rng.integers(25, 31))
        )
    name = NAMES[vendor][f"3-D {weighting}"][chosen].format(plane=PLANES[vendor][plane])
    return SeriesPlan(name, sequence, plane, 1.3 * noise, voxel)


_NOISE = {W.T1: 1.0, W.T2: 0.8, W.FLAIR: 1.2, W.DWI: 2.0, W.ADC: 2.0, W.SWI: 1.2, W.T1_POST: 1.0}


def draw_sequence(rng: np.random.Generator, weighting: Weighting) -> Sequence:
    """Parameters within the usual range of a contrast."""
    if weighting in (W.T1, W.T1_POST):
        return Sequence(weighting, float(rng.integers(450, 620)), float(rng.integers(8, 14)))
    if weighting is W.T2:
        return Sequence(weighting, float(rng.integers(4000, 6200)), float(rng.integers(88, 112)))
    if weighting is W.FLAIR:
        tr = float(rng.integers(8500, 10000))
        return Sequence(
            weighting, tr, float(rng.integers(100, 128)), ti=round(null_time(TISSUES["csf"].t1, tr) + float(rng.uniform(-60, 20)))
        )
    if weighting is W.SWI:
        return Sequence(weighting, float(rng.integers(550, 750)), float(rng.integers(18, 26)), flip=20.0)
    return Sequence(weighting, float(rng.integers(4500, 6500)), float(rng.integers(75, 98)), b_value=1000.0)
