"""Which tokens a score stands on: leave-one-out, LIME and the gradient, over all sequences of a study at once.

A token's relevance is in units of the score (logit): positive speaks for the diagnosis, negative against it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.config import PLANE_WIDTH, POSITION_WIDTH
from encoder.errors import ExplainError
from encoder.locate import midline, nearer, slice_of
from encoder.study import Side, Study
from encoder.token_score import StudyTokens, TokenScore
from prompts import diagnoses

BLOCK = 512  # studies with a token left out that are asked for at a time
STEPS = 8  # of the path along which gradients are integrated; each is one pass back through the transformers
SAMPLES = 256  # LIME: masks drawn for each sequence
KERNEL_WIDTH = 0.25  # LIME: the paper's (PRIMA.md 8)
RIDGE = 1.0  # LIME: penalty of the linear model, the default of the authors' code


class Method(StrEnum):
    """How relevance is found."""

    GRADIENT = "gradient"
    OCCLUSION = "occlusion"
    LIME = "lime"


@runtime_checkable
class Explainable(Protocol):
    """An encoder whose scores can be asked again with tokens left out."""

    hash: str

    @property
    def trained_heads(self) -> frozenset[str]:
        """Names of the diagnoses that the weights can score."""

    def token_score(self, study: Study, diagnosis: str) -> TokenScore:
        """The score of one of `trained_heads` as a function of the study's tokens."""


@dataclass(frozen=True)
class RelevantToken:
    """One token and its share in the score.

    sequence, series, slice: name, index into Explanation.tokens.series, and slice index k (0-based, Series.voxels axis 2) at its centre.
    mm: its centre, LPS. side: the centre's, from the midline of all tokens. region: None where the encoder knows none.
    """

    sequence: str
    series: int
    slice: int
    mm: tuple[float, float, float]
    side: Side
    region: str | None
    relevance: float


@dataclass(frozen=True)
class Explanation:
    """Why a study has its score.

    score: logit minus threshold. relevance: (n,) of each of the n tokens, packed as in `tokens`. encoder: hash of the weights.
    """

    diagnosis: str
    method: Method
    score: float
    relevance: NDArray[np.float64]
    tokens: StudyTokens
    encoder: str

    def ranked(self, count: int | None = None) -> tuple[RelevantToken, ...]:
        """The tokens, most relevant first."""
        centres = np.concatenate([p.centres_mm for p in self.tokens.patches])
        owner = np.repeat(np.arange(len(self.tokens.series)), self.tokens.lengths)
        middle = midline(centres.astype(np.float32))
        return tuple(self._token(int(t), int(owner[t]), centres[t], middle) for t in np.argsort(-self.relevance, kind="stable")[:count])

    def _token(self, token: int, owner: int, centre: NDArray[np.float64], middle: float) -> RelevantToken:
        series, regions = self.tokens.series[owner], self.tokens.regions
        mm = (float(centre[0]), float(centre[1]), float(centre[2]))
        return RelevantToken(
            sequence=series.name,
            series=owner,
            slice=slice_of(series, mm),
            mm=mm,
            side=nearer(mm[0] - middle),
            region=None if regions is None else regions[token],
            relevance=float(self.relevance[token]),
        )


def explain(encoder: object, study: Study, diagnosis: str, method: Method = Method.GRADIENT, seed: int = 0) -> Explanation:
    """Relevance of every token for one diagnosis. A study out of distribution is explained too; `tokens.out_of_distribution` tells.

    seed: of LIME's masks. Raises ExplainError on a name that the weights cannot score, StudyError on a study without tokens.
    """
    if not isinstance(encoder, Explainable):
        raise ExplainError(f"{type(encoder).__name__}: expected an encoder with `token_score`, found none; its scores cannot be explained.")
    _must_have(encoder.trained_heads, diagnosis)
    score = encoder.token_score(study, diagnosis)
    whole = float(score(np.ones((1, sum(score.tokens.lengths)), bool))[0])
    return Explanation(diagnosis, method, whole, relevance(score, method, seed), score.tokens, encoder.hash)


