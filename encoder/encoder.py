"""One study in, its features out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.calibrated import with_calibration
from encoder.calibration import Platt
from encoder.config import EncoderConfig, from_mapping
from encoder.errors import StudyError, WeightsError
from encoder.features import Localisation, Priority, Score, StudyFeatures
from encoder.locate import TokenView, locate
from encoder.model import Labels, Readout, TokenBatch, embed, read_out
from encoder.networks import SequenceOutput, StudyOutput, Towers, token_rows
from encoder.open_encoders import kind_of, opener
from encoder.outliers import Outliers, series_statistics
from encoder.patches import Patches, cut
from encoder.precision import Asked, settled
from encoder.prima import UNKNOWN, Prima
from encoder.study import Series, Study
from encoder.token_score import StudyTokens, TokenScore, TowerScore
from encoder.tokenizer import encode_patches
from encoder.volume import canonical
from encoder.weights import digest_of, load_strictly, read_weights, rounded, write_weights

SHIPPED = Path(__file__).parent / "weights" / "tiny"
MANIFEST, MODEL = "encoder.json", "model.safetensors"
FORMAT = 1
LEVELS = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)


@dataclass(frozen=True)
class Head:
    """One trained head: its operating point on the logit, and its calibration where data for one existed."""

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
    """What stands beside the weights: sizes, the readout's columns, and what was fitted.

    heads, referral: only those that were trained; the rest stay silent. provenance: what made the weights, of what, licence.
    """

    config: EncoderConfig
    labels: Labels
    heads: Mapping[str, Head]
    referral: Mapping[str, Head]
    priority_temperature: float
    outlier_threshold: float
    provenance: Mapping[str, Any]

    def to_json(self) -> str:
        """Text of encoder.json."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @staticmethod
    def from_json(text: str) -> Card:
        """Read what `to_json` wrote; raises WeightsError on another format, unknown or missing keys."""
        values = json.loads(text)
        if values.pop("format", None) != FORMAT:
            raise WeightsError(f"{MANIFEST}: expected format {FORMAT}; was it written by another version?")
        parts = {"config": from_mapping(EncoderConfig, values.get("config", {})), "labels": from_mapping(Labels, values.get("labels", {}))}
        heads = {name: {n: from_mapping(Head, h) for n, h in values.get(name, {}).items()} for name in ("heads", "referral")}
        unknown = set(values) ^ set(Card.__dataclass_fields__)
        if unknown:
            raise WeightsError(f"{MANIFEST}: unknown or missing keys {sorted(unknown)}; was it written by another version?")
        return Card(**{**values, **parts, **heads})


@dataclass(frozen=True)
class Encoded:
    """A study on its way: the series that gave tokens, their patches, the packed batch, and their image statistics (s, f)."""

    series: tuple[Series, ...]
    patches: tuple[Patches, ...]
    batch: TokenBatch
    statistics: NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """What the heads say: diagnosis and referral scores, priority levels with probabilities, places."""

    diagnoses: tuple[Score, ...]
    referral: tuple[Score, ...]
    priority: tuple[tuple[Priority, float], ...]
    locations: tuple[Localisation, ...]


class StudyEncoder(Protocol):
    """The seam through which any encoder is put in: one study in, features out, and a hash that says which weights.

    docs/OPEN_ENCODERS.md says what to keep to. hash: of all that an embedding depends on; an index and an adapter record it.
    """

    @property
    def hash(self) -> str:
        """sha256 of the weights and switches."""

    @property
    def trained_heads(self) -> frozenset[str]:
        """Names of the diagnoses that the weights can score."""

    def encode(self, study: Study) -> StudyFeatures:
        """Everything the weights know of the study. Raises StudyError when no series gives anything; the study is not changed."""


