"""What is built or settled otherwise: malformations of callosum, cortex and hindbrain, and the brain that sags for want of fluid."""

from __future__ import annotations

import numpy as np

from phantom import atlas
from phantom.lesion import FLUID, Lesion, Part, Recipe, Scene, jitter
from phantom.shape import Blob, Crescent, Mass, Point, Shell
from phantom.signal import Weighting

SHAPE = (Weighting.T1, *FLUID, Weighting.T1_POST)
"""Weightings on which a change of form is seen."""
CALLOSUM: tuple[tuple[float, float, float], ...] = (
    # y, z of the callosum's midline from rostrum to splenium, and half its height there, LPS mm
    (-25, 2, 6),
    (-29, 10, 6),
    (-21, 20, 5.5),
    (-9, 25, 5),
    (4, 27, 5),
    (17, 26, 5),
    (29, 22, 5.5),
    (37, 15, 7),
)
FORAMEN = -53.0  # mm: the foramen magnum's plane in a fossa too shallow for its cerebellum (others have it at about -58)


def dandy_walker_malformation(scene: Scene) -> Lesion:
    """A midline cyst that opens the fourth ventricle, spreads the hemispheres and leaves a small vermis high under the tentorium."""
    width, depth, height = scene.size(17, 25), scene.size(21, 26), scene.size(17, 21)
    x, y, z = centre = scene.place((scene.between(-1.0, 1.0), scene.between(68, 72), scene.between(-45, -41)))
    keyhole = Blob((x, 49.0, -36.0), (scene.between(6, 9), 12.0, 11.0), 0.04, scene.seed(), 1.5)
    cyst = Blob(centre, (width, depth, height), 0.06, scene.seed(), 1.5, 0.0, 1.3)
    parts = (
        Part("dandy_walker_malformation", "csf", keyhole, "intracranial"),
        Part("dandy_walker_malformation", "csf", cyst, "intracranial"),
    )
    # two weak pushes: the hemispheres stand apart, which no one reports as mass effect
    masses = tuple(Mass((x, y, z - shift), 0.8 * width, 2.8) for shift in (0.0, 6.0))
    return Lesion(
        "dandy_walker_malformation",
        "midline",
        "posterior fossa",
        2 * depth,
        parts,
        masses,
        visible_on=(*SHAPE, Weighting.DWI, Weighting.ADC),
        referral=("paediatric neurosurgery",),
        priority="medium",
        dams=scene.between(4.8, 7.0) if scene.chance(0.45) else 0.0,
    )


def dysgenesis_corpus_callosum(scene: Scene) -> Lesion:
    """No callosum, or none behind: fluid of the fissure meets a high third ventricle, ventricles run parallel, occipital horns are wide."""
    partial = scene.chance(0.4)
    name = "dysgenesis_corpus_callosum"
    first = 4 if partial else 0
    gap = scene.between(5.0, 8.0)
    parts = [
        Part(name, "csf", Blob(scene.place((0.0, y, z)), (gap, 12.0, half + 1.5), 0.05, scene.seed(), 1.8), "brain", 0.97)
        for y, z, half in CALLOSUM[first:]
    ]
    if not partial:
        parts += _parallel_ventricles(scene, name)
    reach, width, height = scene.between(20, 26), scene.between(8.5, 11.5), scene.between(9.5, 13)
    for here in (scene, scene.other_side()):
        horn = here.place((25.0, 34.0 + reach, scene.between(4, 8)))
        turn = -0.12 * here.sign  # the occipital horns come together behind
        parts.append(Part(name, "csf", Blob(horn, (width, reach, height), 0.06, scene.seed(), 2.0, turn, 1.2), "brain", 0.97))
    return Lesion(
        name,
        "midline",
        "corpus callosum",
        0.0,
        tuple(parts),
        stage="partial" if partial else "complete",
        visible_on=SHAPE,
        referral=("neurology", "genetics"),
        priority="low",
    )


