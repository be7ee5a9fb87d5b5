"""Fairness that can fail: a planted bias is found with its interval, and where none was planted none is found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from seen_heads import intake, read, written

from assistant.evaluate import metrics, questions, subgroups
from assistant.evaluate.cohort import gather
from assistant.evaluate.evaluation import judge
from assistant.evaluate.intervals import Bootstrap
from assistant.evaluate.telling import told
from assistant.labelled import Labelled, from_folder

STUDIES = 240


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Labelled, ...]:
    return from_folder(written(tmp_path_factory.mktemp("studies"), STUDIES, seed=1, sites=("north", "east", "south")))


def test_a_site_with_triple_noise_and_no_dwi_is_found(labelled: Sequence[Labelled]) -> None:
    biased = partial(read, noise=lambda site: 9.0 if site == "south" else 3.0, lacks=lambda site: site == "south")
    found = judge(questions.fairness(), gather(labelled, intake(how=biased), controls=60), draws=200)
    largest = found.subgroups.largest
    assert largest is not None
    assert (largest.axis, largest.group, largest.flagged) == ("site", "south", True)
    gap = next(gap for gap in found.subgroups.gaps if (gap.group, gap.measure) == ("south", "pooled AUROC"))
    assert gap.flagged
    assert gap.low < gap.value < gap.high < 0
    assert gap.inside.value + 0.05 < gap.outside
    assert found.details["flagged_with_groups_shuffled"] == 0
    assert "DIFFERS" in told(found)


def test_without_it_no_subgroup_is_flagged(labelled: Sequence[Labelled]) -> None:
    found = judge(questions.fairness(), gather(labelled, intake(), controls=60), draws=200)
    assert len(found.subgroups.gaps) > 30  # axes and pairs of them, by four measures less those that never vary
    assert not [gap for gap in found.subgroups.gaps if gap.flagged]
    assert ("field strength", "the same in all studies") in found.subgroups.passed_over


def test_chance_flags_anything_at_all_in_one_evaluation_of_twenty() -> None:
    """Eight subgroups that mean nothing, two measures: each gap alone at 95 % would flag something in about half of these."""
    flagged = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.random(160) < 0.3
        scores = truth + rng.standard_normal(160)
        members = {("axis", str(k)): rng.random(160) < 0.4 for k in range(8)}
        measures = {
            "auroc": lambda w, t=truth, s=scores: metrics.auroc(t, s, w),
            "sensitivity": lambda w, t=truth, s=scores: metrics.share(s > 1, t, w),
        }
        found = subgroups.compare(members, measures, [str(value) for value in truth], Bootstrap(160, 120, seed))
        flagged += any(gap.flagged for gap in found.gaps)
    assert flagged <= 7  # 3 expected; more than 7 has a chance of 1 %


def test_a_mix_of_diagnoses_is_no_bias() -> None:
    """The old have more of what is hard to see; within each disease they are served like all others."""
    rng = np.random.default_rng(0)
    old = rng.random(400) < 0.5
    hard = rng.random(400) < np.where(old, 0.8, 0.2)
    ill = rng.random(400) < 0.5
    truth = np.stack([ill & hard, ill & ~hard], 1)
    scores = truth * [0.3, 3.0] + rng.standard_normal((400, 2))
    strata = ["normal" if not i else "hard" if h else "easy" for i, h in zip(ill, hard, strict=True)]
    measures = {"pooled AUROC": lambda w: metrics.pooled_auroc(truth, scores, w)}
    found = subgroups.compare({("age", "old"): old}, measures, strata, Bootstrap(400, 200))
    [gap] = found.gaps
    assert gap.inside.value < gap.outside - 0.1
    assert abs(gap.value) < 0.05
    assert not gap.flagged


def test_small_groups_and_unknown_facts_are_passed_over() -> None:
    known = [{"sex": "F" if k % 2 else "M", "site": "unknown", "vendor": "GE" if k < 5 else "Philips"} for k in range(60)]
    found, passed_over = subgroups.groups(known)
    assert set(found) == {("sex", "F"), ("sex", "M"), ("sex x vendor", "F, Philips"), ("sex x vendor", "M, Philips")}
    assert dict(passed_over) == {"site": "not known", "vendor": "no subgroup of at least 20 studies"}


def test_facts_come_from_the_list_before_the_files(tmp_path: Path) -> None:
    one, *_ = from_folder(written(tmp_path, 1))
    member = gather([one], intake(), controls=0).members[0]
    facts = subgroups.facts(member)
    assert facts["field strength"] == "1.5 T"
    assert facts["vendor"] in ("Siemens", "GE", "Philips")
    stated = Labelled(one.path, one.diagnoses, age=80, vendor="Toshiba", field_strength=2.9, site="west")
    assert subgroups.facts(gather([stated], intake(), controls=0).members[0]) == {
        "age": "75 and over",
        "sex": facts["sex"],
        "vendor": "Canon",
        "field strength": "3 T",
        "site": "west",
    }
