"""A study's sequences as NIfTI files for the viewer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from encoder.geometry import LPS_RAS
from encoder.study import Series, Study

KEPT_TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32)
WINDOW_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Volume:
    """One sequence for the viewer. file: name in the study's volumes folder. window: (low, high) intensities shown first. mb: size."""

    name: str
    plane: str
    weighting: str
    slices: int
    file: str
    window: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """The volume as the page gets it."""
        return asdict(self)


def write_volumes(study: Study, folder: Path) -> tuple[Volume, ...]:
    """Writes every sequence of a study as an uncompressed NIfTI file (RAS mm); returns them in the study's order."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_write(series, folder / f"{number}.nii") for number, series in enumerate(study.series))


def nifti(series: Series) -> nibabel.Nifti1Image:
    """A sequence as NIfTI: voxels as they are (i, j, k), affine turned from LPS to RAS, window in cal_min and cal_max."""
    voxels = series.voxels if series.voxels.dtype.type in KEPT_TYPES else series.voxels.astype(np.float32)
    affine = LPS_RAS @ series.affine
    image = nibabel.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header["cal_min"], image.header["cal_max"] = window(series.voxels)
    return image


def window(voxels: NDArray[Any]) -> tuple[float, float]:
    """The intensities between which a sequence is first shown: percentiles of what is not background."""
    sample = np.asarray(voxels[::2, ::2], dtype=np.float32)
    seen = sample[np.isfinite(sample) & (sample > sample.min())]
    if seen.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(seen, WINDOW_PERCENTILES)
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def _write(series: Series, path: Path) -> Volume:
    image = nifti(series)
    nibabel.save(image, path)
    shown = (float(image.header["cal_min"]), float(image.header["cal_max"]))
    return Volume(series.name, series.plane, series.weighting, series.voxels.shape[2], path.name, shown)
