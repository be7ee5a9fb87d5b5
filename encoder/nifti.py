"""NIfTI files to series: axes turned so that the last one runs through the slices, frame turned from RAS to LPS."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.imageglobals import LoggingOutputSuppressor
from numpy.typing import NDArray

from encoder.dicom import B_STEP, MAX_VOXELS, Outcome, digest
from encoder.facts import Component, Facts, words_of
from encoder.geometry import LPS_RAS, plane_of
from encoder.naming import file_name
from encoder.selection import LABELS, NO_SIGNAL, reason_against, reason_against_shape
from encoder.study import Acquisition, Plane, Series
from encoder.weighting import weighting_of

THICK = 1.2  # a volume whose largest spacing exceeds its smallest by this factor has slices
LABEL_FOLDERS = frozenset({"mask", "masks", "label", "labels", "seg", "segmentation", "segmentations"})
LABEL_WORDS = frozenset({"mask", "seg", "label", "labels", "segmentation", "dseg", "aseg", "parc", "roi"})
MAX_LABELS = 64
MAX_DEFLATE = 1100  # gzip shrinks at most some 1,030 fold
MAX_SIDECAR = 4 << 20

# Axis codes of a series' columns, rows and slices, as a scanner stores each plane: right-handed in LPS.
CANONICAL = {Plane.AXIAL: ("L", "P", "S"), Plane.SAGITTAL: ("P", "I", "R"), Plane.CORONAL: ("L", "I", "P")}


UNNAMED = "UNK"


class UnusableVolume(ValueError):
    """A NIfTI file that is not one usable volume; the message is the reason, without names."""


@dataclass(frozen=True)
class Sidecars:
    """b-values (one a volume) and BIDS facts beside a NIfTI file."""

    files: tuple[Path, ...]
    b_values: tuple[float, ...]
    facts: dict[str, Any]


def stem_of(path: Path) -> str:
    """File name without `.nii`, `.nii.gz`, `.hdr` or `.img`."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return Path(name).stem


def sidecars_of(path: Path) -> tuple[Path, ...]:
    """Files beside `path` that belong to it: the other half of a pair, `.bval`, `.bvec`, `.json`."""
    own = stem_of(path)
    endings = [".bval", ".bvec", ".json"] + ([".img", ".img.gz"] if path.name.lower().endswith((".hdr", ".hdr.gz")) else [])
    return tuple(other for ending in endings if (other := path.with_name(own + ending)).is_file())


def read_nifti(path: Path) -> Iterator[Outcome]:
    """The volumes of one NIfTI file (one for each b-value it holds), or why it holds none.

    A file whose name says nothing of a sequence is called after its content, so that its name does not depend on the file's.
    """
    name = file_name(stem_of(path))
    files = frozenset([path, *sidecars_of(path)])
    try:
        yield from _volumes(path, name, files)
    except UnusableVolume as problem:
        yield Outcome(name or UNNAMED, files, reason=str(problem))
    except Exception as error:
        # A damaged file can fail anywhere in a parser; whatever fails, it is set aside.
        yield Outcome(name or UNNAMED, files, reason=f"damaged or truncated NIfTI file ({type(error).__name__})")


def _volumes(path: Path, name: str, files: frozenset[Path]) -> Iterator[Outcome]:
    beside = _sidecars(path)
    words = words_of(stem_of(path))
    acquisition = _acquisition(beside.facts)
    phase = "phase" in words.split() or "PHASE" in str(beside.facts.get("ImageType", "")).upper()
    facts = Facts(
        words=words,
        component=Component.PHASE if phase else Component.MAGNITUDE,
        diffusion=any(b > 0 for b in beside.b_values),
        acquisition=acquisition,
    )
    if reason := reason_against(facts):
        raise UnusableVolume(reason)
    # What nibabel says of odd headers is judged here; its own logger prints, and may print a path.
    with warnings.catch_warnings(), LoggingOutputSuppressor():
        warnings.simplefilter("ignore")
        values, affine, count = _load(path, len(beside.b_values))
    values = _finite(values)
    if values.min() == values.max():
        raise UnusableVolume(NO_SIGNAL)
    if _is_labels(path, values):
        raise UnusableVolume(LABELS)
    for b_value, volume, note in _parts(values, count, beside.b_values):
        told = facts if b_value is None else replace(facts, acquisition=replace(acquisition, b_value=b_value))
        turned, world, plane = turn(volume, affine)
        if reason := reason_against_shape(turned.shape[2], turned.shape[1], turned.shape[0]):
            raise UnusableVolume(reason)
        full = name or f"UNK-{digest(turned)[:8]}"
        full = full if b_value is None or count == 1 else f"{full}_b{round(b_value)}"
        series = Series(full, turned, world, plane, weighting_of(told), told.acquisition, (note,) if note else ())
        yield Outcome(full, files, series=series)


