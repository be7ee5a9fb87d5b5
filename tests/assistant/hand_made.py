"""Evidence made by hand: real dataclasses with the few facts a test is about."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from assistant.evidence import Evidence
from assistant.needs import not_assessed
from encoder.features import Localisation, OutOfDistribution, Priority, Score, StudyFeatures
from encoder.study import Acquisition, Context, Plane, Series, Side, Study, Weighting
from index.case import Case, Neighbour, ReportSections
from prompts.diagnoses import load

ALL = (Weighting.T1, Weighting.T1_POST, Weighting.T2, Weighting.FLAIR, Weighting.DWI, Weighting.ADC, Weighting.SWI)


def study(weightings: tuple[Weighting, ...] = ALL, **context: object) -> Study:
    series = tuple(
        Series(
            name=f"AX {weighting.value}",
            voxels=np.zeros((4, 4, 3), np.int16),
            affine=np.eye(4),
            plane=Plane.AXIAL,
            weighting=weighting,
            acquisition=Acquisition(three_d=weighting is Weighting.T1),
        )
        for weighting in weightings
    )
    return Study("study-1", "patient-1", series, (), Context(**context))  # type: ignore[arg-type]


def features(
    probabilities: Mapping[str, float | None] | None = None,
    locations: Mapping[str, tuple[Side, str]] | None = None,
    priority: tuple[tuple[Priority, float], ...] = (),
    referral: Mapping[str, float] | None = None,
    heads: tuple[str, ...] | None = None,
    flagged: bool = False,
) -> StudyFeatures:
    """All 52 heads at 0.01 but for `probabilities` (None: an uncalibrated positive score)."""
    given = dict.fromkeys(load() if heads is None else heads, 0.01) | dict(probabilities or {})
    scores = tuple(Score(name, 1.5 if p is None else (p - 0.5) * 6, p) for name, p in given.items())
    spots = tuple(
        Localisation(name, side, region, "AX FLAIR", 1, (0.0, 0.0, 0.0), 0.9) for name, (side, region) in (locations or {}).items()
    )
    return StudyFeatures(
        embedding=np.eye(1, 8, dtype=np.float32)[0],
        registers=np.ones((2, 8), np.float32),
        sequences=np.ones((7, 8), np.float32),
        names=tuple(f"AX {weighting.value}" for weighting in ALL),
        scores=scores,
        referral=tuple(Score(name, p - 0.5, p) for name, p in (referral or {}).items()),
        priority=priority,
        locations=spots,
        out_of_distribution=OutOfDistribution(9.0 if flagged else 1.0, 3.0, flagged),
        encoder="e" * 64,
    )


def case(number: int, diagnoses: tuple[str, ...], impression: str, findings: str = "") -> Neighbour:
    report = ReportSections(findings=findings, impression=impression)
    empty = np.zeros((0, 8), np.float32)
    made = Case(
        f"case-{number}", f"other-{number}", report, diagnoses, "50-59", "F", (), None, (), np.eye(1, 8, dtype=np.float32)[0], empty
    )
    return Neighbour(made, 0.9, number, "image")


def evidence(
    probabilities: Mapping[str, float | None] | None = None,
    locations: Mapping[str, tuple[Side, str]] | None = None,
    cases: tuple[Neighbour, ...] = (),
    weightings: tuple[Weighting, ...] = ALL,
    hidden: frozenset[str] = frozenset(),
    known: StudyFeatures | None = None,
    **context: object,
) -> Evidence:
    examined = study(weightings, **context)
    seen = known or features(probabilities, locations)
    return Evidence(examined, seen, cases, not_assessed(examined, seen), hidden)
