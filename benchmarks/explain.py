"""Does the most relevant token hold the lesion? Phantoms of a seed never used in training, each with one focal lesion of at most 30 mm.

    python benchmarks/explain.py --seed 90210 --studies 60 --out benchmarks/results/explain.json

A hit: the lesion's centre lies in the top token or in a neighbour of it (`neighbour`: sharing a face, edge or corner; `face`: sharing
a face; `inside`: in the token itself). Beside each method: a token drawn at random, the same default method with randomised weights, and
whether `locate` names the right side. Occlusion and LIME take a minute a study: --slow sets in how many studies they run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import phantom
from assistant.train.studies import as_study
from encoder.encoder import Encoder
from encoder.explain import Method, explain
from encoder.model import Readout
from encoder.networks import Towers
from encoder.patches import Patches, token_grid
from encoder.study import Study

LARGEST_MM = 30.0
STEP_MM = 3.0  # of the grid on which a lesion's centre and extent are found
REACHES = ("inside", "face", "neighbour")


@dataclass(frozen=True)
class Focal:
    """A study with one focal lesion. centre: (3,) LPS mm, of its mask. side: as shown."""

    seed: int
    study: Study
    diagnosis: str
    centre: NDArray[np.float64]
    side: str


def focal_studies(seed: int, trained: frozenset[str]) -> Iterator[Focal]:
    """Phantoms from `seed` on, passing over those with no lesion, several, a larger one, or one that the weights cannot score."""
    while True:
        p = phantom.sample(seed)
        if len(p.lesions) == 1 and p.lesions[0].count == 1 and 0 < p.lesions[0].size_mm <= LARGEST_MM and p.lesions[0].name in trained:
            study, lesion = as_study(p), p.lesions[0]
            points = lesion_points(p, study, lesion.name)
            if len(points) and np.ptp(points, axis=0).max() <= LARGEST_MM + STEP_MM:  # a subdural is thin, not focal
                yield Focal(seed, study, lesion.name, points.mean(0), p.side(lesion.side))
        seed += 1


def lesion_points(p: phantom.Phantom, study: Study, name: str) -> NDArray[np.float64]:
    """Points of the lesion, (n, 3) LPS mm, on a grid over the first series."""
    series = study.series[0]
    corners = np.array(np.meshgrid(*((0, n - 1) for n in series.voxels.shape))).reshape(3, -1).T
    placed = corners @ series.affine[:3, :3].T + series.affine[:3, 3]
    low, high = placed.min(0), placed.max(0)
    affine = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = low
    i, j, k = (int(n) for n in np.ceil((high - low) / STEP_MM) + 1)
    mask = phantom.labels(p, affine, (i, j, k)).lesions.get(name, np.zeros((1, 1, 1), bool))
    return np.argwhere(mask) * STEP_MM + low


def distances(patches: tuple[Patches, ...], point: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of each token of a study (n,): 0 holds the point, 1 shares a face with the cell that does, 2 an edge or corner, 3 is farther away."""
    found = []
    for one in patches:
        before, size, _ = token_grid(one)
        index = np.linalg.solve(one.affine[:3, :3], point - one.affine[:3, 3])
        away = np.abs(one.positions // size - np.floor((index + 0.5 + before) / size))
        found.append(np.select([away.sum(1) == 0, away.sum(1) == 1, away.max(1) == 1], [0, 1, 2], 3))
    return np.concatenate(found)


def randomised(encoder: Encoder, seed: int) -> Encoder:
    """The same network with weights that were never trained."""
    torch.manual_seed(seed)
    return Encoder(encoder.card, Towers(encoder.card.config), Readout(encoder.card.config, encoder.card.labels), encoder.outliers)


def shares(rows: NDArray[np.float64]) -> dict[str, float]:
    """Rows of (inside, face, neighbour) -> their means."""
    return {reach: float(share) for reach, share in zip(REACHES, np.mean(rows, axis=0), strict=True)}


def rank_agreement(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's correlation."""
    return float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1])


def measure(encoder: Encoder, seed: int, studies: int, slow: int) -> dict[str, Any]:
    """Hits by method, seconds, agreement with occlusion, side of `locate`."""
    hits: dict[str, list[NDArray[np.float64]]] = {}
    seconds: dict[str, list[float]] = {}
    agreement: dict[str, list[tuple[float, float]]] = {}
    sides, random, detected, cases = [], [], [], []
    blank = randomised(encoder, seed)
    for number, (case, _) in enumerate(zip(focal_studies(seed, encoder.trained_heads), range(studies), strict=False)):
        found, relevance = {}, {}
        runs: list[tuple[str, Encoder, Method]] = [(m.value, encoder, m) for m in Method if m is Method.GRADIENT or number < slow]
        for name, weights, method in [*runs, ("gradient, randomised weights", blank, Method.GRADIENT)]:
            began = time.monotonic()
            explanation = explain(weights, case.study, case.diagnosis, method, seed=seed)
            seconds.setdefault(name, []).append(time.monotonic() - began)
            away = distances(explanation.tokens.patches, case.centre)
            found[name] = int(away[explanation.relevance.argmax()])
            hits.setdefault(name, []).append(found[name] <= np.arange(3))
            relevance[name] = explanation.relevance
            if name == Method.GRADIENT:
                random.append([(away <= reach).mean() for reach in range(3)])
                detected.append(explanation.score > 0)
        if number < slow:
            exhaustive = relevance["occlusion"]
            for name in ("gradient", "lime"):
                same = relevance[name].argmax() == exhaustive.argmax()
                agreement.setdefault(name, []).append((rank_agreement(relevance[name], exhaustive), float(same)))
        place = {p.diagnosis: p for p in encoder.encode(case.study).locations}.get(case.diagnosis)
        sides.append(None if place is None else place.side == case.side)
        cases.append({"seed": case.seed, "diagnosis": case.diagnosis, "top": found, "side_right": sides[-1]})
        print(json.dumps(cases[-1]), file=sys.stderr, flush=True)
    return {
        "studies": len(cases),
        "head_positive": float(np.mean(detected)),
        "random_token": shares(np.array(random)),
        "methods": {
            name: {"studies": len(rows), **shares(np.array(rows)), "seconds_median": float(np.median(seconds[name]))}
            for name, rows in hits.items()
        },
        "agreement_with_occlusion": {
            name: {"rank_correlation": float(np.mean([r for r, _ in pairs])), "same_top": float(np.mean([s for _, s in pairs]))}
            for name, pairs in agreement.items()
        },
        "locate": {
            "placed": float(np.mean([side is not None for side in sides])),
            "side_right": float(np.mean([bool(side) for side in sides])),
            "side_right_where_placed": float(np.mean([s for s in sides if s is not None])) if any(s is not None for s in sides) else None,
        },
        "cases": cases,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--slow", type=int, default=6, help="of these, how many with occlusion and LIME too")
    parser.add_argument("--encoder", type=Path, help="a tiny encoder's folder; the shipped weights unless told")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    encoder = Encoder.load(asked.encoder)
    if not isinstance(encoder, Encoder):
        parser.error("expected an encoder trained on phantoms, found converted weights, which no phantom can judge")
    result = {
        "seed": asked.seed,
        "encoder": encoder.hash,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        **measure(encoder, asked.seed, asked.studies, asked.slow),
    }
    print(json.dumps({key: value for key, value in result.items() if key != "cases"}, indent=1))
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
