"""Referral and priority from one auditable table (rules.toml), which may raise a priority and never lower one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from assistant.evidence import Evidence, evidence_text
from assistant.result import ReferralItem
from encoder.features import Priority
from prompts.diagnoses import load as diagnoses

URGENCIES = ("immediate call", "same day", "within two weeks", "routine")  # most urgent first
LEVELS = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
ADULT = 18.0  # years
_CONDITIONS = {
    "age": {"child", "adult"},
    "acuity": {"acute", "old"},
    "size": {"large"},
    "obstruction": {"present"},
}
# A request may say how old a lesion is; only these exact forms count, so that "chronic headache" never makes a stroke old.
_OLD = re.compile(r"\b(?:old|chronic|remote|previous) (?:\w+ )?(?:infarct|infarction|stroke|subdural|lacune)", re.I)
_ACUTE = re.compile(r"\b(?:acute|sudden|new|worse|worsening|since (?:today|yesterday)|onset)\b", re.I)

LIKELY = 0.5  # calibrated probability from which a rule fires that names no other; urgent ones fire sooner


@dataclass(frozen=True)
class Rule:
    """One row of rules.toml; its header explains the fields. when: fact -> wanted value, or with/without -> names."""

    id: str
    name: str
    at: float
    when: Mapping[str, str | tuple[str, ...]]
    if_unknown: bool
    specialties: tuple[str, ...]
    urgency: str
    priority: Priority
    wording: str
    source: str


@dataclass(frozen=True)
class Fired:
    """A rule that applies to a study; because: the score it stands on and every unknown that was read as the more urgent."""

    rule: Rule
    because: str


@cache
def load() -> tuple[Rule, ...]:
    """The rules in the table's order; raises ValueError where the table is wrong."""
    return parse(tomllib.loads((files("assistant") / "rules.toml").read_text(encoding="utf-8")))


