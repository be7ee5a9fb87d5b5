"""A probe reads off what is in the features, and its floors show what needs none."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from seen_heads import QuadrantEncoder, read, written
from typer.testing import CliRunner

from assistant.cli import app
from assistant.errors import UsageError
from assistant.evaluate.probe import NO_IMAGE, NOTHING, SHUFFLED, Probe, grouped_folds, probe, target
from assistant.evaluate.telling import told_probe
from encoder.features import StudyFeatures
from encoder.study import Study

N = 120
RNG = np.random.default_rng(3)
FEATURES = RNG.normal(size=(N, 200))  # more columns than studies
NOISE = RNG.normal(size=(N, 200))
PATIENTS = [f"p{k // 2}" for k in range(N)]
AGES = 55 + 12 * FEATURES[:, 0] + 3 * RNG.normal(size=N)


def asked(features: np.ndarray, cells: Sequence[object], *, mlp: bool = False, kind: str | None = None, seed: int = 0) -> Probe:
    wanted = target("it", [str(cell) for cell in cells], kind)
    noise, noisy = NOISE[:, : features.shape[1]], range(len(features))
    return probe(features, noise, wanted, PATIENTS, encoder="e" * 64, noisy=noisy, mlp=mlp, draws=200, seed=seed)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.evaluate.probe.STEPS", 30)
    monkeypatch.setattr("assistant.evaluate.probe.DECAYS", (1e-2, 1.0))
    monkeypatch.setattr("assistant.evaluate.probe.INNER", 2)
    monkeypatch.setattr("assistant.evaluate.probe.SHUFFLES", 8)
    monkeypatch.setattr("assistant.evaluate.probe.FEW_SHUFFLES", 1)


@pytest.mark.parametrize("mlp", [False, True])
def test_a_number_in_the_features_is_read_off_and_its_floors_say_nothing(mlp: bool) -> None:
    found = asked(FEATURES[:, :10], AGES, mlp=mlp)
    assert (found.kind, found.method) == ("number", "one hidden layer" if mlp else "ridge")
    assert found.figures["R2"].value > 0.7
    assert found.figures["MAE"].value < 6
    assert found.less["MAE"].high < 0
    assert found.patients == N // 2
    for name in (SHUFFLED, NO_IMAGE):
        assert found.floors[name].figures["R2"].low < 0.05
        assert not found.floors[name].better_than_chance
    assert abs(found.floors[NOTHING].figures["R2"].value) < 0.05
    assert "floor: shuffled targets" in told_probe(found)


@pytest.mark.parametrize("mlp", [False, True])
def test_a_class_in_the_features_is_read_off(mlp: bool) -> None:
    found = asked(FEATURES[:, :10], np.digitize(FEATURES[:, 0], [-0.6, 0.6]), mlp=mlp)
    assert found.kind == "class"
    assert set(found.counts) == {"0", "1", "2"}
    assert found.figures["AUROC"].value > 0.8
    assert found.figures["macro-F1"].value > 0.6
    assert found.floors[NOTHING].figures["AUROC"].value == pytest.approx(0.5)
    assert found.floors[SHUFFLED].figures["AUROC"].value == pytest.approx(0.5, abs=0.12)


def test_what_is_not_in_the_features_is_not_found_in_many_columns() -> None:
    found = asked(FEATURES, RNG.choice(["F", "M"], N))
    assert found.figures["AUROC"].value == pytest.approx(0.5, abs=0.13)
    assert max(found.penalties) >= 1000  # many columns, nothing in them: the strongest penalties


def test_no_patient_stands_in_two_folds() -> None:
    groups = np.repeat(np.arange(40), 3)
    strata = np.repeat(np.arange(40) % 2, 3)
    folds = grouped_folds(groups, strata, 5, np.random.default_rng(0))
    assert all(len(set(folds[groups == patient])) == 1 for patient in range(40))
    assert [int(strata[folds == fold].sum()) for fold in range(5)] == [12] * 5


def test_twins_in_other_folds_would_have_told_the_answer() -> None:
    """Each patient has two equal studies and a target of their own: grouped by patient nothing can be learnt."""
    twins = np.repeat(RNG.normal(size=(N // 2, 200)), 2, axis=0)
    ages = np.repeat(RNG.normal(55, 12, N // 2), 2)
    assert asked(twins, ages).figures["R2"].value < 0.1


def test_a_probe_cannot_be_made_without_its_floors() -> None:
    found = asked(FEATURES[:, :5], AGES)
    with pytest.raises(UsageError, match="three floors"):
        replace(found, floors={NOTHING: found.floors[NOTHING]})


@pytest.mark.parametrize(
    ("cells", "kind", "why"),
    [
        (["a"] * 40, None, "all are the same"),
        (["a"] * 40 + ["b"] * 2, None, "b have fewer than 5"),
        (["1", "x"] * 20, "number", "expected numbers, found 'x'"),
    ],
)
def test_a_column_that_is_no_target_is_refused(cells: list[str], kind: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        target("it", cells, kind)


def test_too_few_studies_are_refused() -> None:
    wanted = target("it", ["a", "b"] * 10)
    with pytest.raises(UsageError, match="30 studies or more"):
        probe(FEATURES[:20], NOISE[:20], wanted, PATIENTS[:20], encoder="", noisy=range(20))


class Registered(QuadrantEncoder):
    """Its registers are how bright each quadrant is; noise is bright nowhere."""

    def encode(self, study: Study) -> StudyFeatures:
        features = super().encode(study)
        return replace(features, registers=np.array([[score.score for score in features.scores]], np.float32))


@pytest.fixture(name="studies")
def _studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("encoder.encoder.Encoder.load", lambda _: Registered())
    monkeypatch.setattr("encoder.reading.read_study", read)
    return written(tmp_path / "studies", 60)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["probe", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_diagnosis_of_a_folder_is_read_off(studies: Path) -> None:
    told = json.loads(run("--studies", studies, "--column", "arachnoid_cyst", "--controls", 40, "--draws", 100, "--json"))
    assert told["counts"] == {"no": 48, "yes": 12}
    assert told["figures"]["AUROC"]["value"] > 0.9
    assert told["floors"]["noise images"]["studies"] == 40
    assert "age (number)" in run("--studies", studies, "--column", "age", "--controls", 40, "--draws", 100, "--features", "embedding")


@pytest.mark.parametrize("column", ["vendor", "field_strength"])
def test_what_nobody_says_is_told_before_anything_is_encoded(column: str, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registered, "encode", lambda *_: pytest.fail("encoded"))
    with pytest.raises(UsageError, match="found none"):
        run("--studies", studies, "--column", column, "--kind", "number", "--controls", 40)


def test_any_column_of_a_list_is_read_off_and_empty_cells_are_left_out(studies: Path, tmp_path: Path) -> None:
    rows = [(f"{studies.name}/s{k:04d}", "" if k % 10 == 9 else "ill" if k % 5 < 4 else "well", f"p{k}") for k in range(60)]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("Path", "State", "patient"), *rows])
    told = json.loads(run("--from", tmp_path / "list.csv", "--column", "state", "--controls", 40, "--draws", 100, "--json"))
    assert told["counts"] == {"ill": 48, "well": 6}
    assert told["left_out"] == 6
    for column, why in (("", "What is to be read off"), ("nothing", "is there such a column")):
        with pytest.raises(UsageError, match=why):
            run("--from", tmp_path / "list.csv", "--column", column)
