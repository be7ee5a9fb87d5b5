"""Tumours in the brain's tissue, and the abscess that looks like one."""

from __future__ import annotations

from phantom.lesion import ALL, FLUID, Lesion, Part, Recipe, Scene, jitter, towards
from phantom.shape import Blob, Mass
from phantom.signal import Weighting

LOBES = ("frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe")


def _oedema(scene: Scene, centre: tuple[float, float, float], radius: float) -> tuple[Part, ...]:
    """Vasogenic oedema: fingers along the white matter, grey matter nearly spared."""
    shape = Blob(centre, (radius, radius * 1.1, radius * 0.9), 0.22, scene.seed(), 5.0, 0.0, 0.6)
    return (Part("edema", "vasogenic oedema", shape, "white", 0.92), Part(None, "vasogenic oedema", shape, "brain", 0.12))


def high_grade_glioma(scene: Scene) -> Lesion:
    """An irregular thick ring with a necrotic core in oedematous white matter, often with old blood."""
    region = scene.one_of("frontal lobe", "frontal lobe", "temporal lobe", "temporal lobe", "parietal lobe", "occipital lobe")
    centre = scene.pick((region,), "white", 0.85)
    radius = scene.size(12, 24)
    seed, stretch = scene.seed(), scene.between(0.8, 1.25)
    outer = Blob(centre, (radius * stretch, radius / stretch, radius), 0.17, seed, 2.5, scene.between(0, 3), 0.8)
    core = scene.between(0.5, 0.68)
    middle = jitter(scene, centre, radius * 0.08)
    inner = Blob(middle, (radius * stretch * core, radius / stretch * core, radius * core), 0.3, scene.seed(), 2.5, outer.turn, 0.7)
    parts = [*_oedema(scene, centre, radius + scene.size(9, 18))]
    parts += [
        Part("high_grade_glioma", "high-grade tumour", outer, "intracranial"),
        Part("high_grade_glioma", "necrosis", inner, "intracranial", 0.95),
    ]
    for _ in range(int(scene.rng.integers(1, 4))):
        spot = towards(centre, jitter(scene, centre, 30), radius * scene.between(0.4, 0.8))
        size = scene.between(2.0, 4.0)
        parts.append(Part("high_grade_glioma", "haemosiderin", Blob(spot, (size, size, size), 0.3, scene.seed()), "intracranial", 0.7))
    return Lesion(
        "high_grade_glioma",
        scene.side,
        region,
        2 * radius * max(stretch, 1 / stretch),
        tuple(parts),
        (Mass(centre, radius, scene.between(0.2, 0.46) * radius + 1),),
        enhancement="ring",
        edema=True,
        visible_on=ALL,
        referral=("neurosurgery", "neuro-oncology"),
        priority="high",
    )


def low_grade_glioma(scene: Scene) -> Lesion:
    """A homogeneous, T2-bright, T1-dark mass without oedema, restriction or enhancement, in white matter and cortex alike."""
    region = scene.one_of("frontal lobe", "frontal lobe", "temporal lobe", "temporal lobe", "insula", "parietal lobe")
    centre = scene.pick((region,), "grey" if region == "insula" else "white", 0.5)
    radius, stretch = scene.size(12, 24), scene.between(0.75, 1.3)
    shape = Blob(centre, (radius * stretch, radius / stretch, radius * 0.9), 0.1, scene.seed(), 4.0, scene.between(0, 3), 1.2)
    parts = (Part("low_grade_glioma", "low-grade tumour", shape, "brain", 0.95),)
    return Lesion(
        "low_grade_glioma",
        scene.side,
        region,
        2 * radius * max(stretch, 1 / stretch),
        parts,
        (Mass(centre, radius, 0.08 * radius),),
        visible_on=(*FLUID, Weighting.T1),
        referral=("neurosurgery", "neuro-oncology"),
        priority="medium",
    )