def _load(path: Path, wanted: int) -> tuple[NDArray[Any], NDArray[np.float64], int]:
    """Voxels in file order (native byte order, stored type where unscaled), the RAS affine, and how many volumes the file holds.

    The voxels are 4-D where the file holds the `wanted` number of volumes, else those of its first volume.
    """
    image: Any = nib.load(path, mmap=False)
    if not isinstance(image, nib.Nifti1Pair):  # Nifti1Image, Nifti2Image and Nifti2Pair are kinds of it
        old = isinstance(image, nib.AnalyzeImage)
        raise UnusableVolume("an Analyze image: left cannot be told from right" if old else "not a NIfTI image")
    header = image.header
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        raise UnusableVolume("states no orientation (qform and sform codes 0): left cannot be told from right")
    kind = header.get_data_dtype()
    if kind.kind == "c":
        raise UnusableVolume("complex values, not a magnitude image")
    if kind.kind not in "iuf":
        raise UnusableVolume("colour image, derived")
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise UnusableVolume(f"{len(shape)} dimensions; expected 3, or 4 with time or b-value last")
    size = math.prod(shape)
    stored = Path(image.file_map["image"].filename or path).stat().st_size
    if size > MAX_VOXELS or size * kind.itemsize > stored * MAX_DEFLATE:
        raise UnusableVolume("its header promises more voxels than it can hold")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise UnusableVolume("its affine is not a usable one")
    count = shape[3] if len(shape) == 4 else 1
    first = (slice(None),) * 3 + (0,) * (image.ndim - 3)
    values = np.asanyarray(image.dataobj).reshape(shape) if 1 < count == wanted else np.asanyarray(image.dataobj[first])
    if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
        values = values.astype(np.float64)
    return values.astype(values.dtype.newbyteorder("="), copy=False), affine, count


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    """Values that are not numbers become 0, the background: templates and registered images are padded with them."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        if not np.isfinite(values).any():
            raise UnusableVolume("no voxel is a number")
        values = np.where(np.isfinite(values), values, values.dtype.type(0))
    return values


def _is_labels(path: Path, values: NDArray[Any]) -> bool:
    """Few distinct whole numbers, in a folder or file named for labels; or no more than two values at all."""
    named = path.parent.name.lower() in LABEL_FOLDERS or bool(LABEL_WORDS & set(words_of(stem_of(path)).split()))
    distinct = np.unique(values)
    return len(distinct) <= 2 or (named and len(distinct) <= MAX_LABELS and bool(np.array_equal(distinct, np.rint(distinct))))


def _parts(values: NDArray[Any], count: int, b_values: tuple[float, ...]) -> Iterator[tuple[float | None, NDArray[Any], str | None]]:
    """(b-value, volume, note): a file of several volumes by b-value where these are known, else its first volume."""
    if values.ndim == 3:
        yield (b_values[0] if len(b_values) == count == 1 else None), values, f"the first of {count} volumes" if count > 1 else None
        return
    shells = [B_STEP * round(b / B_STEP) for b in b_values]
    for shell in sorted(set(shells)):
        members = [n for n, b in enumerate(shells) if b == shell]
        if shell == 0 or len(members) == 1:
            yield float(shell), values[..., members[0]], f"the first of {len(members)} volumes" if len(members) > 1 else None
        else:
            mean = values[..., members].mean(axis=3, dtype=np.float64)
            mean = np.rint(mean) if values.dtype.kind in "iu" else mean
            yield float(shell), mean.astype(values.dtype), f"mean of {len(members)} directions"


def turn(volume: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64], Plane]:
    """Volume with its axes as a scanner stores its plane, the affine to LPS for it, and the plane; no voxel is resampled.

    The slice axis is the thickest, or without thick slices the shortest; the choice is made among patient axes, so that it is
    the same for every axis order a file can have.
    """
    own = orientations.io_orientation(affine)
    if np.isnan(own).any():
        raise UnusableVolume("its affine is not a usable one")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    patient = own[:, 0].astype(int)  # of each voxel axis, the patient axis nearest to it: 0 left-right, 1 back-front, 2 foot-head
    thick = spacing.max() > THICK * spacing.min()

    def slice_likeness(axis: int) -> tuple[float, int]:
        return (round(float(spacing[axis]), 3) if thick else -float(volume.shape[axis])), int(patient[axis])

    normal = np.zeros(3)
    normal[patient[max(range(3), key=slice_likeness)]] = 1.0
    plane = plane_of(normal)
    change = orientations.ornt_transform(own, orientations.axcodes2ornt(CANONICAL[plane]))
    turned = orientations.apply_orientation(volume, change)
    world = LPS_RAS @ affine @ orientations.inv_ornt_aff(change, volume.shape)
    return np.ascontiguousarray(turned), world, plane


def _sidecars(path: Path) -> Sidecars:
    files = sidecars_of(path)
    b_values: tuple[float, ...] = ()
    facts: dict[str, Any] = {}
    for file in files:
        if file.stat().st_size > MAX_SIDECAR:
            continue
        try:
            if file.suffix == ".bval":
                b_values = tuple(float(b) for b in file.read_text().split())
            elif file.suffix == ".json":
                loaded = json.loads(file.read_text())
                facts = loaded if isinstance(loaded, dict) else {}
        except (ValueError, OSError, RecursionError):
            continue  # a sidecar adds to an image; the image stands without it
    return Sidecars(files, b_values if all(math.isfinite(b) and b >= 0 for b in b_values) else (), facts)


def _acquisition(facts: dict[str, Any]) -> Acquisition:
    """Acquisition from a BIDS sidecar, whose times are in seconds."""

    def number(key: str, scale: float = 1.0) -> float | None:
        value = facts.get(key)
        return float(value) * scale if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None

    kind = facts.get("MRAcquisitionType")
    maker = facts.get("Manufacturer")
    return Acquisition(
        tr=number("RepetitionTime", 1000),
        te=number("EchoTime", 1000),
        ti=number("InversionTime", 1000),
        flip_angle=number("FlipAngle"),
        field_strength=number("MagneticFieldStrength"),
        contrast_agent=True if facts.get("ContrastBolusIngredient") else None,
        three_d={"3D": True, "2D": False}.get(kind) if isinstance(kind, str) else None,
        manufacturer=maker if isinstance(maker, str) else None,
    )