class Encoder:
    """The tiny preset with its weights; `encode` is the only door. precision: "auto" means float32, since it gains nothing from less."""

    def __init__(
        self, card: Card, towers: Towers, readout: Readout, outliers: Outliers, digest: str = "", precision: Asked = "auto"
    ) -> None:
        self.card, self.towers, self.readout, self.outliers, self.hash = card, towers.eval(), readout.eval(), outliers, digest
        self.precision = settled(precision, sum(p.numel() for p in towers.parameters()), torch.device("cpu"))

    @staticmethod
    def load(folder: Path | None = None, precision: Asked = "auto", *, calibrated: bool = True) -> StudyEncoder:
        """Open an encoder's folder strictly, of any kind, with the calibration that lies in it; None = the shipped weights.

        precision: "float32" is exact; "bfloat16" is several times as fast for large networks where the processor has it; "auto" is the
        latter for networks that gain from it. calibrated: False leaves the calibration aside. Raises WeightsError.
        """
        folder = folder or SHIPPED
        opened: StudyEncoder
        if (folder / "prima.json").exists():
            opened = Prima.load(folder, precision)
        elif (kind := kind_of(folder / MANIFEST)) is not None:
            opened = opener(kind)(folder, precision)
        else:
            opened = Encoder.read(folder, precision)
        return with_calibration(opened, folder) if calibrated else opened

    @classmethod
    def read(cls, folder: Path, precision: Asked = "auto") -> Encoder:
        """Read a folder that `save` wrote. Raises WeightsError."""
        try:
            card = Card.from_json((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{folder}: expected an encoder folder with {MANIFEST}, found none that can be read; check --encoder."
            ) from error
        tensors = read_weights(folder / MODEL)
        parts = {
            kind: {n.removeprefix(kind): t.float() for n, t in tensors.items() if n.startswith(kind)} for kind in ("towers.", "readout.")
        }
        towers = load_strictly(Towers(card.config), parts["towers."], folder / MODEL)
        readout = load_strictly(Readout(card.config, card.labels), parts["readout."], folder / MODEL)
        return cls(card, towers, readout, Outliers.from_tensors(tensors, card.outlier_threshold), digest_of(folder), precision)

    def save(self, folder: Path) -> None:
        """Write what `load` reads, weights in half precision; the hash changes with any weight, threshold or switch.

        This encoder then is what was written, rounding included: its features are those of its hash, and it saves to the same hash again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for prefix, module in (("towers.", self.towers), ("readout.", self.readout)):
            for name, tensor in module.state_dict().items():
                tensors[prefix + name] = rounded(tensor)
                tensor.copy_(tensors[prefix + name])
        statistics = self.outliers.tensors()
        self.outliers = Outliers.from_tensors(statistics, self.outliers.threshold)
        write_weights(folder / MODEL, tensors | statistics)
        (folder / MANIFEST).write_text(self.card.to_json(), encoding="utf-8")
        self.hash = digest_of(folder)

    @property
    def trained_heads(self) -> frozenset[str]:
        """Names of the diagnoses that these weights can score."""
        return frozenset(self.card.heads)

    @torch.inference_mode()
    def encode(self, study: Study) -> StudyFeatures:
        """Everything the weights know of the study. Raises StudyError when no series gives a token; the study is not changed."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            encoded = self.prepare(study)
            sequences, out = embed(self.towers, encoded.batch)
            scores = self._read(encoded, sequences, out)
        return StudyFeatures(
            embedding=_array(torch.nn.functional.normalize(out.clip[0].float(), dim=0)),
            registers=_array(out.registers[0]),
            sequences=_array(sequences.embedding),
            names=tuple(s.name for s in encoded.series),
            scores=scores.diagnoses,
            referral=scores.referral,
            priority=scores.priority,
            locations=scores.locations,
            out_of_distribution=self.outliers.judge(encoded.statistics),
            encoder=self.hash,
            priority_calibrated=True,
        )

    def token_score(self, study: Study, diagnosis: str) -> TokenScore:
        """One of `trained_heads` as a function of the study's tokens. Raises StudyError as `encode` does."""
        encoded = self.prepare(study)
        column, threshold = self.card.labels.diagnoses.index(diagnosis), self.card.heads[diagnosis].threshold
        with torch.no_grad():
            evidence = read_out(self.readout, *embed(self.towers, encoded.batch), encoded.batch).evidence
        tokens = StudyTokens(
            encoded.series,
            encoded.patches,
            encoded.batch.rows,
            encoded.batch.descriptions[0],
            tuple(self.card.labels.regions[1 + int(region)] for region in evidence.regions[:, 1:].argmax(1)),  # 0 is background
            self.outliers.judge(encoded.statistics),
        )

        def score(sequences: SequenceOutput, study: StudyOutput, batch: TokenBatch) -> Tensor:
            return read_out(self.readout, sequences, study, batch).scores[:, column] - threshold

        return TowerScore(self.towers, tokens, score)

    def prepare(self, study: Study) -> Encoded:
        """Cut and tokenise every series; series without foreground, or too large for the weights' rule, are passed over."""
        series, patches, statistics = [], [], []
        for one in study.series:
            volume = canonical(one, self.card.config.patch)
            try:
                pieces = cut(volume, self.card.config.patch)
            except StudyError:
                continue
            if pieces.foreground.any():  # an empty volume gives tokens too: nothing lies below its lowest bin
                series.append(one)
                patches.append(pieces)
                statistics.append(series_statistics(volume))
        if not series:
            raise StudyError(f"Study {study.key}: expected a series with signal, found none among {len(study.series)}; nothing to encode.")
        latents = encode_patches(self.towers.tokenizer, patches)
        rows = [
            token_rows(latent, torch.from_numpy(p.positions), p.plane_axis, self.card.config.patch)
            for latent, p in zip(latents, patches, strict=True)
        ]
        description = study.context.description or UNKNOWN
        batch = TokenBatch(torch.cat(rows), [len(r) for r in rows], [s.name for s in series], [len(series)], [description])
        return Encoded(tuple(series), tuple(patches), batch, np.stack(statistics))

    def _read(self, encoded: Encoded, sequences: SequenceOutput, study: StudyOutput) -> Scores:
        """Heads and places of the tiny preset."""
        labels, out = self.card.labels, read_out(self.readout, sequences, study, encoded.batch)
        scores = tuple(head.read(n, float(out.scores[0, labels.diagnoses.index(n)])) for n, head in self.card.heads.items())
        referral = tuple(head.read(n, float(out.referral[0, labels.specialties.index(n)])) for n, head in self.card.referral.items())
        urgency = (out.priority[0] / self.card.priority_temperature).softmax(0)
        shown, regions, offsets = out.evidence.lesions.sigmoid(), out.evidence.regions.softmax(1), out.evidence.offsets
        centres = np.concatenate([p.centres_mm for p in encoded.patches]).astype(np.float32)
        owner = np.repeat(np.arange(len(encoded.series)), encoded.batch.lengths)
        places = []
        for score in scores:
            if score.possible:
                column = _array(shown[:, labels.diagnoses.index(score.name)])
                view = TokenView(centres, owner, column, _array(regions), _array(offsets))
                places.append(locate(score.name, view, encoded.series, labels.regions))
        levels = tuple((level, float(p)) for level, p in zip(LEVELS, urgency, strict=True))
        return Scores(scores, referral, levels, tuple(place for place in places if place is not None))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().numpy()