def brain_metastasis(scene: Scene) -> Lesion:
    """One to six small round solid or ring-like foci at the grey-white junction, with oedema out of proportion."""
    count = int(scene.rng.choice([1, 2, 3, 4, 5, 6], p=[0.25, 0.2, 0.2, 0.15, 0.1, 0.1]))
    parts: list[Part] = []
    masses: list[Mass] = []
    rings: list[bool] = []
    places: list[str] = []
    sizes: list[float] = []
    sides: set[str] = set()
    for focus in range(count):
        here = scene if focus == 0 or scene.chance(0.5) else scene.other_side()
        region = here.one_of(*LOBES, "cerebellum") if focus or scene.chance(0.85) else "cerebellum"
        centre = here.pick((region,), "grey", 0.4)
        radius = scene.size(7, 12) if focus == 0 else scene.size(4, 9)
        ring = radius / scene.growth > 7 and scene.chance(0.5)
        parts += _oedema(scene, centre, radius + scene.size(10, 17) * (0.6 + radius / 20))
        parts.append(Part("brain_metastasis", "metastatic tumour", Blob(centre, (radius,) * 3, 0.05, scene.seed(), 1.5), "intracranial"))
        if ring:
            parts.append(Part("brain_metastasis", "necrosis", Blob(centre, (radius * 0.55,) * 3, 0.1, scene.seed(), 1.5), "intracranial"))
        masses.append(Mass(centre, radius, 0.18 * radius))
        rings.append(ring)
        places.append(region)
        sizes.append(2 * radius)
        sides.add(here.side)
    largest = sizes.index(max(sizes))
    return Lesion(
        "brain_metastasis",
        sides.pop() if len(sides) == 1 else "bilateral",
        places[largest],
        max(sizes),
        tuple(_oedema_first(parts)),
        tuple(masses),
        count=count,
        enhancement="ring" if rings[largest] else "solid",
        edema=True,
        visible_on=(*FLUID, Weighting.T1, Weighting.T1_POST),
        referral=("oncology", "neurosurgery"),
        priority="high" if max(sizes) > 18 else "medium",
        regions=tuple(dict.fromkeys(places)),
    )


def _oedema_first(parts: list[Part]) -> list[Part]:
    """Oedema of one focus must not paint over another focus."""
    return sorted(parts, key=lambda part: part.tissue != "vasogenic oedema")


def brain_abscess(scene: Scene) -> Lesion:
    """A smooth thin-walled cavity full of pus: strongly restricted core, dark capsule on T2, thin even ring of enhancement, oedema."""
    region = scene.one_of("frontal lobe", "frontal lobe", "temporal lobe", "parietal lobe", "parietal lobe", "occipital lobe", "cerebellum")
    centre = scene.pick((region,), "white", 0.6)
    radius, stretch = scene.size(9, 18), scene.between(0.9, 1.12)
    seed = scene.seed()

    def ball(size: float) -> Blob:
        return Blob(centre, (size * stretch, size / stretch, size), 0.04, seed, 1.5, 0.0, 1.2)

    wall = scene.between(2.2, 3.0)
    parts = (
        *_oedema(scene, centre, radius + scene.size(9, 16)),
        Part("brain_abscess", "capsule", ball(radius), "intracranial"),
        Part("brain_abscess", "pus", ball(radius - wall), "intracranial"),
    )
    return Lesion(
        "brain_abscess",
        scene.side,
        region,
        2 * radius * max(stretch, 1 / stretch),
        parts,
        (Mass(centre, radius, 0.22 * radius),),
        enhancement="ring",
        edema=True,
        visible_on=ALL,
        referral=("neurosurgery", "infectious disease"),
        priority="high",
    )


def lymphoma(scene: Scene) -> Lesion:
    """Dense solid masses by the ventricles or in the corpus callosum: restricted, even enhancement, some oedema."""
    region = scene.one_of("corpus callosum", "basal ganglia", "frontal lobe", "parietal lobe")
    if region == "corpus callosum":
        centre = scene.place((9.0, 28.0, 16.0) if scene.chance(0.5) else (9.0, -28.0, 6.0))
    else:
        centre = (
            scene.place((scene.between(22, 28), scene.between(-25, 30), scene.between(14, 24)))
            if region != "basal ganglia"
            else scene.pick((region,), "deep grey", 0.4)
        )
    radius = scene.size(9, 15)
    shape = Blob(centre, (radius, radius * scene.between(0.9, 1.3), radius * 0.85), 0.12, scene.seed(), 2.0, scene.between(0, 3), 1.1)
    parts = (*_oedema(scene, centre, radius + scene.size(6, 11)), Part("lymphoma", "cellular tumour", shape, "intracranial"))
    return Lesion(
        "lymphoma",
        scene.side,
        region,
        2.2 * radius,
        parts,
        (Mass(centre, radius, 0.1 * radius),),
        enhancement="solid",
        edema=True,
        visible_on=ALL,
        referral=("neuro-oncology", "haematology", "neurosurgery"),
        priority="high",
    )


RECIPES = {
    "high_grade_glioma": Recipe(high_grade_glioma, (45, 78), 0.42, ("small_vessel_disease",), indication="seizure"),
    "low_grade_glioma": Recipe(low_grade_glioma, (20, 48), 0.45, ("arachnoid_cyst",), indication="seizure"),
    "lymphoma": Recipe(lymphoma, (52, 80), 0.45, ("small_vessel_disease",), indication="confusion"),
    "brain_metastasis": Recipe(brain_metastasis, (45, 80), 0.5, ("small_vessel_disease",), indication="headache"),
    "brain_abscess": Recipe(brain_abscess, (18, 70), 0.4, indication="headache"),
}