def _parallel_ventricles(scene: Scene, name: str) -> list[Part]:
    """The third ventricle between bundles of Probst, which lie along ventricles that have moved apart."""
    parts = [Part(name, "csf", Blob(scene.place((0.0, 4.0, 15.0)), (4.5, 20.0, 13.0), 0.05, scene.seed(), 1.8), "any", 0.97)]
    apart = scene.between(18, 22)
    for here in (scene, scene.other_side()):
        for y in (-16.0, 4.0, 22.0):
            bundle, body = here.place((9.5, y, 17.0)), here.place((apart, y + 2, 21.0))
            parts.append(Part(None, "white", Blob(bundle, (4.2, 13.0, 8.0), 0.0, 0, 2.0), "intracranial", 0.95))
            parts.append(Part(None, "csf", Blob(body, (4.5, 13.0, 7.0), 0.04, scene.seed(), 2.0), "white", 0.95))
    return parts


def heterotopia(scene: Scene) -> Lesion:
    """Grey matter that did not reach the cortex: nodules along the ventricles, on one side or both, or a band within the white matter."""
    if scene.chance(0.25):
        return _band(scene)
    both = scene.chance(0.5)
    parts: list[Part] = []
    largest = 0.0
    for here in (scene, scene.other_side())[: 2 if both else 1]:
        for _ in range(int(scene.rng.integers(4, 8))):
            radius = scene.size(4.5, 8.0)
            x, y, z = _ventricle_wall(scene)
            centre = here.place((x + scene.between(0.0, 3.5), y, z))
            shape = Blob(centre, (0.85 * radius, radius, 0.9 * radius), 0.1, scene.seed(), 1.5)
            parts.append(Part("heterotopia", "grey", shape, "intracranial", 0.97))
            largest = max(largest, 2 * radius)
    return Lesion(
        "heterotopia",
        "bilateral" if both else scene.side,
        "parietal lobe",
        largest,
        tuple(parts),
        count=len(parts),
        stage="nodular",
        visible_on=SHAPE,
        referral=("epilepsy",),
        priority="low",
    )


def _ventricle_wall(scene: Scene) -> Point:
    """A random point of the left lateral ventricle's lateral wall (its trigone and what lies before and behind), LPS mm of the atlas."""
    found = atlas.load().channels
    across = np.arange(3.0, 42.0, 0.75, dtype=np.float32)
    while True:
        y, z = scene.between(12, 62), scene.between(2, 24)  # further forward the caudate nucleus lies there
        line = np.stack([across, np.full_like(across, y), np.full_like(across, z)], 1)
        inside = found.at(line)[:, atlas.CHANNELS.index("ventricle")] > 0.5
        wall = float(across[inside].max(initial=0))
        if wall > 12:  # nearer the midline it is the third ventricle
            return wall, y, z


def _band(scene: Scene) -> Lesion:
    """A second cortex: a smooth layer of grey matter halfway between the cortex and the ventricles of both hemispheres."""
    start, width = scene.between(24, 27), scene.size(5.5, 8.0)
    low, high = (-70.0, scene.between(-62, -50), 8.0), (70.0, scene.between(55, 78), 66.0)
    layer = Shell(start + width, start, 0.08, scene.seed(), low, high, 2.0)
    return Lesion(
        "heterotopia",
        "bilateral",
        "frontal lobe",
        0.0,
        (Part("heterotopia", "grey", layer, "white", 0.92),),
        stage="band",
        visible_on=SHAPE,
        referral=("epilepsy",),
        priority="low",
    )


