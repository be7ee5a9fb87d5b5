"""A result with the controls that it stands or falls by: made together, told together, one never without the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assistant.errors import UsageError
from assistant.evaluate import subgroups
from assistant.evaluate.cohort import NOISE, NORMAL, SWAPPED, Cohort, Member
from assistant.evaluate.intervals import Bootstrap, Estimate, Measure
from assistant.evaluate.metrics import Bools
from assistant.evaluate.subgroups import Comparison
from assistant.labelled import Label, require

NOTICE = "Research use only. Not a medical device. Figures hold for studies like these."
Headline = Mapping[str, Measure]


@dataclass(frozen=True)
class Control:
    """The headline measures where they ought to show nothing.

    chance: what a model that has only this to go by would reach. above_chance: an interval lies above it: what is beside the image
    tells something of the label (or, for images of normal studies and floors, of what goes with it).
    """

    studies: int
    chance: Mapping[str, float]
    figures: Mapping[str, Estimate]
    above_chance: bool
    flagged: int | None = None


@dataclass(frozen=True)
class Controls:
    """All of them, always. images: noise, another patient's, normal ones. floor: everything but the voxels, cross-validated."""

    noise: Control
    swapped: Control
    normal: Control
    floor: Control


@dataclass(frozen=True)
class Ablation:
    """The headline on the same studies with something left out, and the paired difference to the whole."""

    studies: int
    figures: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]


