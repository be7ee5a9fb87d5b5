"""One study in, features out: the tiny preset with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.config import preset
from encoder.encoder import Card, Encoder, Head
from encoder.errors import StudyError, WeightsError
from encoder.model import Labels, Readout, TokenBatch, embed
from encoder.networks import Towers
from encoder.outliers import Outliers, series_statistics
from encoder.study import Acquisition, Context, Plane, Series, Study, Weighting
from encoder.volume import canonical
from encoder.weights import rounded

LABELS = Labels(("meningioma", "edema"), ("neurology", "neurosurgery"), ("outside", "frontal lobe", "pons"))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    config = preset("tiny")
    rows = np.random.default_rng(0).normal(size=(60, 55)).astype(np.float32)
    outliers = Outliers.fit(rows, [rows[:3], rows[3:6]])
    heads = {"meningioma": Head(-20.0, 1.0, 0.0), "edema": Head(20.0)}
    card = Card(config, LABELS, heads, {"neurology": Head(0.0, 1.0, 0.0)}, 1.0, outliers.threshold, {"made_by": "a test"})
    return Encoder(card, Towers(config), Readout(config, LABELS), outliers)


def series(name: str = "AX_T2", seed: int = 0, slices: int = 12) -> Series:
    rng = np.random.default_rng(seed)
    voxels = np.zeros((96, 96, slices), np.int16)
    voxels[20:76, 16:80] = rng.integers(200, 900, (56, 64, slices))
    affine = np.diag([2.4, 2.4, 6.0, 1.0])
    affine[:3, 3] = (-115, -115, -30)
    return Series(name, voxels, affine, Plane.AXIAL, Weighting.T2, Acquisition())


def study(*names: str) -> Study:
    return Study("k", None, tuple(series(n, s) for s, n in enumerate(names or ("AX_T2", "AX_FLAIR"))), (), Context(description="MRI BRAIN"))


def test_features_have_a_unit_embedding_and_one_row_a_sequence(encoder: Encoder) -> None:
    features = encoder.encode(study("AX_T2", "AX_FLAIR", "AX_T1"))
    assert np.linalg.norm(features.embedding) == pytest.approx(1, abs=1e-5)
    assert features.names == ("AX_T2", "AX_FLAIR", "AX_T1")
    assert len(features.sequences) == 3
    assert sum(p for _, p in features.priority) == pytest.approx(1, abs=1e-5)


def test_encoding_leaves_the_study_as_it_was(encoder: Encoder) -> None:
    one = study()
    before = [s.voxels.copy() for s in one.series]
    first, second = encoder.encode(one), encoder.encode(one)
    assert all((s.voxels == b).all() for s, b in zip(one.series, before, strict=True))
    np.testing.assert_array_equal(first.embedding, second.embedding)


def test_the_order_of_series_does_not_matter(encoder: Encoder) -> None:
    one = study("AX_T2", "AX_FLAIR", "AX_T1")
    turned = replace(one, series=one.series[::-1])
    np.testing.assert_allclose(encoder.encode(one).embedding, encoder.encode(turned).embedding, atol=1e-5)


def test_a_packed_batch_equals_a_loop(encoder: Encoder) -> None:
    singles = [encoder.prepare(study("AX_T2", "AX_FLAIR")).batch, encoder.prepare(study("AX_T1")).batch]
    joined = TokenBatch(
        torch.cat([b.rows for b in singles]),
        [n for b in singles for n in b.lengths],
        [n for b in singles for n in b.names],
        [n for b in singles for n in b.counts],
        [n for b in singles for n in b.descriptions],
    )
    with torch.inference_mode():
        together = embed(encoder.towers, joined)[1].clip
        alone = torch.cat([embed(encoder.towers, b)[1].clip for b in singles])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_only_trained_heads_speak_and_uncalibrated_ones_give_no_probability(encoder: Encoder) -> None:
    scores = {s.name: s for s in encoder.encode(study()).scores}
    assert set(scores) == {"meningioma", "edema"} == encoder.trained_heads
    assert scores["meningioma"].probability is not None
    assert scores["edema"].probability is None


def test_a_study_without_signal_is_refused(encoder: Encoder) -> None:
    empty = replace(series(), voxels=np.zeros((96, 96, 12), np.int16))
    with pytest.raises(StudyError, match="signal"):
        encoder.encode(replace(study(), series=(empty,)))


def test_saved_weights_load_to_the_same_features_and_hash(encoder: Encoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "w")
    again = Encoder.load(tmp_path / "w")
    assert again.hash == encoder.hash
    np.testing.assert_allclose(again.encode(study()).embedding, encoder.encode(study()).embedding, atol=1e-6)


def test_an_encoder_is_what_it_saved_to_the_last_bit_and_saves_to_the_same_hash_again(encoder: Encoder, tmp_path: Path) -> None:
    """Weights lie on disk in half precision: rounding happens at the first save, to the encoder in memory too."""
    encoder.save(tmp_path / "a")
    again = Encoder.load(tmp_path / "a")
    assert isinstance(again, Encoder)
    features, same = encoder.encode(study()), again.encode(study())
    np.testing.assert_array_equal(features.embedding, same.embedding)
    assert (features.scores, features.out_of_distribution, features.encoder) == (same.scores, same.out_of_distribution, same.encoder)
    again.save(tmp_path / "b")
    assert again.hash == encoder.hash
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_half_precision_halves_the_file_and_hardly_moves_a_score(tmp_path: Path) -> None:
    """The bound is a hundredth of a logit: a probability moves by less than 0.0025."""
    torch.manual_seed(1)
    config, rows = preset("tiny"), np.random.default_rng(0).normal(size=(60, 55)).astype(np.float32)
    card = Card(config, LABELS, {name: Head(0.0) for name in LABELS.diagnoses}, {}, 1.0, 3.0, {})
    exact = Encoder(card, Towers(config), Readout(config, LABELS), Outliers.fit(rows, [rows[:3]]))
    numbers = sum(t.numel() for module in (exact.towers, exact.readout) for t in module.state_dict().values())
    before = exact.encode(study())
    exact.save(tmp_path)
    after = exact.encode(study())
    assert (tmp_path / "model.safetensors").stat().st_size < 2.1 * numbers
    np.testing.assert_allclose([s.score for s in before.scores], [s.score for s in after.scores], rtol=0, atol=1e-2)
    assert float(before.embedding @ after.embedding) > 0.9999


def test_what_half_precision_cannot_hold_stays_as_it_is() -> None:
    large, whole, weight = torch.tensor([1e6, 1.0]), torch.tensor([3, 4]), torch.tensor([0.1])
    assert rounded(large) is large
    assert rounded(whole) is whole
    assert rounded(weight).dtype == torch.float16


@pytest.mark.weights
def test_the_shipped_scores_survive_half_precision(tmp_path: Path) -> None:
    shipped = Encoder.load()
    assert isinstance(shipped, Encoder)
    before = shipped.encode(study())
    shipped.save(tmp_path)
    after = shipped.encode(study())
    np.testing.assert_allclose([s.score for s in before.scores], [s.score for s in after.scores], rtol=0, atol=5e-2)


def test_changed_weights_change_the_hash(encoder: Encoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "a")
    text = (tmp_path / "a" / "encoder.json").read_text()
    (tmp_path / "a" / "encoder.json").write_text(text.replace("-20.0", "-19.0"))
    assert Encoder.load(tmp_path / "a").hash != encoder.hash


def test_a_folder_without_weights_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"encoder\.json"):
        Encoder.load(tmp_path)


def test_the_outlier_score_ignores_names_and_tags(encoder: Encoder) -> None:
    one = study()
    renamed = replace(one, series=tuple(replace(s, name="x", weighting=Weighting.UNKNOWN) for s in one.series), context=Context())
    assert encoder.encode(one).out_of_distribution == encoder.encode(renamed).out_of_distribution


def test_what_was_seen_is_near_and_what_was_not_is_far() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(400, 12)).astype(np.float32)
    outliers = Outliers.fit(rows[:300], [r[None] for r in rows[300:]], flag_rate=0.05)
    near = [outliers.judge(r[None]).flagged for r in rng.normal(size=(200, 12)).astype(np.float32)]
    far = [outliers.judge(r[None]).flagged for r in rng.normal(4, 1, size=(50, 12)).astype(np.float32)]
    assert np.mean(near) < 0.15
    assert np.mean(far) > 0.95


def test_statistics_do_not_depend_on_the_scale_of_the_grey_levels() -> None:
    one, spec = series(), preset("tiny").patch
    brighter = replace(one, voxels=one.voxels.astype(np.float32) * 7)
    a, b = (series_statistics(canonical(s, spec)) for s in (one, brighter))
    np.testing.assert_allclose(a, b, atol=1e-3)
