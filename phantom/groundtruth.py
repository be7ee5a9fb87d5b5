"""What is there: lesion masks and regions on any grid, and the facts a report must agree with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phantom import anatomy, atlas
from phantom.absence import PUSHES
from phantom.atlas import EXTRA_AXIAL, REGIONS
from phantom.lesion import Lesion
from phantom.scanner import MIRROR, Maps, sample_head, slabs
from phantom.signal import Weighting
from phantom.study import VISIBLE_SHIFT, Phantom

PRIORITIES = ("none", "low", "medium", "high")
SUBFALCINE, UNCAL, TONSILLAR = 8.0, 4.5, 3.0  # mm of midline, uncus and tonsils from which they are said to herniate
UNCUS = np.array([[22, -6, -26], [24, 2, -24], [26, -2, -28]], np.float32)  # of the patient's left, LPS mm
TONSILS = np.array([[x, y, z] for x in (-8, 8) for y, z in ((44, -48), (48, -52))], np.float32)


@dataclass(frozen=True)
class Labels:
    """Truth on a grid (i, j, k).

    lesions: a bool mask for each finding or diagnosis with a place. regions: uint8, index into region_names (0 = outside).
    """

    lesions: Mapping[str, NDArray[np.bool_]]
    regions: NDArray[np.uint8]
    region_names: tuple[str, ...] = REGIONS


@dataclass(frozen=True)
class Finding:
    """One thing to be seen: a name of the taxonomy, the patient's side, region, largest diameter (or shift, or thickness) in mm.

    mask: name of its mask, None where it has none. visible_on: weightings that were acquired and show it.
    count: foci; stage and enhancement as in Lesion.
    """

    name: str
    side: str | None
    region: str | None
    size_mm: float | None
    mask: str | None
    visible_on: tuple[str, ...]
    count: int = 1
    stage: str = ""
    enhancement: str = "none"


@dataclass(frozen=True)
class Truth:
    """The facts of a study. diagnoses: main first; findings: these and all else there is to see; both empty = normal."""

    diagnoses: tuple[str, ...]
    findings: tuple[Finding, ...]
    referral: tuple[str, ...]
    priority: str
    age: int
    sex: str

    def to_json(self) -> dict[str, Any]:
        """As in truth.json."""
        return asdict(self)


def labels(phantom: Phantom, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> Labels:
    """Truth on a series' grid: affine 4 x 4 (index (i, j, k) -> LPS mm), shape (i, j, k)."""
    unmirrored = MIRROR @ affine if phantom.mirror else np.asarray(affine, np.float64)
    backward = anatomy.field(phantom.anatomy, phantom.masses)
    lesions: dict[str, NDArray[np.bool_]] = {}
    regions = np.zeros(shape[::-1], np.uint8)
    for first, part, size in slabs(unmirrored, shape):
        maps = sample_head(phantom, backward, part, size)
        here = slice(first, first + size[2])
        regions[here][maps.window] = _regions(phantom, maps).reshape(maps.shape)
        for name, mask in maps.masks.items():
            lesions.setdefault(name, np.zeros(shape[::-1], bool))[here][maps.window] = mask.reshape(maps.shape)
    return Labels({name: np.ascontiguousarray(mask.T) for name, mask in lesions.items()}, np.ascontiguousarray(regions.T))


def _regions(phantom: Phantom, maps: Maps) -> NDArray[np.uint8]:
    """The region of each point (n,): the atlas's, or the lesion's own where it lies outside the brain."""
    nearest = atlas.load().region_at(maps.atlas_points)
    for lesion in phantom.lesions:
        if lesion.region in EXTRA_AXIAL and lesion.name in maps.masks:
            nearest[maps.masks[lesion.name]] = REGIONS.index(lesion.region)
    return nearest


