"""`prima evaluate` from folders to a table, with the encoder of the miniature hospital in place of weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from seen_heads import DISEASES, QuadrantEncoder, read, written
from typer.testing import CliRunner

from assistant.commands.evaluate import Source, app
from assistant.errors import UsageError
from assistant.evaluate.cohort import SWAPPED
from encoder.features import StudyFeatures
from encoder.study import Study


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("studies"), 60)


@pytest.fixture(autouse=True)
def _hospital(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.encoder.Encoder.load", lambda _: QuadrantEncoder())
    monkeypatch.setattr("encoder.reading.read_study", read)


@pytest.mark.parametrize("question", ["diagnosis", "referral", "priority", "fairness"])
def test_every_question_is_answered_with_its_controls(studies: Path, tmp_path: Path, question: str) -> None:
    asked = (question, "--studies", studies, "--controls", 40, "--draws", 100, "--cache", tmp_path)
    told = json.loads(run(*asked, "--json"))
    assert told["task"] == question
    assert set(told["controls"]) == {"noise", "swapped", "normal", "floor"}
    assert all(control["figures"] for control in told["controls"].values())
    assert told["notice"].startswith("Research use only")
    text = run(*asked)
    assert "ABOVE CHANCE" not in text or question == "referral"  # one label in five is no floor to speak of
    assert "RESULT" in text


def test_simulated_studies_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(None, None, 2, 90210)
    drawn = source.labelled(tmp_path)
    assert {one.vendor for one in drawn} <= {"Siemens", "GE", "Philips", "Canon"}
    assert all(one.diagnoses is not None and one.priority for one in drawn)
    monkeypatch.setattr("phantom.sample", None)
    assert source.labelled(tmp_path) == drawn


@pytest.mark.slow
def test_simulated_studies_are_encoded_in_several_processes_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the shipped weights: what a started process loads
    one, two = (Source(None, None, 4, 90210, processes) for processes in (1, 2))
    labelled = one.labelled(None)
    assert two.labelled(None) == labelled
    alone, together = (source.cohort(labelled, None, None, controls=2) for source in (one, two))
    for mine, theirs in zip((*alone.members, *alone.controls[SWAPPED]), (*together.members, *together.controls[SWAPPED]), strict=True):
        assert mine.labels == theirs.labels
        for first, second in zip(mine.features.scores, theirs.features.scores, strict=True):
            assert first.score == pytest.approx(second.score, abs=1e-3)


def test_another_encoder_is_compared_on_the_same_studies(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one sees in a fog: it is worse, and its heads alone are compared."""

    def load(folder: Path | None) -> QuadrantEncoder:
        return Foggy(hash="f" * 64) if folder else QuadrantEncoder()

    monkeypatch.setattr("encoder.encoder.Encoder.load", load)
    asked = ("diagnosis", "--studies", studies, "--controls", 40, "--ablations", 0, "--draws", 100, "--beside", studies)
    told = json.loads(run(*asked, "--json"))["beside"]
    assert (told["encoder"], told["studies"]) == ("f" * 64, 60)
    assert told["difference"]["pooled AUROC"]["high"] < 0
    assert told["difference"]["pooled AUROC"]["value"] == pytest.approx(
        told["figures"]["pooled AUROC"]["value"] - told["own"]["pooled AUROC"]["value"]
    )
    assert set(told["by_name"]) == set(DISEASES[:3])
    assert "BESIDE (encoder ffffffffffff, 60 studies)" in run(*asked)


class Foggy(QuadrantEncoder):
    """Three heads, each half a random number."""

    def encode(self, study: Study) -> StudyFeatures:
        features = super().encode(study)
        fog = np.random.default_rng(len(self.seen)).normal(0, 2, 4)
        return replace(features, scores=tuple(replace(s, score=s.score + f) for s, f in zip(features.scores[:3], fog, strict=False)))


def test_reliability_is_drawn(studies: Path, tmp_path: Path) -> None:
    asked = ("--studies", studies, "--controls", 40, "--ablations", 0, "--draws", 100, "--diagram", tmp_path / "drawn.svg")
    run("diagnosis", *asked)
    assert (tmp_path / "drawn.svg").read_text().count("ECE") == 4
    with pytest.raises(UsageError, match="for this question"):
        run("priority", *asked)


def test_a_worklist_needs_no_images_where_a_table_has_the_priorities(studies: Path, tmp_path: Path) -> None:
    short = ("--runs", 20, "--weeks", 1)
    of_studies = json.loads(run("worklist", "--studies", studies, *short, "--json"))
    assert of_studies["order"] == ["high", "medium", "not assessed", "low", "none"]
    assert {row["subgroup"] for row in of_studies["waiting"]} >= {"all", "north", "south", "weekend"}
    (tmp_path / "queue.csv").write_text("true,predicted\nhigh,high\nnone,none\nlow,not assessed\n")
    assert "shuffled predictions" in run("worklist", "--table", tmp_path / "queue.csv", *short)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["diagnosis"], "--studies FOLDER, --from"),
        (["diagnosis", "--studies", "{studies}", "--from", "x.csv"], "one of them"),
        (["priority", "--studies", "{studies}/nowhere"], "no such file"),
        (["worklist", "--studies", "{studies}", "--table", "x.csv"], "one of them"),
        (["worklist", "--table", "{studies}/none.csv"], "can be read"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(studies: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run(*[argument.format(studies=studies) for argument in arguments])


@pytest.mark.parametrize("question", ["diagnosis", "referral", "priority", "fairness"])
def test_controls_cannot_be_switched_off(studies: Path, question: str) -> None:
    result = CliRunner().invoke(app, [question, "--studies", str(studies), "--controls", "0"])
    assert result.exit_code == 2
    assert "--controls" in result.output
