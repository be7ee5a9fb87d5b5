"""The scanner: sampling the head on a series' grid, painting lesions, and the signal of every series.

Points of a grid are mapped to the head's frame (position of the head), then through the head's backward field to the atlas. Tissue
fractions are sampled once per grid, slab by slab, and shared by the series on it; a series is a weighted sum of fractions, then what
the acquisition does to it (`phantom.acquisition`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from phantom import acquisition, anatomy, atlas
from phantom.atlas import Grid
from phantom.lesion import INSIDE_MASK, Part, replaceable
from phantom.shape import Box, Floats, Surroundings
from phantom.signal import Sequence, Weighting, signal
from phantom.study import Phantom
from phantom.style import SeriesPlan, Style
from phantom.tissue import TISSUES, Tissue, at_field

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
HEAD: Box = ((-92.0, -110.0, -97.0), (92.0, 122.0, 96.0))  # LPS mm; beyond it there is air
SLAB = 400_000  # grid points sampled at once
FILLED_VESSEL = Tissue(1600, 60, 0.62, 1.5, 30, 300)
CANAL = (44.0, -66.0)  # y and z of the spinal canal where the atlas ends, LPS mm of the atlas
SULCUS = 0.22  # share of the cortex that a sulcus of one's own turns into fluid
DARK = 1e-3  # share of a point below which a part is not painted


@dataclass(frozen=True)
class Rendered:
    """One acquired series.

    name: the SeriesDescription. voxels: int16 (i, j, k) = (column, row, slice). affine: 4 x 4, voxel index -> mm, LPS.
    plane: "axial", "sagittal" or "coronal"; volume: a 3-D acquisition. Times in ms, b in s/mm2, tesla; thickness in mm.
    """

    name: str
    voxels: NDArray[np.int16]
    affine: NDArray[np.float64]
    plane: str
    weighting: Weighting
    tr: float
    te: float
    ti: float | None
    b_value: float | None
    flip: float | None
    contrast: bool
    tesla: float
    vendor: str
    thickness: float
    volume: bool = False


@dataclass(frozen=True)
class Maps:
    """Tissue fractions of a head inside a box of a grid.

    window: slices (k, j, i) of the box in the grid. shape: (k, j, i) of the box. fractions: float32 (n, tissue), n running over k, j, i.
    tissues: names of the columns. masks: labelled lesion masks, bool (n,). atlas_points: where each point is in the atlas, mm (n, 3).
    """

    window: tuple[slice, slice, slice]
    shape: tuple[int, int, int]
    tissues: tuple[str, ...]
    fractions: Floats
    masks: dict[str, NDArray[np.bool_]]
    atlas_points: Floats


def render(phantom: Phantom, noise: bool = True) -> tuple[Rendered, ...]:
    """All series of the study, in the order of acquisition; without noise also without blur, motion, distortion and receive field."""
    backward = anatomy.field(phantom.anatomy, phantom.masses)
    plans = phantom.style.series
    series: dict[int, Rendered] = {}
    for plane, voxel in dict.fromkeys((plan.plane, plan.voxel) for plan in plans):
        here = {index: plan for index, plan in enumerate(plans) if (plan.plane, plan.voxel) == (plane, voxel)}
        affine, shape = geometry(phantom.style, plane, voxel)
        for index, values in _signals(phantom, backward, here, affine, shape).items():
            series[index] = _acquired(phantom, here[index], index, values, affine, noise)
    return tuple(series[index] for index in range(len(plans)))


def _signals(
    phantom: Phantom, backward: Grid, plans: dict[int, SeriesPlan], affine: NDArray[np.float64], shape: tuple[int, int, int]
) -> dict[int, Floats]:
    """The noise-free images (k, j, i) of the series on one grid, by their index."""
    whole = {index: np.zeros(shape[::-1], np.float32) for index in plans}
    for first, part, size in slabs(affine, shape):
        maps = sample_head(phantom, backward, part, size)
        for index, plan in plans.items():
            whole[index][first : first + size[2]][maps.window] = _contrast(maps, plan.sequence, phantom.style.tesla)
    return whole


def _acquired(phantom: Phantom, plan: SeriesPlan, index: int, values: Floats, affine: NDArray[np.float64], noise: bool) -> Rendered:
    """One series as stored."""
    style, sequence = phantom.style, plan.sequence
    window = head_window(style, affine, (values.shape[2], values.shape[1], values.shape[0]))
    stored = acquisition.stored(values, window, affine, plan, style, index if noise else None)
    if phantom.mirror:
        axis = 0 if plan.plane == "sagittal" else 2
        affine, stored = mirrored(affine, stored.shape[::-1], axis), np.flip(stored, axis)
    return Rendered(
        plan.name,
        np.ascontiguousarray(stored.transpose(2, 1, 0)),
        affine,
        plan.plane,
        sequence.weighting,
        sequence.tr,
        sequence.te,
        sequence.ti,
        sequence.b_value if sequence.weighting is Weighting.DWI else None,
        sequence.flip,
        sequence.contrast,
        style.tesla,
        style.vendor,
        plan.voxel or style.thickness,
        plan.voxel is not None,
    )


def geometry(style: Style, plane: str, voxel: float | None = None) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Affine (index (i, j, k) -> LPS mm) and shape (i, j, k) of a series of an unmirrored study; voxel: of a 3-D series, mm."""
    matrix = style.matrix if voxel is None else 2 * round(style.field_of_view / voxel / 2)
    pixel = style.field_of_view / matrix
    half = (matrix - 1) / 2 * pixel
    affine = np.eye(4)
    if plane == "axial":
        slices, spacing = (style.slices, style.spacing) if voxel is None else (round(168 / voxel), voxel)
        affine[:3, :3] = np.diag([pixel, pixel, spacing])
        top = (78.0 if voxel is None else 92.0) + style.offset[2]
        affine[:3, 3] = (-half, 17.0 - half, top - (slices - 1) * spacing)
    elif plane == "coronal":
        slices, spacing = 27, 6.8
        affine[:3, :3] = np.array([[pixel, 0, 0], [0, 0, spacing], [0, -pixel, 0]])
        affine[:3, 3] = (-half, 17.0 - (slices - 1) / 2 * spacing, 12.0 + half)
    else:
        slices, spacing = (21, 6.5) if voxel is None else (round(168 / voxel), voxel)
        affine[:3, :3] = np.array([[0, 0, -spacing], [pixel, 0, 0], [0, -pixel, 0]])
        affine[:3, 3] = ((slices - 1) / 2 * spacing, 17.0 - half, 12.0 + half)
    return affine, (matrix, matrix, slices)


