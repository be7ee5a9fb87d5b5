"""What must hold between a series and its tokens, whatever the preset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from encoder.config import PatchSpec, preset
from encoder.patches import Patches, cut, patchify, unpatchify
from encoder.study import Plane, Series, Weighting
from encoder.volume import Volume, canonical

PRIMA, TINY = preset("prima").patch, preset("tiny").patch
SPECS = {"prima": PRIMA, "tiny": TINY}

# Columns: where one step along (column, row, slice) leads, in mm LPS.
ORIENTATIONS = {
    "axial": np.diag([2.0, 2.0, 5.0]),
    "sagittal": np.array([[0, 0, 5.0], [2.0, 0, 0], [0, -2.0, 0]]),
    "coronal": np.array([[2.0, 0, 0], [0, 0, 5.0], [0, -2.0, 0]]),
    "axial, feet first and mirrored": np.diag([-2.0, 2.0, -5.0]),
    "oblique axial": np.array([[0.95, 0, 0.3], [0, 1.0, 0], [-0.3, 0, 0.95]]) @ np.diag([2.0, 2.0, 5.0]),
}
PLANE_AXIS = {"axial": 0, "sagittal": 2, "coronal": 1, "axial, feet first and mirrored": 0, "oblique axial": 0}


def series(voxels: NDArray[np.generic], steps: NDArray[np.float64] | None = None) -> Series:
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS["axial"] if steps is None else steps
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(voxels.shape) - 1) / 2)  # centred on the frame's origin
    return Series("made", voxels, affine, Plane.AXIAL, Weighting.T1)


def with_marker(steps: NDArray[np.float64], at_mm: NDArray[np.float64], matrix: int = 128, slices: int = 30) -> Series:
    """A head of even brightness with a bright ball of 12 mm around one point."""
    one = series(np.zeros((matrix, matrix, slices), np.float32), steps)
    grid = np.ogrid[: one.voxels.shape[0], : one.voxels.shape[1], : one.voxels.shape[2]]
    mm = [sum(one.affine[a, b] * grid[b] for b in range(3)) + one.affine[a, 3] for a in range(3)]
    from_middle = sum((m / 110) ** 2 for m in mm)
    from_marker = sum((m - at) ** 2 for m, at in zip(mm, at_mm, strict=True))
    return replace(one, voxels=(100.0 * (from_middle < 1) + 900.0 * (from_marker < 36)).astype(np.float32))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_marker_on_the_patients_left_stays_left(orientation: str, spec: PatchSpec) -> None:
    """From voxels through volume and tokens: the brightest token's centre lies left (+x), and within half a token of the marker."""
    marker = np.array([45.0, -10.0, 20.0])
    one = with_marker(ORIENTATIONS[orientation], marker)
    volume = canonical(one, spec)
    assert volume.plane_axis == PLANE_AXIS[orientation]
    brightest = np.array([*np.unravel_index(int(volume.values.argmax()), volume.values.shape), 1.0])
    assert np.abs((volume.affine @ brightest)[:3] - marker).max() < 8
    patches = patchify(one, spec)
    sums = (patches.values > patches.values.max() / 2).reshape(len(patches), -1).sum(axis=1)
    found = patches.centres_mm[int(sums.argmax())]
    assert found[0] > 0
    assert np.abs(found - marker).max() <= 22


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_volumes_axes_rise_towards_superior_posterior_left(orientation: str) -> None:
    volume = canonical(with_marker(ORIENTATIONS[orientation], np.zeros(3)), PRIMA)
    assert all(volume.affine[2 - axis, axis] > 0 for axis in range(3))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal"])
def test_patch_and_unpatch_restore_the_volume(orientation: str, spec: PatchSpec) -> None:
    everything = replace(spec, min_foreground=0, max_kept=0)
    voxels = np.random.default_rng(0).uniform(60, 400, (96, 90, 13)).astype(np.float32)
    volume = canonical(series(voxels, ORIENTATIONS[orientation]), everything)
    patches = cut(volume, everything)
    assert len(patches) == patches.total
    restored = unpatchify(patches, everything)
    scale = volume.values.flat[0] / restored.flat[0]
    np.testing.assert_allclose(restored * scale, np.clip(volume.values, 0, 2 * scale), rtol=1e-5)


def test_dropped_tokens_come_back_empty_and_kept_ones_whole() -> None:
    voxels = np.zeros((256, 256, 16), np.float32)
    voxels[64:192, 64:192] = 200
    patches = patchify(series(voxels), replace(PRIMA, min_kept=0))
    assert 0 < len(patches) < patches.total
    np.testing.assert_array_equal(unpatchify(patches, PRIMA), voxels.transpose(2, 1, 0) / 200)


