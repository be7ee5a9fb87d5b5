"""Sequences and their signal equations: one number per tissue and sequence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import cos, exp, log, radians, sin

from phantom.tissue import Tissue


class Weighting(StrEnum):
    """What a series shows; the strings equal those of the reader's weightings."""

    T1 = "T1"
    T1_POST = "T1 post-contrast"
    T2 = "T2"
    FLAIR = "FLAIR"
    DWI = "DWI"
    ADC = "ADC"
    SWI = "SWI"


@dataclass(frozen=True)
class Sequence:
    """Acquisition parameters of one series: times in ms, b in s/mm2, flip in degrees.

    A T1 with a flip angle is a spoiled gradient echo, with an inversion time as well it is inversion-prepared (MPRAGE).
    """

    weighting: Weighting
    tr: float
    te: float
    ti: float | None = None
    b_value: float | None = None
    flip: float | None = None

    @property
    def contrast(self) -> bool:
        """Whether it was acquired after gadolinium."""
        return self.weighting is Weighting.T1_POST


def null_time(t1: float, tr: float) -> float:
    """The inversion time in ms that nulls a tissue in an inversion-recovery sequence."""
    return t1 * log(2 / (1 + exp(-tr / t1)))


def signal(tissue: Tissue, sequence: Sequence) -> float:
    """Signed signal of a tissue (before magnitude), relative to fully relaxed water; for ADC use `signal` at b = 0 and at b."""
    t1 = tissue.t1_post if sequence.contrast and tissue.t1_post else tissue.t1
    tr, te = sequence.tr, sequence.te
    if sequence.weighting is Weighting.FLAIR:
        assert sequence.ti is not None
        return tissue.pd * (1 - 2 * exp(-sequence.ti / t1) + exp(-tr / t1)) * exp(-te / tissue.t2)
    if sequence.ti is not None:  # MPRAGE: the longitudinal magnetisation at the inversion time, read with small flips
        return tissue.pd * (1 - 2 * exp(-sequence.ti / t1) + exp(-tr / t1)) * exp(-te / tissue.t2_star)
    if sequence.flip is not None:
        flip, e1 = radians(sequence.flip), exp(-tr / t1)
        return tissue.pd * sin(flip) * (1 - e1) / (1 - cos(flip) * e1) * exp(-te / tissue.t2_star)
    spin_echo = tissue.pd * (1 - exp(-tr / t1)) * exp(-te / tissue.t2)
    if sequence.weighting in (Weighting.DWI, Weighting.ADC):
        suppressed = 0.06 if tissue.fat else 1.0
        return suppressed * spin_echo * exp(-(sequence.b_value or 0) / 1000 * tissue.adc)
    return spin_echo
