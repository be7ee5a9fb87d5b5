"""Converted weights compute what the official code computed, stage by stage (the fixture's README says how it was made).

PRIMA_TEST_FIXTURES names the folder that holds prima_reference/, PRIMA_TEST_DATA the real scans it was made from.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from numpy.typing import NDArray

from encoder.config import PatchSpec, preset
from encoder.convert import convert
from encoder.errors import StudyError
from encoder.naming import series_name
from encoder.networks import token_rows
from encoder.patches import Patches, cut, patchify
from encoder.prima import Prima
from encoder.reading import read_study
from encoder.study import Context, Plane, Series, Study, Weighting
from encoder.tokenizer import encode_patches
from encoder.volume import Volume, canonical

FIXTURES, DATA = os.environ.get("PRIMA_TEST_FIXTURES"), os.environ.get("PRIMA_TEST_DATA")
needs_fixtures = pytest.mark.skipif(not FIXTURES, reason="PRIMA_TEST_FIXTURES is not set: no reference to compare with")
needs_scans = pytest.mark.skipif(not (FIXTURES and DATA), reason="PRIMA_TEST_FIXTURES or PRIMA_TEST_DATA is not set: no real scans")

FOLDERS = (
    "philips_elitionx_brain_multiseries/1301_MPRAGE_classic",
    "philips_elitionx_brain_multiseries/1901_pCASL_classic",
    "torchio_coronal_modality_mislabelled_CT",
)
PLANE_AXES = (2, 0, 0)
MADE_UP = (
    "infill",
    "infill_duplicate",
    "few_tokens",
    "maximum_below_5_and_padding",
    "coronal_fifty_exactly",
    "sagittal_padding",
    "nearly_empty",
)
TOLERANCE = 1e-4  # of the largest value, from the latents on
SPEC = preset("prima").patch


def reference() -> Path:
    assert FIXTURES
    return Path(FIXTURES) / "prima_reference"


@cache
def expected(file: str = "expected.npz") -> dict[str, NDArray[Any]]:
    with np.load(reference() / file) as arrays:
        return dict(arrays)


@cache
def expected_scores() -> dict[str, Any]:
    return dict(json.loads((reference() / "expected.json").read_text()))


def difference(found: Any, wanted: NDArray[Any]) -> float:
    """Largest difference, relative to the largest wanted value."""
    found = found.detach().float().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def classic_series(folder: Path) -> Series:
    """One classic DICOM series: slices by geometry, numbers as SimpleITK types them (integers stay, a fractional slope makes float64)."""
    datasets = [pydicom.dcmread(path) for path in folder.iterdir() if path.suffix == ".dcm"]
    row, column = np.array(datasets[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    datasets.sort(key=lambda d: float(normal @ np.array(d.ImagePositionPatient, float)))
    first, last = (np.array(d.ImagePositionPatient, float) for d in (datasets[0], datasets[-1]))
    slices = [d.pixel_array * float(d.get("RescaleSlope", 1)) + float(d.get("RescaleIntercept", 0)) for d in datasets]
    voxels = np.stack(slices).transpose(2, 1, 0)
    if all(float(d.get("RescaleSlope", 1)).is_integer() for d in datasets):
        voxels = voxels.astype(datasets[0].pixel_array.dtype)
    down, across = map(float, datasets[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3] = np.stack([row * across, column * down, (last - first) / (len(datasets) - 1), first], axis=1)
    name = series_name(datasets[0].get("SeriesDescription", ""), datasets[0].get("ProtocolName", ""), "unused")
    return Series(name, voxels, affine, Plane.AXIAL, Weighting.UNKNOWN)


@cache
def series() -> tuple[Series, ...]:
    assert DATA
    return tuple(classic_series(Path(DATA) / folder) for folder in FOLDERS)


@cache
def patches() -> tuple[Patches, ...]:
    return tuple(patchify(one, SPEC) for one in series())


def study() -> Study:
    return Study("key", None, series(), (), Context(description=expected_scores()["study_description"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prima") / "weights"
    convert(reference() / "full_model.pt", reference() / "vqvae.pth", reference() / "tokenizer_config.json", out)
    return out


@pytest.fixture(scope="module")
def prima(folder: Path) -> Prima:
    return Prima.load(folder)


@needs_fixtures
@pytest.mark.parametrize("case", MADE_UP)
def test_made_up_volumes_give_the_official_tokens(case: str) -> None:
    """Infill, a token kept twice, few tokens, a maximum below 5, exactly 50, padding, a nearly empty volume."""
    wanted = {key.removeprefix(f"{case}__"): value for key, value in expected("tokens_expected.npz").items() if key.startswith(f"{case}__")}
    volume = wanted["volume"].astype(np.float64)
    axis = next(i for i, n in enumerate(volume.shape) if n != 256)
    found = cut(Volume(volume, np.eye(4), axis), SPEC)
    assert found.percentage == wanted["percentage"]
    np.testing.assert_array_equal(found.ids, wanted["kept_ids"])
    np.testing.assert_array_equal(found.positions, wanted["kept_positions"])
    np.testing.assert_allclose(found.foreground, wanted["foreground"][found.ids], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found.values[:2], wanted["first_tokens"])


@needs_scans
@pytest.mark.parametrize("i", range(3))
def test_volumes(i: int) -> None:
    want, volume = expected(), canonical(series()[i], SPEC)
    values = volume.values
    np.testing.assert_array_equal(values.shape, want[f"s{i}_volume_shape"])
    assert volume.plane_axis == PLANE_AXES[i]
    assert values.mean() == pytest.approx(float(want[f"s{i}_volume_mean"]), rel=1e-6)
    assert values.max() == pytest.approx(float(want[f"s{i}_volume_max"]), rel=1e-6)
    assert values[tuple(n // 2 for n in values.shape)] == pytest.approx(float(want[f"s{i}_volume_centre"]), rel=1e-6)
    plane = values[len(values) // 2] if i == 1 else values[:, values.shape[1] // 2, :64]
    np.testing.assert_allclose(plane, want[f"s{i}_volume_slice"], rtol=1e-6, atol=1e-6)


@needs_scans
@pytest.mark.parametrize("i", range(3))
def test_kept_tokens_and_their_latents(i: int, prima: Prima) -> None:
    want, found = expected(), patches()[i]
    assert found.total == want[f"s{i}_n_tokens"]
    assert found.percentage == want[f"s{i}_otsu_percentage"]
    np.testing.assert_array_equal(found.ids, want[f"s{i}_kept_ids"])
    np.testing.assert_array_equal(found.positions, want[f"s{i}_kept_positions"])
    np.testing.assert_array_equal(found.values.shape[1:], want[f"s{i}_patch_shape"].ravel())
    (latents,) = encode_patches(prima.towers.tokenizer, [found])
    assert difference(latents, want[f"s{i}_latents"]) < TOLERANCE


@needs_scans
def test_names_come_from_the_tags_as_the_official_reader_makes_them() -> None:
    assert [one.name for one in series()] == expected_scores()["series_names"]


@needs_scans
def test_the_reader_gives_the_same_series(tmp_path: Path) -> None:
    """Numbers, their type and places as above. (The third folder is labelled CT: the official reader takes it, ours does not.)"""
    assert DATA
    read = read_study([Path(DATA) / folder for folder in FOLDERS[:2]], home=tmp_path)
    for found, wanted in zip(sorted(read.series, key=lambda s: s.name, reverse=True), series(), strict=False):
        assert found.name == wanted.name
        assert found.voxels.dtype == wanted.voxels.dtype
        np.testing.assert_array_equal(found.voxels, wanted.voxels)
        np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-9)


@needs_fixtures
@pytest.mark.parametrize("i", range(3))
def test_token_rows(i: int) -> None:
    want = expected()
    latents, positions = (torch.from_numpy(want[f"s{i}_{part}"]) for part in ("latents", "kept_positions"))
    assert difference(token_rows(latents, positions, PLANE_AXES[i], SPEC)[:8], want[f"s{i}_tokens_input"]) < 1e-6


@needs_fixtures
@torch.inference_mode()
def test_names_sequences_and_study_from_the_official_latents(prima: Prima) -> None:
    want, towers = expected(), prima.towers
    rows = [
        token_rows(torch.from_numpy(want[f"s{i}_latents"]), torch.from_numpy(want[f"s{i}_kept_positions"]), axis, SPEC)
        for i, axis in enumerate(PLANE_AXES)
    ]
    names = towers.name(expected_scores()["series_names"])
    assert difference(names, want["name_tokens"]) < TOLERANCE
    sequence = towers.sequence(torch.cat(rows), [len(r) for r in rows], names)
    assert difference(sequence.registers, want["sequence_registers"]) < TOLERANCE
    assert difference(sequence.embedding, want["series_embeddings"]) < TOLERANCE
    description = towers.description([expected_scores()["study_description"]])
    assert difference(description, want["study_description_token"]) < TOLERANCE
    out = towers.study(sequence.embedding, [3], description)
    assert difference(out.registers, want["study_registers"]) < TOLERANCE
    assert difference(out.pooled, want["study_pooled"]) < TOLERANCE
    assert difference(out.clip, want["clip_embedding"]) < TOLERANCE


@needs_scans
def test_a_study_from_its_files_to_its_scores(prima: Prima) -> None:
    features, want = prima.encode(study()), expected_scores()
    assert difference(features.registers.reshape(1, -1), expected()["study_pooled"]) < TOLERANCE
    assert difference(features.embedding[None], expected()["clip_embedding"]) < TOLERANCE
    assert difference(features.sequences, expected()["series_embeddings"]) < TOLERANCE
    for found, group in ((features.scores, "diagnosis"), (features.referral, "referral")):
        assert [score.name for score in found] == list(want[group])
        np.testing.assert_allclose([score.score for score in found], list(want[group].values()), rtol=0, atol=TOLERANCE / 2)
        assert all(score.probability is None for score in found)
    levels = torch.tensor(list(want["priority"].values())).softmax(0)
    assert [level.value for level, _ in features.priority] == list(want["priority"])
    np.testing.assert_allclose([p for _, p in features.priority], levels, atol=TOLERANCE)


@pytest.mark.slow  # minutes where the processor emulates bfloat16; the tiny preset: test_precision.py
@needs_scans
def test_bfloat16_stays_close_and_turns_no_score_around(folder: Path) -> None:
    """Within 2e-2 on the pooled feature; no change of sign where a score's distance from zero exceeds 5 % of the scores' spread."""
    features = Prima.load(folder, precision="bfloat16").encode(study())
    assert difference(features.registers.reshape(1, -1), expected()["study_pooled"]) < 2e-2
    exact = np.array(list(expected_scores()["diagnosis"].values()))
    found = np.array([score.score for score in features.scores])
    clear = np.abs(exact) > 0.05 * np.ptp(exact)
    assert (np.sign(exact) == np.sign(found))[clear].all()


@needs_scans
def test_filtering_first_and_batching_across_series_change_nothing(prima: Prima) -> None:
    """The official code encodes every token of one series after another, then filters."""
    everything = replace(SPEC, min_foreground=0, infill_to=-1, keep_doubles=False)
    together = encode_patches(prima.towers.tokenizer, patches()[1:])
    for one, kept, latents in zip(series()[1:], patches()[1:], together, strict=True):
        (every,) = encode_patches(prima.towers.tokenizer, [patchify(one, everything)])
        torch.testing.assert_close(latents, every[torch.from_numpy(kept.ids)], atol=1e-6, rtol=1e-5)


@needs_scans
def test_the_study_is_left_as_it_was(prima: Prima) -> None:
    before = [one.voxels.copy() for one in series()]
    prima.encode(study())
    for one, voxels in zip(series(), before, strict=True):
        np.testing.assert_array_equal(one.voxels, voxels)


def test_a_series_of_more_than_5000_tokens_is_left_out() -> None:
    with pytest.raises(StudyError, match=r"Series 'thin': expected at most 5000 tokens, found 5056"):
        patchify(Series("thin", np.zeros((256, 256, 316), np.uint8), np.eye(4), Plane.AXIAL, Weighting.T1), PatchSpec())
