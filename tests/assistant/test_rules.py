"""The rule table covers the 52 names, raises and never lowers, and reads the unknown as the more urgent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_made import ALL, evidence, features

from assistant import rules
from assistant.needs import NO_HEAD, limited, not_assessed
from assistant.rules import LEVELS, URGENCIES
from encoder.features import Priority
from encoder.study import Weighting
from prompts.diagnoses import load

SILENT = {"mass_effect", "edema", "encephalomalacia", "catheter", "craniotomy"}  # no referral on these alone


@pytest.mark.parametrize("name", load())
@pytest.mark.parametrize("age", [6, 60, None])
def test_each_of_the_52_asks_for_at_least_its_own_priority_and_somebody(name: str, age: float | None) -> None:
    seen = evidence({name: 0.9}, age=age)
    level, reason = rules.priority(seen)
    assert LEVELS.index(level) >= LEVELS.index(Priority(load()[name].priority))
    assert level is not Priority.NONE
    assert load()[name].label in reason
    assert bool(rules.referrals(seen)) is (name not in SILENT)


def test_a_negative_study_asks_for_nothing() -> None:
    assert rules.referrals(evidence()) == ()
    assert rules.priority(evidence())[0] is Priority.NONE
    assert rules.recommendations(evidence()) == ()


@pytest.mark.parametrize("learned", LEVELS)
@pytest.mark.parametrize("name", load())
def test_rules_never_lower_the_learned_priority(name: str, learned: Priority) -> None:
    seen = evidence(known=features({name: 0.9}, priority=((learned, 1.0),)))
    assert LEVELS.index(rules.priority(seen)[0]) >= LEVELS.index(learned)


def test_wide_ventricles_with_atrophy_are_not_urgent() -> None:
    alone, atrophic = evidence({"ventriculomegaly": 0.9}), evidence({"ventriculomegaly": 0.9, "cerebral_atrophy": 0.9})
    assert rules.priority(alone)[0] is Priority.HIGH
    assert "obstruction unknown" in rules.priority(alone)[1]
    assert rules.priority(atrophic)[0] is Priority.LOW
    assert all("neurosurgery" not in item.specialty for item in rules.referrals(atrophic))


def test_wide_ventricles_behind_a_mass_are_urgent_even_with_atrophy() -> None:
    seen = evidence({"ventriculomegaly": 0.9, "cerebral_atrophy": 0.9, "colloid_cyst": 0.9})
    assert rules.priority(seen)[0] is Priority.HIGH


def test_the_urgency_of_mass_effect_is_that_of_its_cause() -> None:
    alone, cyst = evidence({"mass_effect": 0.9}), evidence({"mass_effect": 0.9, "arachnoid_cyst": 0.9})
    assert rules.priority(alone)[0] is Priority.MEDIUM
    assert rules.priority(cyst)[0] is Priority.LOW
    shifted = evidence({"mass_effect": 0.9, "arachnoid_cyst": 0.9, "midline_shift": 0.9})
    assert rules.priority(shifted)[0] is Priority.HIGH


def test_a_stroke_of_unknown_age_is_taken_as_acute_and_says_so() -> None:
    unknown, old = evidence({"large_vessel_stroke": 0.9}), evidence({"large_vessel_stroke": 0.9}, indication="Old infarct, check.")
    first = rules.referrals(unknown)[0]
    assert (first.urgency, first.rule) == ("immediate call", "large_vessel_stroke.acute")
    assert "acuity unknown, the more urgent reading is taken" in rules.recommendations(unknown)[0]
    assert rules.referrals(old)[0].urgency == "routine"
    assert rules.priority(evidence({"large_vessel_stroke": 0.9}, indication="Chronic headache."))[0] is Priority.HIGH


def test_a_known_grade_speaks_in_place_of_an_unknown_one() -> None:
    assert {item.rule for item in rules.referrals(evidence({"glioma": 0.9, "high_grade_glioma": 0.9}))} == {"high_grade_glioma"}
    assert {item.rule for item in rules.referrals(evidence({"glioma": 0.9}))} == {"glioma.grade_unknown"}


def test_children_and_adults_go_to_their_own_specialists() -> None:
    def specialties(age: float | None) -> set[str]:
        return {item.specialty for item in rules.referrals(evidence({"medulloblastoma": 0.9}, age=age))}

    assert specialties(6) == {"paediatric neurosurgery"} == specialties(None)
    assert specialties(40) == {"neurosurgery", "neuro-oncology"}


def test_a_specialty_is_named_once_at_its_most_urgent() -> None:
    items = rules.referrals(evidence({"meningioma": 0.9, "subarachnoid_hemorrahage": 0.9}))
    assert [item.urgency for item in items if item.specialty == "neurosurgery"] == ["immediate call"]
    assert [URGENCIES.index(item.urgency) for item in items] == sorted(URGENCIES.index(item.urgency) for item in items)


def test_a_learned_referral_adds_a_specialty_that_no_rule_names() -> None:
    seen = evidence(known=features({"meningioma": 0.9}, referral={"neurosurgery": 0.9, "genetics": 0.9, "ENT": 0.1}))
    assert [(item.specialty, item.rule) for item in rules.referrals(seen)] == [
        ("neurosurgery", "meningioma"),
        ("genetics", "head.genetics"),
    ]


def test_the_operating_point_is_a_calibrated_probability() -> None:
    assert rules.referrals(evidence({"meningioma": 0.49})) == ()
    assert [item.rule for item in rules.referrals(evidence({"meningioma": None}))] == ["meningioma"]  # uncalibrated: a positive score
    assert "not calibrated" in rules.referrals(evidence({"meningioma": None}))[0].reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"urgency": "soon"},
        {"when": {"mood": "bad"}},
        {"when": {"with": ["nobody"]}},
        {"colour": "red"},
        {"name": "nobody"},
        {"priority": "top"},
    ],
)
def test_a_wrong_rule_raises(wrong: dict[str, object]) -> None:
    good = {"id": "x", "name": "meningioma", "urgency": "routine", "wording": "w", "source": "s"}
    rules.parse({"rule": [good]})
    with pytest.raises(ValueError):
        rules.parse({"rule": [good | wrong]})


def test_taking_diffusion_away_moves_stroke_to_not_assessed() -> None:
    undiffused = evidence(weightings=tuple(weighting for weighting in ALL if weighting is not Weighting.DWI))
    reasons = {left.name: left.reason for left in undiffused.not_assessed}
    assert {"large_vessel_stroke", "lacunar_stroke"} <= reasons.keys()
    assert "DWI" in reasons["large_vessel_stroke"]
    assert "large_vessel_stroke" not in {left.name for left in evidence().not_assessed}
    assert "brain_abscess" in {left.name for left in limited(undiffused.study, undiffused.features)}


def test_names_without_a_head_are_all_not_assessed() -> None:
    seen = features(heads=("meningioma", "edema"))
    left = not_assessed(evidence().study, seen)
    assert len(left) == 50
    assert {item.reason for item in left} == {NO_HEAD}


def test_a_priority_head_states_a_probability_only_where_it_was_calibrated() -> None:
    plain = features({}, priority=((Priority.LOW, 0.2), (Priority.MEDIUM, 0.8)))
    assert rules.priority(evidence(known=plain))[1] == "priority head: medium (not calibrated)"
    assert "with probability 0.80" in rules.priority(evidence(known=replace(plain, priority_calibrated=True)))[1]


def test_the_level_in_the_middle_of_the_probability_is_the_priority() -> None:
    spread = ((Priority.NONE, 0.35), (Priority.LOW, 0.1), (Priority.MEDIUM, 0.25), (Priority.HIGH, 0.3))
    level, reason = rules.priority(evidence(known=replace(features({}, priority=spread), priority_calibrated=True)))
    assert level is Priority.MEDIUM, "the likeliest level, none, would leave more than half of the probability above it"
    assert reason == "priority head: medium or higher with probability 0.55"
    level, reason = rules.priority(evidence(known=replace(features({}, priority=spread[::-1]), priority_calibrated=True)))
    assert level is Priority.MEDIUM, "whatever the order in which the levels come"


@pytest.mark.parametrize("seed", range(20))
def test_the_middle_level_is_the_fewest_levels_off_on_average(seed: int) -> None:
    chances = np.random.default_rng(seed).dirichlet([1] * 4)
    off = [sum(chance * abs(level - said) for level, chance in enumerate(chances)) for said in range(4)]
    assert rules.middle(list(chances)) == int(np.argmin(off))
