"""What a search returns, leaves out, and says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import CENTRES, DIM, LABELS, SEQ_DIM, filled, make

from index.calibration import LEAST_COVERAGE, PRECISIONS, agree, cut, least_similarity
from index.case import ReportSections
from index.errors import IndexStoreError
from index.keywords import asserted, words
from index.query import Query, Where
from index.retrieval import kind, late_interaction
from index.store import CaseIndex
from index.vectors import unit


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> CaseIndex:
    return filled(tmp_path_factory.mktemp("shared") / "i", 40)


def ids(neighbours: tuple[object, ...]) -> list[str]:
    return [hit.case.id for hit in neighbours]  # type: ignore[attr-defined]


def test_the_patient_of_the_query_stays_out_unless_asked_for(index: CaseIndex) -> None:
    case = make(4)  # patient-2 also has case-5
    query = Query(case.embedding, patient=case.patient)
    assert {"case-4", "case-5"}.isdisjoint(ids(index.search(query, 40)))
    assert {"case-4", "case-5"} <= set(ids(index.search(query, 40, Where(same_patient=True))))
    assert {"case-4", "case-5"}.isdisjoint(ids(index.search(Query(case.embedding), 40, Where(exclude_patient=case.patient))))
    assert {"case-4", "case-5"}.isdisjoint(ids(index.search(replace(query, text="meningioma"), 40)))


def test_filters_hold_and_equal_brute_force(index: CaseIndex) -> None:
    cases, query = [make(i) for i in range(40)], make(77)
    where = Where(diagnosis=LABELS[1], sex="F", age_band="50-59", sequence="flair")
    allowed = [case for case in cases if case.diagnoses[0] == LABELS[1] and case.sex == "F" and case.age_band == "50-59"]
    expected = sorted(allowed, key=lambda case: -float(case.embedding @ query.embedding))
    assert ids(index.search(Query(query.embedding), 40, where)) == [case.id for case in expected]
    assert index.search(Query(query.embedding), 40, Where(sequence="SWI")) == ()
    assert index.search(Query(query.embedding), 40, Where(diagnosis="' OR 1=1 --")) == ()


def test_facets_tell_what_can_be_asked_for(index: CaseIndex) -> None:
    facets = index.facets()
    assert facets["diagnosis"] == dict.fromkeys(sorted(LABELS), 10)
    assert set(facets["sex"]) == {"F", "M"}
    assert facets["sequence"]["AX_DWI"] == 40


def test_late_interaction_compares_like_with_like_and_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    asked, stored = rng.normal(size=(3, SEQ_DIM)).astype(np.float32), rng.normal(size=(5, SEQ_DIM)).astype(np.float32)
    names = ("AX_T1", "SAG_T1", "AX_T2_FLAIR", "AX_T2", "AX_DWI")
    score, _ = late_interaction(("T1_SE", "FLAIR_COR", "SWI"), asked, names, stored)
    cosine = unit(asked) @ unit(stored).T
    assert score == pytest.approx(np.mean([max(cosine[0, 0], cosine[0, 1]), cosine[1, 2]]), abs=1e-6)  # no SWI in the case
    unknown, _ = late_interaction(("series 7",), asked[:1], names, stored)
    assert unknown == pytest.approx(cosine[0].max(), abs=1e-6)
    assert late_interaction(("SWI",), asked[:1], names, stored) == (None, None)


@pytest.mark.parametrize(
    ("name", "expected"), [("AX_T1_POST", "T1 post-contrast"), ("T2_FLAIR_ax", "FLAIR"), ("ep2d_diff_ADC", "ADC"), ("UNK-1a2b", None)]
)
def test_the_kind_of_a_sequence_is_read_from_its_name(name: str, expected: str | None) -> None:
    assert kind(name) == expected


def test_sequences_decide_between_studies_that_look_alike_as_a_whole(tmp_path: Path) -> None:
    index, twin, other = CaseIndex.create(tmp_path / "i", "e", DIM, SEQ_DIM), make(1), make(2)
    same = {"embedding": unit(CENTRES[0]), "sequences": twin.sequences}
    index.add(
        [
            make(1, patient="a", **same, sequence_vectors=other.sequence_vectors),
            make(2, patient="b", **same, sequence_vectors=twin.sequence_vectors),
        ]
    )
    hits = index.search(Query(unit(CENTRES[0]), twin.sequence_vectors, twin.sequences), 2)
    assert ids(hits) == ["case-2", "case-1"]
    assert "most alike" in hits[0].why


def test_labels_that_the_scores_favour_decide_between_likenesses(tmp_path: Path) -> None:
    index, same = CaseIndex.create(tmp_path / "i", "e", DIM, SEQ_DIM), {"embedding": unit(CENTRES[0])}
    index.add([make(1, patient="a", **same), make(2, patient="b", **same), make(3, patient="c", diagnoses=(), **same)])
    for likely, first in (
        ({LABELS[1]: 0.9, LABELS[2]: 0.2}, "case-1"),
        ({LABELS[1]: 0.1, LABELS[2]: 0.7}, "case-2"),
        ({LABELS[1]: 0.1}, "case-3"),
    ):
        hits = index.search(Query(unit(CENTRES[0]), likely=tuple(likely.items())), 3)
        assert hits[0].case.id == first
        assert "labels fit" in hits[0].why


def test_words_find_what_a_report_asserts_and_not_what_it_denies(index: CaseIndex) -> None:
    hits = index.search(Query(text="hydrocephalus"), 40)
    assert {hit.case.diagnoses for hit in hits} == {("hydrocephalus",)}
    assert len(hits) == 10
    assert hits[0].similarity is None
    assert "“hydrocephalus”" in hits[0].why
    assert index.search(Query(text="haemorrhage"), 40) == ()  # every report says that there is none


def test_either_spelling_finds_the_other(tmp_path: Path) -> None:
    index = filled(tmp_path / "i", 3)
    index.add([make(9, report=ReportSections(findings="Tumour with vasogenic oedema.", impression="Haemorrhagic tumour."))])
    for text in ("tumor", "hemorrhagic", "OEDEMA", "vasogenic edema"):
        assert ids(index.search(Query(text=text), 5)) == ["case-9"], text


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=80))
def test_no_text_is_an_operator(index: CaseIndex, text: str) -> None:
    index.search(Query(text=text or "x"), 3)


@pytest.mark.parametrize(
    "text", ['"', "NEAR(a b)", "impression:meningioma", "a* OR NOT b", "^meningioma AND", "'; DROP TABLE cases; --", "🧠"]
)
def test_query_syntax_is_inert(index: CaseIndex, text: str) -> None:
    index.search(Query(text=text), 3)
    assert len(index) == 40


def test_denied_text_ends_where_the_denial_ends() -> None:
    assert asserted("No mass, no bleed. Small infarct without oedema; old lacune.").split() == [
        ".",
        "Small",
        "infarct",
        ";",
        "old",
        "lacune.",
    ]
    assert "enhancement" in asserted("No diffusion restriction but ring enhancement.")
    assert words("Show me cases of the left_frontal glioma, glioma") == ("left", "frontal", "glioma")


def test_a_tower_puts_words_among_the_studies(index: CaseIndex) -> None:
    opened = CaseIndex.open(index.folder, tower=lambda text: CENTRES[LABELS.index(text)])
    hits = opened.search(Query(text="multiple_sclerosis"), 5)
    assert {hit.case.diagnoses[0] for hit in hits} == {"multiple_sclerosis"}
    assert "images fit the words" in hits[0].why


def test_study_and_words_together_prefer_what_both_put_forward(index: CaseIndex) -> None:
    between = unit(CENTRES[0] + CENTRES[1])
    hits = index.search(Query(between, text=LABELS[1].replace("_", " ")), 5)
    assert hits[0].case.diagnoses == (LABELS[1],)
    assert hits[0].similarity is not None


def test_a_diverse_answer_holds_more_kinds(index: CaseIndex) -> None:
    query = unit(2 * CENTRES[0] + CENTRES[1])
    plain = index.search(Query(query), 6)
    varied = index.search(Query(query, diversity=0.5), 6)
    assert varied[0].case.id == plain[0].case.id
    assert len({hit.case.diagnoses for hit in varied}) > len({hit.case.diagnoses for hit in plain})


def test_calibration_makes_nothing_similar_an_answer(tmp_path: Path) -> None:
    filled(tmp_path / "i", 60)
    index = CaseIndex.open(tmp_path / "i")
    made = index.calibrate(0.9)
    assert index.info.calibration == made == CaseIndex.open(tmp_path / "i").info.calibration
    assert 0.5 < made.coverage <= 1
    assert made.text_similarity is None
    familiar = index.search(Query(make(100).embedding), 5)
    assert familiar
    assert all(hit.similarity is not None and hit.similarity >= made.similarity for hit in familiar)
    strange = unit(np.linalg.svd(CENTRES)[2][-1])  # at right angles to every label's centre
    assert index.search(Query(strange), 5) == ()
    assert len(index.search(Query(strange), 5, Where(at_least=-1))) == 5


def test_calibration_with_a_tower_cuts_words_too(tmp_path: Path) -> None:
    filled(tmp_path / "i", 60)

    def tower(text: str) -> np.ndarray:
        named = [CENTRES[i] for i, label in enumerate(LABELS) if label.replace("_", " ") in text]
        return unit(named[0]) if named else unit(np.linalg.svd(CENTRES)[2][-1])

    index = CaseIndex.open(tmp_path / "i", tower=tower)
    assert index.calibrate(0.9).text_similarity is not None
    assert index.search(Query(text="something else entirely"), 5) == ()
    assert index.search(Query(text="of meningioma"), 5)[0].case.diagnoses == ("meningioma",)


def test_labels_that_vectors_do_not_carry_cannot_be_calibrated(tmp_path: Path) -> None:
    index = filled(tmp_path / "i", 5)
    rng = np.random.default_rng(1)
    index.add(make(i, patient=str(i), embedding=unit(rng.normal(size=DIM).astype(np.float32))) for i in range(100, 160))
    with pytest.raises(IndexStoreError, match="lower precision"):
        index.calibrate(0.95)


def test_the_cut_is_the_least_similarity_that_reaches_the_precision() -> None:
    cosines = np.linspace(1, 0, 101)
    agrees = np.arange(101) < 50
    cut, pairs = least_similarity(cosines, agrees, 0.8)
    assert agrees[cosines >= cut].mean() >= 0.8
    assert agrees[cosines >= cut - 0.01].mean() < 0.8
    assert pairs == (cosines >= cut).sum()
    assert agree((), ())
    assert not agree(("glioma",), ())


def test_unless_told_the_cut_is_the_strictest_that_leaves_most_cases_a_neighbour() -> None:
    """Twenty normal studies are very alike; of the other eighty, less alike, three in five neighbours agree."""
    cosines = np.concatenate([np.linspace(0.99, 0.95, 20), np.linspace(0.9, 0.5, 80)])
    agrees = np.concatenate([np.ones(20, bool), np.arange(80) % 5 < 3])
    strict, made = cut(cosines, agrees, cosines, (0.8,)), cut(cosines, agrees, cosines)
    assert strict.coverage < LEAST_COVERAGE <= made.coverage
    assert made.precision == max(p for p in PRECISIONS if cut(cosines, agrees, cosines, (p,)).coverage >= LEAST_COVERAGE) < 0.8
    assert agrees[cosines >= made.similarity].mean() >= made.precision


def test_where_no_cut_leaves_most_cases_a_neighbour_the_most_lenient_is_taken_or_none() -> None:
    cosines = np.linspace(1, 0, 200)
    few = cosines >= 0.8
    assert cut(cosines, few, cosines).precision == PRECISIONS[-1]
    with pytest.raises(IndexStoreError, match="lower precision"):
        cut(cosines, np.zeros(200, bool), cosines)


def test_a_query_must_ask_for_something_and_fit(index: CaseIndex) -> None:
    for query, k in ((Query(), 5), (Query(np.zeros(3, np.float32)), 5), (Query(text="x"), 0), (Query(np.full(DIM, np.nan, np.float32)), 5)):
        with pytest.raises(IndexStoreError):
            index.search(query, k)


def test_an_empty_index_answers_with_nothing(tmp_path: Path) -> None:
    index = CaseIndex.create(tmp_path / "i", "e", DIM, SEQ_DIM)
    assert index.search(Query(make(1).embedding, text="anything"), 5) == ()
    assert index.verify().ok