def parse(table: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Validated rules of a raw table; unknown keys, names and values raise ValueError."""
    rules = tuple(_rule(dict(raw)) for raw in table["rule"])
    ids = [rule.id for rule in rules]
    if len(ids) != len(set(ids)):
        raise ValueError(f"rules.toml: expected unique ids, found {sorted({i for i in ids if ids.count(i) > 1})} more than once")
    return rules


def fired(evidence: Evidence) -> tuple[Fired, ...]:
    """The rules that apply, in the table's order."""
    found = ((rule, _because(rule, evidence)) for rule in load())
    return tuple(Fired(rule, because) for rule, because in found if because)


def referrals(evidence: Evidence) -> tuple[ReferralItem, ...]:
    """One referral a specialty, its most urgent, most urgent first: rules, then the learned heads that no rule covers."""
    items = [
        ReferralItem(specialty, hit.rule.urgency, f"{hit.rule.wording} ({hit.because})", hit.rule.id)
        for hit in fired(evidence)
        for specialty in hit.rule.specialties
    ]
    covered = {item.specialty for item in items}
    items += [item for item in _learned(evidence) if item.specialty not in covered]
    items.sort(key=lambda item: URGENCIES.index(item.urgency))  # stable: the table's order within an urgency
    first: dict[str, ReferralItem] = {}
    for item in items:
        first.setdefault(item.specialty, item)
    return tuple(first.values())


def recommendations(evidence: Evidence) -> tuple[str, ...]:
    """The recommendation's sentences: each rule that refers somebody once, most urgent first, with what was unknown; then the heads'."""
    shown = {item.rule for item in referrals(evidence)}
    hits = [hit for hit in fired(evidence) if hit.rule.id in shown]
    hits.sort(key=lambda hit: URGENCIES.index(hit.rule.urgency))
    heads = (item for item in referrals(evidence) if item.rule.startswith("head."))
    learned = tuple(f"Referral to {item.specialty.replace('_', ' ')}, {item.urgency} ({item.reason})." for item in heads)
    return tuple(_spoken(hit) for hit in hits) + learned


def priority(evidence: Evidence) -> tuple[Priority, str]:
    """The higher of the learned head and the highest rule, and which of them decided; rules never lower."""
    level, reason = _head(evidence)
    for hit in fired(evidence):
        if LEVELS.index(hit.rule.priority) > LEVELS.index(level):
            level, reason = hit.rule.priority, f"rule {hit.rule.id}: {hit.because}"
    return level, reason


def _head(evidence: Evidence) -> tuple[Priority, str]:
    known = [(level, chance) for level, chance in evidence.features.priority if level in LEVELS]
    if not known:
        return Priority.NONE, "no rule applies; these weights have no priority head"
    known.sort(key=lambda pair: LEVELS.index(pair[0]))
    chances = [chance for _, chance in known]
    place = middle(chances)
    level = known[place][0]
    if not evidence.features.priority_calibrated:
        return level, f"priority head: {level.value} (not calibrated)"
    last = place + 1 if level is Priority.NONE else len(known)  # "none or higher" would say nothing
    higher = " or higher" if last > place + 1 else ""
    return level, f"priority head: {level.value}{higher} with probability {sum(chances[place:last]) / sum(chances):.2f}"


def middle(chances: Sequence[float]) -> int:
    """The level that stands in the middle of a head's probability, levels in rising order: on average the fewest levels off the truth.

    The likeliest level alone may be "none" while most of the probability lies above it: an urgent study would wait.
    """
    reached = list(accumulate(chances))
    return next(place for place, sum_so_far in enumerate(reached) if sum_so_far >= reached[-1] / 2)


def _learned(evidence: Evidence) -> list[ReferralItem]:
    """A referral head names a specialty and no urgency: the study's priority stands in for it."""
    urgency = {Priority.HIGH: "same day", Priority.MEDIUM: "within two weeks"}.get(priority(evidence)[0], "routine")
    positive = [head for head in evidence.features.referral if head.reaches(LIKELY)]
    return [ReferralItem(head.name, urgency, f"referral head: {evidence_text(head)}", f"head.{head.name}") for head in positive]


def _because(rule: Rule, evidence: Evidence) -> str | None:
    """Why the rule fires, or None where it does not."""
    score = evidence.scores.get(rule.name)
    if score is None or not score.reaches(rule.at):
        return None
    reasons = [f"{diagnoses()[rule.name].label}: {evidence_text(score)}"]
    for fact, wanted in rule.when.items():
        holds = _holds(fact, wanted, evidence)
        if holds is False or (holds is None and not rule.if_unknown):
            return None
        if holds is None:
            reasons.append(f"{_named(fact, wanted)} unknown, the more urgent reading is taken")
    return "; ".join(reasons)


def _holds(fact: str, wanted: str | tuple[str, ...], evidence: Evidence) -> bool | None:
    """Whether a condition holds; None where nothing can tell."""
    if fact == "with":
        if any(evidence.positive(name) for name in wanted):
            return True
        return False if all(name in evidence.scores for name in wanted) else None
    if fact == "without":  # a name that cannot be judged cannot calm a rule
        return not any(evidence.positive(name) for name in wanted)
    known = {"age": _age, "acuity": _acuity}.get(fact, lambda _: None)(evidence)
    return None if known is None else known == wanted


def _age(evidence: Evidence) -> str | None:
    age = evidence.study.context.age
    return None if age is None else "child" if age < ADULT else "adult"


def _acuity(evidence: Evidence) -> str | None:
    text = evidence.study.context.indication or ""
    if _ACUTE.search(text):
        return "acute"
    return "old" if _OLD.search(text) else None


def _named(fact: str, wanted: str | tuple[str, ...]) -> str:
    return fact if isinstance(wanted, str) else " or ".join(diagnoses()[name].label for name in wanted)


def _spoken(hit: Fired) -> str:
    unknown = [part for part in hit.because.split("; ") if part.endswith("is taken")]
    return hit.rule.wording.removesuffix(".") + (f" ({'; '.join(unknown)})" if unknown else "") + "."


def _rule(raw: dict[str, Any]) -> Rule:
    where = f"rules.toml [{raw.get('id', '?')}]"
    try:
        row = diagnoses()[raw["name"]]
        rule = Rule(
            id=raw.pop("id"),
            name=raw.pop("name"),
            at=float(raw.pop("at", LIKELY)),
            when=MappingProxyType({fact: value if isinstance(value, str) else tuple(value) for fact, value in raw.pop("when", {}).items()}),
            if_unknown=bool(raw.pop("if_unknown", True)),
            specialties=tuple(raw.pop("specialties", row.referral)),
            urgency=raw.pop("urgency"),
            priority=Priority(raw.pop("priority", row.priority)),
            wording=raw.pop("wording"),
            source=raw.pop("source"),
        )
    except KeyError as missing:
        raise ValueError(f"{where}: expected {missing}, found none") from None
    if raw:
        raise ValueError(f"{where}: expected known keys, found {sorted(raw)}")
    if rule.urgency not in URGENCIES:
        raise ValueError(f"{where}: expected an urgency of {URGENCIES}, found {rule.urgency!r}")
    for fact, value in rule.when.items():
        _check(where, fact, value)
    return rule


def _check(where: str, fact: str, value: str | tuple[str, ...]) -> None:
    if fact in ("with", "without"):
        unknown = set(value) - diagnoses().keys()
    else:
        unknown = {str(value)} - _CONDITIONS.get(fact, set())
    if unknown or not value:
        raise ValueError(f"{where}: expected a known condition, found {fact} = {value!r}")
