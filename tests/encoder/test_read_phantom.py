"""A phantom written to disk is read back as it was rendered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import phantom
from encoder.reading import read_studies, read_study
from encoder.study import Series


@pytest.fixture(scope="module")
def made() -> tuple[phantom.Phantom, tuple[phantom.Rendered, ...]]:
    drawn = phantom.sample(3)
    return drawn, phantom.render(drawn)


def test_dicom_gives_the_rendered_voxels_back(tmp_path: Path, made: tuple[phantom.Phantom, tuple[phantom.Rendered, ...]]) -> None:
    drawn, rendered = made
    phantom.write(drawn, tmp_path)
    study = read_study(tmp_path)
    assert len(study.series) == len(rendered)
    for series, truth in zip(study.series, rendered, strict=True):
        assert np.array_equal(series.voxels, truth.voxels)
        assert np.allclose(series.affine, truth.affine, atol=1e-3)
        assert (series.weighting.value, series.plane.value) == (truth.weighting, truth.plane)
    assert {entry.reason for entry in study.excluded} <= {"label image or mask, not a sequence", "not an image file"}
    assert study.context.age is not None


def test_nifti_gives_the_same_weightings_and_places(tmp_path: Path, made: tuple[phantom.Phantom, tuple[phantom.Rendered, ...]]) -> None:
    drawn, rendered = made
    phantom.write_nifti(drawn, tmp_path)
    (study,) = read_studies(tmp_path)
    assert sorted(series.weighting.value for series in study.series) == sorted(truth.weighting for truth in rendered)
    for series in study.series:
        (truth,) = [truth for truth in rendered if truth.weighting == series.weighting.value and truth.plane == series.plane.value]
        brightest = series.affine @ [*np.unravel_index(series.voxels.argmax(), series.voxels.shape), 1.0]
        assert value_at(truth, brightest) == series.voxels.max()


def value_at(truth: phantom.Rendered | Series, mm: np.ndarray) -> float:
    return float(truth.voxels[tuple(np.rint(np.linalg.solve(truth.affine, mm))[:3].astype(int))])
