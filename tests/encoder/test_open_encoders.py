"""Another encoder in Prima's place, through nothing but the documented seam: read, encode, index, calibrate, draft."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import plain_encoder
import pytest
from typer.testing import CliRunner

from assistant.assistant import Assistant
from assistant.cli import app
from assistant.rendering import human
from assistant.result import Finished
from encoder.encoder import Encoder
from encoder.errors import WeightsError
from encoder.reading import read_study
from index.store import CaseIndex

DRAFT = '<think>\n1. FLAIR shows a mass. [S:FLAIR]\n</think>\n{"differential": ["meningioma"], "findings": [], "impression": []}'


class Reciter:
    """Says one text, whatever it is asked."""

    hash, adapter_hash, conditioning = "l" * 64, None, "text only"

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def stream(self, prompt: str, features: Any, *, stop: threading.Event, **_: Any) -> Iterator[str]:  # noqa: ARG002
        self.prompts.append(prompt)
        yield DRAFT


def write_study(folder: Path, seed: int, diagnosis: str) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    voxels = rng.gamma(2 + 2 * (diagnosis == "meningioma"), 100, (24, 24, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4.0, 6.0, 1.0])), folder / "ax_t2_flair.nii.gz")
    (folder / "report.txt").write_text(f"FINDINGS\nA mass.\n\nIMPRESSION\nAppearances of {diagnosis}.\n")
    (folder / "truth.json").write_text(json.dumps({"diagnoses": [diagnosis]}))
    return folder


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("site")
    plain_encoder.install(root / "site-packages")
    plain_encoder.write_weights(root / "weights")
    for seed in range(24):
        write_study(root / "studies" / f"s{seed:02d}", seed, ("meningioma", "arachnoid_cyst")[seed % 2])
    sys.path.insert(0, str(root / "site-packages"))
    yield root
    sys.path.remove(str(root / "site-packages"))


@pytest.fixture(scope="module")
def index(site: Path) -> CaseIndex:
    run("index", "build", site / "index", "--studies", site / "studies", "--encoder", site / "weights", "--json")
    return CaseIndex.open(site / "index")


def test_it_encodes_and_its_scores_are_relative_to_threshold(site: Path) -> None:
    encoded = json.loads(run("encode", site / "studies" / "s01", "--encoder", site / "weights", "--json"))
    assert [score["name"] for score in encoded["scores"]] == list(plain_encoder.DIAGNOSES)
    assert len(encoded["clip_embedding"]) == plain_encoder.WIDTH
    assert encoded["encoder"] == Encoder.load(site / "weights").hash
    assert "probability" not in run("encode", site / "studies" / "s01", "--encoder", site / "weights")


def test_an_index_of_its_own_finds_its_own_cases(site: Path, index: CaseIndex) -> None:
    assert index.info.encoder == Encoder.load(site / "weights").hash
    hits = json.loads(
        run("index", "search", index.folder, "--study", site / "studies" / "s01", "--encoder", site / "weights", "--same-patient", "--json")
    )
    assert hits["cases"][0]["similarity"] == pytest.approx(1, abs=1e-4)


def test_a_study_is_drafted_with_it_and_the_scores_are_no_probabilities(site: Path, index: CaseIndex) -> None:
    recites = Reciter()
    *_, last = Assistant(Encoder.load(site / "weights"), index, recites).report(read_study(site / "studies" / "s02"))  # type: ignore[arg-type]
    assert isinstance(last, Finished)
    assert {item.diagnosis: item.probability for item in last.result.differential} == {"meningioma": None, "arachnoid_cyst": None}
    text = "\n".join(human(last.result))
    assert "relative to threshold, not calibrated" in text
    assert "probability" not in text
    assert "P:meningioma +" in recites.prompts[0]
    assert last.result.provenance.encoder == index.info.encoder


def test_calibration_gives_it_probabilities_and_foreign_images_without_a_line_of_its_own(site: Path, index: CaseIndex) -> None:
    run("calibrate", "--encoder", site / "weights", "--studies", site / "studies", "--out", site / "calibrated")
    encoder = Encoder.load(site / "calibrated")
    *_, last = Assistant(encoder, index, Reciter()).report(read_study(site / "studies" / "s02"))  # type: ignore[arg-type]
    assert isinstance(last, Finished)
    assert last.result.differential[0].probability is not None
    assert last.result.out_of_distribution["flagged"] is False
    assert last.result.provenance.calibration is not None


def test_a_kind_that_nobody_installed_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text('{"kind": "hlip"}')
    with pytest.raises(WeightsError, match=r"'hlip'.*prima\.encoders"):
        Encoder.load(tmp_path)


def test_precision_reaches_it(site: Path) -> None:
    with pytest.raises(WeightsError, match="float32"):
        Encoder.load(site / "weights", "bfloat16")
