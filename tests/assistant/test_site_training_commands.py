"""`prima train tokenizer|encoder|heads`, from a manifest to an encoder that `prima encode` opens."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_training import SERIES, small_config, write_studies, write_table
from typer.testing import CliRunner

from assistant.cli import app, main
from assistant.errors import UsageError
from assistant.labelled import from_manifest
from assistant.train.site import cache
from assistant.train.site.heads import pooled
from assistant.train.site.manifest import read_manifest
from assistant.train.site.processes import Processes
from assistant.train.site.sampling import Studies
from encoder.encoder import Encoder
from encoder.errors import StudyError
from encoder.reading import read_study
from encoder.released import open_released

ROOT = Path(__file__).parents[2]
STAGES = ("tokenizer", "encoder", "heads")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Six studies and one that cannot be read, trained on in all three stages: manifest.csv, small.json, work/."""
    folder = tmp_path_factory.mktemp("hospital")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIMA_HOME", str(folder / "home"))
        manifest = write_studies(folder)
        (folder / "studies" / "bad").mkdir()
        (folder / "studies" / "bad" / "notes.txt").write_text("no image")
        rows = rows_of(manifest)
        write_table(manifest, [*rows, {**rows[0], "path": "studies/bad", "patient": "p9"}])
        (folder / "small.json").write_text(small_config().to_json())
        for stage in STAGES:
            train(folder, stage)
        yield folder


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def arguments(folder: Path, stage: str, *more: str, work: str = "work") -> list[str]:
    return ["train", stage, str(folder / "manifest.csv"), "--work", str(folder / work), "--config", str(folder / "small.json"), *more]


