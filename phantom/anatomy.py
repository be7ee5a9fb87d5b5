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

from phantom import atlas
from phantom.atlas import Grid
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


@lru_cache(maxsize=2)
def field(anatomy: Anatomy, masses: tuple[Mass, ...]) -> Grid:
    """The backward displacement (x, y, z mm), then three maps of noise for individual folding."""
    rng = np.random.default_rng(anatomy.seed)
    points = nodes()
    moved = points / np.asarray(anatomy.scale, np.float32)
    if masses:
        moved = moved - _push(masses, points)
    if anatomy.ventricles:
        direction, distance = _ventricle_field()
        moved = moved - direction * _growth(distance, anatomy.ventricles)[:, None]
    displacement = moved - points + 2.6 * smooth_noise(rng, NODES, (6, 7, 6), 3).reshape(-1, 3)
    folding = ndimage.gaussian_filter(rng.standard_normal((*NODES, 3), dtype=np.float32), (0.6, 0.6, 0.6, 0)) * 3.3
    values = np.concatenate([displacement, folding.reshape(-1, 3)], 1).astype(np.float32)
    return Grid(torch.from_numpy(values), NODES, LOW, STEP)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], waves: tuple[int, int, int], maps: int) -> Floats:
    """Smooth noise of about unit variance (z, y, x, maps): random sums of the lowest `waves` cosines of each axis."""
    strength = 1 / (1 + np.hypot(np.hypot(*np.ogrid[: waves[0], : waves[1]])[:, :, None], np.arange(waves[2])[None, None]))
    spectrum = rng.normal(size=(*waves, maps)) * (strength / np.sqrt((strength**2).sum() / 2.83))[..., None]
    for axis, (size, count) in enumerate(zip(shape, waves, strict=True)):
        basis = np.cos(np.pi * (np.arange(size)[:, None] + 0.5) / size * np.arange(count))
        spectrum = np.moveaxis(np.tensordot(basis, spectrum, (1, axis)), 0, axis)
    noise: Floats = spectrum.astype(np.float32)
    return noise


def shift_of_midline(masses: tuple[Mass, ...]) -> float:
    """How far the midline between frontal horns and pineal is pushed, mm, signed (+ towards the patient's left)."""
    line = np.array([[0, y, z] for y in (-35, -20, -5, 10, 25, 40) for z in (4, 14, 24)], np.float32)
    if not masses:
        return 0.0
    pushed = _push(masses, line)[:, 0]
    return float(pushed[np.abs(pushed).argmax()])


def shift_of(masses: tuple[Mass, ...], points: Floats) -> Floats:
    """How far the structure at these points (n, 3), LPS mm, is pushed on average: x, y, z in mm."""
    return np.asarray(_push(masses, np.asarray(points, np.float32)).mean(0), np.float32)


def to_head(backward: Grid, atlas_points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where atlas points (n, 3) lie in this head: the backward field inverted by fixed-point iteration."""
    found = atlas_points.astype(np.float32)
    for _ in range(4):
        found = atlas_points.astype(np.float32) - backward.at(found)[:, :3]
    return found.astype(np.float64)


def _push(masses: tuple[Mass, ...], points: Floats) -> Floats:
    """The masses' displacement (n, 3) of tissue now at these points; the skull does not move."""
    depth = atlas.load().channels.at(points)[:, atlas.CHANNELS.index("depth")]
    held = np.clip(depth / np.float32(SKULL), 0, 1)
    total = np.zeros_like(points)
    for mass in masses:
        total += mass.displacement(points)
    total *= held[:, None]
    return total


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
    signed = ndimage.distance_transform_edt(~inside, sampling=atlas.SPACING) - ndimage.distance_transform_edt(
        inside, sampling=atlas.SPACING
    )
    smooth = ndimage.gaussian_filter(signed, 1.6).astype(np.float32)
    gradient = np.stack(np.gradient(smooth, atlas.SPACING)[::-1])
    both = np.concatenate([gradient, smooth[None]]).astype(np.float32).reshape(4, -1).T
    found = Grid(torch.from_numpy(np.ascontiguousarray(both)), atlas.SHAPE, atlas.LOWER, atlas.SPACING).at(nodes())
    return np.ascontiguousarray(found[:, :3]), found[:, 3]
