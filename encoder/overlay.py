"""Relevance laid over a scan: one value a token becomes a NIfTI volume on the grid that the reader gave the series."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from encoder.explain import Explanation
from encoder.geometry import LPS_RAS
from encoder.patches import Patches, token_grid
from encoder.study import Series

FOREIGN = "OUT OF DISTRIBUTION; "  # stays with the file, whoever opens it


def paint(values: NDArray[np.float64], patches: Patches, series: Series) -> NDArray[np.float32]:
    """Each token's value (n,) in all voxels (i, j, k) of the series that it covers; zero where no token was kept.

    A token that is there twice has the sum of both.
    """
    before, size, grid = token_grid(patches)
    boxes = np.zeros(grid, np.float32)
    np.add.at(boxes, tuple((patches.positions // size).T), values)
    turn = np.linalg.inv(patches.affine) @ series.affine  # voxel (i, j, k) -> canonical (z, y, x): scaled, permuted, flipped
    voxel_axis = np.abs(turn[:3, :3]).argmax(1)  # of each canonical axis
    places = []
    for axis in range(3):
        along = np.arange(series.voxels.shape[voxel_axis[axis]])
        index = turn[axis, voxel_axis[axis]] * along + turn[axis, 3]
        places.append(np.clip(np.floor((index + 0.5 + before[axis]) / size[axis]).astype(int), 0, grid[axis] - 1))
    painted = boxes[np.ix_(*places)]  # (z, y, x) cells at the series' own resolution
    return np.ascontiguousarray(painted.transpose(np.argsort(voxel_axis)))


def write_overlays(explanation: Explanation, folder: Path) -> tuple[Path, ...]:
    """One relevance volume a sequence, RAS mm, same grid as the series: `01_<sequence>_<diagnosis>.nii.gz`; returns the paths.

    All share one colour range, 0 to the greatest relevance, so that sequences can be compared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens, top = explanation.tokens, max(float(explanation.relevance.max()), 0.0)
    verdict = tokens.out_of_distribution
    said = (FOREIGN if verdict is not None and verdict.flagged else "") + f"{explanation.method} {explanation.diagnosis}"
    parts = np.split(explanation.relevance, np.cumsum(tokens.lengths)[:-1])
    paths = []
    for number, (series, patches, values) in enumerate(zip(tokens.series, tokens.patches, parts, strict=True), start=1):
        affine = LPS_RAS @ series.affine
        image = nibabel.Nifti1Image(paint(values, patches, series), affine)
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1)
        image.header["cal_min"], image.header["cal_max"] = 0.0, top
        image.header["descrip"] = said[:79].encode("ascii", "replace")
        path = folder / f"{number:02d}_{_plain(series.name)}_{_plain(explanation.diagnosis)}.nii.gz"
        nibabel.save(image, path)
        paths.append(path)
    return tuple(paths)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", name)[:80]
