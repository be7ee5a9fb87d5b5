"""Injury of the brain itself: contusions and sheared axons."""

from __future__ import annotations

from phantom.lesion import FLUID, Lesion, Part, Recipe, Scene, jitter
from phantom.shape import Blob, Mass, Point
from phantom.signal import Weighting

POLES: dict[str, tuple[tuple[Point, Point], ...]] = {
    # where brain strikes bone: region, lower and upper corner on the patient's left (LPS mm)
    "frontal lobe": (((8.0, -60.0, -12.0), (28.0, -44.0, -4.0)), ((12.0, -66.0, 0.0), (32.0, -56.0, 14.0))),
    "temporal lobe": (((34.0, -18.0, -34.0), (46.0, -6.0, -26.0)), ((52.0, 0.0, -24.0), (60.0, 24.0, -10.0))),
}


def brain_contusion(scene: Scene) -> Lesion:
    """One to four swollen cortical foci at the frontal and temporal poles, salted with blood, with oedema beneath."""
    count = int(scene.rng.choice([1, 2, 3, 4], p=[0.3, 0.35, 0.2, 0.15]))
    stage = scene.one_of("acute", "acute", "early subacute")
    swellings: list[Part] = []
    bleeds: list[Part] = []
    masses: list[Mass] = []
    sides: set[str] = set()
    regions: list[str] = []
    largest = 0.0
    for focus in range(count):
        here = scene if focus == 0 or scene.chance(0.55) else scene.other_side()
        region = scene.one_of(*POLES)
        low, high = POLES[region][int(scene.rng.integers(2))]
        x, y, z = (scene.between(a, b) for a, b in zip(low, high, strict=True))
        centre = here.place((x, y, z))
        radius = scene.size(10, 17) if focus == 0 else scene.size(6, 12)
        swellings.append(_patch("edema", "vasogenic oedema", "white", scene, centre, radius + scene.size(5, 10)))
        bleeds.append(_patch("brain_contusion", "contused brain", "brain", scene, centre, radius))
        for _ in range(int(scene.rng.integers(2, 6))):
            spot = jitter(scene, centre, radius * 0.4)
            size = radius * scene.between(0.16, 0.42)
            bleeds.append(_patch("brain_contusion", f"{stage} blood", "brain", scene, spot, size))
        masses.append(Mass(centre, radius, scene.between(0.1, 0.24) * radius))
        sides.add(here.side)
        regions.append(region)
        largest = max(largest, 2 * radius)
    return Lesion(
        "brain_contusion",
        sides.pop() if len(sides) == 1 else "bilateral",
        regions[0],
        largest,
        (*swellings, *bleeds),
        tuple(masses),
        count=count,
        stage=stage,
        edema=True,
        visible_on=(*FLUID, Weighting.SWI),
        referral=("neurosurgery", "trauma surgery"),
        priority="high",
        regions=tuple(dict.fromkeys(regions)),
    )


def _patch(label: str, tissue: str, within: str, scene: Scene, centre: Point, radius: float) -> Part:
    """An uneven blob of one tissue."""
    radii = (radius * scene.between(0.85, 1.2), radius * scene.between(0.85, 1.2), radius * 0.9)
    return Part(label, tissue, Blob(centre, radii, 0.2, scene.seed(), 2.5 if radius > 6 else 1.4), within, 0.95)


def diffuse_axonal_injury(scene: Scene) -> Lesion:
    """Many small foci at the grey-white junction, in the callosum and dorsal brainstem: some bleed, the others restrict diffusion."""
    share = scene.between(0.35, 0.7)
    foci = int(scene.rng.integers(12, 24))
    parts: list[Part] = []
    for focus in range(foci):
        here = scene if scene.chance(0.5) else scene.other_side()
        kind = "callosal" if focus < 2 else str(scene.rng.choice(["junction", "callosal", "brainstem"], p=[0.72, 0.16, 0.12]))
        if kind == "junction":
            centre = here.pick(("frontal lobe", "frontal lobe", "temporal lobe", "parietal lobe"), "white", 0.6)
        elif kind == "callosal":
            centre = here.place((scene.between(2, 11), scene.between(18, 32), scene.between(14, 24)))
        else:
            centre = here.place((scene.between(5, 10), scene.between(30, 36), scene.between(-22, -12)))
        size = scene.size(3.2, 5.2) * (0.8 if kind == "brainstem" else 1)
        blood = focus % 2 == 0 if focus < 4 else scene.chance(share)
        radii = (size * scene.between(0.6, 0.9), size * scene.between(0.8, 1.2), size) if not blood else (size * 0.72,) * 3
        tissue = "haemosiderin" if blood else "axonal injury"
        parts.append(Part("diffuse_axonal_injury", tissue, Blob(centre, radii, 0.1, scene.seed(), 1.5, scene.between(-0.6, 0.6)), "brain"))
    return Lesion(
        "diffuse_axonal_injury",
        "bilateral",
        "frontal lobe",
        0.0,
        tuple(parts),
        count=foci,
        stage="acute",
        visible_on=(Weighting.DWI, Weighting.SWI, *FLUID),
        referral=("neurosurgery", "trauma surgery"),
        priority="high",
        regions=("frontal lobe", "temporal lobe", "corpus callosum", "brainstem"),
    )


RECIPES = {
    "brain_contusion": Recipe(brain_contusion, (18, 75), 0.34, ("subdural_hematoma", "subarachnoid_hemorrahage"), indication="confusion"),
    "diffuse_axonal_injury": Recipe(diffuse_axonal_injury, (18, 50), 0.3, ("subdural_hematoma", "brain_contusion"), indication="confusion"),
}
