"""What is used and what is set aside: one table, read from the top; the first rule that holds gives the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pydicom.uid as uid

from encoder.facts import Component, Facts

# A token of the encoder is four slices thick (PRIMA.md section 2); fewer slices are a localizer or a fragment.
MIN_SLICES = 4
MIN_MATRIX = 16

# Reasons that no tag gives: they come of what else a study holds, or of the pixels.
COPY = "copy of an image already read"
OTHER_ENCODING = "same images in another encoding (classic and enhanced under one UID)"
REPEATED = "repeated images of places already read (time series or duplicates): the first is used"
CONVERTED = "NIfTI file in a DICOM study's folder: taken as a converted copy"
LABELS = "label image or mask, not a sequence"
NO_SIGNAL = "no signal: every voxel has the same value"

PHASE_PARTS = frozenset({Component.PHASE, Component.REAL, Component.IMAGINARY})
IMAGE_CLASSES = frozenset({uid.MRImageStorage, uid.EnhancedMRImageStorage, uid.LegacyConvertedEnhancedMRImageStorage, ""})
CAPTURES = frozenset(
    {
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
        uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uid.EnhancedMRColorImageStorage,
    }
)
LOCALIZER = (
    r"local\w*|loc|scout\w*|\w*scout|survey\w*|coil ?survey|plan ?scan|(?:3|three|tri) ?plane|smart ?brain|calib\w*|asset cal\w*|ref ?scan"
)
FIELD_MAP = r"field ?map\w*|fieldmapping|field mapping|gre field\w*|b0 ?map\w*|b1 ?map\w*|shim\w*|\w*fieldmap\w*"
MAP_TYPES = """
    FA RA MD FRACTIONAL_ANISOTROPY TENSOR TENSOR_B0 EXP EADC CBF CBV RCBF RCBV RELCBF RELCBV MTT RELMTT TTP TMAX PBP GBP KTRANS
    TTEST T-TEST MEAN_T SPMAP Z_SCORE T1_MAP T2_MAP T2_STAR_MAP T1MAP T2MAP R2_MAP R2_STAR_MAP PCM QMAP MASK
"""
PARAMETRIC = frozenset(MAP_TYPES.split())
PARAMETRIC_WORDS = (
    r"col ?fa|fa map|fractional anisotropy|\w*cbf|\w*cbv|mtt|ttp|tmax|ktrans|t ?test|(?:t1|t2|r2) ?map\w*|eadc|exp adc|exponential adc"
)


@dataclass(frozen=True)
class Exclusion:
    """`reason` is given for every series that `holds` is true of."""

    reason: str
    holds: Callable[[Facts], bool]


def reason_against(facts: Facts) -> str | None:
    """Why a series is not used, from its tags and names alone; None where nothing speaks against it."""
    rule = next((rule for rule in EXCLUSIONS if rule.holds(facts)), None)
    return rule.reason.format(modality=facts.modality or "unstated", kind=_kind(facts)) if rule else None


def reason_against_shape(slices: int, rows: int, columns: int) -> str | None:
    """Why a volume of this shape is not used; None where it is."""
    if slices < MIN_SLICES:
        return f"too few slices: {slices}, at least {MIN_SLICES} are needed"
    if min(rows, columns) < MIN_MATRIX:
        return f"too small a matrix: {columns} x {rows}, at least {MIN_MATRIX} x {MIN_MATRIX} are needed"
    return None


def _says(words: str) -> Callable[[Facts], bool]:
    pattern = re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])")
    return lambda facts: pattern.search(facts.words) is not None


def _typed(*values: str) -> Callable[[Facts], bool]:
    wanted = frozenset(values)
    return lambda facts: bool(wanted & facts.image_type)


def _kind(facts: Facts) -> str:
    return uid.UID(facts.sop_class).name.removesuffix(" Storage") if facts.sop_class in uid.UID_dictionary else "unknown kind"


EXCLUSIONS: tuple[Exclusion, ...] = (
    Exclusion("raw data, not an image", lambda facts: facts.sop_class == uid.RawDataStorage),
    Exclusion("secondary capture, not the scanner's own image", lambda facts: facts.sop_class in CAPTURES),
    Exclusion("modality {modality}, not MR", lambda facts: facts.modality not in ("MR", "") and "Image" in _kind(facts)),
    Exclusion("no MR image: {kind}", lambda facts: facts.sop_class not in IMAGE_CLASSES or facts.modality not in ("MR", "")),
    Exclusion("colour image, derived", lambda facts: facts.colour),
    Exclusion("localizer or calibration scan", lambda facts: _typed("LOCALIZER")(facts) or _says(LOCALIZER)(facts)),
    Exclusion("field map, made to correct other series", _says(FIELD_MAP)),
    Exclusion("phase image or other part of the complex signal", lambda facts: facts.component in PHASE_PARTS),
    Exclusion("derived map of a parameter", lambda facts: bool(PARAMETRIC & facts.image_type) or _says(PARAMETRIC_WORDS)(facts)),
    Exclusion("projection of other images", _typed("PROJECTION IMAGE", "MIP", "MNIP", "MINIP", "PROJECTION")),
    Exclusion("screen picture", _typed("SCREEN SAVE", "SCREENSAVE", "CSA REPORT", "CSA RESULT")),
)
