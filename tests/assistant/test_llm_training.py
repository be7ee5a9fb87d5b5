"""Training the adapter: the base stays as it is, the result opens, and the cache is read as the assistant would see it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hand_made import features
from safetensors.numpy import save_file
from tiny_llm import save_tiny

from assistant.errors import AdapterMismatch, UsageError
from assistant.llm import LanguageModel, files_hash
from assistant.train.adapter import AdapterConfig, FeatureCache, example, split, train_adapter

HEADS = ("high_grade_glioma", "meningioma", "edema", "large_vessel_stroke")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight studies, four with a glioma on the right and four normal, mirror images among them."""
    folder, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    ill = np.arange(8) % 2 == 0
    score = np.where(ill[:, None] & (np.array(HEADS) == "high_grade_glioma"), 3.0, -4.0).astype(np.float32)
    arrays = {
        "embedding": rng.normal(size=(8, 8)).astype(np.float32),
        "registers": rng.normal(size=(8, 2, 8)).astype(np.float32),
        "sequences_mean": rng.normal(size=(8, 8)).astype(np.float32),
        "score": score,
        "probability": (1 / (1 + np.exp(-score))).astype(np.float32),
    }
    place = {"side": "right", "region": "frontal lobe"}
    studies = [
        {
            "seed": row // 2,
            "weightings": ["T1", "FLAIR", "DWI"],
            "diagnoses": ["high_grade_glioma"] if ill[row] else [],
            "findings": [{"name": "high_grade_glioma", **place}] if ill[row] else [],
            "age": 60,
            "sex": "F",
            "locations": [{"diagnosis": "high_grade_glioma", **place, "confidence": 0.9}] if ill[row] else [],
            "neighbours": [(row + 2) % 8, (row + 4) % 8],
            "similarities": [0.9, 0.8],
        }
        for row in range(8)
    ]
    save_file(arrays, folder / "features.safetensors")
    (folder / "features.json").write_text(json.dumps({"encoder": "e" * 64, "heads": HEADS, "studies": studies}))
    return folder


def test_training_writes_an_adapter_and_leaves_the_base_as_it_is(cache: Path, tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base")
    before = files_hash(base)
    config = AdapterConfig(rank=2, alpha=4, length=3, batch=2, warm_up_steps=3, minutes=0.02)
    figures = train_adapter(tmp_path / "adapter", cache, config, base=str(base))
    assert figures["steps"] >= 1
    assert files_hash(base) == before
    language_model = LanguageModel.open(str(base), tmp_path / "adapter", "e" * 64)
    assert language_model.conditioning == "soft prompt + text"
    assert "".join(language_model.stream("What is it?", features(), max_tokens=4)) is not None
    assert str(tmp_path) not in (tmp_path / "adapter" / "adapter_config.json").read_text()
    with pytest.raises(AdapterMismatch):
        LanguageModel.open(str(base), tmp_path / "adapter", "f" * 64)


def test_a_study_and_its_mirror_image_are_not_told_apart_by_the_split(cache: Path) -> None:
    read = FeatureCache.read(cache)
    train, held = split(read, AdapterConfig(held_out=0.5))
    assert sorted(train + held) == list(range(8))
    assert not {read.studies[row]["seed"] for row in train} & {read.studies[row]["seed"] for row in held}


def test_a_row_becomes_the_evidence_that_the_assistant_would_have(cache: Path) -> None:
    evidence = FeatureCache.read(cache).evidence(0, Random(0))
    assert evidence.positives == ("high_grade_glioma",)
    assert evidence.locations["high_grade_glioma"].region == "frontal lobe"
    assert {neighbour.case.diagnoses for neighbour in evidence.cases} <= {("high_grade_glioma",)}
    assert "moyamoya" in {left.name for left in evidence.not_assessed}


def test_hidden_scores_leave_no_trace_in_the_prompt(cache: Path) -> None:
    read, rng = FeatureCache.read(cache), Random(3)
    hidden = [item for item in (example(read, [0], rng) for _ in range(60)) if "Scores: hidden" in item.prompt]
    assert hidden
    for item in hidden:
        assert "P:high_grade_glioma" not in item.prompt.partition("Cases:")[0]
        assert "Locations: hidden" in item.prompt
        assert '"differential": ["high_grade_glioma"]' in item.reply


def test_a_folder_without_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"features\.safetensors"):
        FeatureCache.read(tmp_path)
