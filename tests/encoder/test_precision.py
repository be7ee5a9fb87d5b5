"""In which numbers an encoder computes, and that nothing else follows from it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from made_encoder import write_released

from encoder.encoder import Encoder
from encoder.errors import WeightsError
from encoder.precision import LARGE, Asked, has_bfloat16, settled
from encoder.prima import Prima
from encoder.reading import read_study

CPU = torch.device("cpu")


def test_auto_is_bfloat16_for_large_networks_where_the_processor_has_it() -> None:
    assert settled("auto", LARGE, CPU) == ("bfloat16" if has_bfloat16(CPU) else "float32")
    assert settled("auto", LARGE - 1, CPU) == "float32"


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_what_was_asked_for_stands_at_any_size(asked: Asked) -> None:
    assert {settled(asked, size, CPU) for size in (1, LARGE)} == {asked}


def test_the_tiny_encoder_stays_exact_and_the_published_sizes_do_not() -> None:
    from encoder.config import preset
    from encoder.networks import Towers

    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in Towers(preset(name)).parameters()) for name in ("tiny", "prima")}  # type: ignore[arg-type]
    assert sizes["tiny"] < LARGE < sizes["prima"]


def test_precision_changes_numbers_a_little_and_the_hash_not_at_all(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "prima")
    voxels = np.random.default_rng(0).integers(100, 900, (32, 32, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([6.0, 6.0, 8.0, 1.0])), tmp_path / "ax_t2.nii.gz")
    study = read_study(tmp_path / "ax_t2.nii.gz")
    loaded = {asked: Encoder.load(folder, asked) for asked in ("auto", "float32", "bfloat16")}  # type: ignore[arg-type]
    assert [encoder.precision for encoder in loaded.values() if isinstance(encoder, Prima)] == ["float32", "float32", "bfloat16"]
    features = {asked: encoder.encode(study) for asked, encoder in loaded.items()}
    np.testing.assert_array_equal(features["auto"].embedding, features["float32"].embedding)
    assert 0 < np.abs(features["bfloat16"].registers - features["float32"].registers).max() < 5e-2
    assert len({one.encoder for one in features.values()}) == 1


def test_another_word_is_refused() -> None:
    with pytest.raises(WeightsError, match="auto, float32 or bfloat16"):
        settled("float16", 1, CPU)  # type: ignore[arg-type]
