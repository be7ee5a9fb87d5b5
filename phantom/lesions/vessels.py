"""Diseases of vessels that flow shows: malformation, aneurysm, moyamoya."""

from __future__ import annotations

import numpy as np

from phantom.lesion import ALL, FLUID, Lesion, Part, Recipe, Scene, jitter, towards
from phantom.shape import Blob, Mass, Patches, Point, Tangle, Tube
from phantom.signal import Weighting

CONVEXITY = np.array([63.0, 80.0, 62.0])  # half axes of the brain's surface, mm, about CENTRE
CENTRE = np.array([0.0, 18.0, 10.0])
FEEDERS = ((36.0, -4.0, -14.0), (8.0, -22.0, -8.0), (14.0, 26.0, -14.0))
"""Middle, anterior and posterior cerebral artery, atlas points of the patient's left, LPS mm."""
ANEURYSMS: dict[str, Point] = {
    "middle cerebral": (36.0, -3.0, -17.0),
    "carotid end": (12.0, -4.0, -20.0),
    "posterior communicating": (14.0, 4.0, -24.0),
    "anterior communicating": (0.5, -18.0, -19.0),
    "basilar tip": (0.5, 17.0, -23.0),
}
"""Where aneurysms of the circle of Willis sit."""
ON_THE_MIDLINE = ("anterior communicating", "basilar tip")


def arteriovenous_malformation(scene: Scene) -> Lesion:
    """A nidus of coiled flow voids with two feeding arteries and a wide draining vein, to the surface or to the deep veins."""
    region = scene.one_of("frontal lobe", "frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe")
    centre = scene.pick((region,), "white", 0.5)
    radius = scene.between(9, 18)
    blob = Blob(centre, (radius, radius * scene.between(0.85, 1.2), radius * 0.9), 0.15, scene.seed(), 2.5)
    label = "arteriovenous_malformation"
    parts = [
        Part(None, "gliosis", blob, "brain", 0.5),
        Part(label, "flowing blood", Tangle(blob, scene.between(3.2, 4.4), scene.between(6.5, 9.0), scene.seed()), "intracranial"),
    ]
    for feeder in scene.rng.permutation(3)[:2]:
        path = _winding(scene, scene.place(FEEDERS[feeder]), towards(centre, (0.0, 0.0, 0.0), radius * 0.6), 5, 3.0)
        parts.append(Part(label, "flowing blood", Tube(path, 1.6, 2.1), "intracranial"))
    deep = scene.chance(0.35)
    drain = _winding(scene, centre, scene.place((3.0, 40.0, 6.0)), 6, 3.0) if deep else _over_the_surface(scene, centre)
    width = scene.between(2.6, 4.0)
    parts.append(Part(label, "flowing blood", Tube(drain, width, width * 0.85), "intracranial"))
    bled = scene.chance(0.25)
    if bled:
        parts.insert(
            1, Part(label, "haemosiderin", Blob(jitter(scene, centre, radius * 0.5), (radius * 0.5,) * 3, 0.3, scene.seed()), "brain")
        )
    return Lesion(
        label,
        scene.side,
        region,
        2 * radius,
        tuple(parts),
        enhancement="patchy",
        own_measure=True,  # the nidus without its vein
        visible_on=(Weighting.T2, Weighting.FLAIR, Weighting.T1, Weighting.SWI, Weighting.T1_POST),
        referral=("vascular neurosurgery",),
        priority="high" if bled or radius > 15 else "medium",
    )


def _winding(scene: Scene, start: Point, end: Point, bends: int, mm: float) -> tuple[Point, ...]:
    """A path from start to end with bends that leave the straight line by about `mm`."""
    a, b = np.asarray(start), np.asarray(end)
    between = [a + (b - a) * step / (bends + 1) + scene.rng.normal(0, mm, 3) for step in range(1, bends + 1)]
    return (start, *((float(x), float(y), float(z)) for x, y, z in between), end)


def _over_the_surface(scene: Scene, start: Point) -> tuple[Point, ...]:
    """A path outwards to the brain's surface and over it to the superior sagittal sinus."""
    outwards = (np.asarray(start) - CENTRE) / CONVEXITY
    outwards /= np.linalg.norm(outwards)
    sinus = np.array([0.0, outwards[1] * 0.5 + 0.15, 1.0])
    path = [start]
    for step in range(7):
        direction = outwards + (sinus - outwards) * step / 6
        point = CENTRE + CONVEXITY * direction / np.linalg.norm(direction) + scene.rng.normal(0, 1.5, 3)
        path.append((float(point[0]), float(point[1]), float(point[2])))
    return tuple(path)