def slabs(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> Iterator[tuple[int, NDArray[np.float64], tuple[int, int, int]]]:
    """A grid cut into runs of slices so that sampling needs little memory: first slice, affine and shape of each run."""
    count = max(1, SLAB // (shape[0] * shape[1]))
    for first in range(0, shape[2], count):
        part = affine.copy()
        part[:3, 3] += first * affine[:3, 2]
        yield first, part, (shape[0], shape[1], min(count, shape[2] - first))


def head_window(style: Style, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """The slices (k, j, i) of the head's bounding box in a grid (i, j, k)."""
    low, high = _index_box(_inverse(head_frame(style) @ affine), HEAD, (0, 0, 0), shape)
    return slice(low[2], high[2]), slice(low[1], high[1]), slice(low[0], high[0])


def mirrored(affine: NDArray[np.float64], shape: tuple[int, ...], axis: int) -> NDArray[np.float64]:
    """The affine of the anatomical mirror image whose voxels are flipped along the left-right axis (axis of (k, j, i) arrays)."""
    flip = np.eye(4)
    index = 2 - axis
    flip[index, index], flip[index, 3] = -1, shape[index] - 1
    return MIRROR @ affine @ flip


def head_frame(style: Style) -> NDArray[np.float64]:
    """4 x 4: scanner mm -> head mm, for an unmirrored study."""
    a, b, c = style.tilt
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_x @ about_y @ about_z
    matrix[:3, 3] = -matrix[:3, :3] @ np.array([style.offset[0], style.offset[1], 0.0])
    return matrix


def sample_head(phantom: Phantom, backward: Grid, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> Maps:
    """Tissue fractions and lesion masks of the unmirrored head on a grid (i, j, k), within the head's bounding box."""
    to_head = head_frame(phantom.style) @ affine
    low, high = _index_box(_inverse(to_head), HEAD, (0, 0, 0), shape)
    axes = [np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    k, j, i = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    matrix = to_head.astype(np.float32)
    points = np.stack([i.ravel(), j.ravel(), k.ravel()], 1) @ matrix[:3, :3].T + matrix[:3, 3]
    size = (len(axes[2]), len(axes[1]), len(axes[0]))
    moved = backward.at(points)
    source = points + moved[:, :3]
    found = atlas.load().channels.at(source)
    extra = tuple(dict.fromkeys(part.tissue for lesion in phantom.lesions for part in lesion.parts if part.tissue not in atlas.TISSUES))
    tissues = (*atlas.TISSUES, *extra)
    fractions = np.zeros((len(points), len(tissues)), np.float32)
    fractions[:, : len(atlas.TISSUES)] = found[:, : len(atlas.TISSUES)]
    _neck(fractions, source)
    _fold(fractions, found[:, atlas.CHANNELS.index("ventricle")], moved[:, 3:], phantom.anatomy.sulci)
    _texture(fractions, found[:, atlas.CHANNELS.index("ventricle")], moved[:, 3:])
    around = Surroundings(found[:, atlas.CHANNELS.index("depth")], found[:, atlas.CHANNELS.index("ventricle distance")])
    masks: dict[str, NDArray[np.bool_]] = {}
    to_index = _inverse(to_head)
    room = replaceable(fractions, found[:, atlas.CHANNELS.index("ventricle")]) if phantom.lesions else {}
    for lesion in phantom.lesions:
        for part in lesion.parts:
            _paint(part, fractions, room, tissues, masks, points, around, to_index, low, size)
    window = (slice(low[2], high[2]), slice(low[1], high[1]), slice(low[0], high[0]))
    return Maps(window, size, tissues, fractions, masks, source)


def _index_box(
    to_index: NDArray[np.float64], box: Box, low: tuple[int, ...], high: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Index bounds (i, j, k), upper exclusive, of a box of the head's frame, clipped to low..high."""
    corners = np.array([[x, y, z, 1] for x in (box[0][0], box[1][0]) for y in (box[0][1], box[1][1]) for z in (box[0][2], box[1][2])])
    index = (corners @ to_index.T)[:, :3]
    first = np.clip(np.floor(index.min(0)).astype(int), low, high)
    last = np.clip(np.ceil(index.max(0)).astype(int) + 1, low, high)
    return tuple(int(v) for v in first), tuple(int(v) for v in last)


def _inverse(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(affine), np.float64)


def _fold(fractions: Floats, ventricle: Floats, folding: Floats, sulci: float) -> None:
    """Turn the average's soft grey, white and csf into one person's, in place: sharper, shifted by noise, sulci narrower or wider."""
    parts = fractions[:, :3]  # grey, white, csf
    total = parts[:, 0] + parts[:, 1] + parts[:, 2]  # reductions over a short axis are slow
    most = np.maximum(np.maximum(parts[:, 0], parts[:, 1]), parts[:, 2])
    mixed = np.flatnonzero((total > 0.01) & (most < 0.995 * total))
    parts, total = parts[mixed], total[mixed]
    cortex = np.clip(total - ventricle[mixed], 0, 1)
    # sheets where a noise crosses zero, as sulci of one's own: a little more fluid within the cortex there
    sheet = np.exp(-((folding[mixed, 0] / np.float32(0.3)) ** 2)) * cortex
    opened = np.float32(SULCUS) * sheet * parts[:, 0] * (parts[:, 1] < 0.5)
    parts[:, 0] -= opened
    parts[:, 2] += opened
    noise = folding[mixed] * np.float32(0.55)
    noise[:, 2] += np.float32(sulci)
    sharp = parts ** np.float32(1.7) * np.exp(noise * cortex[:, None])
    fractions[mixed, :3] = sharp * (total / np.maximum(sharp[:, 0] + sharp[:, 1] + sharp[:, 2], np.float32(1e-6)))[:, None]


def _neck(fractions: Floats, source: Floats) -> None:
    """Let cord and canal go on below the atlas, in place: there its lowest slice is sampled, which has neither."""
    below = np.flatnonzero(source[:, 2] < CANAL[1])
    if not below.size:
        return
    x, y, z = source[below].T
    away = np.hypot(x, y - np.float32(CANAL[0]) - np.float32(0.15) * (z - CANAL[1]))
    faded = np.clip((CANAL[1] - z) / 3, 0, 1)
    for tissue, radius in (("csf", 9.0), ("white", 5.5), ("grey", 2.0)):
        share = np.clip(np.float32(radius + 0.5) - away, 0, 1) * faded * np.float32(0.5 if tissue == "grey" else 1.0)
        fractions[below] *= (1 - share)[:, None]
        fractions[below, atlas.TISSUES.index(tissue)] += share


def _texture(fractions: Floats, ventricle: Floats, folding: Floats) -> None:
    """Small vessels in the subarachnoid space, along curves where two noises cross zero together; and a mottle in white matter."""
    csf, white, vessel = (atlas.TISSUES.index(name) for name in ("csf", "white", "vessel"))
    fluid = np.flatnonzero((fractions[:, csf] > 0.3) & (ventricle < 0.05))
    near = np.exp(-(folding[fluid, 0] ** 2 + folding[fluid, 1] ** 2) / np.float32(0.3**2))
    share = fractions[fluid, csf] * near * np.float32(0.85)
    fractions[fluid, csf] -= share
    fractions[fluid, vessel] += share
    pure = np.flatnonzero(fractions[:, white] > 0.8)
    mottle = fractions[pure, white] * np.clip(np.float32(0.035) + np.float32(0.03) * folding[pure, 2], 0, 0.12)
    fractions[pure, white] -= mottle
    fractions[pure, atlas.TISSUES.index("grey")] += mottle


def _paint(
    part: Part,
    fractions: Floats,
    room: dict[str, Floats],
    tissues: tuple[str, ...],
    masks: dict[str, NDArray[np.bool_]],
    points: Floats,
    around: Surroundings,
    to_index: NDArray[np.float64],
    low: tuple[int, ...],
    size: tuple[int, int, int],
) -> None:
    """Let one part replace its share of what is there, and enter it into its mask."""
    first, last = _index_box(to_index, part.shape.box(), low, tuple(a + n for a, n in zip(low, size[::-1], strict=True)))
    if any(b <= a for a, b in zip(first, last, strict=True)):
        return
    k, j, i = (np.arange(first[axis] - low[axis], last[axis] - low[axis]) for axis in (2, 1, 0))
    where = ((k[:, None, None] * size[1] + j[:, None]) * size[2] + i).ravel()
    mask = part.shape.mask(points[where], Surroundings(around.depth[where], around.ventricle_distance[where]))
    keep = mask > DARK
    where = where[keep]
    mask = mask[keep] * room[part.within][where] * np.float32(part.fraction)
    fractions[where] *= (1 - mask)[:, None]
    fractions[where, tissues.index(part.tissue)] += mask
    if part.label:
        known = masks.setdefault(part.label, np.zeros(len(points), bool))
        known[where[mask > INSIDE_MASK]] = True


def _contrast(maps: Maps, sequence: Sequence, tesla: float) -> Floats:
    """The signed noise-free signal, float32 (k, j, i) of the box; for ADC 10^-6 mm2/s from two diffusion weightings."""
    if sequence.weighting is Weighting.ADC:
        low, high = (_contrast(maps, replace(sequence, weighting=Weighting.DWI, b_value=b), tesla) for b in (0.0, 1000.0))
        ratio = np.clip(high, 1e-5, None) / np.maximum(low, 1e-5)
        return np.where(low > 0.02, np.clip(-1000 * np.log(ratio), 0, 4000), 0).astype(np.float32)
    weights = np.array([signal(at_field(_shown(name, sequence), tesla), sequence) for name in maps.tissues], np.float32)
    values: Floats = (maps.fractions @ weights).reshape(maps.shape)
    return values


def _shown(name: str, sequence: Sequence) -> Tissue:
    """The tissue as a sequence meets it: after gadolinium the slow blood of veins and small vessels is bright and no void."""
    return FILLED_VESSEL if name == "vessel" and sequence.contrast else TISSUES[name]
