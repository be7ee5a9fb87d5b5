"""The viewer's volumes keep every voxel where it is in the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from assistant.volumes import nifti, window, write_volumes
from encoder.study import Context, Plane, Series, Study, Weighting

LPS = np.array([[0.9, 0.1, 0, -80], [-0.1, 0.9, 0, -90], [0, 0, 5.5, -40], [0, 0, 0, 1.0]])


def series(dtype: type = np.int16) -> Series:
    voxels: NDArray[Any] = np.random.default_rng(0).integers(0, 200, (20, 24, 6)).astype(dtype)
    return Series("AX T2", voxels, LPS, Plane.AXIAL, Weighting.T2)


def test_a_point_has_the_same_place_in_the_patient() -> None:
    corner = np.array([3, 5, 2, 1.0])
    left, posterior, superior = (LPS @ corner)[:3]
    assert np.allclose((nifti(series()).affine @ corner)[:3], (-left, -posterior, superior))


@pytest.mark.parametrize(("dtype", "stored"), [(np.int16, np.int16), (np.float64, np.float32), (bool, np.float32)])
def test_voxels_are_kept_in_a_type_the_viewer_reads(dtype: type, stored: type, tmp_path: Path) -> None:
    one = series(dtype)
    study = Study("k", None, (one,), (), Context())
    (volume,) = write_volumes(study, tmp_path)
    image = nibabel.load(tmp_path / volume.file)
    assert image.get_data_dtype() == stored
    assert np.array_equal(np.asarray(image.dataobj), one.voxels.astype(stored))
    assert (volume.slices, volume.plane) == (6, "axial")


def test_the_first_window_ignores_background_and_specks() -> None:
    voxels: NDArray[np.int16] = np.zeros((40, 40, 10), np.int16)
    voxels[10:30, 10:30] = np.random.default_rng(0).integers(100, 200, (20, 20, 10))
    voxels[0, 0, 0] = 30_000
    low, high = window(voxels)
    assert 95 <= low < high <= 205


def test_an_empty_or_broken_picture_still_has_a_window() -> None:
    assert window(np.zeros((4, 4, 4))) == (0.0, 1.0)
    assert window(np.full((4, 4, 4), np.nan)) == (0.0, 1.0)
