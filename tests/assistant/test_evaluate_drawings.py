"""The benchmark scripts draw what stands in evaluation results, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def figure(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None if value is None else value - 0.05, "high": None if value is None else value + 0.05}


def result(folder: Path, name: str, auroc: float) -> Path:
    headline = {"mean AUROC": figure(auroc), "pooled AUROC": figure(auroc)}
    controls = {arm: {"figures": {"mean AUROC": figure(0.5)}} for arm in ("noise", "floor")}
    left = {"studies": 50, "difference": {"pooled AUROC": figure(-0.02)}}
    none = {"studies": 0, "difference": {"pooled AUROC": figure(None)}}
    ablations = {"without sequence names": left, "DWI alone": none}
    beside = {"studies": 60, "difference": {"pooled AUROC": figure(0.01)}}
    path = folder / name
    path.write_text(json.dumps({"headline": headline, "controls": controls, "ablations": ablations, "beside": beside}))
    return path


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, BENCHMARKS / script, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_curve_of_training_size_is_drawn(tmp_path: Path) -> None:
    files = [f"{studies}={result(tmp_path, f'{studies}.json', auroc)}" for studies, auroc in ((8000, 0.9), (2000, 0.8))]
    out = tmp_path / "pictures" / "drawn.svg"
    done = run("training_size.py", *files, "--out", out)
    assert done.returncode == 0, done.stderr
    first = out.read_bytes()
    assert b"<svg" in first
    run("training_size.py", *reversed(files), "--out", out)
    assert out.read_bytes() == first  # in any order, byte for byte
    wrong = run("training_size.py", "many=nowhere.json")
    assert wrong.returncode == 1
    assert "expected STUDIES=FILE.json" in wrong.stderr
    assert "expected one of mean AUROC, pooled AUROC" in run("training_size.py", *files, "--measure", "kappa").stderr


def test_ablations_and_another_encoder_are_drawn(tmp_path: Path) -> None:
    whole = result(tmp_path, "whole.json", 0.9)
    done = run("ablations.py", whole, f"larger tokens={whole}", "--out", tmp_path / "drawn.svg")
    assert done.returncode == 0, done.stderr
    drawn = (tmp_path / "drawn.svg").read_text()
    assert "without sequence names (n = 50)" in drawn  # matplotlib names each text in a comment
    assert "larger tokens (n = 60)" in drawn
    assert "DWI alone" not in drawn  # not computed: not drawn
    assert "expected a result" in run("ablations.py", tmp_path / "none.json").stderr


def test_the_short_trainings_are_drawn_side_by_side(tmp_path: Path) -> None:
    from benchmarks.short_trainings import draw

    mean = {size: {"mean AUROC": figure(auroc)} for size, auroc in (("250", 0.7), ("1000", 0.9))}
    vendor = {"Philips": {"of it": {"studies": 9, "seen": mean["1000"], "left out": mean["250"]}}}
    draw({"sizes": mean, "patches": {"16": mean["1000"], "32": mean["250"]}, "without": vendor}, tmp_path / "drawn.svg")
    first = (tmp_path / "drawn.svg").read_bytes()
    none = {"20": {"mean AUROC": figure(None)}}  # too few positives
    draw({"sizes": mean | none, "patches": none, "without": {}}, tmp_path / "drawn.svg")
    assert b"<svg" in first
    assert (tmp_path / "drawn.svg").read_bytes() != first


def test_tokens_of_another_size_are_told_in_as_many_numbers() -> None:
    from benchmarks.short_trainings import of_patch
    from encoder.config import preset

    assert of_patch(16) == preset("tiny")
    assert of_patch(32).patch.patch == 32
    assert of_patch(32).tokenizer.latent * 4 == of_patch(16).tokenizer.latent
