"""What a score stands on, and that it is shown where it is in the patient."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from made_checkpoint import OFFICIAL_TOKENIZER, Form, write_full_model, write_tokenizer
from made_dicom import AXIAL, CORONAL, SAGITTAL, write_series
from numpy.typing import NDArray
from torch import Tensor

from encoder.config import preset
from encoder.convert import convert
from encoder.encoder import Card, Encoder, Head
from encoder.errors import ExplainError
from encoder.explain import Explanation, Method, explain, gradient, lime, mean_rows, occlusion, relevance
from encoder.features import OutOfDistribution
from encoder.model import Labels, Readout, TokenBatch, embed, read_out
from encoder.networks import Towers
from encoder.outliers import Outliers
from encoder.overlay import paint, write_overlays
from encoder.patches import patchify
from encoder.prima import Prima
from encoder.reading import read_study
from encoder.study import Acquisition, Context, Plane, Series, Side, Study, Weighting
from encoder.token_score import StudyTokens, TokenScore, TowerScore

LABELS = Labels(("meningioma", "edema"), ("neurology",), ("outside", "frontal lobe", "pons"))
SPEC = preset("tiny").patch
LEFT_FRONT = np.array([32.0, -24.0, 12.0])  # LPS mm: left, anterior, superior of the middle


def series(name: str = "AX_T2", seed: int = 0, slices: int = 4) -> Series:
    rng = np.random.default_rng(seed)
    voxels = np.zeros((64, 64, slices), np.int16)
    voxels[10:54, 8:56] = rng.integers(200, 900, (44, 48, slices))
    affine = np.diag([3.4, 3.4, 6.0, 1.0])
    affine[:3, 3] = (-107, -107, -9)
    return Series(name, voxels, affine, Plane.AXIAL, Weighting.T2, Acquisition())


def study(*names: str) -> Study:
    every = tuple(series(n, s) for s, n in enumerate(names or ("AX_T2", "AX_FLAIR")))
    return Study("k", None, every, (), Context(description="MRI BRAIN"))


def random_encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    rows = np.random.default_rng(0).normal(size=(60, 55)).astype(np.float32)
    outliers = Outliers.fit(rows, [rows[:3], rows[3:6]])
    card = Card(preset("tiny"), LABELS, {"meningioma": Head(0.5)}, {}, 1.0, outliers.threshold, {"made_by": "a test"})
    return Encoder(card, Towers(card.config), Readout(card.config, LABELS), outliers)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return random_encoder()


@pytest.fixture(scope="module")
def score(encoder: Encoder) -> TokenScore:
    return encoder.token_score(study(), "meningioma")


@pytest.fixture(scope="module")
def prima(tmp_path_factory: pytest.TempPathFactory) -> Prima:
    folder, form = tmp_path_factory.mktemp("released"), Form()
    write_full_model(folder / "full.pt", form)
    write_tokenizer(folder / "vqvae.pth", form)
    (folder / "tokenizer.json").write_text(json.dumps({"vqvae_config": OFFICIAL_TOKENIZER}))
    convert(folder / "full.pt", folder / "vqvae.pth", folder / "tokenizer.json", folder / "out")
    return Prima.load(folder / "out")


class OneToken:
    """A score that is what one token shows, and nothing else."""

    def __init__(self, token: int) -> None:
        patches = tuple(patchify(one, SPEC) for one in study().series)
        rows = torch.randn(sum(len(p) for p in patches), 289, generator=torch.Generator().manual_seed(0))
        self.tokens = StudyTokens(study().series, patches, rows, "unk")
        self.token, self.shown = token, rows[token].sign()

    def __call__(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        return kept[:, self.token] * float(self.tokens.rows[self.token] @ self.shown)

    def gradient(self, rows: Tensor) -> tuple[float, Tensor]:
        slope = torch.zeros_like(rows)
        slope[self.token] = self.shown
        return float(rows[self.token] @ self.shown), slope


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("token", [0, 5, -1])
def test_the_token_that_makes_the_score_ranks_first(method: Method, token: int) -> None:
    known = OneToken(token)
    found = relevance(known, method)
    assert found.argmax() == token % len(found)
    others = np.delete(found, token)
    assert np.abs(others).max() < 0.3 * found.max()


def test_tokens_left_out_equal_a_study_without_them(encoder: Encoder, score: TokenScore) -> None:
    """Packed, cached and shared between masks, against one study at a time through the whole network; a series without tokens is gone."""
    whole = encoder.prepare(study()).batch
    first = whole.lengths[0]
    kept = np.random.default_rng(0).random((6, sum(whole.lengths))) < 0.7
    kept[0] = True
    kept[1, :first] = True
    kept[2, :first] = False
    kept[3] = kept[4]
    expected = []
    for mask in kept:
        parts = [mask[:first], mask[first:]]
        names = [name for name, part in zip(whole.names, parts, strict=True) if part.any()]
        lengths = [int(part.sum()) for part in parts if part.any()]
        batch = TokenBatch(whole.rows[torch.from_numpy(mask)], lengths, names, [len(names)], whole.descriptions)
        with torch.inference_mode():
            expected.append(float(read_out(encoder.readout, *embed(encoder.towers, batch), batch).scores[0, 0]) - 0.5)
    np.testing.assert_allclose(score(kept), expected, atol=1e-4)


def test_a_study_without_any_token_has_no_score(score: TokenScore) -> None:
    with pytest.raises(ValueError, match="without tokens"):
        score(np.zeros((1, sum(score.tokens.lengths)), bool))


def test_occlusion_is_what_a_loop_over_tokens_finds(encoder: Encoder, score: TokenScore) -> None:
    found = occlusion(score)
    every = np.ones(len(found), bool)
    for token in (0, 7, len(found) - 1):
        without = every.copy()
        without[token] = False
        alone = encoder.token_score(study(), "meningioma")(np.stack([every, without]))
        assert found[token] == pytest.approx(alone[0] - alone[1], abs=1e-4)


def test_the_gradient_is_the_slope_of_the_score(encoder: Encoder, score: TokenScore) -> None:
    """On a smooth head: the tiny one takes the strongest token, and a step can change which that is."""
    smooth = TowerScore(encoder.towers, score.tokens, lambda _, out, __: 10 * out.clip[:, 0])
    rows = smooth.tokens.rows
    value, slope = smooth.gradient(rows)
    assert value == pytest.approx(float(smooth(np.ones((1, len(rows)), bool))[0]), abs=1e-5)
    uphill = slope / slope.norm()
    step = 0.01
    measured = (smooth.gradient(rows + step * uphill)[0] - smooth.gradient(rows - step * uphill)[0]) / (2 * step)
    assert measured == pytest.approx(float(slope.norm()), rel=0.02)


def test_gradient_relevances_add_up_to_what_the_tokens_show(encoder: Encoder, score: TokenScore) -> None:
    smooth = TowerScore(encoder.towers, score.tokens, lambda _, out, __: 10 * out.clip[:, 0])
    gained = smooth.gradient(score.tokens.rows)[0] - smooth.gradient(mean_rows(score.tokens))[0]
    assert gradient(smooth, steps=24).sum() == pytest.approx(gained, rel=0.03)


def test_lime_repeats_with_its_seed(score: TokenScore) -> None:
    first, again, other = (lime(score, seed, samples=24) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_weights_are_explained_too(seed: int) -> None:
    one = study()
    before = [s.voxels.copy() for s in one.series]
    explanation = explain(random_encoder(seed), one, "meningioma")
    ranked = explanation.ranked()
    assert np.isfinite(explanation.relevance).all()
    assert len(ranked) == len(explanation.relevance) == sum(explanation.tokens.lengths)
    assert [t.relevance for t in ranked] == sorted((t.relevance for t in ranked), reverse=True)
    assert {t.region for t in ranked} <= {"frontal lobe", "pons"}
    assert all((s.voxels == b).all() for s, b in zip(one.series, before, strict=True))
    assert len(explanation.ranked(3)) == 3


def test_the_explained_score_is_the_encoders(encoder: Encoder, prima: Prima) -> None:
    for weights in (encoder, prima):
        name = min(weights.trained_heads)
        told = {s.name: s.score for s in weights.encode(study()).scores}
        assert explain(weights, study(), name).score == pytest.approx(told[name], abs=1e-4)


@pytest.mark.parametrize("method", [Method.GRADIENT, Method.OCCLUSION])
def test_converted_weights_are_explained_through_the_same_seam(prima: Prima, method: Method) -> None:
    explanation = explain(prima, study(), min(prima.trained_heads), method)
    assert np.isfinite(explanation.relevance).all()
    assert np.abs(explanation.relevance).max() > 0
    assert explanation.ranked(1)[0].region is None  # released weights know no regions
    assert explanation.tokens.out_of_distribution is None


def test_a_name_that_cannot_be_scored_says_which_can(encoder: Encoder) -> None:
    with pytest.raises(ExplainError, match=r"Did you mean meningioma.*Trained: meningioma"):
        explain(encoder, study(), "meningoma")
    with pytest.raises(ExplainError, match="no trained head"):
        explain(encoder, study(), "brain_abscess")
    with pytest.raises(ExplainError, match="token_score"):
        explain(object(), study(), "meningioma")


def marked(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.int16]:
    """A dim block of tissue with something bright, of about one token, at LEFT_FRONT. affine: index -> LPS mm."""
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    voxels = np.where(np.abs(points).max(1) < 60, 200, 0)
    voxels[np.abs(points - LEFT_FRONT).max(1) < 9] = 900
    return voxels.reshape(shape).astype(np.int16)


def axis_aligned(codes: str) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """RAS affine of a grid with the given axis codes, 3 mm in-plane and 5 mm between slices, centred on the origin."""
    step, shape = (3.0, 3.0, 5.0), (48, 46, 28)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(codes):
        row = next(r for r, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        affine[row, axis] = step[axis] if code in "RAS" else -step[axis]
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine, shape


def explained_at_the_marker(one: Study) -> Explanation:
    """All relevance on the token that is brightest, wherever its box says it is."""
    patches = tuple(patchify(s, SPEC) for s in one.series)
    rows = torch.zeros(sum(len(p) for p in patches), 289)
    bright = np.concatenate([p.values.mean((1, 2, 3)) for p in patches])
    spot = (np.arange(len(bright)) == bright.argmax()).astype(np.float64)
    return Explanation("meningioma", Method.GRADIENT, 1.0, spot, StudyTokens(one.series, patches, rows, "unk"), "hash")


def must_lie_over(overlay: Path, explanation: Explanation) -> None:
    """The painted box holds the marker, and the marker's mirror image is not in it."""
    image = nibabel.load(overlay)
    values = np.asarray(image.dataobj)
    for mm, expected in ((LEFT_FRONT, 1.0), (LEFT_FRONT * (-1, 1, 1), 0.0), (LEFT_FRONT * (1, -1, 1), 0.0)):
        index = np.linalg.solve(image.affine, [*(mm * (-1, -1, 1)), 1])[:3].round().astype(int)  # NIfTI is RAS
        assert values[tuple(index)] == expected
    top = explanation.ranked(1)[0]
    assert top.side == Side.LEFT
    np.testing.assert_allclose(top.mm, LEFT_FRONT, atol=20)
    painted = np.argwhere(values > 0).mean(0) @ image.affine[:3, :3].T + image.affine[:3, 3]
    np.testing.assert_allclose(painted * (-1, -1, 1), top.mm, atol=4)


