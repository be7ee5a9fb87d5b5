"""Studies altered on purpose: controls that take the image away and keep the label, ablations that take away something beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from encoder.errors import StudyError
from encoder.study import Series, Study, Weighting

NAMELESS = "unk"  # what training put where a name was dropped (PRIMA.md 8)
NOISE = 300.0  # scale of the noise: one for all studies, for nothing of the image may be left
ALONE = (Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.DWI, Weighting.T1_POST)
WIDER = (1.25, 1.5)  # fields of view, beside the study's own


def noise(study: Study) -> Study:
    """Rayleigh noise in place of every voxel; grid, names and context stay."""
    return replace(study, series=tuple(_noise(study, number) for number in range(len(study.series))))


def swapped(study: Study, donor: Study) -> Study:
    """The images (with the names that belong to them) of another patient; context stays, and so do the labels."""
    return replace(study, series=donor.series)


def without_names(study: Study) -> Study:
    """No sequence has a name."""
    return replace(study, series=tuple(replace(series, name=NAMELESS) for series in study.series))


def without_description(study: Study) -> Study:
    """No study description."""
    return replace(study, context=replace(study.context, description=None))


def permuted(study: Study) -> Study:
    """The series in another order, the same at every call."""
    order = _rng(study, "order").permutation(len(study.series))
    return replace(study, series=tuple(study.series[k] for k in order))


def widened(factor: float) -> Callable[[Study], Study]:
    """The study with an empty margin about each picture: an encoder with a fixed matrix sees it in tokens `factor` times as wide in mm."""

    def wide(study: Study) -> Study:
        return replace(study, series=tuple(_with_margin(series, factor) for series in study.series))

    return wide


def only(weighting: Weighting) -> Callable[[Study], Study]:
    """The study with nothing but this kind of sequence; raises StudyError where it has none."""

    def alone(study: Study) -> Study:
        series = tuple(series for series in study.series if series.weighting is weighting)
        if not series:
            raise StudyError(f"Study {study.key}: expected a {weighting.value} sequence, found none.")
        return replace(study, series=series)

    return alone


ABLATIONS: Mapping[str, Callable[[Study], Study]] = {
    "without sequence names": without_names,
    "without study description": without_description,
    "series order permuted": permuted,
    **{f"field of view {factor} times as wide": widened(factor) for factor in WIDER},
    **{f"{weighting.value} alone": only(weighting) for weighting in ALONE},
}


def _noise(study: Study, number: int) -> Series:
    series = study.series[number]
    shape, rng = series.voxels.shape, _rng(study, f"noise {number}")
    values = np.hypot(rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32))
    return replace(series, voxels=(NOISE * values).astype(np.int16))


def _with_margin(series: Series, factor: float) -> Series:
    if not series.voxels.size:  # a study told of without its images
        return series
    before = [round(edge * (factor - 1) / 2) for edge in series.voxels.shape[:2]]
    voxels = np.pad(series.voxels, [(margin, margin) for margin in before] + [(0, 0)], constant_values=series.voxels.min())
    affine = series.affine.copy()
    affine[:3, 3] -= affine[:3, :2] @ before
    return replace(series, voxels=voxels, affine=affine)


def _rng(study: Study, purpose: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{study.key}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
