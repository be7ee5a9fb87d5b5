"""Reports say what is there, and nothing else."""

from __future__ import annotations

import pytest

import phantom
from assistant import lexicon
from phantom.absence import bleeds, restricts
from phantom.report import compose

SEEDS = range(60)


@pytest.fixture(scope="module")
def studies() -> list[phantom.Phantom]:
    return [phantom.sample(seed, mirror=bool(seed % 2)) for seed in SEEDS]


def test_sentences_agree_with_truth(studies: list[phantom.Phantom]) -> None:
    for drawn in studies:
        facts = {fact.name: fact for fact in phantom.truth(drawn).findings}
        for sentence in compose(drawn).sentences:
            if sentence.subject == "normal":
                continue
            assert (sentence.subject in facts) != sentence.negated
            if sentence.negated:
                continue
            fact = next(f for f in phantom.truth(drawn).findings if f.name == sentence.subject and sentence.side in (None, f.side))
            assert sentence.region in (None, *(f.region for f in phantom.truth(drawn).findings if f.name == fact.name))
            for side in ("left", "right"):
                assert (side in sentence.text.lower().strip(".").replace(",", " ").split()) == (sentence.side == side), sentence


def test_the_checker_reads_the_same_names(studies: list[phantom.Phantom]) -> None:
    """What the lexicon finds asserted in an impression is in the truth; what it finds denied is not."""
    for drawn in studies:
        names = {fact.name for fact in phantom.truth(drawn).findings}
        for sentence in compose(drawn).sentences:
            if sentence.section != "impression":
                continue
            for mention in lexicon.mentions(sentence.text):
                if mention.negated:
                    assert mention.name not in names, sentence
                elif sentence.subject not in ("normal",):
                    assert mention.name in names, sentence


def test_every_diagnosis_and_visible_finding_is_said(studies: list[phantom.Phantom]) -> None:
    for drawn in studies:
        said = {sentence.subject for sentence in compose(drawn).sentences if not sentence.negated}
        assert {fact.name for fact in phantom.truth(drawn).findings if fact.visible_on} <= said


def test_nothing_is_said_of_series_that_are_not_there() -> None:
    for seed in range(20):
        drawn = phantom.sample(seed, "large_vessel_stroke", drop=(phantom.Weighting.DWI, phantom.Weighting.ADC, phantom.Weighting.T1_POST))
        text = compose(drawn).findings.lower()
        assert "restrict" not in text
        assert "enhanc" not in text
        assert "acute infarct" not in compose(drawn).impression.lower().replace("no acute infarct", "")


def test_restriction_and_blood_are_not_denied_where_there_is_some() -> None:
    known = {"large_vessel_stroke", "lacunar_stroke", "brain_abscess", "lymphoma", "intracranial_hemorrhage"}
    found = set()
    for name in phantom.DIAGNOSES:
        for seed in range(4):
            drawn = phantom.sample(seed, name)
            denied = {s.subject for variant in range(3) for s in compose(drawn, variant).sentences if s.negated}
            if any(restricts(lesion) for lesion in drawn.lesions):
                found.add(name)
                assert "large_vessel_stroke" not in denied, name
            if any(bleeds(lesion) for lesion in drawn.lesions):
                assert "intracranial_hemorrhage" not in denied, name
    assert known <= found
    assert not {"arachnoid_cyst", "low_grade_glioma", "meningioma"} & found


def test_variants_word_the_same_facts_differently() -> None:
    drawn = phantom.sample(1)
    variants = [compose(drawn, variant) for variant in range(8)]
    assert len({report.findings for report in variants}) >= 6
    assert compose(drawn, 3) == variants[3]


def test_a_report_is_of_readable_length(studies: list[phantom.Phantom]) -> None:
    for drawn in studies:
        report = compose(drawn)
        assert 12 <= len(f"{report.findings} {report.impression}".split()) <= 140
        assert "{" not in report.text()
        assert report.comparison == "None available."
