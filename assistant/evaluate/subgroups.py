"""Whether some studies are served worse than others: every subgroup against all other studies, and the largest gap.

Many subgroups are compared, so some gap is always large. A gap is therefore judged against the largest gap that chance makes anywhere:

1. Subgroup membership is permuted among studies with the same main diagnosis, for all subgroups and measures at once, so that their
   overlap is kept. The gap that remains on average is what the subgroup's mix of diagnoses makes (the old have more of what is hard
   to see): it is taken off.
2. What is left is divided by its standard error: the larger of its spread under permutation and under the bootstrap within the groups
   (the former alone is too small where a group really is worse, the latter is nought where a small group has no error).
3. The 95 % quantile, over permutations, of the largest such ratio anywhere is the critical value c; a gap's interval is
   itself -+ c standard errors, and the gap is flagged when its interval leaves out 0.

So where no subgroup differs, at most one evaluation in twenty flags anything at all, however many subgroups and measures there are
(family-wise error by the permutation max-statistic, Westfall and Young 1993; shown by test).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from assistant.evaluate.cohort import Member
from assistant.evaluate.intervals import LEVEL, Bootstrap, Estimate, Measure
from assistant.evaluate.metrics import Bools, Floats, Ints

FEWEST_STUDIES = 20  # in a subgroup, and outside it
AGES = ((18, "under 18"), (40, "18-39"), (60, "40-59"), (75, "60-74"), (200, "75 and over"))  # upper bounds in years
FIELDS = (0.55, 1.0, 1.5, 3.0, 7.0)  # tesla
VENDORS = {"siemens": "Siemens", "ge": "GE", "philips": "Philips", "canon": "Canon", "toshiba": "Canon", "hitachi": "Hitachi"}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Gap:
    """A measure in a subgroup and outside it.

    value: the difference beyond what the subgroup's mix of diagnoses makes; low, high: its interval, which holds for all gaps of the
    evaluation together. flagged: the interval leaves out 0.
    """

    axis: str
    group: str
    measure: str
    studies: int
    inside: Estimate
    outside: float
    value: float
    low: float
    high: float
    flagged: bool


@dataclass(frozen=True)
class Comparison:
    """All gaps; the largest by its standard error; passed_over: (axis, reason) of what could not be compared."""

    gaps: tuple[Gap, ...]
    largest: Gap | None
    passed_over: tuple[tuple[str, str], ...]


def facts(member: Member) -> dict[str, str]:
    """The subgroups a study belongs to, one an axis; what list and files do not say is "unknown"."""
    labels, study = member.labels, member.study
    scanner = study.series[0].acquisition if study.series else None
    tesla = labels.field_strength or (scanner.field_strength if scanner else None)
    return {
        "age": UNKNOWN if study.context.age is None else next(name for bound, name in AGES if study.context.age < bound),
        "sex": study.context.sex or UNKNOWN,
        "vendor": _vendor(labels.vendor or (scanner.manufacturer if scanner else None)),
        "field strength": f"{min(FIELDS, key=lambda field: abs(field - tesla)):g} T" if tesla else UNKNOWN,
        "site": labels.site or UNKNOWN,
    }


def groups(known: Sequence[Mapping[str, str]]) -> tuple[dict[tuple[str, str], Bools], tuple[tuple[str, str], ...]]:
    """Members of every subgroup large enough, by (axis, group): single axes and pairs of them; and the axes passed over, with reasons."""
    found: dict[tuple[str, str], Bools] = {}
    passed_over = []
    axes = list(known[0]) if known else []
    told = {axis: len({row[axis] for row in known} - {UNKNOWN}) for axis in axes}
    for chosen in (*((axis,) for axis in axes), *combinations([axis for axis in axes if told[axis] > 1], 2)):
        name = " x ".join(chosen)
        if any(told[axis] < 2 for axis in chosen):
            passed_over.append((name, "not known" if not told[chosen[0]] else "the same in all studies"))
            continue
        values = [tuple(row[axis] for axis in chosen) for row in known]
        large = {}
        for value in sorted(set(values)):
            inside = np.array([row == value for row in values])
            if UNKNOWN not in value and FEWEST_STUDIES <= inside.sum() <= len(values) - FEWEST_STUDIES:
                large[name, ", ".join(value)] = inside
        if not large:
            passed_over.append((name, f"no subgroup of at least {FEWEST_STUDIES} studies"))
        found |= _without_doubles(large, found)
    return found, tuple(passed_over)


def compare(
    members: Mapping[tuple[str, str], Bools],
    measures: Mapping[str, Measure],
    strata: Sequence[str],
    bootstrap: Bootstrap,
    passed_over: tuple[tuple[str, str], ...] = (),
) -> Comparison:
    """Every measure in every subgroup against the rest. strata: main diagnosis of each study, in the order of the weights."""
    pairs = [(key, name) for key, inside in members.items() for name in measures if np.isfinite(_gap(measures[name], inside[None])[0])]
    if not pairs:
        return Comparison((), None, passed_over)
    chance = _under_permutation(members, measures, pairs, strata, bootstrap)
    expected = np.nanmean(chance, axis=1)
    sides = [_sides(measures[name], members[key], bootstrap) for key, name in pairs]
    error = np.fmax(np.nanstd(chance, axis=1), [float(np.nanstd(inside - outside)) for inside, outside in sides])
    ratio = np.divide(np.abs(chance - expected[:, None]), error[:, None], out=np.zeros_like(chance), where=error[:, None] > 0)
    critical = float(np.quantile(np.nan_to_num(ratio).max(0), LEVEL, method="higher"))
    gaps = []
    for k in np.flatnonzero(error > 0):  # a measure that never varies has no gap
        (axis, group), name = pairs[k]
        chosen, reach = members[axis, group], critical * float(error[k])
        within, outside = (float(measures[name](side[None].astype(np.float64))[0]) for side in (chosen, ~chosen))
        low, high = np.nanquantile(sides[k][0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        told = Estimate(within, float(low), float(high), int(chosen.sum()))
        value = within - outside - float(expected[k])
        gaps.append(Gap(axis, group, name, told.studies, told, outside, value, value - reach, value + reach, bool(abs(value) > reach)))
    largest = max(gaps, key=lambda gap: abs(gap.value) / (gap.high - gap.low), default=None)
    return Comparison(tuple(gaps), largest, passed_over)


def _sides(measure: Measure, inside: Bools, bootstrap: Bootstrap) -> tuple[Floats, Floats]:
    """The measure inside and outside on every bootstrap draw."""
    return bootstrap.drawn(lambda w: measure(w * inside)), bootstrap.drawn(lambda w: measure(w * ~inside))


def shuffled(members: Mapping[tuple[str, str], Bools], strata: Sequence[str], seed: int) -> dict[tuple[str, str], Bools]:
    """The subgroups given to other studies of the same stratum: a control in which no gap is real."""
    order = _permutation(_codes(strata), np.random.default_rng(seed))
    return {key: inside[order] for key, inside in members.items()}


def _under_permutation(
    members: Mapping[tuple[str, str], Bools],
    measures: Mapping[str, Measure],
    pairs: Sequence[tuple[tuple[str, str], str]],
    strata: Sequence[str],
    bootstrap: Bootstrap,
) -> Floats:
    """Gaps with permuted membership: (pairs, draws); one permutation a draw for all pairs."""
    rng, codes = np.random.default_rng([bootstrap.seed, 1]), _codes(strata)
    parts = []
    for size in bootstrap.sizes():
        orders = np.array([_permutation(codes, rng) for _ in range(size)])
        parts.append([_gap(measures[name], members[key][orders]) for key, name in pairs])
    return np.concatenate(parts, axis=1)


def _gap(measure: Measure, inside: Bools) -> Floats:
    """Measure inside less outside. inside: (d, n) -> (d,)."""
    return measure(inside.astype(np.float64)) - measure((~inside).astype(np.float64))


def _permutation(codes: Ints, rng: np.random.Generator) -> Ints:
    """A permutation of the studies that leaves every stratum where it is."""
    slots = np.argsort(codes, kind="stable")
    order = np.empty(len(codes), np.int64)
    order[slots] = np.lexsort((rng.random(len(codes)), codes))
    return order


def _codes(strata: Sequence[str]) -> Ints:
    return np.unique(np.array(strata), return_inverse=True)[1].astype(np.int64)


def _without_doubles(new: Mapping[tuple[str, str], Bools], known: Mapping[tuple[str, str], Bools]) -> dict[tuple[str, str], Bools]:
    """Intersections that hold the same studies as a subgroup already there would only be counted twice."""
    return {key: inside for key, inside in new.items() if not any(np.array_equal(inside, other) for other in known.values())}


def _vendor(name: str | None) -> str:
    words = re.findall(r"[a-z]+", (name or "").lower())
    return next((VENDORS[word] for word in words if word in VENDORS), name or UNKNOWN)
