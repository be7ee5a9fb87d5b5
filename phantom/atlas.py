"""The atlas: tissue fractions and region labels of an average adult head, derived from MNI152 (see atlas_data/NOTICE.txt).

Frame: LPS mm with MNI's origin. Arrays are (z, y, x), increasing towards Superior, Posterior, Left.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PATH = Path(__file__).parent / "atlas_data" / "mni152.npz"
SPACING = 1.25  # mm
SHAPE = (136, 180, 154)  # z, y, x
LOWER = np.array([-72.0, -91.0, -95.625], np.float32)  # z, y, x of voxel 0, LPS mm
TISSUES = ("grey", "white", "csf", "deep grey", "fat", "bone", "marrow", "muscle", "water", "air", "gland", "dura", "vessel")
"""Channels that are tissue fractions; they sum to at most 1, the rest is air."""
CHANNELS = (*TISSUES, "ventricle", "depth", "ventricle distance")
"""Tissues, then: the ventricular part of csf, the depth below the inner table and the distance from the ventricles (mm, up to 63.75)."""
LOWEST = -44.0  # mm: nothing is placed below what every axial series covers
FAR = 63.75  # mm at which the two distance channels saturate
REGIONS = (
    "outside", "frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe", "insula", "basal ganglia", "thalamus", "corpus callosum",
    "brainstem", "cerebellum", "ventricles", "frontal convexity", "parietal convexity", "middle cranial fossa", "occipital convexity",
    "posterior fossa", "cerebellopontine angle", "sella",
)  # fmt: skip


@dataclass(frozen=True)
class Atlas:
    """channels: float32 (channel, z, y, x) in the order of CHANNELS, distances in mm; regions: uint8 (z, y, x), index into REGIONS."""

    channels: Tensor
    regions: NDArray[np.uint8]

    def channel(self, name: str) -> NDArray[np.float32]:
        """One channel, float32 (z, y, x)."""
        values: NDArray[np.float32] = self.channels[CHANNELS.index(name)].numpy()
        return values

    def pick(self, rng: np.random.Generator, regions: Collection[str], tissue: str = "white", least: float = 0.6) -> NDArray[np.float64]:
        """A random atlas point (x, y, z) in LPS mm on the patient's left, inside one of the regions, where the tissue has at least that fraction."""
        index = _voxels(tuple(regions), tissue, least)
        z, y, x = index[:, int(rng.integers(index.shape[1]))]
        return np.array([x, y, z]) * SPACING + LOWER[::-1].astype(np.float64)


@lru_cache(maxsize=1)
def load() -> Atlas:
    """The shipped atlas, read once."""
    with np.load(PATH, allow_pickle=False) as stored:
        channels = torch.from_numpy(stored["channels"]).to(torch.float32) / 255
        regions = stored["regions"]
    channels[len(CHANNELS) - 2 :] *= FAR
    return Atlas(channels, regions)


@lru_cache(maxsize=64)
def _voxels(regions: tuple[str, ...], tissue: str, least: float) -> NDArray[np.intp]:
    atlas = load()
    chosen = np.isin(atlas.regions, [REGIONS.index(name) for name in regions]) & (atlas.channel(tissue) >= least)
    chosen[:, :, : SHAPE[2] // 2 + 4] = False  # the left half, clear of the midline
    chosen[: int((LOWEST - LOWER[0]) / SPACING)] = False
    index = np.array(np.nonzero(chosen))
    if not index.size:
        raise ValueError(f"no atlas voxel in {regions} with {tissue} >= {least}")
    return index
