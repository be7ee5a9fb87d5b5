"""The atlas: tissue fractions and region labels of an average adult head, derived from MNI152 (see mni152.LICENSE).

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
from torch.nn.functional import embedding_bag

PATH = Path(__file__).parent / "atlas.npz"
SPACING = 1.25  # mm
SHAPE = (136, 180, 154)  # z, y, x
LOWER = np.array([-72.0, -91.0, -95.625], np.float32)  # z, y, x of voxel 0, LPS mm
TISSUES = ("grey", "white", "csf", "deep grey", "fat", "bone", "marrow", "muscle", "water", "gland", "dura", "vessel")
"""Channels that are tissue fractions; they sum to at most 1, the rest is air."""
CHANNELS = (*TISSUES, "ventricle", "depth", "ventricle distance")
"""Tissues, then: the ventricular part of csf, the depth below the inner table and the distance from the ventricles (mm, up to 63.75)."""
LOWEST = -44.0  # mm: nothing is placed below what every axial series covers
FAR = 63.75  # mm at which the two distance channels saturate
REGIONS = (
    "outside",
    "frontal lobe",
    "parietal lobe",
    "temporal lobe",
    "occipital lobe",
    "insula",
    "basal ganglia",
    "thalamus",
    "corpus callosum",
    "brainstem",
    "cerebellum",
    "ventricles",
    "frontal convexity",
    "parietal convexity",
    "middle cranial fossa",
    "occipital convexity",
    "posterior fossa",
    "cerebellopontine angle",
    "sella",
    "pineal region",
    "third ventricle",
    "fourth ventricle",
    "basal cisterns",
    "suprasellar region",
    "dura",
)
"""The atlas labels those up to "sella"; the rest, and any place outside the brain's tissue, are labelled by the lesion that lies there."""

INTRA_AXIAL, EXTRA_AXIAL = REGIONS[1:11], REGIONS[11:]


@dataclass(frozen=True)
class Grid:
    """Several maps on one regular grid.

    values: (node, map), nodes running over z, y, x. lower: LPS mm (z, y, x) of the first node. spacing: mm.
    """

    values: Tensor
    shape: tuple[int, int, int]
    lower: NDArray[np.float32]
    spacing: float

    def at(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Trilinear values (n, map) at points (n, 3) as (x, y, z) in LPS mm; the border's value outside."""
        top = torch.tensor([n - 1.001 for n in self.shape[::-1]], dtype=torch.float32)  # the default may be another while a model is loaded
        index = (torch.from_numpy(points) - torch.from_numpy(self.lower[::-1].copy())) / self.spacing
        index = torch.minimum(index.clamp_min(0), top)
        first = index.to(torch.int32)
        after = index - first
        before = 1 - after
        x, y, z = (torch.stack([before[:, axis], after[:, axis]], 1) for axis in range(3))
        weights = (z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]).reshape(-1, 8)
        row, plane = self.shape[2], self.shape[1] * self.shape[2]
        corners = torch.tensor([dz * plane + dy * row + dx for dz in (0, 1) for dy in (0, 1) for dx in (0, 1)], dtype=torch.int32)
        nodes = (first[:, 2] * plane + first[:, 1] * row + first[:, 0])[:, None] + corners
        # a bag of eight weighted rows is a trilinear sample, several times as fast as grid_sample for many maps
        found = embedding_bag(nodes, self.values, mode="sum", per_sample_weights=weights.to(self.values.dtype))
        values: NDArray[np.float32] = found.float().numpy()
        return values


@dataclass(frozen=True)
class Atlas:
    """channels: the tissue maps and distances (mm) in the order of CHANNELS; regions: uint8 (z, y, x), index into REGIONS."""

    channels: Grid
    regions: NDArray[np.uint8]

    def channel(self, name: str) -> NDArray[np.float32]:
        """One channel, float32 (z, y, x)."""
        values: NDArray[np.float32] = self.channels.values[:, CHANNELS.index(name)].float().numpy().reshape(SHAPE)
        return values

    def region_at(self, points: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Region index of each point (n, 3), LPS mm of the atlas."""
        index = np.clip(np.rint((points - LOWER[::-1]) / np.float32(SPACING)).astype(np.int32), 0, np.array(SHAPE[::-1]) - 1)
        found: NDArray[np.uint8] = self.regions[index[:, 2], index[:, 1], index[:, 0]]
        return found

    def pick(self, rng: np.random.Generator, regions: Collection[str], tissue: str = "white", least: float = 0.6) -> NDArray[np.float64]:
        """A random atlas point (x, y, z), LPS mm, on the patient's left, in one of the regions, with at least that much tissue."""
        index = _voxels(tuple(regions), tissue, least)
        z, y, x = index[:, int(rng.integers(index.shape[1]))]
        return np.array([x, y, z]) * SPACING + LOWER[::-1].astype(np.float64)


@lru_cache(maxsize=1)
def load() -> Atlas:
    """The shipped atlas, read once."""
    with np.load(PATH, allow_pickle=False) as stored:
        channels = torch.from_numpy(stored["channels"]).reshape(len(CHANNELS), -1).T.contiguous().to(torch.float16) / 255
        regions = stored["regions"]
    channels[:, len(CHANNELS) - 2 :] *= FAR
    return Atlas(Grid(channels, SHAPE, LOWER, SPACING), regions)


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
