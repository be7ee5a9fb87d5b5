"""`prima explain` on the command line, with the shipped weights."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from assistant.cli import main

pytestmark = pytest.mark.weights


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small NIfTI sequences of noise: foreign to any weights."""
    monkeypatch.setenv("PRIMA_HOME", str(tmp_path / "home"))
    folder = tmp_path / "study"
    folder.mkdir()
    for seed, name in enumerate(("T2w", "FLAIR")):
        voxels = np.random.default_rng(seed).integers(100, 900, (48, 48, 5)).astype(np.int16)
        image = nibabel.Nifti1Image(voxels, np.diag([4.0, 4, 6, 1]))
        image.set_sform(image.affine, 1)
        nibabel.save(image, folder / f"{name}.nii.gz")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["prima", "explain", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_json_lists_the_tokens_and_the_overlays(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "overlays"
    assert run(monkeypatch, str(study), "--diagnosis", "meningioma", "--out", str(out), "--top", "4", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["diagnosis"], told["method"]) == ("meningioma", "gradient")
    assert len(told["tokens"]) == 4
    assert {"sequence", "slice", "mm", "side", "region", "relevance"} <= told["tokens"][0].keys()
    assert told["out_of_distribution"]["flagged"]
    assert [Path(path).parent for path in told["overlays"]] == [out, out]
    assert all(nibabel.load(path).shape == (48, 48, 5) for path in told["overlays"])


def test_the_list_can_be_read_and_says_that_noise_is_foreign(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(study), "--diagnosis", "meningioma", "--top", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Out of distribution")
    assert "relevance" in lines[1]
    assert len(lines) == 5
    assert "mm LPS" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--diagnosis", "meningoma"), "Did you mean meningioma?"),
        (("--diagnosis", "syrinx"), "no trained head"),
        (("--diagnosis", "meningioma", "--method", "magic"), "gradient, occlusion, lime"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_message(
    arguments: tuple[str, ...], said: str, study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(study), *arguments) == 2
    assert said in capsys.readouterr().err
