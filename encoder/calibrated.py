"""A calibration beside an encoder's weights, and the encoder that speaks through it.

calibration.json        a curve for each head with enough labelled studies, and what the others lacked
outliers.safetensors    statistics of the same studies' voxels, where the weights have none of their own

Both say whose they are, and neither counts in the encoder's hash: embeddings do not depend on them, so an index and an adapter stay valid.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.calibration import Bin, HeadCalibration, Isotonic, Platt
from encoder.config import PatchSpec, from_mapping, preset
from encoder.errors import WeightsError
from encoder.features import Priority, Score, StudyFeatures
from encoder.outliers import Outliers, series_statistics
from encoder.study import Study
from encoder.volume import canonical
from encoder.weights import CALIBRATION, OUTLIERS, read_weights, sha256, write_weights

if TYPE_CHECKING:
    from encoder.encoder import StudyEncoder

FORMAT = 1


@dataclass(frozen=True)
class Calibration:
    """What labelled studies say of one encoder.

    encoder: hash of its weights. source: which studies, in the caller's words; studies: how many.
    heads, referral: by the heads' names. priority_temperature: of the priority softmax, None = no labels for it.
    outliers: None = the weights have their own, or the studies were too few. spec: how a series is resampled before it is measured.
    """

    encoder: str
    source: str
    studies: int
    heads: Mapping[str, HeadCalibration]
    referral: Mapping[str, HeadCalibration]
    priority_temperature: float | None = None
    outliers: Outliers | None = None
    spec: PatchSpec = preset("tiny").patch

    def apply(self, features: StudyFeatures, study: Study, digest: str) -> StudyFeatures:
        """The features with this calibration's probabilities in place of any other, and its verdict on the voxels."""
        verdict = features.out_of_distribution
        if self.outliers is not None:
            verdict = self.outliers.judge(study_statistics(study, self.spec))
        return replace(
            features,
            scores=tuple(_calibrated(score, self.heads) for score in features.scores),
            referral=tuple(_calibrated(score, self.referral) for score in features.referral),
            priority=_tempered(features.priority, self.priority_temperature or 1.0),
            priority_calibrated=self.priority_temperature is not None,
            out_of_distribution=verdict,
            calibration=digest,
        )

    def save(self, folder: Path) -> str:
        """Write the calibration beside the weights, each file whole or not at all; returns its digest."""
        whole = {"format": FORMAT, **asdict(replace(self, outliers=None)), "outliers": None}
        drafts = {folder / CALIBRATION: folder / f".{CALIBRATION}.{os.getpid()}"}
        if self.outliers is not None:
            drafts[folder / OUTLIERS] = folder / f".{OUTLIERS}.{os.getpid()}"
            write_weights(drafts[folder / OUTLIERS], self.outliers.tensors())
            whole["outliers"] = {"threshold": self.outliers.threshold, "sha256": sha256(drafts[folder / OUTLIERS])}
        text = json.dumps(whole, indent=1)
        drafts[folder / CALIBRATION].write_text(text, encoding="utf-8")
        for target, draft in drafts.items():
            os.replace(draft, target)
        if self.outliers is None:
            (folder / OUTLIERS).unlink(missing_ok=True)
        return _digest(text)


@dataclass(frozen=True)
class Calibrated:
    """An encoder with its calibration: the same embeddings and hash, scores with probabilities, a verdict on the voxels."""

    encoder: StudyEncoder
    calibration: Calibration
    digest: str

    @property
    def hash(self) -> str:
        """The weights' own."""
        return self.encoder.hash

    @property
    def trained_heads(self) -> frozenset[str]:
        """Names of the diagnoses that the weights can score."""
        return self.encoder.trained_heads

    def encode(self, study: Study) -> StudyFeatures:
        """Everything the weights know of the study, read through the calibration. Raises StudyError as the encoder does."""
        return self.calibration.apply(self.encoder.encode(study), study, self.digest)


def with_calibration(encoder: StudyEncoder, folder: Path) -> StudyEncoder:
    """The encoder with the calibration that lies in its folder, or as it is where there is none.

    Raises WeightsError where the calibration is unreadable or belongs to other weights.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return encoder
    try:
        text = path.read_text(encoding="utf-8")
        calibration = _from_json(json.loads(text), folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path}: expected what `prima calibrate` writes, found {error!r}; calibrate again, or remove it.") from error
    if calibration.encoder != encoder.hash:
        raise WeightsError(
            f"{path}: fitted for encoder {calibration.encoder[:12]}, found beside encoder {encoder.hash[:12]}; "
            "calibrate these weights, or remove the file."
        )
    return Calibrated(encoder, calibration, _digest(text))


def study_statistics(study: Study, spec: PatchSpec) -> NDArray[np.float32]:
    """Image statistics of each series that has any signal: (s, f)."""
    return np.stack([series_statistics(canonical(series, spec)) for series in study.series if series.voxels.any()])


def _calibrated(score: Score, heads: Mapping[str, HeadCalibration]) -> Score:
    head = heads.get(score.name)
    return replace(score, probability=None if head is None or head.curve is None else head.curve(score.score))


def _tempered(levels: Sequence[tuple[Priority, float]], temperature: float) -> tuple[tuple[Priority, float], ...]:
    powers = [max(share, 1e-12) ** (1 / temperature) for _, share in levels]
    return tuple((level, power / sum(powers)) for (level, _), power in zip(levels, powers, strict=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _from_json(values: dict[str, Any], folder: Path) -> Calibration:
    if values.pop("format", None) != FORMAT:
        raise ValueError(f"another format than {FORMAT}")
    stated = values.pop("outliers")
    if stated is not None:
        if sha256(folder / OUTLIERS) != stated["sha256"]:
            raise WeightsError(f"{folder / OUTLIERS}: not the file that {CALIBRATION} was written with; calibrate again.")
        stated = Outliers.from_tensors(read_weights(folder / OUTLIERS), stated["threshold"])
    heads, referral = ({name: _head(head) for name, head in values.pop(group).items()} for group in ("heads", "referral"))
    spec = from_mapping(PatchSpec, values.pop("spec"))
    return Calibration(**values, heads=heads, referral=referral, outliers=stated, spec=spec)


def _head(values: dict[str, Any]) -> HeadCalibration:
    curve, bins = values.pop("curve"), tuple(from_mapping(Bin, one) for one in values.pop("bins"))
    if curve is not None:
        curve = from_mapping(Platt, curve) if "slope" in curve else from_mapping(Isotonic, curve)
    return HeadCalibration(**values, curve=curve, bins=bins)
