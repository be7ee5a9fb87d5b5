"""Where a lesion is: soft masks as functions of a point in the head (LPS mm), and the masses that push on tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[float, float, float]
Box = tuple[Point, Point]


@dataclass(frozen=True)
class Surroundings:
    """What a shape may ask about its points: depth below the skull's inner table and distance from the ventricles, mm, (n,)."""

    depth: Floats
    ventricle_distance: Floats


class Shape(Protocol):
    """A soft region of the head."""

    def box(self) -> Box:
        """Lower and upper corner, LPS mm, outside of which the mask is zero."""
        ...

    def mask(self, points: Floats, around: Surroundings, /) -> Floats:
        """Fraction 0..1 at points (n, 3), LPS mm in the head's frame."""
        ...


def waves(points: Floats, seed: int, wavelength: float, count: int = 7) -> Floats:
    """Smooth noise (n,) of zero mean and unit variance: a few random plane waves, the shortest about `wavelength` mm."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    directions *= (2 * np.pi / (wavelength * rng.uniform(1.0, 2.5, count)) / np.linalg.norm(directions, axis=1))[:, None]
    phases = rng.uniform(0, 2 * np.pi, count)
    total = np.zeros(len(points), np.float32)
    for direction, phase in zip(directions.astype(np.float32), phases.astype(np.float32), strict=True):
        total += np.cos(points @ direction + phase)
    return np.asarray(total * np.float32(np.sqrt(2 / count)), np.float32)


def _ramp(signed_mm: Floats, softness: float) -> Floats:
    return np.asarray(np.clip(np.float32(0.5) + signed_mm / np.float32(softness), 0, 1), np.float32)


@dataclass(frozen=True)
class Blob:
    """An ellipsoid with an uneven surface. radii in mm along the columns of a rotation drawn from `turn` (0 = along the axes).

    roughness: standard deviation of the radius, relative; wavelength: of that noise, relative to the mean radius.
    """

    centre: Point
    radii: Point
    roughness: float = 0.0
    seed: int = 0
    softness: float = 2.0
    turn: float = 0.0
    wavelength: float = 0.9

    def box(self) -> Box:
        """The blob's bounds."""
        reach = max(self.radii) * (1 + 2.2 * self.roughness) + self.softness
        low, high = (tuple(c + sign * reach for c in self.centre) for sign in (-1, 1))
        return low, high  # type: ignore[return-value]

    def mask(self, points: Floats, _around: Surroundings, /) -> Floats:
        """1 inside, soft at the surface."""
        offset = points - np.asarray(self.centre, np.float32)
        size = float(np.mean(self.radii))
        radii = np.full(len(points), 1, np.float32)
        if self.roughness:
            radii += np.float32(self.roughness) * np.clip(waves(offset, self.seed, self.wavelength * size), -2.2, 2.2)
        if self.turn:
            c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
            offset = np.stack([c * offset[:, 0] - s * offset[:, 1], s * offset[:, 0] + c * offset[:, 1], offset[:, 2]], 1)
        distance = np.sqrt(((offset / np.asarray(self.radii, np.float32)) ** 2).sum(1))
        return _ramp((radii - distance) * np.float32(size), self.softness)


@dataclass(frozen=True)
class Wedge:
    """An arterial territory: a cone from its apex along a direction, angle = half its opening (radians), length in mm, edge uneven."""

    apex: Point
    direction: Point
    angle: float
    length: float
    flatness: float = 1.0
    seed: int = 0
    softness: float = 4.0

    def box(self) -> Box:
        """The cone's bounds, generously."""
        low, high = (tuple(a + sign * (self.length + 6) for a in self.apex) for sign in (-1, 1))
        return low, high  # type: ignore[return-value]

    def mask(self, points: Floats, _around: Surroundings, /) -> Floats:
        """1 inside, soft at the surface."""
        axis = np.asarray(self.direction, np.float32)
        axis = axis / np.linalg.norm(axis)
        offset = points - np.asarray(self.apex, np.float32)
        along = offset @ axis
        across = offset - along[:, None] * axis
        across[:, 2] /= np.float32(self.flatness)
        edge = np.tan(np.float32(self.angle)) * along + 3 * waves(points, self.seed, 14.0)
        return (
            _ramp(edge - np.linalg.norm(across, axis=1), self.softness)
            * np.clip(along / 4, 0, 1)
            * _ramp(self.length - along, self.softness)
        )


