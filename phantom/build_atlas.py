"""Build the phantom's atlas from the MNI152 template that nilearn carries (development only): `python -m phantom.build_atlas`.

The template is skull-stripped; what lies outside the brain (meninges, bone, marrow, fat, orbits, sinuses, vessels) is drawn here from
distances and landmarks. Everything is stored on one grid of 1.25 mm, axes (z, y, x) towards Superior, Posterior, Left, as uint8.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from phantom.atlas import CHANNELS, LOWER, PATH, REGIONS, SHAPE, SPACING

Volume = NDArray[Any]

Point = tuple[float, float, float]

ELLIPSOIDS: dict[str, list[tuple[Point, Point]]] = {
    # region: centre and radii in mm, MNI (x = right, y = anterior, z = superior), right side; left is mirrored
    "insula": [((38, 2, 2), (5, 22, 14))],
    "basal ganglia": [((13, 13, 8), (6, 10, 10)), ((26, 3, 2), (7, 16, 11)), ((19, -4, 0), (6, 10, 8))],
    "thalamus": [((10, -18, 8), (10, 14, 9))],
    "brainstem": [((0, -25, -33), (18, 14, 15)), ((0, -22, -12), (15, 11, 11)), ((0, -39, -56), (10, 10, 20))],
    "cerebellopontine angle": [((19, -34, -40), (12, 12, 12))],
    "sella": [((0, 4, -28), (10, 9, 11))],
}

VESSELS: list[tuple[float, list[Point]]] = [
    # radius in mm and path, right side; mirrored
    (1.8, [(0, -40, -66), (2, -18, -50), (0, -10, -40), (0, -10, -25), (0, -16, -12)]),
    (2.0, [(20, -2, -60), (20, -6, -45), (14, 2, -34), (13, 6, -24), (11, 3, -14)]),
    (1.5, [(11, 3, -14), (22, 6, -16), (34, 6, -16), (41, 2, -8), (43, -12, 2)]),
    (1.2, [(8, 5, -13), (2, 16, -12), (2, 32, -4), (2, 42, 10), (2, 30, 30), (2, 5, 38)]),
    (1.2, [(1, -16, -12), (12, -16, -12), (20, -30, -8), (20, -45, -2), (14, -65, 0)]),
    (2.2, [(0, -40, 4), (0, -55, 2), (0, -75, -4), (0, -95, -10)]),
    (2.8, [(0, -98, -12), (20, -98, -14), (40, -84, -20), (54, -62, -26), (54, -45, -34), (48, -38, -46), (40, -36, -60)]),
]


def _template() -> dict[str, Volume]:
    """T1, grey and white fractions on the atlas grid, from nilearn's package data (no download)."""
    from nilearn import datasets  # type: ignore[import-untyped]

    images = {"t1": datasets.load_mni152_template, "grey": datasets.load_mni152_gm_template, "white": datasets.load_mni152_wm_template}
    x, y, z = _grid()
    found = {}
    for name, load in images.items():
        image = load(resolution=1)
        offset = image.affine[:3, 3]
        index = [axis - shift for axis, shift in zip((x, y, z), offset, strict=True)]
        found[name] = ndimage.map_coordinates(image.get_fdata().astype(np.float32), index, order=1)
    return found


