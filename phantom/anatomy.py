"""One person's head: how it differs from the atlas, and how masses bend it.

Everything is a backward field on nodes 4 mm apart: a point x of the head (LPS mm) shows what the atlas has at x + displacement(x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

from phantom import atlas
from phantom.shape import Floats, Mass

STEP = 4.0  # mm between nodes
NODES = (44, 58, 49)  # z, y, x
LOW = np.array([-76.0, -94.0, -96.0], np.float32)  # z, y, x of node 0
REACH = 34.0  # mm from the ventricles at which their growth is no longer felt
SKULL = 11.0  # mm below the inner table over which displacements fade to nothing


@dataclass(frozen=True)
class Anatomy:
    """seed: of the individual deformation and folding. scale: head size per axis (x, y, z).

    ventricles: mm by which the ventricular walls move out (negative: narrow). sulci: how wide the sulci are, 0 = atlas, in log odds of csf.
    """

    seed: int
    scale: tuple[float, float, float]
    ventricles: float
    sulci: float


def nodes() -> Floats:
    """Node positions (n, 3) as (x, y, z), LPS mm; n runs over z, y, x."""
    z, y, x = np.meshgrid(*(low + STEP * np.arange(n, dtype=np.float32) for low, n in zip(LOW, NODES, strict=True)), indexing="ij")
    return np.stack([x, y, z], -1).reshape(-1, 3)


def field(anatomy: Anatomy, masses: tuple[Mass, ...]) -> Tensor:
    """The backward displacement (x, y, z mm) and three noise channels of individual folding, float32 (6, z, y, x) on the nodes."""
    rng = np.random.default_rng(anatomy.seed)
    points = nodes()
    moved = points / np.asarray(anatomy.scale, np.float32)
    if masses:
        moved = moved - _push(masses, points)
    if anatomy.ventricles:
        direction, distance = _ventricle_field()
        moved = moved - direction * _growth(distance, anatomy.ventricles)[:, None]
    control = rng.normal(0, 1.0, (3, 7, 8, 7))
    zoom = np.array(NODES) / control.shape[1:]
    smooth = np.stack([ndimage.zoom(c, zoom, order=3)[: NODES[0], : NODES[1], : NODES[2]] for c in control])
    displacement = (moved - points).T.reshape(3, *NODES) + 2.2 * smooth
    folding = ndimage.gaussian_filter(rng.standard_normal((3, *NODES), dtype=np.float32), (0, 0.6, 0.6, 0.6)) * 3.3
    return torch.from_numpy(np.concatenate([displacement, folding]).astype(np.float32))


def shift_of_midline(masses: tuple[Mass, ...]) -> float:
    """How far the midline between frontal horns and pineal is pushed, mm, signed (+ towards the patient's left)."""
    line = np.array([[0, y, z] for y in (-35, -20, -5, 10, 25, 40) for z in (4, 14, 24)], np.float32)
    if not masses:
        return 0.0
    pushed = _push(masses, line)[:, 0]
    return float(pushed[np.abs(pushed).argmax()])


def to_head(backward: Tensor, atlas_points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where atlas points (n, 3) lie in this head: the backward field inverted by fixed-point iteration."""
    target = torch.from_numpy(atlas_points.astype(np.float32))
    found = target.clone()
    for _ in range(4):
        found = target - sample(backward[:3], found, LOW, STEP, "bilinear").T
    return found.numpy().astype(np.float64)


def sample(volume: Tensor, points: Tensor, lower: Floats, spacing: float, mode: str) -> Tensor:
    """Values (c, n) of a volume (c, z, y, x) at points (n, 3) in LPS mm; the border value outside."""
    size = torch.tensor([n - 1 for n in volume.shape[:0:-1]], dtype=torch.float32)
    grid = (points - torch.from_numpy(lower[::-1].copy())) * (2 / (spacing * size)) - 1
    return grid_sample(volume[None], grid[None, None, None], mode, "border", align_corners=True)[0, :, 0, 0]


def _push(masses: tuple[Mass, ...], points: Floats) -> Floats:
    """The masses' displacement (n, 3) of tissue now at these points; the skull does not move."""
    depth = sample(atlas.load().channels[atlas.CHANNELS.index("depth")][None], torch.from_numpy(points), atlas.LOWER, atlas.SPACING, "bilinear")
    held = np.clip(depth[0].numpy() / np.float32(SKULL), 0, 1)
    total = np.zeros_like(points)
    for mass in masses:
        total += mass.displacement(points)
    return total * held[:, None]


def _growth(distance: Floats, grow: float) -> Floats:
    """How far outwards a wall `grow` mm wider has carried tissue now at a signed distance from the average ventricle, mm."""
    inside = 2.0  # mm: the average ventricle's half width, compressed or stretched into the new one
    before = np.where(distance < grow, inside * (distance - grow) / (grow + inside), REACH * (distance - grow) / (REACH - grow))
    moved: Floats = np.where((distance < -inside) | (distance > REACH), 0, distance - before).astype(np.float32)
    return moved


@lru_cache(maxsize=1)
def _ventricle_field() -> tuple[Floats, Floats]:
    """Outward direction (n, 3) and signed distance (n,) from the ventricles at the nodes."""
    inside = atlas.load().channel("ventricle") > 0.5
    signed = ndimage.distance_transform_edt(~inside, sampling=atlas.SPACING) - ndimage.distance_transform_edt(inside, sampling=atlas.SPACING)
    smooth = ndimage.gaussian_filter(signed, 1.6).astype(np.float32)
    gradient = np.stack(np.gradient(smooth, atlas.SPACING)[::-1])
    both = torch.from_numpy(np.concatenate([gradient, smooth[None]]).astype(np.float32))
    found = sample(both, torch.from_numpy(nodes()), atlas.LOWER, atlas.SPACING, "bilinear").numpy()
    return np.ascontiguousarray(found[:3].T), found[3]