@dataclass(frozen=True)
class Crescent:
    """A collection under the skull, on one side: `thickness` mm at its centre (a point on the inner table), thinning over `spread` mm."""

    centre: Point
    thickness: float
    spread: float
    seed: int = 0
    softness: float = 1.5
    inner: float = 0.0

    def box(self) -> Box:
        """The collection's bounds; it does not cross the midline."""
        x, y, z = self.centre
        side = 1.0 if x > 0 else -1.0
        across = sorted((side * 1.5, x + side * 40))
        return (across[0], y - self.spread, z - self.spread), (across[1], y + self.spread, z + self.spread)

    def mask(self, points: Floats, around: Surroundings, /) -> Floats:
        """1 between the inner table (or `inner` of the thickness, for a membrane) and the collection's inner edge."""
        away = np.linalg.norm(points - np.asarray(self.centre, np.float32), axis=1) / np.float32(self.spread)
        profile = np.sqrt(np.clip(1 - away**2, 0, 1)) * np.clip((1 - away) * 4, 0, 1)
        thick = np.float32(self.thickness) * profile * (1 + np.float32(0.12) * waves(points, self.seed, 25.0))
        keep = _ramp(thick - around.depth, self.softness) * np.clip(thick, 0, 1) * (around.depth > 0.3)
        if self.inner:
            keep = keep * _ramp(around.depth - np.float32(self.inner) * thick, self.softness)
        return np.asarray(keep, np.float32)


@dataclass(frozen=True)
class Shell:
    """A layer under the whole skull, from `inner` to `outer` mm below its inner table, uneven by `unevenness`; within a box, LPS mm."""

    outer: float
    inner: float = 0.0
    unevenness: float = 0.0
    seed: int = 0
    low: Point = (-90.0, -108.0, -68.0)
    high: Point = (90.0, 122.0, 96.0)
    softness: float = 1.2

    def box(self) -> Box:
        """The box it is cut to."""
        return self.low, self.high

    def mask(self, points: Floats, around: Surroundings, /) -> Floats:
        """1 within the layer; the box's faces fade over 8 mm."""
        keep = np.zeros(len(points), np.float32)
        near = np.flatnonzero((around.depth > 0.05) & (around.depth < self.outer * (1 + 3 * self.unevenness) + self.softness))
        spot, depth = points[near], around.depth[near]
        outer = np.float32(self.outer) * (1 + np.float32(self.unevenness) * waves(spot, self.seed, 22.0))
        layer = _ramp(outer - depth, self.softness)
        if self.inner:
            layer = layer * _ramp(depth - np.float32(self.inner), self.softness)
        to_face = np.minimum(spot - np.asarray(self.low, np.float32), np.asarray(self.high, np.float32) - spot).min(1)
        keep[near] = layer * np.clip(to_face / 8, 0, 1)
        return keep


@dataclass(frozen=True)
class Tube:
    """A vessel along a polyline of at least two points, its radius (mm) tapering evenly from the first point to the last."""

    points: tuple[Point, ...]
    radius: float
    end_radius: float
    softness: float = 1.2

    def box(self) -> Box:
        """The tube's bounds."""
        reach = max(self.radius, self.end_radius) + self.softness
        low, high = np.min(self.points, axis=0) - reach, np.max(self.points, axis=0) + reach
        return tuple(low.tolist()), tuple(high.tolist())

    def mask(self, points: Floats, _around: Surroundings, /) -> Floats:
        """1 inside, soft at the wall."""
        nodes = np.asarray(self.points, np.float32)
        radii = np.linspace(self.radius, self.end_radius, len(nodes), dtype=np.float32)
        inside = np.full(len(points), -np.inf, np.float32)
        for start, end, first, last in zip(nodes[:-1], nodes[1:], radii[:-1], radii[1:], strict=True):
            axis = end - start
            offset = points - start
            along = np.clip(offset @ axis / max(float(axis @ axis), 1e-6), 0, 1)
            distance = np.linalg.norm(offset - along[:, None] * axis, axis=1)
            inside = np.maximum(inside, first + along * (last - first) - distance)
        return _ramp(inside, self.softness)


