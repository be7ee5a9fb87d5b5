"""What can be said of a study from everything but its voxels: the floor under every result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from assistant.evaluate.cohort import Member
from assistant.evaluate.logistic import out_of_fold, stratified_folds
from assistant.evaluate.metrics import Bools, Floats, Ints

FOLDS = 5
WORDS = 60  # commonest words of names and descriptions, each a column


def beside_the_voxels(members: Sequence[Member]) -> Floats:
    """Age, sex, series count, and which words stand in sequence names and study description: (n, f).

    The indication is left out, for the encoder does not see it either.
    """
    contexts = [member.study.context for member in members]
    columns = [
        [(context.age or 0.0) / 10 for context in contexts],
        [((context.age or 0.0) / 10) ** 2 for context in contexts],
        [context.age is None for context in contexts],
        [context.sex == "F" for context in contexts],
        [context.sex == "M" for context in contexts],
        [len(member.study.series) for member in members],
    ]
    spoken = [_words(member) for member in members]
    common = [word for word, _ in Counter(word for words in spoken for word in sorted(words)).most_common(WORDS)]
    return np.array([*columns, *([word in words for words in spoken] for word in common)], np.float64).T


def names_floor(members: Sequence[Member], truth: Bools, seed: int) -> Floats:
    """Scores for each of k names from everything but the voxels, cross-validated. truth: (n, k) -> (n, k)."""
    features, rng = beside_the_voxels(members), np.random.default_rng(seed)
    columns = []
    for column in truth.T:
        folds = stratified_folds(column.astype(np.int64), FOLDS, rng)
        columns.append(out_of_fold(features, column, folds))
    return np.array(columns).T.reshape(truth.shape)


def levels_floor(members: Sequence[Member], truth: Ints, levels: int, seed: int) -> Floats:
    """Scores for "at least this level", for every level but the lowest, cross-validated on the same folds: (n, levels - 1)."""
    features = beside_the_voxels(members)
    folds = stratified_folds(truth, FOLDS, np.random.default_rng(seed))
    return np.array([out_of_fold(features, truth >= level, folds) for level in range(1, levels)]).T


def _words(member: Member) -> set[str]:
    names = {f"n:{word}" for series in member.study.series for word in re.findall(r"[a-z0-9*+]+", series.name.lower())}
    return names | {f"d:{word}" for word in re.findall(r"[a-z0-9+]+", (member.study.context.description or "").lower())}