def relevance(score: TokenScore, method: Method, seed: int = 0) -> NDArray[np.float64]:
    """(n,) relevance of each token, packed as in score.tokens."""
    match method:
        case Method.GRADIENT:
            return gradient(score)
        case Method.OCCLUSION:
            return occlusion(score)
        case Method.LIME:
            return lime(score, seed)


def gradient(score: TokenScore, steps: int = STEPS) -> NDArray[np.float64]:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) from a study in which every token shows its sequence's mean.

    The gradient at the study itself misses what is saturated: a norm before each layer hides how strongly a clear token shows its lesion.
    Only the latent part of a row counts; place and plane say where a token lies, not what it shows. The relevances add up to what
    the score gains between the two studies, the better the more steps.
    """
    rows = score.tokens.rows
    shown = rows - mean_rows(score.tokens)
    slope = sum((score.gradient(rows - (1 - (step + 0.5) / steps) * shown)[1] for step in range(steps)), torch.zeros_like(rows))
    return (shown * slope / steps).sum(1).double().cpu().numpy()


def mean_rows(tokens: StudyTokens) -> Tensor:
    """The token rows (n, w), the latent of each replaced by the mean over its sequence."""
    latent = tokens.rows.shape[1] - POSITION_WIDTH - PLANE_WIDTH
    means = [part.mean(0).expand(len(part), -1) for part in torch.split(tokens.rows[:, :latent], tokens.lengths)]
    return torch.cat([torch.cat(means), tokens.rows[:, latent:]], dim=1)


def occlusion(score: TokenScore) -> NDArray[np.float64]:
    """What the score loses when a token is left out; each in turn, all others kept."""
    count = sum(score.tokens.lengths)
    lost = np.empty(count)
    whole = score(np.ones((1, count), bool))[0]
    for start in range(0, count, BLOCK):
        left_out = np.arange(start, min(start + BLOCK, count))
        kept = np.ones((len(left_out), count), bool)
        kept[np.arange(len(left_out)), left_out] = False
        lost[left_out] = whole - score(kept)
    return lost


def lime(score: TokenScore, seed: int = 0, samples: int = SAMPLES) -> NDArray[np.float64]:
    """LIME (Ribeiro et al. 2016, arXiv 1602.04938) as the Prima paper uses it: tokens of one sequence removed at random.

    Each sequence in turn, the others kept: half of its tokens left out, a ridge regression of the score on what was kept, masks weighted by
    their cosine distance to the whole sequence. A token's weight is its relevance.
    """
    rng = np.random.default_rng(seed)
    lengths = score.tokens.lengths
    weights, start = [], 0
    for length in lengths:
        kept = np.ones((samples, sum(lengths)), bool)
        kept[1:, start : start + length] = rng.random((samples - 1, length)) < 0.5  # the first mask keeps all
        kept[~kept[:, start : start + length].any(1), start] = True  # a sequence of one token would vanish, and so might the study
        weights.append(_ridge(kept[:, start : start + length], score(kept)))
        start += length
    return np.concatenate(weights)


def _ridge(kept: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (k,) of the kernel-weighted ridge regression of scores (m,) on masks (m, k), with intercept."""
    distance = 1 - np.sqrt(kept.mean(1))  # cosine distance to the mask that keeps all
    closeness = np.sqrt(np.exp(-((distance / KERNEL_WIDTH) ** 2)))
    centred: NDArray[np.float64] = kept - np.average(kept, axis=0, weights=closeness)
    aim = scores - np.average(scores, weights=closeness)
    weighted = centred * closeness[:, None]
    solved: NDArray[np.float64] = np.linalg.solve(weighted.T @ centred + RIDGE * np.eye(kept.shape[1]), weighted.T @ aim)
    return solved


def _must_have(trained: frozenset[str], name: str) -> None:
    if name in trained:
        return
    known = sorted(trained)
    if name in diagnoses.load():
        raise ExplainError(f"{name}: these weights have no trained head for it: there is no score to explain. Trained: {', '.join(known)}.")
    close = difflib.get_close_matches(name, known, 1)
    meant = f" Did you mean {close[0]}?" if close else ""
    raise ExplainError(f"{name}: expected the name of a diagnosis, found none of that name.{meant} Trained: {', '.join(known)}.")