@dataclass(frozen=True)
class Tangle:
    """Coiled vessels that fill a blob: `bore` mm wide, the coils about `wavelength` mm apart."""

    blob: Blob
    bore: float
    wavelength: float
    seed: int = 0
    softness: float = 1.2

    def box(self) -> Box:
        """The blob's bounds."""
        return self.blob.box()

    def mask(self, points: Floats, around: Surroundings, /) -> Floats:
        """1 within the coils."""
        # near its zeros, unit noise of plane waves rises by about 2 pi / (1.7 wavelength) for each mm
        away = np.abs(waves(points - np.asarray(self.blob.centre, np.float32), self.seed, self.wavelength)) * np.float32(
            1.7 * self.wavelength / (2 * np.pi)
        )
        return self.blob.mask(points, around) * _ramp(np.float32(self.bore / 2) - away, self.softness)


@dataclass(frozen=True)
class Level:
    """What has settled behind a horizontal level (y in mm; the patient lies on the back), between two corners."""

    low: Point
    high: Point
    level: float
    softness: float = 1.0

    def box(self) -> Box:
        """Its corners."""
        return self.low, self.high

    def mask(self, points: Floats, _around: Surroundings, /) -> Floats:
        """1 behind the level, cut at the corners."""
        within = np.all((points >= np.asarray(self.low, np.float32)) & (points <= np.asarray(self.high, np.float32)), axis=1)
        return np.asarray(_ramp(points[:, 1] - np.float32(self.level), self.softness) * within, np.float32)


@dataclass(frozen=True)
class Patches:
    """A shape in patches: unevenness 0 is even, 1 leaves gaps some centimetres wide. outside: whether it keeps clear of the ventricles."""

    shape: Shape
    unevenness: float
    seed: int = 0
    outside: bool = True

    def box(self) -> Box:
        """The shape's bounds."""
        return self.shape.box()

    def mask(self, points: Floats, around: Surroundings, /) -> Floats:
        """The shape's mask, thinned between the patches."""
        mask = self.shape.mask(points, around) * np.clip(1 + np.float32(self.unevenness) * waves(points, self.seed, 24.0), 0, 1)
        if self.outside:
            mask *= np.clip((around.ventricle_distance - 2) / 2, 0, 1)
        return np.asarray(mask, np.float32)


@dataclass(frozen=True)
class VentricleRim:
    """White matter along the lateral ventricles: `width` mm on average, uneven by `unevenness`, thicker at the horns."""

    width: float
    unevenness: float
    seed: int = 0
    softness: float = 2.5

    def box(self) -> Box:
        """Around the lateral ventricles."""
        return (-58.0, -62.0, -6.0), (58.0, 82.0, 60.0)

    def mask(self, points: Floats, around: Surroundings, /) -> Floats:
        """1 within the rim."""
        horns = np.clip(np.abs(points[:, 1] - 8) / 40, 0, 1)
        width = np.float32(self.width) * (0.6 + horns + np.float32(self.unevenness) * waves(points, self.seed, 18.0))
        return _ramp(width - around.ventricle_distance, self.softness) * np.clip(width, 0, 1)


@dataclass(frozen=True)
class Mass:
    """Tissue that pushes: up to `push` mm at its surface, `radius` mm from the centre (LPS mm)."""

    centre: Point
    radius: float
    push: float

    def displacement(self, points: Floats) -> Floats:
        """How far tissue now at these points was moved, mm, (n, 3), before the skull holds it back."""
        offset = points - np.asarray(self.centre, np.float32)
        distance = np.linalg.norm(offset, axis=1)
        outside = np.exp(-np.clip(distance - self.radius, 0, None) / np.float32(18 + 0.8 * self.radius))
        size = np.float32(self.push) * np.minimum(distance / np.float32(self.radius), 1) * outside
        return np.asarray(offset * (size / np.maximum(distance, np.float32(1e-3)))[:, None], np.float32)