def cerebral_aneurysm(scene: Scene) -> Lesion:
    """A round flow void of at least 8 mm at the circle of Willis or the bifurcation of the middle cerebral artery; large ones may clot."""
    site = scene.one_of("middle cerebral", "middle cerebral", *ANEURYSMS)
    middle = site in ON_THE_MIDLINE
    neck = scene.place(ANEURYSMS[site])
    radius = scene.size(4.2, 9.5)
    out = scene.place((ANEURYSMS[site][0] * 1.1, ANEURYSMS[site][1] - 8, ANEURYSMS[site][2] + 4))
    centre = towards(neck, out, radius * 0.7)
    sac = Blob(centre, (radius, radius * scene.between(0.9, 1.1), radius), 0.05, scene.seed(), 1.2, 0.0, 1.3)
    label = "cerebral_aneurysm"
    parts = [Part(label, "flowing blood", sac, "any"), Part(None, "flowing blood", Tube((neck, centre), 2.0, 2.0), "intracranial")]
    clot = radius / scene.growth > 6.5 and scene.chance(0.45)
    if clot:
        lumen = Blob(towards(centre, neck, radius * 0.3), (radius * 0.62,) * 3, 0.05, scene.seed(), 1.2)
        parts[0] = Part(label, "early subacute blood", sac, "any")
        parts.append(Part(label, "flowing blood", lumen, "any"))
    return Lesion(
        label,
        "midline" if middle else scene.side,
        "basal cisterns",
        2 * radius,
        tuple(parts),
        (Mass(centre, radius, 0.35 * radius),),
        enhancement="patchy",
        stage="thrombosed" if clot else "",
        visible_on=(Weighting.T2, Weighting.FLAIR, Weighting.T1, Weighting.SWI, Weighting.T1_POST),
        referral=("vascular neurosurgery",),
        priority="high" if radius > 7.5 else "medium",
    )


def moyamoya(scene: Scene) -> Lesion:
    """A "puff of smoke" of small voids in the basal ganglia, slow flow in the sulci (ivy sign) and watershed infarcts, often both sides."""
    both = scene.chance(0.65)
    recent = scene.chance(0.45)
    label = "moyamoya"
    parts: list[Part] = []
    for here in (scene, scene.other_side())[: 2 if both else 1]:
        basal = here.place((20.0, scene.between(-6, 4), scene.between(-8, 0)))
        puff = Blob(basal, (scene.between(8, 11), scene.between(11, 15), scene.between(9, 12)), 0.2, scene.seed(), 4.0)
        parts.append(
            Part(label, "flowing blood", Tangle(puff, scene.between(1.8, 2.4), scene.between(6.5, 8.5), scene.seed()), "brain", 0.9)
        )
        for _ in range(3):
            start = here.place((scene.between(8, 16), scene.between(-8, 2), -20.0))
            end = here.place((scene.between(14, 26), scene.between(-8, 10), scene.between(2, 12)))
            parts.append(Part(label, "flowing blood", Tube(_winding(scene, start, end, 3, 2.0), 1.5, 1.1), "intracranial", 0.9))
        ivy = Blob(here.place((46.0, scene.between(-8, 16), scene.between(28, 36))), (30.0, 48.0, 30.0), 0.15, scene.seed(), 6.0)
        parts.append(Part(label, "slow leptomeningeal flow", Patches(ivy, 0.5, scene.seed()), "csf", 0.9))
        for _ in range(int(scene.rng.integers(1, 4))):
            spot = here.place((scene.between(20, 28), scene.between(-34, 40), scene.between(24, 36)))
            shape = Blob(spot, (scene.between(3.5, 5), scene.between(4.5, 9), scene.between(3.5, 6)), 0.15, scene.seed(), 2.0)
            parts.append(Part(label, "acute infarct" if recent else "gliosis", shape, "brain", 0.95))
    return Lesion(
        label,
        "bilateral" if both else scene.side,
        "basal ganglia",
        0.0,
        tuple(parts),
        enhancement="patchy",
        stage="acute" if recent else "old",
        visible_on=(*(ALL if recent else (Weighting.T1, *FLUID, Weighting.T1_POST)),),
        referral=("vascular neurosurgery", "stroke neurology") if recent else ("vascular neurosurgery",),
        priority="high" if recent else "medium",
    )


RECIPES = {
    "arteriovenous_malformation": Recipe(arteriovenous_malformation, (15, 45), 0.5, ("arachnoid_cyst",), indication="seizure"),
    "cerebral_aneurysm": Recipe(cerebral_aneurysm, (35, 80), 0.64, ("small_vessel_disease",), indication="headache"),
    "moyamoya": Recipe(moyamoya, (18, 50), 0.65, indication="weakness"),
}