@pytest.mark.parametrize("spacing", [(0.5, 0.75), (0.9, 0.8)])
@pytest.mark.parametrize("matrix", [48, 64, 80, 88, 128, 192, 320, 512])
def test_resampling_is_simpleitks(matrix: int, spacing: tuple[float, float]) -> None:
    """Linear on the same first pixel centre, integers cut toward zero, and the pixel-type id where the last line falls outside.

    With spacings that binary fractions hold it is the same number everywhere; with others ITK rounds indices, and an integer that
    comes out exact here can be one lower there.
    """
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(matrix)
    for dtype in (np.int16, np.uint16, np.float32):
        voxels = rng.integers(0, 900, (matrix, matrix // 2 + 40, 3)).astype(dtype)
        image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
        image.SetSpacing((*spacing, 5.0))
        size, kind = image.GetSize(), image.GetPixelID()
        new = [spacing[0] * size[0] / 256, spacing[1] * size[1] / 256, 5.0]
        # The official call hands the pixel type in the default value's place.
        wanted = sitk.Resample(image, (256, 256, 3), sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), new, image.GetDirection(), kind)
        found = canonical(series(voxels, np.diag([*spacing, 5.0])), PRIMA).values
        difference = np.abs(found.astype(np.float64) - sitk.GetArrayFromImage(wanted))
        assert difference.max() <= (1 if spacing[0] == 0.9 and dtype != np.float32 else 1e-4)
        assert (difference > 1e-4).mean() < (0.05 if spacing[0] == 0.9 else 1e-9)


def test_the_pixel_type_line_is_absent_in_tiny() -> None:
    one = series(np.full((48, 48, 4), 1000, np.int16))
    assert canonical(one, PRIMA).values.min() == 2  # SimpleITK's id of int16
    assert canonical(one, TINY).values.min() == 1000


def test_shrinking_averages_instead_of_skipping_pixels_in_tiny() -> None:
    """A line one pixel wide in a matrix of 512 keeps a quarter of its brightness at 128; plain interpolation loses or keeps it whole."""
    voxels = np.zeros((512, 512, 4), np.float32)
    voxels[201] = 100
    assert canonical(series(voxels), TINY).values.max() == pytest.approx(25)
    np.testing.assert_allclose(canonical(series(np.ones((300, 512, 4), np.float32)), TINY).values, 1, rtol=1e-6)


def test_averaging_keeps_places_in_patient_space() -> None:
    """The brightness-weighted centre is the same before and after resampling, in-plane and through-plane."""
    one = with_marker(np.diag([0.8, 0.8, 1.0]), np.array([12.0, -9.0, 17.0]), matrix=200, slices=120)
    volume = canonical(one, TINY)
    assert volume.values.shape == (24, 128, 128)
    np.testing.assert_allclose(volume.affine[:3, 0], [0, 0, 5], atol=1e-9)
    before = _bright_centre(one.voxels, one.affine)
    np.testing.assert_allclose(_bright_centre(volume.values, volume.affine), before, atol=0.5)


def _bright_centre(values: NDArray[np.generic], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    excess = np.clip(values.astype(np.float64) - 100, 0, None)
    return affine[:3, :3] @ np.array(ndimage.center_of_mass(excess)) + affine[:3, 3]


def test_brightness_units_do_not_matter_in_tiny() -> None:
    """The same head in other scanner units, and with one bright vessel, gives the same tokens."""
    voxels = with_marker(ORIENTATIONS["axial"], np.zeros(3)).voxels
    plain, scaled = patchify(series(voxels), TINY), patchify(series(voxels / 1000), TINY)
    np.testing.assert_array_equal(plain.ids, scaled.ids)
    np.testing.assert_allclose(plain.values, scaled.values, rtol=1e-5)
    with_vessel = voxels.copy()
    with_vessel[100:102, 100:102, 10] = 1e6
    np.testing.assert_array_equal(patchify(series(with_vessel), TINY).ids, plain.ids)


def test_tiny_keeps_at_most_its_cap_and_the_same_each_time() -> None:
    rng = np.random.default_rng(1)
    one = series(rng.uniform(0, 100, (128, 128, 48)).astype(np.float32))
    first, again = patchify(one, TINY), patchify(one, TINY)
    assert len(first) == TINY.max_kept
    assert first.foreground.min() >= 0
    np.testing.assert_array_equal(first.ids, again.ids)
    assert (np.diff(first.ids) > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 70), st.integers(20, 70), st.integers(1, 30), st.sampled_from(sorted(ORIENTATIONS)), st.sampled_from(sorted(SPECS)))
def test_any_shape_gives_tokens_that_lie_inside_the_padded_volume(
    columns: int, rows: int, slices: int, orientation: str, name: str
) -> None:
    spec = SPECS[name]
    voxels = np.random.default_rng(columns * rows).uniform(0, 300, (columns, rows, slices)).astype(np.float32)
    patches = patchify(series(voxels, ORIENTATIONS[orientation]), spec)
    assert len(patches) > 0
    thin, wide = 2 * spec.thin, spec.patch
    assert patches.values.shape[1:] == tuple(thin if axis == patches.plane_axis else wide for axis in range(3))
    assert np.isfinite(patches.values).all()
    assert patches.ids.max() < patches.total
    _inside(patches, spec)


def _inside(patches: Patches, spec: PatchSpec) -> None:
    index = np.linalg.inv(patches.affine) @ np.c_[patches.centres_mm, np.ones(len(patches))].T
    reach = np.array([spec.thin if axis == patches.plane_axis else spec.patch for axis in range(3)])[:, None]
    assert (index[:3] > -reach).all()
    assert (index[:3] < np.array(patches.shape)[:, None] + reach).all()


def test_an_empty_volume_gives_all_its_tokens_rather_than_none() -> None:
    for spec in SPECS.values():
        patches = cut(Volume(np.zeros((8, spec.matrix, spec.matrix), np.float32), np.eye(4), 0), spec)
        assert len(patches) == patches.total
        assert not patches.values.any()


def test_the_input_is_left_as_it_was() -> None:
    one = with_marker(ORIENTATIONS["sagittal"], np.zeros(3))
    before = one.voxels.copy()
    for spec in SPECS.values():
        values = patchify(one, spec).values
        values *= 0
    np.testing.assert_array_equal(one.voxels, before)
