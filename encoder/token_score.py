"""A score as a function of the tokens it is given: what every explanation stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.features import OutOfDistribution
from encoder.model import TokenBatch
from encoder.networks import SequenceOutput, StudyOutput, Towers
from encoder.patches import Patches
from encoder.study import Series

ROWS = 8192  # tokens that go through the transformer together
STUDIES = 32  # studies that are put together at a time: each holds all its tokens' outputs

Head = Callable[[SequenceOutput, StudyOutput, TokenBatch], Tensor]


@dataclass(frozen=True)
class StudyTokens:
    """A study cut and tokenised, its n tokens packed over all series.

    series: those that gave tokens. patches: of each. rows: (n, w) token inputs. description: the study's, as encoded.
    regions: of each token, where the encoder knows it. out_of_distribution: of the voxels, where the weights can tell.
    """

    series: tuple[Series, ...]
    patches: tuple[Patches, ...]
    rows: Tensor
    description: str
    regions: tuple[str, ...] | None = None
    out_of_distribution: OutOfDistribution | None = None

    @property
    def lengths(self) -> list[int]:
        """Tokens of each series."""
        return [len(p) for p in self.patches]

    @property
    def batch(self) -> TokenBatch:
        """The study as a batch of one."""
        return TokenBatch(self.rows, self.lengths, [s.name for s in self.series], [len(self.series)], [self.description])


@dataclass(frozen=True)
class _Seen:
    """One series as the sequence transformer left it. registers: (r, w). embedding: (d,). tokens: (k, w), k kept."""

    registers: Tensor
    embedding: Tensor
    tokens: Tensor


class TokenScore(Protocol):
    """One score of one study as a function of its tokens: the seam through which any encoder is explained."""

    @property
    def tokens(self) -> StudyTokens:
        """The study's tokens."""

    def __call__(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(m, n) tokens left in -> (m,) scores. A series left without tokens is left out; one must remain."""

    def gradient(self, rows: Tensor) -> tuple[float, Tensor]:
        """The score with other numbers in the token rows (n, w), and its gradient (n, w) there."""


class TowerScore:
    """A score of the published towers with any head on them. Only series from which a token was taken run again.

    The VQ-VAE does not run again: leaving a token out takes its row from the transformers, nothing is painted over.
    head: sequence and study outputs of b studies, and their batch -> (b,) scores.
    """

    def __init__(self, towers: Towers, tokens: StudyTokens, head: Head) -> None:
        self.tokens = tokens
        self._towers, self._head = towers, head
        with torch.no_grad():
            self._names: Tensor = towers.name(tokens.batch.names)
            self._description: Tensor = towers.description([tokens.description])
            output = towers.sequence(tokens.rows, tokens.lengths, self._names)
        self._whole = _separate(output, tokens.lengths)
        ends = list(accumulate(tokens.lengths))
        self._spans = [slice(end - length, end) for end, length in zip(ends, tokens.lengths, strict=True)]

    @torch.no_grad()
    def __call__(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """See TokenScore."""
        parts = [self._studies(kept[at : at + STUDIES]) for at in range(0, len(kept), STUDIES)]
        return np.concatenate(parts)

    def gradient(self, rows: Tensor) -> tuple[float, Tensor]:
        """See TokenScore."""
        batch = self.tokens.batch
        with torch.enable_grad():
            given = rows.detach().clone().requires_grad_()
            sequences = self._towers.sequence(given, batch.lengths, self._names)
            study = self._towers.study(sequences.embedding, batch.counts, self._description)
            score = self._head(sequences, study, batch)[0]
            (slope,) = torch.autograd.grad(score, given)
        return float(score.detach()), slope

    def _studies(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        columns = [self._series(s, kept[:, span]) for s, span in enumerate(self._spans)]
        present = [[(s, seen) for s, column in enumerate(columns) if (seen := column[m]) is not None] for m in range(len(kept))]
        if not all(present):
            raise ValueError("expected a token left in at least, found none: there is no score without tokens")
        counts = [len(study) for study in present]
        flat = [seen for study in present for _, seen in study]
        names = [self.tokens.series[s].name for study in present for s, _ in study]
        sequences = SequenceOutput(
            torch.stack([seen.registers for seen in flat]),
            torch.stack([seen.embedding for seen in flat]),
            torch.cat([seen.tokens for seen in flat]),
        )
        study = self._towers.study(sequences.embedding, counts, self._description.expand(len(counts), -1))
        rows = torch.cat([self.tokens.rows[torch.from_numpy(mask).to(self.tokens.rows.device)] for mask in kept])
        batch = TokenBatch(rows, [len(seen.tokens) for seen in flat], names, counts, [self.tokens.description] * len(counts))
        return self._head(sequences, study, batch).double().cpu().numpy()

    def _series(self, s: int, kept: NDArray[np.bool_]) -> list[_Seen | None]:
        """One series under each of the masks (m, k); equal masks are computed once, untouched ones not at all."""
        different, which = np.unique(kept, axis=0, return_inverse=True)
        seen: list[_Seen | None] = [self._whole[s] if mask.all() else None for mask in different]
        touched = [d for d, mask in enumerate(different) if mask.any() and not mask.all()]
        touched.sort(key=lambda d: int(different[d].sum()))  # equal lengths side by side: one kernel call for the run
        rows = self.tokens.rows[self._spans[s]]
        for chunk in _chunks(touched, max(1, ROWS // len(rows))):
            lengths = [int(different[d].sum()) for d in chunk]
            packed = torch.cat([rows[torch.from_numpy(different[d]).to(rows.device)] for d in chunk])
            output = self._towers.sequence(packed, lengths, self._names[s].expand(len(chunk), -1))
            for d, one in zip(chunk, _separate(output, lengths), strict=True):
                seen[d] = one
        return [seen[d] for d in which.ravel()]


def _separate(output: SequenceOutput, lengths: Sequence[int]) -> list[_Seen]:
    parts = torch.split(output.tokens, list(lengths))
    return [_Seen(*one) for one in zip(output.registers, output.embedding, parts, strict=True)]


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[at : at + size] for at in range(0, len(items), size))