def _grid() -> tuple[Volume, Volume, Volume]:
    """MNI coordinates (x right, y anterior, z superior) of every atlas voxel, each (z, y, x)."""
    axes = [low + SPACING * np.arange(count, dtype=np.float32) for low, count in zip(LOWER, SHAPE, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return -x, -y, z


def _inside(grid: tuple[Volume, Volume, Volume], centre: Point, radii: Point) -> Volume:
    """Squared normalised distance to an ellipsoid and its mirror image; below 1 is inside."""
    x, y, z = grid
    lateral = np.minimum((x - centre[0]) ** 2, (x + centre[0]) ** 2)
    return lateral / radii[0] ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2


def _regions(grid: tuple[Volume, Volume, Volume], brain: Volume, white: Volume, ventricles: Volume) -> Volume:
    """Region labels (index into REGIONS) inside the skull; 0 elsewhere."""
    x, y, z = grid
    side = np.abs(x)
    lobe = np.full(x.shape, REGIONS.index("parietal lobe"), np.uint8)
    lobe[(y > np.where(z > 20, -5 - 0.5 * (z - 20), -8))] = REGIONS.index("frontal lobe")
    lobe[y < -62 - 0.45 * np.maximum(z - 10, 0)] = REGIONS.index("occipital lobe")
    temporal = (z < -2 - 0.42 * y) & (side > 17) & (y < 24) & (y > -60 - 0.2 * z) & (z < 16)
    lobe[temporal] = REGIONS.index("temporal lobe")
    tentorium = -4 - 0.5 * side - 0.3 * np.maximum(0, -y - 65)
    lobe[(y < -32) & (z < tentorium)] = REGIONS.index("cerebellum")
    label = lobe.copy()
    for name in ("insula", "basal ganglia", "thalamus", "brainstem"):
        for centre, radii in ELLIPSOIDS[name]:
            label[(_inside(grid, centre, radii) < 1) & (lobe != REGIONS.index("cerebellum") if name != "brainstem" else True)] = (
                REGIONS.index(name)
            )
    ring = np.hypot((y + 4) / 36, (z - 4) / 22)
    label[(side < 14) & (z > 2) & (ring > 0.82) & (ring < 1.3) & (white > 0.4)] = REGIONS.index("corpus callosum")
    label[ventricles > 0.5] = REGIONS.index("ventricles")
    outer = {"frontal lobe": "frontal convexity", "parietal lobe": "parietal convexity", "temporal lobe": "middle cranial fossa"}
    outer |= {"occipital lobe": "occipital convexity", "cerebellum": "posterior fossa"}
    extra = brain < 0.5
    for inner, name in outer.items():
        label[extra & (lobe == REGIONS.index(inner))] = REGIONS.index(name)
    label[extra & (y < -20) & (z < -30)] = REGIONS.index("posterior fossa")
    for name in ("cerebellopontine angle", "sella"):
        for centre, radii in ELLIPSOIDS[name]:
            label[extra & (_inside(grid, centre, radii) < 1)] = REGIONS.index(name)
    return label


def _tubes() -> Volume:
    """Arteries and dural sinuses as tubes along VESSELS, both sides, 0..1."""
    distance = np.full(SHAPE, 99.0, np.float32)
    seeds = np.ones(SHAPE, bool)
    for radius, path in VESSELS:
        for start, end in pairwise(path):
            steps = np.linspace(start, end, 40)
            for mirror in (1, -1):
                seeds[_index(steps * (mirror, 1, 1))] = False
        distance = np.minimum(distance, ndimage.distance_transform_edt(seeds, sampling=SPACING) - radius)
        seeds[:] = True
    tubes: Volume = np.clip(0.5 - distance / SPACING, 0, 1)
    return tubes


def _index(points: Volume) -> tuple[Volume, ...]:
    lps = points * (-1, -1, 1)
    index = np.round((lps[:, ::-1] - LOWER) / SPACING).astype(int)
    return tuple(np.clip(index[:, axis], 0, SHAPE[axis] - 1) for axis in range(3))


def build() -> dict[str, Volume]:
    """All channels and the region labels, each uint8 (z, y, x)."""
    grid = _grid()
    x, y, z = grid
    found = _template()
    mask = ndimage.binary_fill_holes(ndimage.binary_closing(found["t1"] > 0.08, iterations=4))
    mask = ndimage.binary_opening(mask, iterations=1)
    grey, white = found["grey"] * mask, found["white"] * mask
    total = np.maximum(1.0, grey + white)
    grey, white = grey / total, white / total
    csf = np.clip(mask - grey - white, 0, 1)
    brain = ndimage.gaussian_filter(((grey + white) > 0.5).astype(np.float32), 1.0)

    within = ndimage.distance_transform_edt(mask, sampling=SPACING)
    deep = (csf > 0.5) & (within > 9) & (np.abs(x) < 45) & (y > -62) & (y < 48) & (z > -48) & (z < 34)
    deep &= (np.abs(x) < 36) | (z > -25)
    labels, count = ndimage.label(ndimage.binary_opening(deep) | (deep & (np.abs(x) < 4)))
    sizes = ndimage.sum_labels(np.ones(SHAPE), labels, np.arange(1, count + 1))
    ventricle = np.isin(labels, 1 + np.flatnonzero(sizes > 120))
    # the interhemispheric fissure and the cisterns are not ventricles
    ventricle &= ~((np.abs(x) < 4) & ((z > 26) | (y > 26) | (y < -52) | ((y < -32) & (z > -20)) | (y > 6) & (z < 0)))
    ventricle &= ~((np.abs(x) > 8) & (z < -12) & (y > -8))
    near = ndimage.gaussian_filter(ventricle.astype(np.float32), 0.8)
    ventricles = np.clip(near * 2, 0, 1) * csf

    # the skull's inner table: the brain's smoothed hull with an uneven subarachnoid rim
    hull = ndimage.binary_closing(np.pad(mask, 12), ndimage.generate_binary_structure(3, 1), iterations=9)[12:-12, 12:-12, 12:-12]
    rng = np.random.default_rng(152)
    uneven = ndimage.zoom(rng.normal(size=(12, 14, 12)), np.array(SHAPE) / (12, 14, 12), order=2)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    signed = ndimage.distance_transform_edt(~hull, sampling=SPACING) - ndimage.distance_transform_edt(hull, sampling=SPACING)
    signed = signed - 1.2 + 0.7 * uneven - 0.6 * (z > 40)
    intracranial = np.clip(0.5 - signed / SPACING, 0, 1)
    csf = np.clip(intracranial - grey - white, 0, 1)

    # the head below the skull's widest level keeps its outline (face, neck), narrowing downwards and backwards
    level = round(float((-14 - LOWER[0]) / SPACING))
    head = ndimage.distance_transform_edt(signed[level] > 0, sampling=SPACING) - ndimage.distance_transform_edt(
        signed[level] <= 0, sampling=SPACING
    )
    below = head[None] + np.clip(-14 - z, 0, 80) * np.where(y < -40, 0.55, np.where(np.abs(x) > 55, 0.25, 0.12))
    outer = np.where(z < -14, np.minimum(signed, below), signed)
    skin = 13.0 + 1.2 * uneven
    inside_head = np.clip(0.5 - (outer - skin) / SPACING, 0, 1)

    def shell(low: float | Volume, high: float | Volume, field: Volume) -> Volume:
        return np.clip(0.5 + (field - low) / SPACING, 0, 1) * np.clip(0.5 - (field - high) / SPACING, 0, 1)

    bone_end = 7.0 + 0.8 * uneven
    bone = shell(0.3, bone_end, signed)
    marrow = shell(2.3, bone_end - 2.0, signed) * np.clip((z + 30) / 20, 0, 1)
    fat = shell(bone_end + 0.4, skin - 1.2, outer) * (1 - bone) * (signed > 2)
    muscle = np.clip(inside_head - intracranial - bone, 0, 1) * np.clip((-10 - z) / 8, 0, 1) * (outer < skin - 4)
    fat *= 1 - muscle
    # landmarks of the skull base: petrous bone, mastoid and sinuses, orbits
    petrous = np.clip(1.6 * (1 - _inside(grid, (40, -30, -42), (22, 12, 12))), 0, 1) * (1 - np.clip(brain + 0.2, 0, 1))
    cells: list[tuple[Point, Point]] = [
        ((50, -38, -48), (9, 12, 12)),
        ((0, 22, -40), (13, 11, 11)),
        ((6, 42, -38), (8, 22, 13)),
        ((33, 40, -62), (14, 16, 14)),
        ((8, 74, -8), (9, 5, 9)),
    ]
    air = np.zeros(SHAPE, np.float32)
    for centre, radii in cells:
        air = np.maximum(air, np.clip(3 * (1 - _inside(grid, centre, radii)), 0, 1))
    air *= intracranial < 0.05
    eye = np.clip(6 * (1 - _inside(grid, (33, 60, -36), (12, 12, 12))), 0, 1) * (intracranial < 0.05)
    orbit = np.clip(3 * (1 - _inside(grid, (30, 48, -36), (17, 26, 16))), 0, 1) * (intracranial < 0.05)
    nerve = ((np.abs(np.abs(x) - (16 + (y - 20) * 0.45)) < 2) & (np.abs(z + 34) < 3) & (y > 22) & (y < 50)).astype(np.float32)

    vessel = _tubes() * (intracranial > 0.5)
    midline = intracranial[:, :, SHAPE[2] // 2][:, :, None] * np.ones(SHAPE[2], np.float32)
    depth2d = ndimage.distance_transform_edt(midline[:, :, SHAPE[2] // 2] > 0.5, sampling=SPACING)[:, :, None]
    sagittal_sinus = (
        np.clip(0.5 + (3.0 - np.hypot(x, np.clip(depth2d - 3, -9, 99) * 0.9)) / SPACING, 0, 1) * midline * (z > 0) * (depth2d > 0)
    )
    sagittal_sinus *= (y < 50) | (z > 20)
    vessel = np.maximum(vessel, sagittal_sinus * (depth2d < 8))
    falx = np.clip(0.9 - np.abs(x) / SPACING, 0, 1) * (intracranial > 0.5) * (brain < 0.55) * (z > 6) * (ventricles < 0.1)
    falx *= np.clip(np.hypot((y + 4) / 40, (z - 4) / 28) > 1.15, 0, 1)

    regions = _regions(grid, brain, white, ventricles) * (signed < 2)
    gland = np.clip(3 * (1 - _inside(grid, (0, 3, -31), (6, 5, 4))), 0, 1)
    choroid = np.clip(2 * (1 - _inside(grid, (22, -38, 10), (4, 7, 5))), 0, 1) * ventricles
    deep_grey = np.zeros(SHAPE, np.float32)
    for name in ("basal ganglia", "thalamus"):
        for centre, radii in ELLIPSOIDS[name]:
            weight = 1.0 if name == "basal ganglia" else 0.45
            deep_grey = np.maximum(deep_grey, weight * np.clip(2.5 * (1 - _inside(grid, centre, radii)), 0, 1))
    # the template's grey map is faint in pallidum and thalamus: bring it up where these nuclei are
    lift = np.clip(deep_grey * 0.7 - grey, 0, 1) * np.clip(1 - csf, 0, 1)
    grey, white = grey + np.minimum(lift, white), white - np.minimum(lift, white)
    deep_grey *= grey
    grey = grey - deep_grey

    channels = {"grey": grey, "white": white, "csf": csf, "deep grey": deep_grey, "ventricle": ventricles}
    paint: list[tuple[str | None, Volume]] = [
        ("muscle", muscle),
        ("fat", np.maximum(fat, 0)),
        ("bone", np.maximum(bone, petrous)),
        ("marrow", marrow),
        ("fat", orbit * (bone < 0.7)),
        ("muscle", nerve),
        ("water", eye),
        (None, air),
        ("gland", gland),
        ("gland", choroid * 0.8),
        ("dura", falx),
        ("vessel", vessel),
    ]
    layers = {name: np.zeros(SHAPE, np.float32) for name in CHANNELS if name not in channels} | channels
    for painted, fraction in paint:
        for other in CHANNELS:
            if other not in ("ventricle", "depth", "ventricle distance", painted):
                layers[other] = layers[other] * (1 - fraction)
        if painted:
            layers[painted] = layers[painted] * (1 - fraction) + fraction
    layers["depth"] = np.clip(-signed, 0, 63.75) / 63.75
    away = ndimage.distance_transform_edt(ventricles < 0.5, sampling=SPACING)
    layers["ventricle distance"] = np.clip(away, 0, 63.75) / 63.75
    total = sum(layers[name] for name in CHANNELS if name not in ("ventricle", "depth", "ventricle distance"))
    scale = np.where(total > 1, 1 / np.maximum(total, 1e-6), 1)
    stored = {}
    for name in CHANNELS:
        values = layers[name] * (scale if name not in ("ventricle", "depth", "ventricle distance") else 1)
        stored[name] = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
        if name not in ("depth", "ventricle distance"):
            stored[name][stored[name] < 3] = 0
    return stored | {"regions": regions.astype(np.uint8)}


def main(path: Path = PATH) -> None:
    """Write the atlas file."""
    built = build()
    stacked = np.stack([built[name] for name in CHANNELS])
    np.savez_compressed(path, channels=stacked, regions=built["regions"])
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