@dataclass(frozen=True)
class Beside:
    """Another encoder on the same studies, on the names that both have heads for; differences are its figures less the first one's.

    by_name: the pooled AUROC's difference for each name alone, where it can be computed.
    """

    encoder: str
    studies: int
    own: Mapping[str, Estimate]
    figures: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]
    by_name: Mapping[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. headline: on all studies. by_name: metrics of each name (or, for priority, of the levels).

    above_floor: headline less the floor, paired. details: counts and tables. not_assessed: (name, reason). Made by `judge` alone.
    """

    task: str
    encoder: str
    studies: int
    flagged: int
    seed: int
    draws: int
    headline: Mapping[str, Estimate]
    above_floor: Mapping[str, Estimate]
    by_name: Mapping[str, Mapping[str, Estimate]]
    subgroups: Comparison
    controls: Controls
    ablations: Mapping[str, Ablation]
    not_assessed: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    beside: Beside | None = None
    notice: str = NOTICE

    def __post_init__(self) -> None:
        for name, control in (("noise", self.controls.noise), ("swapped", self.controls.swapped)):
            if not any(figure.value is not None for figure in control.figures.values()):
                reasons = {figure.reason for figure in control.figures.values()}
                raise UsageError(
                    f"The {name} control could not be computed on {control.studies} studies ({'; '.join(filter(None, reasons))}), "
                    "and no result is told without it. Give more labelled studies, or more --controls."
                )


@dataclass(frozen=True)
class Question:
    """One kind of question put to a cohort.

    headline: from members to measures, with reasons why one cannot be computed. chance: of each measure. floor: the headline of
    everything but the voxels. fairness: measures compared between subgroups. labels: what every study must have.
    """

    task: str
    chance: Mapping[str, float]
    headline: Callable[[Sequence[Member]], tuple[Headline, str | None]]
    floor: Callable[[Sequence[Member], int], tuple[Headline, str | None]]
    fairness: Callable[[Sequence[Member]], Headline]
    by_name: Callable[[Sequence[Member], Bootstrap], Mapping[str, Mapping[str, Estimate]]]
    not_assessed: Callable[[Sequence[Member]], tuple[tuple[str, str], ...]] = lambda _: ()
    details: Callable[[Sequence[Member]], Mapping[str, Any]] = lambda _: {}
    labels: tuple[Label, ...] = ("diagnoses",)


def judge(question: Question, cohort: Cohort, *, draws: int = 1000, seed: int = 0, beside: Cohort | None = None) -> Evaluation:
    """Answer the question with its controls; the only way to an Evaluation. beside: the same studies through another encoder.

    Raises UsageError where labels are missing, too few for any headline, or a control cannot be computed.
    """
    members = cohort.members
    require((member.labels for member in members), *question.labels)
    whole = Bootstrap(len(members), draws, seed)
    measures, why = question.headline(members)
    if why:
        raise UsageError(f"Nothing to evaluate: {why}.")
    floor, no_floor = question.floor(members, seed)
    found, passed_over = subgroups.groups([subgroups.facts(member) for member in members])
    strata = [member.labels.main or "normal" for member in members]
    fairness = question.fairness(members)
    return Evaluation(
        task=question.task,
        encoder=cohort.encoder,
        studies=len(members),
        flagged=sum(member.features.foreign for member in members),
        seed=seed,
        draws=draws,
        headline={name: whole(measure) for name, measure in measures.items()},
        above_floor={} if no_floor else {n: whole(lambda w, n=n: measures[n](w) - floor[n](w)) for n in measures},  # type: ignore[misc]
        by_name=question.by_name(members, whole),
        subgroups=subgroups.compare(found, fairness, strata, whole, passed_over),
        controls=Controls(
            noise=_control(question, cohort.controls[NOISE], draws, seed),
            swapped=_control(question, cohort.controls[SWAPPED], draws, seed),
            normal=_control(question, cohort.controls[NORMAL], draws, seed),
            floor=_told(question, floor, no_floor, len(members), draws, seed),
        ),
        ablations={name: _ablation(question, cohort, rows, draws, seed) for name, rows in cohort.ablations.items()},
        not_assessed=question.not_assessed(members),
        skipped=cohort.skipped,
        details={**question.details(members), **_shuffled_groups(question, found, fairness, strata, whole)},
        beside=None if beside is None else _beside(question, members, beside, draws, seed),
    )


def _beside(question: Question, members: Sequence[Member], other: Cohort, draws: int, seed: int) -> Beside:
    """Both encoders on the studies that both could encode. Raises UsageError where they cannot be compared."""
    theirs = {member.files: member for member in other.members}
    mine = [member for member in members if member.files in theirs]
    pair = (mine, [theirs[member.files] for member in mine])
    shared = frozenset(_heads(pair[0][0])) & frozenset(_heads(pair[1][0])) if mine else frozenset()
    own, why = question.headline([_with_heads(member, shared) for member in pair[0]]) if shared else ({}, "no head that both have")
    if why:
        raise UsageError(f"--beside: the encoders cannot be compared: {why}.")
    figures, _ = question.headline([_with_heads(member, shared) for member in pair[1]])
    bootstrap = Bootstrap(len(mine), draws, seed)
    by_name: dict[str, Estimate] = {}
    for name in [name for name in _heads(mine[0]) if name in shared and "pooled AUROC" in own]:
        (first, barred), (second, _) = (question.headline([_with_heads(m, frozenset({name})) for m in rows]) for rows in pair)
        if not barred:
            one, two = first["pooled AUROC"], second["pooled AUROC"]
            by_name[name] = bootstrap(lambda w, a=one, b=two: b(w) - a(w))  # type: ignore[misc]
    return Beside(
        other.encoder,
        len(mine),
        {name: bootstrap(measure) for name, measure in own.items()},
        {name: bootstrap(measure) for name, measure in figures.items()},
        {name: bootstrap(lambda w, n=name: figures[n](w) - own[n](w)) for name in own if name in figures},  # type: ignore[misc]
        by_name,
    )


def _heads(member: Member) -> tuple[str, ...]:
    return tuple(score.name for score in (*member.features.scores, *member.features.referral))


def _with_heads(member: Member, names: frozenset[str]) -> Member:
    """The member as an encoder with these heads alone would make it."""
    scores, referral = (
        tuple(score for score in given if score.name in names) for given in (member.features.scores, member.features.referral)
    )
    return replace(member, features=replace(member.features, scores=scores, referral=referral))


def _control(question: Question, members: Sequence[Member], draws: int, seed: int) -> Control:
    if not members:
        missing = Estimate.missing("no study to take the images from, or none that could be encoded", 0)
        return Control(0, question.chance, dict.fromkeys(question.chance, missing), above_chance=False)
    measures, why = question.headline(members)
    made = _told(question, measures, why, len(members), draws, seed)
    return Control(made.studies, made.chance, made.figures, made.above_chance, sum(member.features.foreign for member in members))


def _told(question: Question, measures: Headline, why: str | None, studies: int, draws: int, seed: int) -> Control:
    if why:
        return Control(studies, question.chance, {name: Estimate.missing(why, studies) for name in question.chance}, above_chance=False)
    bootstrap = Bootstrap(studies, draws, seed)
    figures = {name: bootstrap(measure) for name, measure in measures.items()}
    above = any(figure.low is not None and figure.low > question.chance[name] for name, figure in figures.items())
    return Control(studies, question.chance, figures, above)


def _ablation(question: Question, cohort: Cohort, rows: Sequence[Member], draws: int, seed: int) -> Ablation:
    """rows: altered members; the whole ones are found by their files."""
    whole = {member.files: member for member in cohort.members}
    if not rows:
        missing = {name: Estimate.missing("no study to which this can be done", 0) for name in question.chance}
        return Ablation(0, missing, missing)
    bootstrap = Bootstrap(len(rows), draws, seed)
    (left, why), (full, _) = question.headline(rows), question.headline([whole[row.files] for row in rows])
    if why:
        missing = {name: Estimate.missing(why, len(rows)) for name in question.chance}
        return Ablation(len(rows), missing, missing)
    difference = {name: bootstrap(lambda w, n=name: left[n](w) - full[n](w)) for name in left}  # type: ignore[misc]
    return Ablation(len(rows), {name: bootstrap(measure) for name, measure in left.items()}, difference)


def _shuffled_groups(
    question: Question,
    found: Mapping[tuple[str, str], Bools],
    measures: Headline,
    strata: Sequence[str],
    bootstrap: Bootstrap,
) -> Mapping[str, Any]:
    """The control of the comparison itself: with membership dealt anew, nothing should be flagged."""
    if question.task != "fairness":
        return {}
    dealt = subgroups.compare(subgroups.shuffled(found, strata, bootstrap.seed + 1), measures, strata, bootstrap)
    return {"flagged_with_groups_shuffled": sum(gap.flagged for gap in dealt.gaps)}
