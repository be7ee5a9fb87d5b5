"""How far a study's voxels lie from those the encoder was trained on.

Names, tags and patient facts play no part: a real scan with a phantom's tags is as far away as without them.
Each series gives a row of image statistics; its distance is that to its k-th nearest training row in the whitened space;
a study's score is the mean over its series, and the threshold a quantile of that score on studies kept out of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from encoder.features import OutOfDistribution
from encoder.volume import Volume

NEIGHBOURS = 5
QUANTILES = np.linspace(0.04, 0.96, 12)
RADII = 14
MOST_ROWS = 20_000


def series_statistics(source: Volume) -> NDArray[np.float32]:
    """Image statistics of one series, from its voxels alone: (f,) float32.

    Grey-level quantiles of head and air, edge strengths, the in-plane power spectrum, likeness of neighbouring slices and
    of the two halves. Planes without signal are left out.
    """
    volume = np.moveaxis(source.values.astype(np.float32), source.plane_axis, 0)
    volume = volume - min(0.0, float(volume.min()))
    top = float(np.percentile(volume, 99.5)) or 1.0
    volume = np.clip(volume / top, 0, 2)
    head = volume > 0.1
    volume = volume[head.mean((1, 2)) > 0.02]
    if len(volume) == 0:
        return np.zeros(2 * len(QUANTILES) + len(QUANTILES) + RADII + 5, np.float32)
    head = volume > 0.1
    edges = np.hypot(*np.gradient(volume, axis=(1, 2)))
    parts = [
        np.quantile(volume[head], QUANTILES),
        np.log(1e-3 + np.quantile(volume[~head], QUANTILES)) if (~head).any() else np.zeros(len(QUANTILES)),
        np.log(1e-3 + np.quantile(edges[head], QUANTILES)),
        _spectrum(volume),
        [
            _correlation(volume[1:], volume[:-1]) if len(volume) > 1 else 0.0,
            _likeness_of_halves(volume, head),
            np.log(1e-3 + np.abs(_laplacian(volume))[head].mean()),
            head.mean(),
            float((volume == 0).mean()),
        ],
    ]
    row = np.concatenate([np.asarray(p, np.float32).ravel() for p in parts])
    return np.asarray(np.nan_to_num(row), np.float32)


def _spectrum(volume: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log share of in-plane power in `RADII` rings of spatial frequency."""
    middle = volume[len(volume) // 4 : max(len(volume) // 4 + 1, 3 * len(volume) // 4)]
    power = np.abs(np.fft.rfft2(middle - middle.mean((1, 2), keepdims=True))) ** 2
    mean = power.mean(0)
    radius = np.hypot(np.fft.fftfreq(volume.shape[1])[:, None], np.fft.rfftfreq(volume.shape[2])[None])
    ring = np.minimum((radius / 0.5 * RADII).astype(int), RADII - 1)
    share = np.bincount(ring.ravel(), mean.ravel(), RADII) / max(mean.sum(), 1e-12)
    return np.asarray(np.log(share + 1e-9))


def _laplacian(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(volume, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return np.asarray(around - 4 * volume)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _likeness_of_halves(volume: NDArray[np.float32], head: NDArray[np.bool_]) -> float:
    """Correlation of the planes with their mirror image about the head's centre column."""
    centre = round(float(np.nonzero(head)[2].mean())) if head.any() else volume.shape[2] // 2
    half = min(centre, volume.shape[2] - 1 - centre)
    if half < 4:
        return 0.0
    return _correlation(volume[:, :, centre - half : centre], volume[:, :, centre + half : centre : -1])


@dataclass(frozen=True)
class Outliers:
    """Training statistics to measure against: whitening (f, w), its centre (f,), reference rows (n, w), threshold."""

    centre: NDArray[np.float32]
    whitening: NDArray[np.float32]
    reference: NDArray[np.float32]
    threshold: float

    @classmethod
    def fit(cls, rows: NDArray[np.float32], held_out: list[NDArray[np.float32]], flag_rate: float = 0.02) -> Outliers:
        """Whiten and keep the training rows; the threshold leaves `flag_rate` of the held-out studies above it.

        rows: (n, f) series statistics. held_out: one (s, f) array a study. Variance below 1 % of the largest is ignored,
        so that directions in which phantoms never vary do not divide by nothing.
        """
        bare = cls._measuring(rows)
        return replace(bare, threshold=_cut([bare.distance(study) for study in held_out], flag_rate))

    @classmethod
    def fit_crossed(cls, studies: Sequence[NDArray[np.float32]], folds: NDArray[np.int64], flag_rate: float = 0.02) -> Outliers:
        """Fit on all studies, the threshold on each fold's distance from the others: no study need be kept out.

        studies: one (s, f) array each; folds: (n,), two or more different ones.
        """
        scores = []
        for fold in np.unique(folds):
            bare = cls._measuring(np.concatenate([study for study, its in zip(studies, folds, strict=True) if its != fold]))
            scores += [bare.distance(study) for study, its in zip(studies, folds, strict=True) if its == fold]
        return replace(cls._measuring(np.concatenate(list(studies))), threshold=_cut(scores, flag_rate))

    @classmethod
    def _measuring(cls, rows: NDArray[np.float32]) -> Outliers:
        """Whitening and reference without a threshold yet; of more than MOST_ROWS rows an even part."""
        rows = rows[:: -(-len(rows) // MOST_ROWS)]
        centre, scale = np.median(rows, axis=0), rows.std(0) + 1e-3
        values, vectors = np.linalg.eigh(np.cov(((rows - centre) / scale).T))
        spread = np.sqrt(np.maximum(values, 0.01 * values.max()))
        whitening = (vectors / spread) / scale[:, None]
        return cls(centre.astype(np.float32), whitening.astype(np.float32), ((rows - centre) @ whitening).astype(np.float32), np.inf)

    def distance(self, rows: NDArray[np.float32]) -> float:
        """Mean over a study's series of the distance to the k-th nearest training row. rows: (s, f)."""
        points = (rows - self.centre) @ self.whitening
        squared = (points**2).sum(1)[:, None] + (self.reference**2).sum(1)[None] - 2 * points @ self.reference.T
        nearest = np.partition(np.maximum(squared, 0), NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
        return float(np.sqrt(nearest).mean())

    def judge(self, rows: NDArray[np.float32]) -> OutOfDistribution:
        """Score of one study and whether it lies outside. rows: (s, f) statistics of its series."""
        score = self.distance(rows)
        return OutOfDistribution(score=score, threshold=self.threshold, flagged=score > self.threshold)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays as tensors to be written; the reference rows, by far the largest, in half precision."""
        whole = {"outliers.centre": torch.from_numpy(self.centre), "outliers.whitening": torch.from_numpy(self.whitening)}
        return whole | {"outliers.reference": torch.from_numpy(self.reference).half()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, torch.Tensor], threshold: float) -> Outliers:
        """Restore what `tensors` wrote."""
        centre, whitening, reference = (tensors[f"outliers.{name}"].float().numpy() for name in ("centre", "whitening", "reference"))
        return Outliers(centre, whitening, reference, threshold)


def _cut(scores: Sequence[float], flag_rate: float) -> float:
    return float(np.quantile(np.array(scores), 1 - flag_rate))
