"""Truth beside output, as arrays, for one kind of question: which names are there, or which level is it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assistant import rules
from assistant.evaluate.cohort import Member
from assistant.evaluate.metrics import Bools, Floats, Ints
from assistant.evidence import Evidence
from assistant.labelled import plain, require
from assistant.needs import not_assessed
from encoder.features import Priority, Score
from prompts.diagnoses import load


@dataclass(frozen=True)
class Names:
    """Yes or no for k names in n studies.

    truth, called: (n, k), called = what the assistant would say, nothing where the study is out of distribution. scores: (n, k).
    probabilities: (n, k), or None where the weights carry no calibration. flagged: (n,) out of distribution.
    """

    names: tuple[str, ...]
    truth: Bools
    scores: Floats
    probabilities: Floats | None
    called: Bools
    flagged: Bools


@dataclass(frozen=True)
class Urgencies:
    """Levels 0..3 (none..high) of n studies. predicted: head and rules, as on the worklist, -1 = not assessed.

    urgency: (n, 4) probability of each level by the head, None where the weights have none.
    """

    truth: Ints
    predicted: Ints
    urgency: Floats | None


def diagnoses(members: Sequence[Member], names: Sequence[str] | None = None) -> Names:
    """Every name that has a head, against the labels. names: those columns; None = the heads of the first member."""
    names = tuple(names or (score.name for score in members[0].features.scores))
    said = [member.labels.diagnoses or () for member in members]
    truth = np.array([[name in labels for name in names] for labels in said], bool).reshape(len(members), len(names))
    called = np.array([[e.positive(name) for name in names] for e in map(evidence, members)], bool).reshape(truth.shape)
    return _names(members, names, truth, [{s.name: s for s in member.features.scores} for member in members], called)


def referrals(members: Sequence[Member], names: Sequence[str] | None = None) -> Names:
    """Every specialty that has a head, against the labels; called = by a rule or a head. Raises UsageError without labels."""
    require((member.labels for member in members), "referral")
    names = tuple(names or (score.name for score in members[0].features.referral))
    truth = np.array([[plain(name) in (member.labels.referral or ()) for name in names] for member in members], bool)
    said = [{plain(item.specialty) for item in rules.referrals(evidence(member))} for member in members]
    called = np.array([[plain(name) in specialties for name in names] for specialties in said], bool).reshape(truth.shape)
    return _names(members, names, truth, [{s.name: s for s in member.features.referral} for member in members], called)


def priorities(members: Sequence[Member]) -> Urgencies:
    """Levels against the labels. Raises UsageError where a study has no priority label."""
    require((member.labels for member in members), "priority")
    chances = [dict(member.features.priority) for member in members]
    urgency = np.array([[chance.get(level, 0.0) for level in rules.LEVELS] for chance in chances])
    said = [predicted(member) for member in members]
    return Urgencies(
        truth=np.array([rules.LEVELS.index(Priority(member.labels.priority or Priority.NONE)) for member in members]),
        predicted=np.array([-1 if level is Priority.NOT_ASSESSED else rules.LEVELS.index(level) for level in said]),
        urgency=urgency if all(chances) else None,
    )


def predicted(member: Member) -> Priority:
    """The priority that the assistant would give: head and rules, or not assessed."""
    return Priority.NOT_ASSESSED if member.features.foreign else rules.priority(evidence(member))[0]


def evidence(member: Member) -> Evidence:
    """What the rules read; evaluation retrieves no cases."""
    return Evidence(member.study, member.features, (), not_assessed(member.study, member.features))


def is_diagnosis(name: str) -> bool:
    """Whether a name counts in the mean over diagnoses: diagnoses and their parents, no findings, no specialties."""
    return name in load() and load()[name].in_differential


def _names(members: Sequence[Member], names: tuple[str, ...], truth: Bools, said: Sequence[dict[str, Score]], called: Bools) -> Names:
    shape = truth.shape
    scores = np.array([[row[name].score for name in names] for row in said], np.float64).reshape(shape)
    chances = np.array([[row[name].probability for name in names] for row in said], np.float64).reshape(shape)
    flagged = np.array([member.features.foreign for member in members])
    return Names(names, truth, scores, chances if np.isfinite(chances).all() else None, called & ~flagged[:, None], flagged)