def truth(phantom: Phantom) -> Truth:
    """The facts of the study, sides as shown."""
    findings = [_of_lesion(phantom, lesion) for lesion in phantom.lesions]
    findings += _effects(phantom)
    referral = tuple(dict.fromkeys(name for lesion in phantom.lesions for name in lesion.referral))
    levels = [lesion.priority for lesion in phantom.lesions]
    if abs(phantom.midline_shift) >= 5:
        levels.append("high")
    if any(finding.name == "brain_herniation" for finding in findings):
        levels.append("high")
        referral = tuple(dict.fromkeys((*referral, "neurosurgery")))
    if phantom.ventriculomegaly:
        levels.append("high" if phantom.obstructed else "low" if phantom.atrophy else "medium")
        if phantom.obstructed or not phantom.atrophy:
            referral = tuple(dict.fromkeys((*referral, "neurosurgery")))
    if phantom.atrophy:
        levels.append("low")
    priority = max(levels, key=PRIORITIES.index, default="none")
    return Truth(phantom.diagnoses, tuple(findings), referral, priority, phantom.patient.age, phantom.patient.sex)


def seen_on(phantom: Phantom, weightings: tuple[Weighting, ...]) -> tuple[str, ...]:
    """Those of the weightings that were acquired."""
    return tuple(str(weighting) for weighting in phantom.acquired if weighting in weightings)


def _of_lesion(phantom: Phantom, lesion: Lesion) -> Finding:
    size = round(lesion.size_mm, 1) if lesion.size_mm else None
    visible = seen_on(phantom, lesion.visible_on)
    return Finding(
        lesion.name, phantom.side(lesion.side), lesion.region, size, lesion.name, visible, lesion.count, lesion.stage, lesion.enhancement
    )


def _effects(phantom: Phantom) -> list[Finding]:
    """Findings that go with the lesions or with age."""
    fluid = seen_on(phantom, (Weighting.T2, Weighting.FLAIR))
    shape = seen_on(phantom, tuple(Weighting))
    found = []
    for lesion in phantom.lesions:
        side = phantom.side(lesion.side)
        if lesion.edema:
            found.append(Finding("edema", side, lesion.region, None, "edema", fluid))
        if any(mass.push >= PUSHES for mass in lesion.masses):
            found.append(Finding("mass_effect", side, lesion.region, None, None, shape))
    if abs(phantom.midline_shift) >= VISIBLE_SHIFT:
        towards = phantom.side("left" if phantom.midline_shift > 0 else "right")
        found.append(Finding("midline_shift", towards, None, round(abs(phantom.midline_shift), 1), None, shape))
    found += [Finding("brain_herniation", phantom.side(side), None, None, None, shape, stage=kind) for kind, side in herniations(phantom)]
    if phantom.ventriculomegaly:
        found.append(Finding("ventriculomegaly", "bilateral", "ventricles", None, None, shape))
    if phantom.atrophy:
        found.append(Finding("cerebral_atrophy", "bilateral", None, None, None, shape))
    return list(dict.fromkeys(found))


def herniations(phantom: Phantom) -> tuple[tuple[str, str], ...]:
    """Brain that leaves its compartment: (kind, side of the unmirrored head) for "subfalcine" (towards), "uncal", "tonsillar".

    What asks for no haste has grown for years and the brain has made room for it: it does not count.
    """
    masses = tuple(mass for lesion in phantom.lesions if lesion.priority != "low" for mass in lesion.masses)
    if not masses:
        return ()
    found = []
    if abs(phantom.midline_shift) >= SUBFALCINE:
        found.append(("subfalcine", "left" if phantom.midline_shift > 0 else "right"))
    for side, sign in (("left", 1), ("right", -1)):
        if -sign * anatomy.shift_of(masses, UNCUS * np.array([sign, 1, 1], np.float32))[0] >= UNCAL:
            found.append(("uncal", side))
    if -anatomy.shift_of(masses, TONSILS)[2] >= TONSILLAR:
        found.append(("tonsillar", "midline"))
    return tuple(found)
