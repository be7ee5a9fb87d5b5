"""A study finds its own report and studies like it, or its floors show that no image was needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from seen_heads import DISEASES, QuadrantEncoder, intake, read, written
from typer.testing import CliRunner

from assistant.commands.evaluate import app
from assistant.errors import UsageError
from assistant.evaluate.cohort import NOISE, Cohort, gather
from assistant.evaluate.retrieval import BESIDE, MEDIAN, NO_IMAGE, PRECISION, VOXELLESS, WORDS, bm25, judge, places, shared, within
from assistant.evaluate.telling import told_retrieval
from assistant.labelled import Labelled, from_folder
from encoder.features import StudyFeatures
from encoder.study import Study


class Seeing(QuadrantEncoder):
    """Its embedding is how bright each quadrant is."""

    def encode(self, study: Study) -> StudyFeatures:
        features = super().encode(study)
        bright = np.array([score.score + 0.25 for score in features.scores], np.float32)
        return replace(features, embedding=bright / np.linalg.norm(bright))


def tower(text: str) -> np.ndarray:
    """The quadrant of the disease that a text names; nowhere for any other text."""
    named = np.array([disease.replace("_", " ") in text.lower() for disease in DISEASES], np.float32)
    return named / max(float(named.sum()), 1.0)


def report(folder: Path) -> str:
    stated = json.loads((folder / "truth.json").read_text())["diagnoses"]
    return f"IMPRESSION:\n{(stated or ['No abnormality'])[0].replace('_', ' ').capitalize()}."


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Labelled, ...]:
    folder = written(tmp_path_factory.mktemp("studies"), 60)
    for study in folder.iterdir():
        (study / "report.txt").write_text(report(study))
    return from_folder(folder)


@pytest.fixture(scope="module")
def cohort(labelled: Sequence[Labelled]) -> Cohort:
    return gather(labelled, intake(Seeing()), controls=40, kinds=(NOISE,))


def test_an_encoder_that_looks_finds_both_and_its_floors_find_nothing(cohort: Cohort) -> None:
    found = judge(cohort, tower, draws=200)
    assert found.reports is not None
    assert set(found.reports.floors) == {NO_IMAGE, BESIDE, WORDS}
    assert found.distinct == 5
    # twelve studies share each report: a tie of twelve is met in its middle
    assert found.reports.figures[MEDIAN].value == pytest.approx(6.5, abs=3)
    assert found.reports.figures["recall@10"].value > 0.6
    assert found.reports.chance["recall@10"] == pytest.approx(10 / 60)
    assert not any(floor.above_chance for floor in found.reports.floors.values())
    assert found.reports.less_floor[BESIDE]["recall@10"].low > 0
    assert set(found.studies_alike.floors) == {NO_IMAGE, VOXELLESS}
    assert found.studies_alike.figures[PRECISION].value > 0.6
    assert found.studies_alike.chance[PRECISION] == pytest.approx(11 / 59)
    for floor in found.studies_alike.floors.values():
        assert floor.figures[PRECISION].high < found.studies_alike.figures[PRECISION].low
    text = told_retrieval(found)
    for floor in (NO_IMAGE, BESIDE, WORDS, VOXELLESS, "random order"):
        assert f"floor: {floor}" in text


def test_an_answer_that_is_written_beside_the_image_is_exposed(labelled: Sequence[Labelled]) -> None:
    def telling(path: Path) -> Study:
        study = read(path)
        return replace(study, context=replace(study.context, indication=report(path)))

    found = judge(gather(labelled, intake(Seeing(), how=telling), controls=40, kinds=(NOISE,)), tower, draws=100)
    assert found.reports is not None
    assert found.reports.floors[BESIDE].above_chance
    assert found.reports.floors[WORDS].above_chance
    assert not found.reports.floors[NO_IMAGE].above_chance
    assert "ABOVE CHANCE" in told_retrieval(found)


def test_without_a_text_tower_only_studies_are_searched_for(cohort: Cohort) -> None:
    found = judge(cohort, None, draws=100)
    assert found.reports is None
    assert "no text tower" in told_retrieval(found)
    assert "floor: noise images" in told_retrieval(found)


def test_labels_that_nobody_listed_come_from_the_reports(cohort: Cohort) -> None:
    def unlabelled(members: Sequence[object]) -> tuple[object, ...]:
        return tuple(replace(m, labels=replace(m.labels, diagnoses=None)) for m in members)  # type: ignore[attr-defined, type-var]

    bare = replace(cohort, members=unlabelled(cohort.members))  # type: ignore[arg-type]
    assert judge(bare, None, draws=100).labels.startswith("from the reports")
    assert judge(bare, None, draws=100).studies_alike.figures == judge(cohort, None, draws=100).studies_alike.figures


def test_no_result_without_floors(cohort: Cohort) -> None:
    found = judge(cohort, tower, draws=100).studies_alike
    with pytest.raises(UsageError, match="floors"):
        replace(found, floors={VOXELLESS: found.floors[VOXELLESS]})
    with pytest.raises(UsageError, match="noise images"):
        judge(replace(cohort, controls={NOISE: ()}), tower)
    with pytest.raises(UsageError, match="do not belong together"):
        judge(cohort, lambda text: np.ones(3) * len(text))


def test_places_are_those_of_a_sorted_list_and_ties_are_broken_at_random() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(7, 9))
    own = [0, 3, 8, 2, 2, 5, 1]
    expected = [sorted(-row).index(-row[k]) for row, k in zip(scores, own, strict=True)]
    assert places(scores, own).tolist() == [[before, 0] for before in expected]
    tied = places(np.array([[0.9, 0.5, 0.5, 0.5, 0.1]]), [2])
    assert tied.tolist() == [[1, 2]]
    assert [float(within(tied, k)[0]) for k in (1, 2, 3, 4, 5)] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


def test_neighbours_are_never_of_the_same_patient() -> None:
    similarity = np.array([[1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])
    allowed, alike = np.array([[0, 0, 1, 1, 1, 1, 1]], bool), np.array([[1, 1, 1, 0, 0, 0, 1]], bool)
    assert shared(similarity, allowed, alike).tolist() == [2 / 5]
    assert np.isnan(shared(similarity, np.zeros((1, 7), bool), alike)).all()


def test_bm25_prefers_rare_words_and_short_texts() -> None:
    found = bm25(["glioma, brain"], ["a brain", "a brain, a glioma", "a brain with a glioma and much else beside it", "nothing"])
    assert found[0].argsort().tolist()[::-1][:2] == [1, 2]
    assert found[0, 3] == 0


def test_the_command_prints_one_object(labelled: Sequence[Labelled], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.encoder.Encoder.load", lambda _: Seeing())
    monkeypatch.setattr("encoder.reading.read_study", read)
    monkeypatch.setattr("assistant.commands.index.text_tower", lambda _: tower)
    asked = ["retrieval", "--studies", str(labelled[0].path.parent), "--controls", "40", "--draws", "100", "--json"]
    told = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout)
    assert told["task"] == "retrieval"
    assert told["reports"]["floors"]["noise images"]["figures"]["recall@5"]["studies"] == 40
    (labelled[0].path / "report.txt").rename(labelled[0].path / "kept.txt")
    try:
        with pytest.raises(UsageError, match=r"expected its report"):
            CliRunner().invoke(app, asked, catch_exceptions=False)
    finally:
        (labelled[0].path / "kept.txt").rename(labelled[0].path / "report.txt")
