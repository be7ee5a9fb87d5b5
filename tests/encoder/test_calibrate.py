"""`prima calibrate`: converted weights, which know neither probabilities nor foreign images, learn both from labelled studies."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from made_encoder import DIAGNOSES, write_released
from plain_encoder import WIDTH, PlainEncoder
from scipy import ndimage
from typer.testing import CliRunner

from assistant.calibrate import observe, unknown_labels
from assistant.cli import app
from assistant.errors import UsageError
from assistant.labelled import diagnoses_of, from_folder, from_manifest
from encoder.calibrated import Calibrated, Calibration, with_calibration
from encoder.calibration import HeadCalibration, Platt
from encoder.convert import convert
from encoder.encoder import Encoder
from encoder.errors import WeightsError
from encoder.reading import read_study
from encoder.weights import digest_of
from index.building import case_of
from index.case import ReportSections
from index.store import CaseIndex

STUDIES = 24
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def write_volume(path: Path, seed: int, smooth: float = 2.0) -> None:
    """A head-like ball with texture; `smooth` 0 makes noise, which no study of the list looks like."""
    rng = np.random.default_rng(seed)
    texture = rng.normal(size=(48, 48, 4))
    texture = ndimage.gaussian_filter(texture, smooth) if smooth else texture
    i, j = np.mgrid[:48, :48] - 23.5
    ball = (i**2 + j**2 < 20**2)[..., None]
    voxels = np.clip(ball * (500 + 150 * texture / texture.std()), 0, 2000).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4.0, 6.0, 1.0])), path)


def write_study(folder: Path, seed: int, truth: dict[str, Any] | None, smooth: float = 2.0) -> Path:
    folder.mkdir(parents=True)
    write_volume(folder / "ax_t2_flair.nii.gz", seed, smooth)
    if truth is not None:
        (folder / "truth.json").write_text(json.dumps(truth))
    return folder


def labels(seed: int) -> dict[str, Any]:
    """Meningioma in every second study, an arachnoid cyst in too few."""
    diagnoses = ["meningioma"] * (seed % 2) + ["arachnoid_cyst"] * (seed < 3)
    return {"diagnoses": diagnoses, "referral": ["neuro-oncology"] * (seed % 2), "priority": ("low", "high")[seed % 2]}


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    write_released(root / "prima")
    for seed in range(STUDIES):
        write_study(root / "studies" / f"s{seed:02d}", seed, labels(seed))
    write_study(root / "next", 999, None)
    write_study(root / "noise", 1000, None, smooth=0)
    return root


@pytest.fixture(scope="module")
def told(site: Path) -> dict[str, Any]:
    command = ("calibrate", "--encoder", site / "prima", "--studies", site / "studies", "--out", site / "out", "--json")
    return json.loads(run(*command))  # type: ignore[no-any-return]


def test_converted_weights_get_probabilities_where_there_was_enough_to_fit(site: Path, told: dict[str, Any]) -> None:
    before = json.loads(run("encode", site / "next", "--encoder", site / "prima", "--json"))
    after = json.loads(run("encode", site / "next", "--encoder", site / "out", "--json"))
    assert [score["probability"] for score in before["scores"]] == [None] * 3
    chances = {score["name"]: score["probability"] for score in after["scores"]}
    assert 0 < chances["tumor_adult_meningioma"] < 1
    assert chances["cyst_arachnoid_cyst"] is None
    assert [score["score"] for score in before["scores"]] == [score["score"] for score in after["scores"]]
    assert 0 < after["referral"][0]["probability"] < 1
    assert (before["priority_calibrated"], after["priority_calibrated"]) == (False, True)
    assert told["heads"]["tumor_adult_meningioma"]["positives"] == STUDIES // 2
    assert told["relative_to_threshold"] == ["cyst_arachnoid_cyst", "tumor_adult_glioma"]
    assert told["heads"]["cyst_arachnoid_cyst"] | {"bins": []} == {
        "method": None,
        "positives": 3,
        "negatives": STUDIES - 3,
        "ece": None,
        "bins": [],
    }


def test_they_learn_what_is_foreign(site: Path, told: dict[str, Any]) -> None:  # noqa: ARG001
    assert json.loads(run("encode", site / "noise", "--encoder", site / "prima", "--json"))["out_of_distribution"] is None
    assert json.loads(run("encode", site / "noise", "--encoder", site / "out", "--json"))["out_of_distribution"]["flagged"] is True
    assert json.loads(run("encode", site / "next", "--encoder", site / "out", "--json"))["out_of_distribution"]["flagged"] is False
    assert "scores below mean nothing" in run("encode", site / "noise", "--encoder", site / "out")


def test_hash_and_embedding_stay_so_that_an_index_does_too(site: Path, told: dict[str, Any]) -> None:
    plain, calibrated = Encoder.load(site / "prima"), Encoder.load(site / "out")
    assert isinstance(calibrated, Calibrated)
    assert plain.hash == calibrated.hash == told["sha256"]
    study = read_study(site / "next")
    one, two = plain.encode(study), calibrated.encode(study)
    np.testing.assert_array_equal(one.embedding, two.embedding)
    assert (one.encoder, one.calibration, two.calibration) == (two.encoder, None, calibrated.digest)
    assert isinstance(Encoder.load(site / "out", calibrated=False), type(plain))


def test_the_same_studies_give_the_same_calibration_and_the_sources_stay_as_they_were(site: Path, told: dict[str, Any]) -> None:  # noqa: ARG001
    assert not (site / "prima" / "calibration.json").exists()
    shutil.copytree(site / "prima", site / "copy")
    run("calibrate", "--encoder", site / "copy", "--studies", site / "studies", "--in-place")
    for file in ("calibration.json", "outliers.safetensors", "reliability.svg"):
        assert (site / "copy" / file).read_bytes() == (site / "out" / file).read_bytes()


def test_a_person_reads_relative_to_threshold_and_never_a_probability_without_calibration(site: Path, told: dict[str, Any]) -> None:
    bare, full = (run("encode", site / "next", "--encoder", site / part) for part in ("prima", "out"))
    assert "probability" not in bare
    assert bare.count("relative to threshold, not calibrated") == len(DIAGNOSES)
    assert "tumor_adult_meningioma: probability 0." in full
    assert full.count("relative to threshold, not calibrated") == 2
    assert "ECE" in Path(told["diagram"]).read_text()
    assert "arachnoid" not in Path(told["diagram"]).read_text()


def test_labels_may_come_from_a_folder_a_manifest_or_an_index(site: Path, tmp_path: Path) -> None:
    folders = sorted((site / "studies").iterdir())[:4]
    encoder = PlainEncoder(0.0, "e" * 64)
    rows = ["path,labels"]
    index = CaseIndex.create(tmp_path / "index", encoder.hash, WIDTH, WIDTH)
    for seed, folder in enumerate(folders):
        copy = tmp_path / "bare" / folder.name
        copy.mkdir(parents=True)
        shutil.copy(folder / "ax_t2_flair.nii.gz", copy)
        rows.append(f"bare/{folder.name},{'; '.join(labels(seed)['diagnoses'])}")
        if seed:
            index.add([case_of(read_study(copy), encoder.encode(read_study(copy)), ReportSections(), tuple(labels(seed)["diagnoses"]))])
    (tmp_path / "list.csv").write_text("\n".join(rows))
    wanted = [frozenset(labels(seed)["diagnoses"]) for seed in range(4)]
    own = observe(encoder, [entry for entry in from_folder(site / "studies") if entry.path in folders])
    assert [one.labels.diagnoses for one in own.observations] == wanted
    assert own.observations[1].labels.referral == {"neuro_oncology"}
    listed = observe(encoder, from_manifest(tmp_path / "list.csv"))
    assert [one.labels.diagnoses for one in listed.observations] == wanted
    assert listed.observations[1].labels.referral is None
    indexed = observe(encoder, from_folder(tmp_path / "bare"), index)
    assert [one.labels.diagnoses for one in indexed.observations] == wanted[1:]
    assert [path for path, reason in indexed.skipped if "no labels" in reason] == [str(tmp_path / "bare" / folders[0].name)]


def test_a_child_makes_its_parent_true_and_a_misspelt_label_is_told(site: Path, tmp_path: Path) -> None:
    assert diagnoses_of(["tumor_adult_high_grade_glioma", " "]) == {"high_grade_glioma", "glioma"}
    (tmp_path / "list.csv").write_text(f"path,labels\n{site / 'next'},menigioma;meningioma;edema\n")
    assert unknown_labels(observe(PlainEncoder(0.0, "e" * 64), from_manifest(tmp_path / "list.csv"))) == ("menigioma",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--in-place"),
        (("--out", "{site}/new", "--in-place"), "one of them"),
        (("--out", "{site}/studies"), "new or empty"),
        (("--out", "{site}/new", "--method", "beta"), "platt"),
    ],
)
def test_nothing_is_written_where_nobody_said(site: Path, arguments: tuple[str, ...], said: str) -> None:
    before = digest_of(site / "prima"), sorted((site / "prima").iterdir())
    with pytest.raises(UsageError, match=said):
        run("calibrate", "--encoder", site / "prima", "--studies", site / "studies", *(a.format(site=site) for a in arguments))
    assert before == (digest_of(site / "prima"), sorted((site / "prima").iterdir()))
    assert not (site / "new").exists()


def test_the_shipped_weights_are_never_written_into(site: Path) -> None:
    with pytest.raises(UsageError, match="shipped"):
        run("calibrate", "--studies", site / "studies", "--in-place")


def test_too_few_patients_are_no_calibration(site: Path, tmp_path: Path) -> None:
    for seed in range(3):
        shutil.copytree(site / "studies" / f"s{seed:02d}", tmp_path / "few" / str(seed))
    (tmp_path / "few" / "broken").mkdir()
    (tmp_path / "few" / "broken" / "truth.json").write_text(json.dumps(labels(0)))
    with pytest.raises(UsageError, match=r"at least 5 patients, found 3 \(1 studies skipped: .*broken"):
        run("calibrate", "--encoder", site / "prima", "--studies", tmp_path / "few", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_calibration_of_other_weights_is_refused(site: Path, told: dict[str, Any], tmp_path: Path) -> None:  # noqa: ARG001
    other = write_released(tmp_path / "other", seed=1)
    shutil.copy(site / "out" / "calibration.json", other)
    shutil.copy(site / "out" / "outliers.safetensors", other)
    with pytest.raises(WeightsError, match="fitted for encoder"):
        Encoder.load(other)
    (other / "calibration.json").write_text("{}")
    with pytest.raises(WeightsError, match="prima calibrate"):
        Encoder.load(other)


def test_outliers_of_another_calibration_are_refused(site: Path, told: dict[str, Any], tmp_path: Path) -> None:  # noqa: ARG001
    shutil.copytree(site / "out", tmp_path / "torn")
    with (tmp_path / "torn" / "outliers.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(WeightsError, match=r"outliers\.safetensors"):
        Encoder.load(tmp_path / "torn")


def test_a_calibration_reads_back_as_it_was_written(tmp_path: Path, site: Path) -> None:
    encoder = Encoder.load(site / "prima")
    made = Calibration(encoder.hash, "a test", 40, {"x": HeadCalibration(20, 20, Platt(1.5, -0.2), 0.1)}, {}, 1.2)
    digest = made.save(tmp_path)
    read = with_calibration(encoder, tmp_path)
    assert isinstance(read, Calibrated)
    assert (read.calibration, read.digest) == (made, digest)
    replace(made, studies=41).save(tmp_path)
    changed = with_calibration(encoder, tmp_path)
    assert isinstance(changed, Calibrated)
    assert changed.digest != digest


@pytest.mark.skipif(not os.environ.get("PRIMA_TEST_FIXTURES"), reason="PRIMA_TEST_FIXTURES is not set: no released checkpoint to convert")
def test_a_converted_checkpoint_gets_probabilities_and_knows_foreign_images(site: Path, tmp_path: Path) -> None:
    source = Path(os.environ["PRIMA_TEST_FIXTURES"]) / "prima_reference"
    convert(source / "full_model.pt", source / "vqvae.pth", source / "tokenizer_config.json", tmp_path / "prima")
    run("calibrate", "--encoder", tmp_path / "prima", "--studies", site / "studies", "--in-place")
    near, far = (json.loads(run("encode", site / name, "--encoder", tmp_path / "prima", "--json")) for name in ("next", "noise"))
    assert {score["name"] for score in near["scores"] if score["probability"] is not None} == {"tumor_adult_meningioma"}
    assert [one["out_of_distribution"]["flagged"] for one in (near, far)] == [False, True]
    assert near["encoder"] == Encoder.load(tmp_path / "prima", calibrated=False).hash
