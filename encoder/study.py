"""A study as the rest of the house sees it: volumes in patient space, without identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Plane(StrEnum):
    """Acquisition plane, from the orientation cosines of a series, never from its shape."""

    AXIAL = "axial"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"


class Weighting(StrEnum):
    """What a sequence shows, as far as tags and names tell."""

    T1 = "T1"
    T1_POST = "T1 post-contrast"
    T2 = "T2"
    FLAIR = "FLAIR"
    DWI = "DWI"
    ADC = "ADC"
    SWI = "SWI"
    PD = "PD"
    MRA = "MRA"
    PERFUSION = "perfusion"
    UNKNOWN = "unknown"


class Side(StrEnum):
    """The patient's side."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"
    BILATERAL = "bilateral"


@dataclass(frozen=True)
class Acquisition:
    """Facts of the acquisition that the file states; None where it does not. Times in ms, field in tesla."""

    tr: float | None = None
    te: float | None = None
    ti: float | None = None
    flip_angle: float | None = None
    b_value: float | None = None
    field_strength: float | None = None
    contrast_agent: bool | None = None
    three_d: bool | None = None
    manufacturer: str | None = None


@dataclass(frozen=True)
class Series:
    """One volume of a study (= one sequence).

    name: the series name as PRIMA.md section 1 builds it.
    voxels: (i, j, k) = (column, row, slice), slices in geometric order, stored type kept after rescale.
    affine: 4 x 4, float64, voxel index (i, j, k) -> mm in the DICOM patient frame, LPS.
    notes: what the reader did to it beyond stacking (slices filled, directions averaged), for the report.
    """

    name: str
    voxels: NDArray[Any]
    affine: NDArray[np.float64]
    plane: Plane
    weighting: Weighting
    acquisition: Acquisition = field(default_factory=Acquisition)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Excluded:
    """A series, or a group of files, that was found and not used, and why."""

    series: str
    reason: str
    files: int = 1


@dataclass(frozen=True)
class Context:
    """What is known of the patient and the request besides the images; None where unknown."""

    age: float | None = None
    sex: str | None = None
    indication: str | None = None
    description: str | None = None
    prior: str | None = None


@dataclass(frozen=True)
class Study:
    """One examination, without identity.

    key: pseudonym, a keyed hash of the study's identifiers (of its content where it has none).
    patient: pseudonym of the patient, or None where the files name none.
    """

    key: str
    patient: str | None
    series: tuple[Series, ...]
    excluded: tuple[Excluded, ...]
    context: Context
