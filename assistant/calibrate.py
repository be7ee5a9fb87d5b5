"""An encoder on labelled studies: what its heads said, what was true, and the calibration that follows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assistant.errors import UsageError
from assistant.labelled import Labelled, diagnoses_of, plain
from encoder.calibrated import Calibration, study_statistics
from encoder.calibration import FEWEST, FOLDS, HeadCalibration, Method, calibrate_head, fit_temperature, folds_of
from encoder.config import preset
from encoder.encoder import StudyEncoder
from encoder.errors import StudyError
from encoder.features import Score, StudyFeatures
from encoder.outliers import Outliers
from encoder.reading import read_study
from index.building import case_id
from index.query import patient_of
from index.store import CaseIndex
from prompts.diagnoses import load, taxonomy_name

FEWEST_STUDIES = 20  # below which a distance to their voxels says nothing
SPEC = preset("tiny").patch  # of the voxels' statistics, whatever the encoder cuts


@dataclass(frozen=True, eq=False)
class Observation:
    """One labelled study as the encoder sees it. rows: (s, f) statistics of its series."""

    patient: str
    features: StudyFeatures
    rows: NDArray[np.float32]
    labels: Labelled


@dataclass(frozen=True)
class Observed:
    """skipped: (path, reason) of the studies that tell nothing."""

    observations: tuple[Observation, ...]
    skipped: tuple[tuple[str, str], ...]


def observe(
    encoder: StudyEncoder, listed: Iterable[Labelled], index: CaseIndex | None = None, progress: Callable[[str], None] = lambda _: None
) -> Observed:
    """Read and encode every study. index: knows the labels of those that have none of their own.

    A study that the weights' own statistics find foreign is skipped: scores of images unlike the training data must not shape a curve.
    """
    found, skipped = [], []
    for entry in listed:
        try:
            found.append(_observation(encoder, entry, index))
            progress(f"{entry.path}: encoded")
        except StudyError as error:
            skipped.append((str(entry.path), str(error)))
            progress(f"{entry.path}: skipped: {error}")
    return Observed(tuple(found), tuple(skipped))


def _observation(encoder: StudyEncoder, entry: Labelled, index: CaseIndex | None) -> Observation:
    study = read_study(entry.path)
    if entry.diagnoses is None:
        if index is None or case_id(study) not in index:
            raise StudyError("no labels: neither the list nor an index has them")
        entry = replace(entry, diagnoses=diagnoses_of(index.get(case_id(study)).diagnoses))
    features = encoder.encode(study)
    if features.foreign:
        raise StudyError("out of distribution for these weights")
    return Observation(patient_of(study), features, study_statistics(study, SPEC), entry)


def fit(encoder: StudyEncoder, observed: Observed, source: str, method: Method = "auto") -> Calibration:
    """The calibration of an encoder from what was observed. Raises UsageError where there are too few patients to check it on."""
    seen = observed.observations
    folds = folds_of([one.patient for one in seen])
    if len(np.unique(folds)) < FOLDS:
        first = "; ".join(f"{path}: {reason}" for path, reason in observed.skipped[:3])
        raise UsageError(
            f"Expected labelled studies of at least {FOLDS} patients, found {len({one.patient for one in seen})} "
            f"({len(observed.skipped)} studies skipped{': ' + first if first else ''}). Give more studies."
        )
    own = seen[0].features.out_of_distribution is not None
    outliers = None if own or len(seen) < FEWEST_STUDIES else Outliers.fit_crossed([one.rows for one in seen], folds)
    referred = [one for one in seen if one.labels.referral is not None]
    return Calibration(
        encoder=encoder.hash,
        source=source,
        studies=len(seen),
        heads=_heads([(one.features.scores, one.labels.diagnoses or frozenset()) for one in seen], folds, method, taxonomy_name),
        referral=_heads(
            [(one.features.referral, one.labels.referral or frozenset()) for one in referred],
            np.array([fold for fold, one in zip(folds, seen, strict=True) if one.labels.referral is not None]),
            method,
            plain,
        ),
        priority_temperature=_temperature(seen),
        outliers=outliers,
        spec=SPEC,
    )


def unknown_labels(observed: Observed) -> tuple[str, ...]:
    """Labels that are no name of the taxonomy and no head's: likely misspelt, and counted for nothing."""
    heads = {taxonomy_name(score.name) for one in observed.observations for score in one.features.scores}
    said = {name for one in observed.observations for name in one.labels.diagnoses or ()}
    return tuple(sorted(said - heads - set(load())))


def _heads(
    pairs: list[tuple[tuple[Score, ...], Collection[str]]], folds: NDArray[np.int64], method: Method, named: Callable[[str], str]
) -> dict[str, HeadCalibration]:
    if not pairs:
        return {}
    names = [score.name for score in pairs[0][0]]
    scores = np.array([[score.score for score in read] for read, _ in pairs], np.float64).reshape(len(pairs), len(names))
    truth = np.array([[named(name) in labels for name in names] for _, labels in pairs], bool).reshape(scores.shape)
    return {name: calibrate_head(scores[:, k], truth[:, k], folds, method) for k, name in enumerate(names)}


def _temperature(seen: tuple[Observation, ...]) -> float | None:
    """Of the priority softmax, from studies whose priority is a level that the head knows; None where they are too few."""
    levels = [level.value for level, _ in seen[0].features.priority]
    known = [one for one in seen if one.labels.priority in levels]
    if len(known) < FEWEST_STUDIES or len({one.labels.priority for one in known}) < 2:
        return None
    shares = np.array([[share for _, share in one.features.priority] for one in known], np.float64)
    truth = np.array([levels.index(one.labels.priority or "") for one in known], np.int64)
    if np.bincount(truth).max() > len(truth) - FEWEST:
        return None
    return fit_temperature(np.log(np.maximum(shares, 1e-12)), truth)
