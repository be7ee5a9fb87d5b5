"""The published encoder on a study: converted weights in, the same features out as from any other weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.errors import StudyError
from encoder.features import Priority, Score, StudyFeatures
from encoder.networks import StudyOutput, Towers, token_rows
from encoder.patches import Patches, patchify
from encoder.precision import Asked, settled
from encoder.released import Released, open_released
from encoder.study import Series, Study
from encoder.token_score import StudyTokens, TokenScore, TowerScore
from encoder.tokenizer import encode_patches

log = logging.getLogger(__name__)

UNKNOWN = "unk"  # what training put where a name was dropped (PRIMA.md 8)


class Prima:
    """Converted Prima weights, ready to encode. Scores are logit - threshold: released weights carry no calibration.

    precision: float32 is exact; bfloat16 is several times as fast where the processor or GPU has it; auto as `encoder.precision` settles.
    """

    def __init__(self, weights: Released, precision: Asked = "float32", device: str = "cpu") -> None:
        self.weights = weights
        self.config, self.hash = weights.config, weights.digest
        self.device = torch.device(device)
        self.towers: Towers = weights.towers().to(self.device)
        self.precision = settled(precision, sum(p.numel() for p in self.towers.parameters()), self.device)
        kind = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        self.towers.tokenizer.to(kind).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # what kernels like
        self._scorers = {group: weights.scorer(group) for group in weights.heads}

    @classmethod
    def load(cls, folder: Path, precision: Asked = "float32", device: str = "cpu") -> Prima:
        """Open what `convert` wrote. Raises WeightsError."""
        return cls(open_released(folder), precision, device)

    @property
    def trained_heads(self) -> frozenset[str]:
        """Names of the diagnoses that the weights can score."""
        return frozenset(self._names("diagnosis"))

    @torch.inference_mode()
    def encode(self, study: Study) -> StudyFeatures:
        """Everything the weights know of the study. Raises StudyError when no series gives a token; the study is not changed."""
        series, patches = self._patches(study)
        names = tuple(one.name for one in series)
        sequences, out = self.embed(patches, names, study.context.description or UNKNOWN)
        pooled = out.pooled.float().cpu()
        scores = {group: scorer(pooled)[0] for group, scorer in self._scorers.items()}
        levels = scores["priority"].softmax(0).tolist() if "priority" in scores else []
        return StudyFeatures(
            embedding=_array(out.clip[0]),
            registers=_array(out.registers[0]),
            sequences=_array(sequences),
            names=names,
            scores=self._scores("diagnosis", scores),
            referral=self._scores("referral", scores),
            priority=tuple((Priority(level), p) for level, p in zip(self._names("priority"), levels, strict=True)),
            locations=(),
            out_of_distribution=None,
            encoder=self.hash,
        )

    @torch.inference_mode()
    def embed(self, patches: Sequence[Patches], names: Sequence[str], description: str) -> tuple[Tensor, StudyOutput]:
        """Tokens of a study's series -> sequence embeddings (s, d_seq) and the study's output."""
        rows = self._rows(patches)
        with self._autocast():
            sequence = self.towers.sequence(torch.cat(rows), [len(r) for r in rows], self.towers.name(names))
            return sequence.embedding, self.towers.study(sequence.embedding, [len(rows)], self.towers.description([description]))

    def token_score(self, study: Study, diagnosis: str) -> TokenScore:
        """One of `trained_heads` as a function of the study's tokens, in float32. Raises StudyError as `encode` does."""
        series, patches = self._patches(study)
        tokens = StudyTokens(series, tuple(patches), torch.cat(self._rows(patches)), study.context.description or UNKNOWN)
        score = self._scorers["diagnosis"].column(diagnosis)
        return TowerScore(self.towers, tokens, lambda _, out, __: score(out.pooled.float().cpu()))  # heads stay where they are mapped

    def _rows(self, patches: Sequence[Patches]) -> list[Tensor]:
        latents = encode_patches(self.towers.tokenizer, patches)
        return [
            token_rows(latent, torch.from_numpy(p.positions), p.plane_axis, self.config.patch)
            for latent, p in zip(latents, patches, strict=True)
        ]

    def _patches(self, study: Study) -> tuple[tuple[Series, ...], list[Patches]]:
        used, patches = [], []
        for series in study.series:
            try:
                patches.append(patchify(series, self.config.patch))
                used.append(series)
            except StudyError as error:
                log.warning("%s", error)
        if not patches:
            raise StudyError(
                f"Study {study.key}: expected a series that gives tokens, found none among {len(study.series)}; nothing to encode."
            )
        return tuple(used), patches

    def _names(self, group: str) -> tuple[str, ...]:
        """Of the group's scores; none where the weights have no such heads, as before `prima train heads`."""
        return self.weights.heads[group].names if group in self.weights.heads else ()

    def _scores(self, group: str, values: Mapping[str, Tensor]) -> tuple[Score, ...]:
        found = values[group].tolist() if group in values else []
        return tuple(Score(name, value, None) for name, value in zip(self._names(group), found, strict=True))

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().cpu().numpy()
