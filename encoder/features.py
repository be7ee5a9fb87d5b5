"""What the encoder knows of one study: the values that cross into the index and the assistant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from encoder.study import Side

# Chosen on the demo's studies of calibration: at 0.3 nine of ten normal studies have no positive diagnosis, at 0.2 half of them.
OPERATING_POINT = 0.3  # calibrated probability from which a head counts as positive
FLOOR = 0.05  # calibrated probability below which a negative head rules its name out


class Priority(StrEnum):
    """Worklist priority, in rising order; NOT_ASSESSED where the study is outside the training distribution."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    NOT_ASSESSED = "not assessed"


@dataclass(frozen=True)
class Score:
    """One head's output for one study.

    score: logit minus the head's threshold (above 0 = positive).
    probability: calibrated, or None where the weights carry no calibration.
    """

    name: str
    score: float
    probability: float | None

    @property
    def positive(self) -> bool:
        """Counts as seen: by its probability where there is one, else by its threshold."""
        return self.reaches(OPERATING_POINT)

    @property
    def possible(self) -> bool:
        """Positive, or not improbable: worth a place, and a line in a differential."""
        return self.reaches(FLOOR)

    def reaches(self, probability: float) -> bool:
        """At or above a probability; without calibration a score above its threshold stands in."""
        return self.score > 0 if self.probability is None else self.probability >= probability


def spoken(score: float, probability: float | None) -> str:
    """How a score reads wherever a person or a model sees it: a probability only where it is calibrated."""
    return f"score {score:+.2f} relative to threshold, not calibrated" if probability is None else f"probability {probability:.2f}"


@dataclass(frozen=True)
class OutOfDistribution:
    """How far the voxels lie from what the encoder was trained on; flagged when score > threshold."""

    score: float
    threshold: float
    flagged: bool


@dataclass(frozen=True)
class Localisation:
    """Where the encoder sees a diagnosis: patient side, region, and the point it stands on.

    series, slice: the sequence's name and slice index k (0-based, Series.voxels axis 2) that shows it best.
    mm: centre, LPS mm. confidence: 0..1.
    """

    diagnosis: str
    side: Side
    region: str
    series: str
    slice: int
    mm: tuple[float, float, float]
    confidence: float


@dataclass(frozen=True)
class StudyFeatures:
    """What the encoder knows of one study.

    embedding: (d,) float32, unit norm, in the CLIP space; what the index stores.
    registers: (r, d_study) float32, the study transformer's register outputs, not normalised (PRIMA.md section 5).
    sequences: (s, d_seq) float32, one row per encoded sequence, in the order of `names`; not normalised.
    scores: one per diagnosis head; a diagnosis without a trained head is absent.
    referral: one per referral head (specialty). priority: (level, probability) pairs, empty without a head.
    locations: of possible names (`Score.possible`), where one was found.
    encoder: sha256 of the weights that made it. calibration: of the calibration fitted beside them, None where there is none.
    priority_calibrated: whether `priority` are probabilities, or a softmax that nothing was fitted to.
    """

    embedding: NDArray[np.float32]
    registers: NDArray[np.float32]
    sequences: NDArray[np.float32]
    names: tuple[str, ...]
    scores: tuple[Score, ...]
    referral: tuple[Score, ...]
    priority: tuple[tuple[Priority, float], ...]
    locations: tuple[Localisation, ...]
    out_of_distribution: OutOfDistribution | None
    encoder: str
    calibration: str | None = None
    priority_calibrated: bool = False

    @property
    def foreign(self) -> bool:
        """Whether the voxels are known to lie outside what the weights were trained on."""
        return self.out_of_distribution is not None and self.out_of_distribution.flagged
