"""One study in, its features out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.calibration import Platt
from encoder.config import EncoderConfig, from_mapping
from encoder.errors import StudyError, WeightsError
from encoder.features import Localisation, Priority, Score, StudyFeatures
from encoder.locate import TokenView, locate
from encoder.model import Labels, Model, ModelOutput, TokenBatch
from encoder.networks import token_rows
from encoder.outliers import Outliers, series_statistics
from encoder.patches import Patches, cut
from encoder.study import Series, Study
from encoder.tokenizer import VQVAE
from encoder.volume import canonical

SHIPPED = Path(__file__).parent / "weights" / "tiny"
LEVELS = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
CHUNK = 256  # tokens through the tokenizer at once: bounds memory, does not change the result


@dataclass(frozen=True)
class Head:
    """One trained diagnosis head: its operating point on the logit, and its calibration where data for one existed."""

    threshold: float
    slope: float | None = None
    intercept: float | None = None

    def read(self, name: str, logit: float) -> Score:
        """The head's output for one study."""
        score = logit - self.threshold
        if self.slope is None or self.intercept is None:
            return Score(name, score, None)
        return Score(name, score, Platt(self.slope, self.intercept)(score))


@dataclass(frozen=True)
class Card:
    """What stands beside the weights in encoder.json. heads: only those that were trained; the rest stay silent."""

    config: EncoderConfig
    labels: Labels
    heads: Mapping[str, Head]
    referral: Mapping[str, Head]
    priority_temperature: float = 1.0
    outlier_threshold: float | None = None
    licence: str = ""
    trained_on: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Text of encoder.json."""
        return json.dumps({**asdict(self), "format": 1}, indent=1)

    @staticmethod
    def from_json(text: str) -> Card:
        """Read what `to_json` wrote; raises WeightsError on unknown keys."""
        values = json.loads(text)
        if values.pop("format", None) != 1:
            raise WeightsError("encoder.json: expected format 1; was it written by another version?")
        heads = {kind: {n: from_mapping(Head, h) for n, h in values.pop(kind).items()} for kind in ("heads", "referral")}
        config, labels = from_mapping(EncoderConfig, values.pop("config")), from_mapping(Labels, values.pop("labels"))
        known = set(Card.__dataclass_fields__) - {"config", "labels", "heads", "referral"}
        if set(values) - known:
            raise WeightsError(f"encoder.json: unknown keys {sorted(set(values) - known)}; was it written by another version?")
        return Card(config=config, labels=labels, heads=heads["heads"], referral=heads["referral"], **values)


@dataclass(frozen=True)
class Encoded:
    """A study on its way: the series that gave tokens, their patches, the packed batch, and their image statistics (s, f)."""

    series: tuple[Series, ...]
    patches: tuple[Patches, ...]
    batch: TokenBatch
    statistics: NDArray[np.float32]


class Encoder:
    """The tiny preset with its weights; `encode` is the only door."""

    def __init__(self, card: Card, tokenizer: VQVAE, model: Model, outliers: Outliers | None, digest: str) -> None:
        self.card, self.tokenizer, self.model, self.outliers, self.hash = card, tokenizer.eval(), model.eval(), outliers, digest

    @classmethod
    def load(cls, folder: Path | None = None) -> Encoder:
        """Read encoder.json and model.safetensors strictly (None = the shipped demo weights). Raises WeightsError."""
        from encoder.weights import digest_of, read_weights

        folder = folder or SHIPPED
        card = Card.from_json(_text(folder / "encoder.json"))
        tensors = read_weights(folder / "model.safetensors")
        tokenizer, model = VQVAE(card.config.tokenizer), Model(card.config, card.labels)
        outliers = _outliers(tensors, card.outlier_threshold)
        _fill(tokenizer, tensors, "tokenizer.", folder)
        _fill(model, tensors, "model.", folder)
        if tensors:
            raise WeightsError(f"{folder}: unknown tensors {sorted(tensors)[:5]}; expected those of encoder.json only.")
        return cls(card, tokenizer, model, outliers, digest_of(folder))

    def save(self, folder: Path) -> None:
        """Write what `load` reads; the hash changes with any weight, threshold or switch."""
        from encoder.weights import digest_of, write_weights

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"tokenizer.{k}": v for k, v in self.tokenizer.state_dict().items()}
        tensors |= {f"model.{k}": v for k, v in self.model.state_dict().items()}
        if self.outliers is not None:
            for name in ("centre", "whitening", "reference"):
                tensors[f"outliers.{name}"] = torch.from_numpy(getattr(self.outliers, name))
        write_weights(folder / "model.safetensors", tensors)
        (folder / "encoder.json").write_text(self.card.to_json(), encoding="utf-8")
        self.hash = digest_of(folder)

    @torch.inference_mode()
    def encode(self, study: Study) -> StudyFeatures:
        """Everything the weights know of the study. Raises StudyError when no series gives a token; the study is not changed."""
        encoded = self.prepare(study)
        out = self.model(encoded.batch)
        scores = tuple(
            head.read(name, float(out.scores[0, self.card.labels.diagnoses.index(name)])) for name, head in self.card.heads.items()
        )
        referral = tuple(
            head.read(name, float(out.referral[0, self.card.labels.specialties.index(name)])) for name, head in self.card.referral.items()
        )
        urgency = (out.priority[0] / self.card.priority_temperature).softmax(0)
        return StudyFeatures(
            embedding=_array(torch.nn.functional.normalize(out.clip[0], dim=0)),
            registers=_array(out.registers[0]),
            sequences=_array(out.sequences),
            names=tuple(s.name for s in encoded.series),
            scores=scores,
            referral=referral,
            priority=tuple((level, float(p)) for level, p in zip(LEVELS, urgency, strict=True)),
            locations=self._locations(encoded, out, scores),
            out_of_distribution=self.outliers.judge(encoded.statistics) if self.outliers else None,
            encoder=self.hash,
        )

    def prepare(self, study: Study) -> Encoded:
        """Cut and tokenise every series; series without foreground are passed over."""
        series, patches, rows, statistics = [], [], [], []
        for one in study.series:
            volume = canonical(one, self.card.config.patch)
            pieces = cut(volume, self.card.config.patch)
            if len(pieces):
                series.append(one)
                patches.append(pieces)
                rows.append(self.rows(pieces.values, pieces.positions, pieces.plane_axis))
                statistics.append(series_statistics(volume))
        if not series:
            raise StudyError(f"Study {study.key}: expected a series with signal, found none among {len(study.series)}; nothing to encode.")
        description = study.context.description or "unk"
        batch = TokenBatch(torch.cat(rows), [len(r) for r in rows], [s.name for s in series], [len(series)], [description])
        return Encoded(tuple(series), tuple(patches), batch, np.stack(statistics))

    @torch.inference_mode()
    def rows(self, values: NDArray[np.float32], positions: NDArray[np.int64], plane_axis: int) -> Tensor:
        """Tokens (n, a, b, c) of one plane -> the sequence transformer's input rows (n, 289)."""
        parts = [torch.from_numpy(values[at : at + CHUNK])[:, None] for at in range(0, len(values), CHUNK)]
        latents = torch.cat([self.tokenizer.encode(part) for part in parts])
        return token_rows(latents, torch.from_numpy(positions), plane_axis, self.card.config.patch)

    def _locations(self, encoded: Encoded, out: ModelOutput, scores: Sequence[Score]) -> tuple[Localisation, ...]:
        probabilities = out.evidence.lesions.sigmoid().float().numpy()
        centres = np.concatenate([p.centres_mm for p in encoded.patches]).astype(np.float32)
        owner = np.repeat(np.arange(len(encoded.series)), encoded.batch.lengths)
        regions, offsets = _array(out.evidence.regions.softmax(1)), _array(out.evidence.offsets)
        found = []
        for score in scores:
            if score.score > 0:
                view = TokenView(centres, owner, probabilities[:, self.card.labels.diagnoses.index(score.name)], regions, offsets)
                found.append(locate(score.name, view, encoded.series, self.card.labels.regions))
        return tuple(place for place in found if place is not None)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().numpy()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{path}: expected the encoder's description, found no readable file; give an encoder folder.") from error


def _outliers(tensors: dict[str, Tensor], threshold: float | None) -> Outliers | None:
    found = {name: tensors.pop(f"outliers.{name}", None) for name in ("centre", "whitening", "reference")}
    if threshold is None or any(t is None for t in found.values()):
        return None
    return Outliers(**{name: t.float().numpy() for name, t in found.items() if t is not None}, threshold=threshold)


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, folder: Path) -> None:
    own = {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}
    try:
        module.load_state_dict(own, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{folder}: the tensors do not fit encoder.json: {error}") from error
