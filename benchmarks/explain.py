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
from dataclasses import asdict, dataclass
from itertools import islice
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
BLANK = "gradient, randomised weights"


@dataclass(frozen=True)
class Focal:
    """A study with one focal lesion. centre: (3,) LPS mm, of its mask. side: as shown."""

    seed: int
    study: Study
    diagnosis: str
    centre: NDArray[np.float64]
    side: str


@dataclass(frozen=True)
class Judged:
    """One study's outcome. top: by method, how far from the lesion its top token lies (`distances`). random: share of tokens in each reach.

    agreement: by method, (rank correlation, same top) with occlusion. side_right: of `locate`; None where it names no place.
    """

    seed: int
    diagnosis: str
    score: float
    top: dict[str, int]
    random: tuple[float, ...]
    seconds: dict[str, float]
    agreement: dict[str, tuple[float, float]]
    side_right: bool | None


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


def agreement(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Spearman's rank correlation, and whether the top token is the same."""
    return float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1]), float(a.argmax() == b.argmax())


def judge(case: Focal, encoder: Encoder, blank: Encoder, methods: tuple[Method, ...], seed: int) -> Judged:
    """One study under each method, and under weights that know nothing."""
    runs = [(method.value, encoder, method) for method in methods] + [(BLANK, blank, Method.GRADIENT)]
    explained, seconds = {}, {}
    for name, weights, method in runs:
        began = time.monotonic()
        explained[name] = explain(weights, case.study, case.diagnosis, method, seed)
        seconds[name] = time.monotonic() - began
    own = explained[Method.GRADIENT]
    away = distances(own.tokens.patches, case.centre)
    exhaustive = explained.get(Method.OCCLUSION)
    others = {name: one.relevance for name, one in explained.items() if exhaustive is not None and name not in (Method.OCCLUSION, BLANK)}
    place = {p.diagnosis: p for p in encoder.encode(case.study).locations}.get(case.diagnosis)
    return Judged(
        seed=case.seed,
        diagnosis=case.diagnosis,
        score=own.score,
        top={name: int(away[one.relevance.argmax()]) for name, one in explained.items()},
        random=tuple(float((away <= reach).mean()) for reach in range(3)),
        seconds=seconds,
        agreement={name: agreement(found, exhaustive.relevance) for name, found in others.items()} if exhaustive else {},
        side_right=None if place is None else place.side == case.side,
    )


def summary(judged: list[Judged]) -> dict[str, Any]:
    """Hits and seconds by method, agreement with occlusion, side of `locate`."""
    methods = {}
    for name in dict.fromkeys(name for one in judged for name in one.top):
        top = np.array([one.top[name] for one in judged if name in one.top])
        seconds = [one.seconds[name] for one in judged if name in one.seconds]
        hits = {reach: float((top <= far).mean()) for far, reach in enumerate(REACHES)}
        methods[name] = {"studies": len(top), **hits, "seconds_median": float(np.median(seconds)), "seconds_most": max(seconds)}
    agreed = {
        name: np.mean([one.agreement[name] for one in judged if name in one.agreement], axis=0).tolist() for name in judged[0].agreement
    }
    sides = [one.side_right for one in judged if one.side_right is not None]
    return {
        "studies": len(judged),
        "head_positive": float(np.mean([one.score > 0 for one in judged])),
        "random_token": dict(zip(REACHES, np.mean([one.random for one in judged], axis=0).tolist(), strict=True)),
        "methods": methods,
        "agreement_with_occlusion": {name: {"rank_correlation": rho, "same_top": same} for name, (rho, same) in agreed.items()},
        "locate": {
            "placed": len(sides) / len(judged),
            "side_right": sum(sides) / len(judged),  # of all: no place is not a right one
            "side_right_where_placed": sum(sides) / len(sides) if sides else None,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--slow", type=int, default=6, help="of these, how many with occlusion and LIME too")
    parser.add_argument("--encoder", type=Path, help="a tiny encoder's folder; the shipped weights unless told")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    encoder = Encoder.load(asked.encoder, "float32", calibrated=False)
    if not isinstance(encoder, Encoder):
        parser.error("expected an encoder trained on phantoms, found converted weights, which no phantom can judge")
    blank = randomised(encoder, asked.seed)
    judged: list[Judged] = []
    for number, case in enumerate(islice(focal_studies(asked.seed, encoder.trained_heads), asked.studies)):
        methods = tuple(Method) if number < asked.slow else (Method.GRADIENT,)
        judged.append(judge(case, encoder, blank, methods, asked.seed))
        print(f"{number + 1}/{asked.studies} {json.dumps(asdict(judged[-1]))}", file=sys.stderr, flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    result = {"seed": asked.seed, "encoder": encoder.hash, "machine": machine, **summary(judged)}
    print(json.dumps(result, indent=1))
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps({**result, "cases": [asdict(one) for one in judged]}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