def train(folder: Path, stage: str, *more: str, work: str = "work") -> str:
    result = CliRunner().invoke(app, arguments(folder, stage, *more, work=work), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.strip()


def test_six_studies_become_an_encoder_that_scores(hospital: Path) -> None:
    study, weights = hospital / "studies" / "s1", hospital / "work" / "prima"
    result = CliRunner().invoke(app, ["encode", str(study), "--encoder", str(weights), "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert [score["name"] for score in found["scores"]] == ["meningioma"]
    assert [score["name"] for score in found["referral"]] == ["neurosurgery"]
    assert list(found["priority"]) == ["none", "low", "medium", "high"]
    assert sum(found["priority"].values()) == pytest.approx(1, abs=1e-5)
    assert sorted(found["names"]) == sorted(SERIES)


def test_an_encoder_without_heads_gives_embeddings_alone(hospital: Path) -> None:
    features = Encoder.load(hospital / "work" / "encoder").encode(read_study(hospital / "studies" / "s0"))
    assert (features.scores, features.referral, features.priority) == ((), (), ())
    assert np.linalg.norm(features.embedding) == pytest.approx(1, abs=1e-5)


def test_heads_are_trained_on_the_features_that_encoding_gives(hospital: Path) -> None:
    """Latents are cached in half precision, by another path than `prima encode` takes."""
    released = open_released(hospital / "work" / "prima")
    entries = read_manifest(hospital / "manifest.csv")
    (folder,) = (hospital / "work" / "cache").glob("latents-*")
    studies, excluded = cache.opened(folder, entries)
    assert len(excluded) == 1
    found = pooled(released.towers(), Studies(studies, small_config().clip, 0, torch.device("cpu")), Processes())
    encoder = Encoder.load(hospital / "work" / "prima")
    for row, one in zip(found, studies, strict=True):
        np.testing.assert_allclose(row, encoder.encode(read_study(one.entry.path)).registers.ravel(), atol=5e-3)


def test_what_was_left_out_and_what_was_trained_on_is_told(hospital: Path) -> None:
    work = hospital / "work"
    for stage in STAGES:
        (left,) = rows_of(work / "runs" / stage / "excluded.csv")
        assert left["path"].endswith("bad")
        assert left["reason"]
        assert (work / "runs" / stage / "metrics.svg").read_text().startswith("<svg")
    card = json.loads((work / "prima" / "card.json").read_text())
    assert card["trained_on"]["training_studies"] == 4
    assert card["trained_on"]["validation_labels"] == {"meningioma": 1}
    assert any("glioma: not trained" in note for note in card["notes"])
    assert "Research use only" in (work / "prima" / "README.md").read_text()
    steps = [row["step"] for row in rows_of(work / "runs" / "encoder" / "metrics.csv")]
    assert steps == ["2.0", "4.0"]


def test_no_image_is_read_twice_and_a_finished_run_gives_the_same_weights(hospital: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_released(hospital / "work" / "prima").digest
    beside = hospital / "work" / "prima" / "reliability.svg"
    beside.write_text("what `prima calibrate` put there")

    def refuse(path: Path, *_: object) -> None:
        if path.name == "bad":
            raise StudyError("what could not be read is tried again, and again cannot be read")
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(cache, "cut_study", refuse)
    for stage in STAGES:
        train(hospital, stage, "--licence", "the hospital's own")
    assert open_released(hospital / "work" / "prima").digest == before
    assert beside.exists()
    for said in ("card.json", "prima.json"):
        assert "the hospital's own" in (hospital / "work" / "prima" / said).read_text(), "a licence may be named afterwards"


def test_training_can_begin_with_weights_that_are_there(hospital: Path) -> None:
    """A hospital that has the released weights needs no tokenizer of its own."""
    start = hospital / "work" / "prima"
    train(hospital, "encoder", "--encoder", str(start), work="further")
    begun, further = open_released(start).towers().state_dict(), open_released(hospital / "further" / "encoder").towers().state_dict()
    assert all(torch.equal(begun[name], further[name]) for name in begun if name.startswith("tokenizer."))
    assert not torch.equal(begun["study.clip.weight"], further["study.clip.weight"])
    card = json.loads((hospital / "further" / "encoder" / "card.json").read_text())
    assert card["started_from"]["encoder"] == open_released(start).digest
    assert not (hospital / "further" / "runs" / "names").exists()


def test_one_study_for_validation_is_too_few_to_tell_apart(hospital: Path, tmp_path: Path) -> None:
    """Its loss was 0 from the first validation on, so that the first weights were kept as the best."""
    rows = [{**row, "path": str(hospital / row["path"])} for row in rows_of(hospital / "manifest.csv")]
    write_table(tmp_path / "manifest.csv", [row for row in rows if row["patient"] != "p5"])
    shutil.copy(hospital / "small.json", tmp_path)
    shutil.copytree(hospital / "work" / "tokenizer", tmp_path / "work" / "tokenizer")
    with pytest.raises(UsageError, match="for validation"):
        train(tmp_path, "encoder")


@pytest.mark.parametrize(("stage", "result"), [("tokenizer", "tokenizer"), ("encoder", "encoder"), ("heads", "prima")])
def test_a_folder_that_is_no_result_is_not_replaced(stage: str, result: str, hospital: Path) -> None:
    """`--work .` in a checkout of this project would have deleted its package `encoder`."""
    kept = hospital / f"other-{stage}" / result / "own.py"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(UsageError, match="another --work"):
        train(hospital, stage, work=f"other-{stage}")
    assert kept.exists()


def test_damaged_weights_are_replaced(hospital: Path, tmp_path: Path) -> None:
    shutil.copytree(hospital / "work", tmp_path / "work")
    shutil.copy(hospital / "small.json", tmp_path)
    table = [{**row, "path": str(hospital / row["path"])} for row in rows_of(hospital / "manifest.csv")]
    write_table(tmp_path / "manifest.csv", table)
    (tmp_path / "work" / "prima" / "towers.safetensors").write_bytes(b"half")
    train(tmp_path, "heads", "--restart")
    open_released(tmp_path / "work" / "prima", verify=True)


def test_another_configuration_is_refused_until_a_restart_is_asked_for(hospital: Path, tmp_path: Path) -> None:
    shutil.copytree(hospital / "work", tmp_path / "work")
    config = small_config()
    faster = replace(config, heads=replace(config.heads, schedule=replace(config.heads.schedule, rate=0.5)))
    (tmp_path / "small.json").write_text(faster.to_json())
    asked = ["train", "heads", str(hospital / "manifest.csv"), "--work", str(tmp_path / "work"), "--config", str(tmp_path / "small.json")]
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, UsageError)
    assert "--restart" in str(refused.exception)
    assert CliRunner().invoke(app, [*asked, "--restart"], catch_exceptions=False).exit_code == 0


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("path", "studies/none", "line 3: expected a study at studies/none"),
        ("path", "", "line 3: expected a path"),
        ("labels", "menigioma", "line 3: expected names of the taxonomy .*menigioma"),
        ("report", "  ", "line 3: expected a report"),
        ("priority", "urgent", "line 3: expected a priority"),
        ("split", "test", "line 3: expected a split"),
        ("path", "studies/s0", "each study once, found .*s0 2 times"),
    ],
)
def test_a_wrong_cell_is_told_with_its_line(column: str, value: str, told: str, hospital: Path, tmp_path: Path) -> None:
    rows = rows_of(hospital / "manifest.csv")
    rows = [{**row, "path": str(hospital / row["path"])} for row in rows]
    rows[1][column] = str(hospital / value) if value == "studies/s0" else value
    write_table(tmp_path / "manifest.csv", rows)
    with pytest.raises(UsageError, match=told):
        read_manifest(tmp_path / "manifest.csv")


def test_a_report_may_stand_in_a_file_and_a_long_one_is_no_name_of_a_file(tmp_path: Path) -> None:
    """A path was trained on as if it were the report; `prima label --studies` writes such lists."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "report.txt").write_text("A mass.\n")
    for said, wanted in (("s/report.txt", "A mass."), (long := "No mass. " * 40, long.strip())):
        write_table(tmp_path / "m.csv", [{"path": "s", "report": said}])
        assert read_manifest(tmp_path / "m.csv", reports=True)[0].report == wanted
    (tmp_path / "s" / "report.txt").write_bytes(b"\xff\xfe")
    write_table(tmp_path / "m.csv", [{"path": "s", "report": "s/report.txt"}])
    with pytest.raises(UsageError, match=r"line 2: .*UTF-8"):
        read_manifest(tmp_path / "m.csv", reports=True)


def test_reading_in_processes_gives_the_same_studies(hospital: Path, tmp_path: Path) -> None:
    entries, spec = read_manifest(hospital / "manifest.csv"), small_config().network.patch

    def keep(cut: cache.CutStudy) -> dict[str, np.ndarray]:
        return {"values": cut.values}

    for workers in (0, 2):
        cache.fill(tmp_path / str(workers), entries, spec, keep, workers)
    alone, together = (cache.opened(tmp_path / str(workers), entries) for workers in (0, 2))
    assert together[1] == alone[1]
    for one, other in zip(alone[0], together[0], strict=True):
        assert (one.names, one.lengths, one.patient) == (other.names, other.lengths, other.patient)
        np.testing.assert_array_equal(one.arrays()["values"], other.arrays()["values"])


def test_a_study_that_could_not_be_read_is_tried_again(hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive that was away for a moment must not leave its studies out for good."""
    entries, spec, cut_study = read_manifest(hospital / "manifest.csv"), small_config().network.patch, cache.cut_study

    def away(path: Path, *how: object) -> cache.CutStudy:
        if path.name == "s1":
            raise StudyError(f"{path}: the drive is away.")
        return cut_study(path, *how)

    def excluded() -> set[str]:
        cache.fill(tmp_path, entries, spec, lambda cut: {"values": cut.values})
        return {one.path.name for one in cache.opened(tmp_path, entries)[1]}

    with monkeypatch.context() as patch:
        patch.setattr(cache, "cut_study", away)
        before = excluded()
    assert "s1" in before
    assert excluded() == before - {"s1"}


def test_reading_goes_little_ahead_and_a_killed_process_is_told() -> None:
    """All that was cut piled up in memory where tokenising is slower; a Pool waited for ever for a process that was killed."""
    drawn: list[Path] = []

    def paths() -> Iterator[Path]:
        for k in range(40):
            drawn.append(Path(f"s{k}"))
            yield drawn[-1]

    assert next(cache._mapped(os.fspath, paths(), 2)) == "s0"
    assert len(drawn) == 5
    with pytest.raises(UsageError, match="lower --workers"):
        list(cache._mapped(os._exit, [9], 1))  # type: ignore[arg-type, list-item]


def test_cells_may_say_that_nothing_is_known(tmp_path: Path) -> None:
    for name in "st":
        (tmp_path / name).mkdir()
    table = [("s", "?", "?", "?"), ("t", "", "", "")]
    write_table(tmp_path / "m.csv", [dict(zip(("Path", "diagnoses", "referral", "priority"), row, strict=True)) for row in table])
    unknown, normal = read_manifest(tmp_path / "m.csv")
    assert (unknown.labels, unknown.referral, unknown.priority) == (None, None, None)
    assert (normal.labels, normal.referral, normal.priority) == (frozenset(), frozenset(), None)
    unknown, normal = (one.diagnoses for one in from_manifest(tmp_path / "m.csv"))  # as `prima probe` and `prima calibrate` read the list
    assert (unknown, normal) == (None, frozenset())
    with pytest.raises(UsageError, match="column report"):
        read_manifest(tmp_path / "m.csv", reports=True)


def test_a_parquet_table_is_read_or_its_need_is_told(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    path = tmp_path / "m.parquet"
    try:
        from pyarrow import Table, parquet
    except ImportError:
        with pytest.raises(UsageError, match="pyarrow"):
            read_manifest(path)
        return
    parquet.write_table(Table.from_pylist([{"path": "s", "labels": ["glioma", "edema"]}]), path)
    assert read_manifest(path)[0].labels == {"glioma", "edema"}


def test_a_wrong_manifest_is_one_message_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("path,report\nnowhere,\n")
    monkeypatch.setattr(sys, "argv", ["prima", "train", "encoder", str(tmp_path / "m.csv"), "--work", str(tmp_path / "work")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("prima: ")
    assert "nowhere" in said
    assert "report" in said


def run(*words: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "-m", "assistant", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


def begun_like(hospital: Path, work: str) -> None:
    """The tokenizer, and the untrained text tower: equal texts give vocabularies that differ from process to process (tokenizers 0.22)."""
    done = hospital / "work"
    for part in (done / "tokenizer", *(done / "runs" / "encoder").glob("text-*")):
        shutil.copytree(part, hospital / work / part.relative_to(done))


def test_two_processes_train_together(hospital: Path) -> None:
    """Each of the two takes half of what one process takes at once in two portions: the same step, so nearly the same losses."""
    config = small_config()
    halved = replace(
        config,
        names=replace(config.names, schedule=replace(config.names.schedule, batch=1)),
        clip=replace(config.clip, schedule=replace(config.clip.schedule, accumulate=1)),
    )
    (hospital / "halved.json").write_text(halved.to_json())
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    begun_like(hospital, "two")
    words = ("train", "encoder", str(hospital / "manifest.csv"), "--work", str(hospital / "two"), "--config", str(hospital / "halved.json"))
    done = run(*words, launcher=launcher)
    assert done.returncode == 0, done.stderr
    Encoder.load(hospital / "two" / "encoder").encode(read_study(hospital / "studies" / "s0"))
    one, two = (rows_of(hospital / work / "runs" / "encoder" / "metrics.csv") for work in ("work", "two"))
    assert [float(row["training_clip"]) for row in two] == pytest.approx([float(row["training_clip"]) for row in one], rel=0.02)


def test_a_killed_command_goes_on_and_ends_where_it_would_have(hospital: Path) -> None:
    begun_like(hospital, "killed")
    checkpoint = hospital / "killed" / "runs" / "encoder" / "checkpoint.safetensors"
    process = subprocess.Popen([sys.executable, "-m", "assistant", *arguments(hospital, "encoder", work="killed")], cwd=ROOT)
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (hospital / "killed" / "encoder").exists()
    train(hospital, "encoder", work="killed")
    own, whole = (open_released(hospital / work / "encoder").towers().state_dict() for work in ("killed", "work"))
    assert all(torch.equal(own[name], tensor) for name, tensor in whole.items())
