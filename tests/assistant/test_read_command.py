"""`prima read` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from assistant.cli import main


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two NIfTI sequences and a note."""
    monkeypatch.setenv("PRIMA_HOME", str(tmp_path / "home"))
    folder = tmp_path / "study"
    folder.mkdir()
    for seed, name in enumerate(("T1w", "FLAIR")):
        image = nib.Nifti1Image(np.random.default_rng(seed).integers(0, 900, (24, 20, 6)).astype(np.int16), np.diag([1.0, 1, 5, 1]))
        image.set_sform(image.affine, 1)
        nib.save(image, folder / f"{name}.nii.gz")
    (folder / "note.txt").write_text("a note")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["prima", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_json_says_what_is_used_and_what_is_not(study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "read", str(study), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(series["name"], series["plane"], series["weighting"], series["slices"]) for series in told["study"]["used"]] == [
        ("FLAIR", "axial", "FLAIR", 6),
        ("T1w", "axial", "T1", 6),
    ]
    assert told["study"]["excluded"] == [{"name": "(no series)", "reason": "not an image file", "files": 1}]
    assert set(told["context"]) == {"age", "sex", "indication", "description", "prior"}


def test_the_table_is_for_people(study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "read", str(study)) == 0
    told = capsys.readouterr().out
    assert "T1w" in told
    assert "not an image file (1 file)" in told


def test_every_file_is_told(study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "read", str(study), "--files", "--json") == 0
    told = {Path(entry["path"]).name: entry["went"] for entry in json.loads(capsys.readouterr().out)["files"]}
    assert told == {"FLAIR.nii.gz": "used: FLAIR", "T1w.nii.gz": "used: T1w", "note.txt": "not an image file"}


def test_bad_input_is_one_message_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRIMA_HOME", str(tmp_path / "home"))
    assert run(monkeypatch, "read", str(tmp_path / "nowhere"), "--json") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "found nothing at" in said.err