@pytest.mark.parametrize("codes", ["LAS", "RAS", "LPS", "PIR", "LIP", "ASR"])
def test_the_overlay_lies_over_a_nifti_scan(codes: str, tmp_path: Path) -> None:
    affine, shape = axis_aligned(codes)
    image = nibabel.Nifti1Image(marked(np.diag([-1.0, -1, 1, 1]) @ affine, shape), affine)
    image.set_sform(affine, 1)
    nibabel.save(image, tmp_path / "T2.nii.gz")
    explanation = explained_at_the_marker(read_study(tmp_path / "T2.nii.gz"))
    (overlay,) = write_overlays(explanation, tmp_path / "out")
    must_lie_over(overlay, explanation)
    shown, scan = nibabel.load(overlay), explanation.tokens.series[0]
    assert shown.shape == scan.voxels.shape
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ shown.affine, scan.affine, atol=1e-4)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL], ids=["axial", "sagittal", "coronal"])
def test_the_overlay_lies_over_a_dicom_scan(orientation: tuple[int, ...], tmp_path: Path) -> None:
    shape = (48, 46, 28)
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([3 * row, 3 * column, 5 * normal], axis=1)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    write_series(tmp_path / "s", marked(affine, shape), orientation=orientation, spacing=(3.0, 3.0), gap=5.0, origin=affine[:3, 3])
    explanation = explained_at_the_marker(read_study(tmp_path / "s"))
    (overlay,) = write_overlays(explanation, tmp_path / "out")
    must_lie_over(overlay, explanation)


def test_every_voxel_of_a_kept_token_has_its_value() -> None:
    one = series(slices=9)
    patches = patchify(one, SPEC)
    values = np.arange(1.0, len(patches) + 1)
    painted = paint(values, patches, one)
    assert painted.shape == one.voxels.shape
    index = (patches.centres_mm - one.affine[:3, 3]) @ np.linalg.inv(one.affine[:3, :3]).T
    inside = (index >= 0).all(1) & (index < one.voxels.shape).all(1)
    assert (painted[tuple(index[inside].round().astype(int).T)] == values[inside]).all()


def test_a_foreign_study_is_explained_and_its_files_say_so(tmp_path: Path) -> None:
    known = explained_at_the_marker(replace(study(), series=(series(),)))
    foreign = replace(known, tokens=replace(known.tokens, out_of_distribution=OutOfDistribution(9.0, 2.0, True)))
    (file,) = write_overlays(foreign, tmp_path)
    assert bytes(nibabel.load(file).header["descrip"]).startswith(b"OUT OF DISTRIBUTION")
