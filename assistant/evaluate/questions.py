"""The questions that can be put to a cohort: which diagnoses, which referrals, how urgent, and whether all are served alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from assistant.evaluate import metrics, outcomes
from assistant.evaluate.cohort import Member
from assistant.evaluate.evaluation import Headline, Question
from assistant.evaluate.floor import levels_floor, names_floor
from assistant.evaluate.intervals import FEWEST, Bootstrap, Estimate, Measure, enough
from assistant.evaluate.metrics import Bools, Floats, Ints
from assistant.evaluate.outcomes import Names, Urgencies
from assistant.labelled import plain
from assistant.rules import LEVELS, middle
from encoder.calibration import Bin, reliability
from encoder.features import Priority

SPECIFICITY = 0.9
URGENT = LEVELS.index(Priority.HIGH)


def diagnosis() -> Question:
    """Which names of the taxonomy a study has."""
    return _about_names("diagnosis", outcomes.diagnoses, outcomes.is_diagnosis)


def referral() -> Question:
    """To which specialties a study is referred."""
    return replace(_about_names("referral", outcomes.referrals, lambda _: True), labels=("diagnoses", "referral"))


def fairness() -> Question:
    """The question of `diagnosis`, with what else may differ between subgroups: calls made, false calls, studies not assessed."""
    whole = diagnosis()

    def compared(members: Sequence[Member]) -> Headline:
        found, flagged = outcomes.diagnoses(members), np.array([member.features.foreign for member in members])
        everyone = np.ones(len(members), bool)
        return {
            **whole.fairness(members),
            "sensitivity": lambda w: metrics.share(found.called, found.truth, w),
            "false positive rate": lambda w: metrics.share(found.called, ~found.truth, w),
            "not assessed": lambda w: metrics.share(flagged, everyone, w),
        }

    return replace(whole, task="fairness", fairness=compared)


def priority() -> Question:
    """How urgent a study is."""
    chance = {"kappa": 0.0, "urgent AUROC": 0.5}

    def headline(members: Sequence[Member]) -> tuple[Headline, str | None]:
        return _urgency_headline(outcomes.priorities(members))

    def floor(members: Sequence[Member], seed: int) -> tuple[Headline, str | None]:
        truth = outcomes.priorities(members).truth
        if why := _why_not(truth):
            return {}, why
        scores = levels_floor(members, truth, len(LEVELS), seed)
        guessed = np.empty_like(truth)
        guessed[np.argsort(scores.sum(1), kind="stable")] = np.sort(truth)  # as many of each level as there are
        urgent = truth == URGENT
        return {
            "kappa": lambda w: metrics.kappa(truth, guessed, w, len(LEVELS)),
            "urgent AUROC": lambda w: metrics.auroc(urgent, scores[:, -1], w),
        }, None

    def compared(members: Sequence[Member]) -> Headline:
        found = outcomes.priorities(members)
        low = found.predicted < URGENT
        return {**_urgency_headline(found)[0], "urgent missed": lambda w: metrics.share(low, found.truth == URGENT, w)}

    return Question("priority", chance, headline, floor, compared, _by_level, details=_priority_details, labels=("diagnoses", "priority"))


def _urgency_headline(found: Urgencies) -> tuple[Headline, str | None]:
    assessed, urgent = found.predicted >= 0, found.truth == URGENT
    predicted = np.where(assessed, found.predicted, 0)
    measures: dict[str, Measure] = {"kappa": lambda w: metrics.kappa(found.truth, predicted, w * assessed, len(LEVELS))}
    if found.urgency is not None:
        chance = found.urgency[:, URGENT]
        measures["urgent AUROC"] = lambda w: metrics.auroc(urgent, chance, w)
    return measures, _why_not(found.truth)


def _why_not(truth: Ints) -> str | None:
    urgent = int((truth == URGENT).sum())
    return enough(urgent, len(truth) - urgent)


def _by_level(members: Sequence[Member], bootstrap: Bootstrap) -> Mapping[str, Mapping[str, Estimate]]:
    found = outcomes.priorities(members)
    everyone = np.ones(len(members), bool)
    table = {}
    for number, level in enumerate(LEVELS):
        truth, said = found.truth == number, found.predicted == number
        count = int(truth.sum())
        table[level.value] = {
            "sensitivity": bootstrap(lambda w, t=truth, s=said: metrics.share(s, t, w), count),  # type: ignore[misc]
            "share said": bootstrap(lambda w, s=said: metrics.share(s, everyone, w), count),  # type: ignore[misc]
        }
    if found.urgency is not None:
        head = np.array([middle(list(chances)) for chances in found.urgency])
        table["head alone"] = {"kappa": bootstrap(lambda w: metrics.kappa(found.truth, head, w, len(LEVELS)))}
    normal = np.array([member.labels.normal for member in members])
    for name, least in (("medium or high on normal studies", 2), ("high on normal studies", 3)):
        called = found.predicted >= least
        table[name] = {"share": bootstrap(lambda w, c=called: metrics.share(c, normal, w), int(normal.sum()))}  # type: ignore[misc]
    return table


def _priority_details(members: Sequence[Member]) -> Mapping[str, Any]:
    found = outcomes.priorities(members)
    assessed = found.predicted >= 0
    return {
        "levels": [level.value for level in LEVELS],
        "confusion": metrics.confusion(found.truth[assessed], found.predicted[assessed], len(LEVELS)),
        "not_assessed_by_level": [int(((found.truth == level) & ~assessed).sum()) for level in range(len(LEVELS))],
    }


def _about_names(task: str, read: Callable[..., Names], counts: Callable[[str], bool]) -> Question:
    """counts: which names enter the headline."""
    chance = {"mean AUROC": 0.5, "pooled AUROC": 0.5}

    def measures(truth: Bools, scores: Floats, names: Sequence[str]) -> tuple[Headline, str | None]:
        kept = _covered(truth, names, counts, 1)
        positives = int(truth[:, kept].any(1).sum())
        mean = _covered(truth, names, counts, FEWEST)
        return {
            "mean AUROC": lambda w: metrics.mean_auroc(truth[:, mean], scores[:, mean], w),
            "pooled AUROC": lambda w: metrics.pooled_auroc(truth[:, kept], scores[:, kept], w),
        }, None if positives >= FEWEST else f"studies with a name that has a head: {positives}, at least {FEWEST} are needed"

    def headline(members: Sequence[Member]) -> tuple[Headline, str | None]:
        found = read(members)
        return measures(found.truth, found.scores, found.names)

    def floor(members: Sequence[Member], seed: int) -> tuple[Headline, str | None]:
        found = read(members)
        kept = _covered(found.truth, found.names, counts, 1)
        scores = np.zeros(found.truth.shape)
        scores[:, kept] = names_floor(members, found.truth[:, kept], seed)
        return measures(found.truth, scores, found.names)

    def compared(members: Sequence[Member]) -> Headline:
        return {"pooled AUROC": headline(members)[0]["pooled AUROC"]}

    def by_name(members: Sequence[Member], bootstrap: Bootstrap) -> Mapping[str, Mapping[str, Estimate]]:
        found = read(members)
        return {name: _one_name(found, k, bootstrap) for k, name in enumerate(found.names)}

    def not_assessed(members: Sequence[Member]) -> tuple[tuple[str, str], ...]:
        heads = {plain(name) for name in read(members).names}
        labelled = {name for one in members for name in (one.labels.referral if task == "referral" else one.labels.diagnoses) or ()}
        return tuple((name, "labelled, but these weights have no head for it") for name in sorted(labelled - heads))

    def details(members: Sequence[Member]) -> Mapping[str, Any]:
        found = read(members)
        columns = _covered(found.truth, found.names, counts, FEWEST)
        tables: dict[str, tuple[Bin, ...]] = {}
        if found.probabilities is not None:
            tables = {found.names[k]: reliability(found.probabilities[:, k], found.truth[:, k]) for k in columns}
        return {"names_in_the_mean": [found.names[k] for k in columns], "reliability": tables}

    return Question(task, chance, headline, floor, compared, by_name, not_assessed, details)


def _covered(truth: Bools, names: Sequence[str], counts: Callable[[str], bool], fewest: int) -> list[int]:
    """Columns that count, with at least so many positives and as many negatives."""
    positives = truth.sum(0)
    return [k for k, name in enumerate(names) if counts(name) and fewest <= positives[k] <= len(truth) - fewest]


def _one_name(found: Names, column: int, bootstrap: Bootstrap) -> Mapping[str, Estimate]:
    """All metrics of one name, or for each the reason why there is none."""
    truth, scores, called = found.truth[:, column], found.scores[:, column], found.called[:, column]
    positives, everyone = int(truth.sum()), bootstrap.studies
    why = enough(positives, everyone - positives)
    names = ("AUROC", "AUPRC", f"sensitivity at {SPECIFICITY:.0%} specificity", "sensitivity", "specificity", "Brier skill", "ECE")
    if why:
        return {name: Estimate.missing(why, everyone, positives) for name in names}
    measured: list[Measure | None] = [
        lambda w: metrics.auroc(truth, scores, w),
        lambda w: metrics.average_precision(truth, scores, w),
        lambda w: metrics.sensitivity_at(truth, scores, w, SPECIFICITY),
        lambda w: metrics.share(called, truth, w),
        lambda w: metrics.share(~called, ~truth, w),
        None,
        None,
    ]
    if found.probabilities is not None:
        chances = found.probabilities[:, column]
        measured[5:] = [lambda w: metrics.brier_skill(truth, chances, w), lambda w: metrics.calibration_error(truth, chances, w)]
    uncalibrated = Estimate.missing("these weights carry no calibration", everyone, positives)
    return {name: bootstrap(m, positives) if m else uncalibrated for name, m in zip(names, measured, strict=True)}
