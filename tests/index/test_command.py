"""`prima index` from studies on disk to a search, with a real encoder of random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from assistant.commands.index import app
from assistant.errors import UsageError
from encoder.config import preset
from encoder.encoder import Card, Encoder
from encoder.model import Labels, Readout
from encoder.networks import Towers
from encoder.outliers import Outliers
from index.errors import CorruptIndex, EncoderMismatch, IndexStoreError
from index.store import CaseIndex

LABELS = Labels(("meningioma",), ("neurology",), ("outside", "pons"))


def weights(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config, rows = preset("tiny"), np.random.default_rng(0).normal(size=(60, 55)).astype(np.float32)
    outliers = Outliers.fit(rows, [rows[:3], rows[3:6]])
    card = Card(config, LABELS, {}, {}, 1.0, outliers.threshold, {"made_by": "a test"})
    towers = Towers(config)
    for registers in (towers.sequence.registers, towers.study.registers):  # loud random registers drown what the images say
        torch.nn.init.normal_(registers, std=0.02)
    Encoder(card, towers, Readout(config, LABELS), outliers).save(folder)
    return folder


def write_study(folder: Path, seed: int, diagnosis: str) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    voxels = np.zeros((64, 64, 10), np.int16)
    edge = 10 + 3 * seed
    voxels[edge:54, edge:54] = rng.integers(100, 900, (54 - edge, 54 - edge, 10))
    nib.save(nib.Nifti1Image(voxels, np.diag([3.0, 3.0, 6.0, 1.0])), folder / "ax_t2_flair.nii.gz")
    (folder / "report.txt").write_text(f"FINDINGS\nNo haemorrhage.\n\nIMPRESSION\nAppearances of {diagnosis}.\n")
    (folder / "truth.json").write_text(json.dumps({"diagnoses": [diagnosis]}))


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("PRIMA_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def site(home: Path) -> dict[str, Path]:
    root = home / "site"
    for seed, diagnosis in enumerate(("meningioma", "hydrocephalus", "meningioma")):
        write_study(root / "studies" / f"s{seed}", seed, diagnosis)
    return {"root": root, "studies": root / "studies", "encoder": weights(root / "encoder", 0), "index": root / "index"}


@pytest.fixture(scope="module", autouse=True)
def built(site: dict[str, Path]) -> dict[str, Any]:
    return json.loads(run("build", site["index"], "--studies", site["studies"], "--encoder", site["encoder"], "--json"))  # type: ignore[no-any-return]


def test_build_tells_what_it_did(site: dict[str, Path], built: dict[str, Any]) -> None:
    assert (built["added"], built["known"], built["skipped"], built["info"]["count"]) == (3, 0, [], 3)
    assert built["info"]["command"] == "prima index build --studies studies"
    assert "sound" in run("verify", site["index"])
    assert json.loads(run("verify", site["index"], "--json"))["ok"] is True


def test_a_study_finds_itself_only_when_asked_for(site: dict[str, Path]) -> None:
    asked = ("search", site["index"], "--study", site["studies"] / "s1", "--encoder", site["encoder"], "--json")
    own, *_ = json.loads(run(*asked, "--same-patient"))["cases"]
    assert own["diagnoses"] == ["hydrocephalus"]
    assert own["similarity"] == pytest.approx(1, abs=1e-4)
    others = json.loads(run(*asked))["cases"]
    assert [case["diagnoses"] for case in others] == [["meningioma"], ["meningioma"]]


def test_words_cases_and_filters(site: dict[str, Path]) -> None:
    by_words = json.loads(run("search", site["index"], "--text", "hydrocephalus", "--json"))["cases"]
    assert [case["diagnoses"] for case in by_words] == [["hydrocephalus"]]
    by_case = json.loads(run("search", site["index"], "--case", by_words[0]["id"], "--where", "diagnosis=meningioma", "--json"))["cases"]
    assert [case["diagnoses"] for case in by_case] == [["meningioma"], ["meningioma"]]
    assert "Nothing similar" in run("search", site["index"], "--text", "zebra")
    assert by_words[0]["id"] in run("search", site["index"], "--text", "hydrocephalus")


def test_adding_again_adds_only_what_is_new(site: dict[str, Path]) -> None:
    write_study(site["root"] / "more" / "s9", 9, "lymphoma")
    again = json.loads(run("add", site["index"], "--studies", site["studies"], "--encoder", site["encoder"], "--json"))
    assert (again["added"], again["known"]) == (0, 3)
    assert "1 added" in run("add", site["index"], "--studies", site["root"] / "more", "--encoder", site["encoder"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["search", "{index}"], "--study PATH"),
        (["search", "{index}", "--text", "x", "--where", "colour=red"], "diagnosis, age_band"),
        (["search", "{index}", "--text", "x", "--where", "diagnosis=flu"], "meningioma"),
        (["search", "{index}", "--case", "none"], "no case"),
        (["search", "{root}", "--text", "x"], "prima index build"),
        (["build", "{root}/new"], "--from"),
        (["build", "{root}/new", "--studies", "{root}/nowhere"], "no such"),
        (["build", "{index}", "--studies", "{studies}", "--encoder", "{encoder}"], "Add to that index"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(site: dict[str, Path], arguments: list[str], told: str) -> None:
    with pytest.raises((UsageError, IndexStoreError), match=told):
        run(*[argument.format(**site) for argument in arguments])


def test_an_index_of_another_encoder_is_refused(site: dict[str, Path], tmp_path: Path) -> None:
    other = weights(tmp_path / "other", 1)
    for arguments in (("add", site["index"], "--studies", site["studies"]), ("search", site["index"], "--study", site["studies"] / "s0")):
        with pytest.raises(EncoderMismatch):
            run(*arguments, "--encoder", other)


def test_verify_fails_on_a_damaged_index_and_repairs_what_is_derived(site: dict[str, Path]) -> None:
    (site["index"] / "vectors.faiss").write_bytes(b"damaged")
    with pytest.raises(CorruptIndex, match="--repair"):
        run("verify", site["index"])
    assert "sound" in run("verify", site["index"], "--repair")
    assert CaseIndex.open(site["index"]).verify().ok
