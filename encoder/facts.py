"""What files say of one volume, in one form for DICOM and NIfTI: what the rule tables read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from encoder.study import Acquisition


class Component(StrEnum):
    """Part of the complex signal that a pixel holds."""

    MAGNITUDE = "magnitude"
    PHASE = "phase"
    REAL = "real"
    IMAGINARY = "imaginary"


@dataclass(frozen=True)
class Facts:
    """Tags and names of one volume.

    words: description, protocol and sequence name (or file stem), lower case, words separated by single spaces.
    image_type: values of ImageType or FrameType, upper case. contrast: AcquisitionContrast. sequence: values of ScanningSequence
    and SequenceVariant. diffusion: other volumes of this series have a b-value above 0, or this one has.
    """

    words: str
    modality: str = "MR"
    sop_class: str = ""
    image_type: frozenset[str] = frozenset()
    contrast: str = ""
    sequence: frozenset[str] = frozenset()
    component: Component = Component.MAGNITUDE
    colour: bool = False
    diffusion: bool = False
    acquisition: Acquisition = field(default_factory=Acquisition)


def words_of(*names: str) -> str:
    """Names as lower-case words: case changes, digits and punctuation other than `+` and `*` are kept apart by spaces."""
    return re.sub(r"[^a-z0-9+*]+", " ", " ".join(names).lower()).strip()