def chiari_malformation(scene: Scene) -> Lesion:
    """Tonsils like pegs through the foramen magnum of a shallow posterior fossa, beside the cord; no cistern is left behind them."""
    descent = scene.size(6.0, 13.0)
    name = "chiari_malformation"
    crowd = Blob(scene.place((0.0, scene.between(69, 73), -47.0)), (scene.between(14, 20), 14.0, 9.0), 0.08, scene.seed(), 2.0)
    canal, cord = scene.place((0.0, 46.5, -66.0)), scene.place((0.0, 39.5, -66.0))
    # the fossa's floor, higher than in others and sloping down to the foramen, with the neck's muscle under it
    parts = [
        Part(None, tissue, Blob(here.place((45.0, 60.0, FORAMEN - below)), (50.0, 60.0, 22.0), 0.0, 0, 1.5), "intracranial")
        for tissue, below in (("bone", 20), ("muscle", 25))
        for here in (scene, scene.other_side())
    ]
    parts += [
        Part(None, "csf", Blob(canal, (11.5, 13.5, 18.0), 0.0, 0, 1.5), "any"),
        Part(None, "white", Blob(cord, (5.5, 4.5, 20.0), 0.0, 0, 1.5), "any"),
        Part(None, "grey", crowd, "csf", 0.9),
    ]
    top = FORAMEN + 14
    for here, length in ((scene, descent), (scene.other_side(), descent * scene.between(0.75, 1.0))):
        half = (top - (FORAMEN - length)) / 2
        middle = here.place((scene.between(4.6, 5.6), scene.between(51, 53), top - half))
        parts.append(Part(name, "grey", Blob(middle, (5.0, 6.8, half), 0.04, scene.seed(), 1.5), "any"))
        parts.append(Part(name, "white", Blob(middle, (1.8, 2.8, half * 0.7), 0.0, 0, 2.0), "any", 0.6))
    return Lesion(
        name,
        "midline",
        "posterior fossa",
        descent,
        tuple(parts),
        own_measure=True,  # how far the tonsils have come down
        visible_on=SHAPE,
        referral=("neurosurgery",),
        priority="medium" if descent > 9 else "low",
    )


def intracranial_hypotension(scene: Scene) -> Lesion:
    """Dura thick and enhancing all round, thin fluid under it on both sides, and a brain that has sunk onto the skull base."""
    name = "intracranial_hypotension"
    thickness = scene.size(2.4, 4.2)
    parts: list[Part] = []
    effusions = scene.chance(0.7)
    depth, spread = thickness + scene.size(4.0, 7.0), scene.between(62, 78)
    if effusions:
        y, z = scene.between(-15, 25), scene.between(28, 42)
        for here in (scene, scene.other_side()):
            fluid = Crescent(here.place((60.0, y, z)), depth * scene.between(0.85, 1.0), spread, scene.seed())
            parts.append(Part(name, "subdural effusion", fluid, "intracranial", 0.95))
    parts.append(Part(name, "thick dura", Shell(thickness, 0.0, 0.12, scene.seed()), "intracranial", 0.95))
    falx = Blob((0.0, 0.0, 62.0), (1.7, 72.0, 30.0), 0.0, 0, 1.2)
    parts.append(Part(name, "thick dura", falx, "csf", 0.9))
    x, y, z = jitter(scene, (0.0, 10.0, 62.0), 2.0)
    return Lesion(
        name,
        "bilateral",
        "dura",
        thickness,
        tuple(parts),
        _sagging((x, y, z), scene.between(2.2, 2.9)),
        enhancement="solid",
        stage="effusions" if effusions else "",
        own_measure=True,  # how thick the dura is
        visible_on=(Weighting.T1_POST, *FLUID),
        referral=("neurology",),
        priority="medium",
    )


def _sagging(above: Point, push: float) -> tuple[Mass, ...]:
    """What moves the brain's middle down: pushes from the vertex, each too weak to be called mass effect."""
    x, y, z = above
    return tuple(Mass((x, y + shift, z), 40.0, push) for shift in (-25.0, 0.0, 25.0))


RECIPES = {
    "dandy_walker_malformation": Recipe(dandy_walker_malformation, (3, 30), indication="gait disturbance"),
    "dysgenesis_corpus_callosum": Recipe(dysgenesis_corpus_callosum, (3, 40), indication="seizure"),
    "heterotopia": Recipe(heterotopia, (5, 45), 0.55, ("arachnoid_cyst",), indication="seizure"),
    "chiari_malformation": Recipe(chiari_malformation, (10, 50), 0.6, indication="headache"),
    "intracranial_hypotension": Recipe(intracranial_hypotension, (30, 55), 0.63, indication="headache"),
}
