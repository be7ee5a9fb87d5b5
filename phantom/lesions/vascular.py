"""Infarcts, haemorrhage, small vessels, cavernoma."""

from __future__ import annotations

import numpy as np

from phantom.lesion import ALL, FLUID, Lesion, Part, Recipe, Scene, jitter
from phantom.shape import Blob, Mass, Shape, VentricleRim, Wedge
from phantom.signal import Weighting

TERRITORIES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float], str]] = {
    # territory: apex and direction on the patient's left (LPS mm), range of half angles (radians), region
    "superior MCA": ((24.0, -6.0, 12.0), (1.0, -0.35, 0.55), (0.42, 0.62), "frontal lobe"),
    "inferior MCA": ((26.0, 14.0, 6.0), (1.0, 0.75, 0.25), (0.42, 0.6), "temporal lobe"),
    "posterior MCA": ((24.0, 22.0, 16.0), (1.0, 0.75, 0.75), (0.38, 0.55), "parietal lobe"),
    "PCA": ((10.0, 45.0, 0.0), (0.45, 1.0, 0.05), (0.36, 0.5), "occipital lobe"),
    "ACA": ((6.0, -14.0, 26.0), (0.12, -0.5, 1.0), (0.3, 0.42), "frontal lobe"),
}


def large_vessel_stroke(scene: Scene, stage: str | None = None) -> Lesion:
    """A wedge of one arterial territory, cortex and white matter: acute (restricted, swollen) or old (cavity, gliotic rim, volume loss)."""
    stage = stage or ("acute" if scene.chance(0.72) else "old")
    name = scene.one_of(*TERRITORIES)
    apex, direction, angles, region = TERRITORIES[name]
    start = scene.place(apex)
    aim = (direction[0] * scene.sign, direction[1], direction[2])
    angle = scene.between(*angles)
    shape = Wedge(start, aim, angle, 75.0, 1.15, scene.seed())
    parts: tuple[Part, ...]
    masses: tuple[Mass, ...] = ()
    if stage == "acute":
        parts = (Part("large_vessel_stroke", "acute infarct", shape, "brain", 0.95),)
        far = np.asarray(start) + np.asarray(aim) / np.linalg.norm(aim) * 28
        swelling = scene.between(0.5, 3.5)
        malignant = "MCA" in name and scene.chance(0.25)
        masses = (Mass((float(far[0]), float(far[1]), float(far[2])), 26.0 if malignant else 20.0, swelling + 8.0 * malignant),)
    else:
        inner = Wedge(tuple(np.asarray(start) + 9 * np.asarray(aim) / np.linalg.norm(aim)), aim, angle * 0.78, 66.0, 1.15, shape.seed)
        parts = (
            Part("large_vessel_stroke", "gliosis", shape, "brain", 0.9),
            Part("large_vessel_stroke", "cavity", inner, "brain", 0.9),
        )
    return Lesion(
        "large_vessel_stroke",
        scene.side,
        region,
        60.0,
        parts,
        masses,
        stage=stage,
        edema=False,
        visible_on=(Weighting.DWI, Weighting.ADC, *FLUID) if stage == "acute" else (*FLUID, Weighting.T1, Weighting.T1_POST),
        referral=("stroke neurology",) if stage == "acute" else (),
        priority="high" if stage == "acute" else "low",
    )


def old_large_vessel_stroke(scene: Scene) -> Lesion:
    """An old infarct, for combinations."""
    return large_vessel_stroke(scene, "old")


def lacunar_stroke(scene: Scene) -> Lesion:
    """One deep infarct under 15 mm: acute (bright on diffusion, dark on ADC) or old (fluid with a gliotic rim)."""
    region = scene.one_of("basal ganglia", "thalamus", "brainstem", "frontal lobe")
    if region == "frontal lobe":
        centre = scene.place((scene.between(22, 27), scene.between(-12, 10), scene.between(20, 28)))
    else:
        centre = scene.pick((region,), "white" if region == "brainstem" else "deep grey", 0.3)
    radius = scene.between(4.5, 7.2)
    seed = scene.seed()
    stage = "acute" if scene.chance(0.68) else "old"

    def ball(size: float) -> Blob:
        return Blob(centre, (size * 0.9, size * 1.1, size), 0.1, seed, 2.0)

    parts: tuple[Part, ...] = (Part("lacunar_stroke", "acute infarct" if stage == "acute" else "gliosis", ball(radius), "brain"),)
    if stage == "old":
        parts = (*parts, Part("lacunar_stroke", "cavity", ball(radius * 0.7), "intracranial"))
    return Lesion(
        "lacunar_stroke",
        scene.side,
        region,
        2 * radius,
        parts,
        stage=stage,
        visible_on=(Weighting.DWI, Weighting.ADC, *FLUID) if stage == "acute" else (*FLUID, Weighting.T1, Weighting.T1_POST),
        referral=("stroke neurology",) if stage == "acute" else (),
        priority="high" if stage == "acute" else "low",
    )


def intracranial_hemorrhage(scene: Scene) -> Lesion:
    """A parenchymal bleed, acute, early or late subacute, with a dark rim on T2* and a thin oedema."""
    region = scene.one_of(
        "basal ganglia", "basal ganglia", "thalamus", "frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe", "cerebellum"
    )
    deep = region in ("basal ganglia", "thalamus")
    centre = scene.pick((region,), "deep grey" if deep else "white", 0.35 if deep else 0.8)
    stage = scene.one_of("acute", "acute", "early subacute", "late subacute")
    radius, stretch = scene.size(9, 20) * (0.85 if deep else 1), scene.between(0.8, 1.25)
    seed = scene.seed()

    def ball(size: float) -> Blob:
        return Blob(centre, (size * stretch, size / stretch * 1.1, size), 0.13, seed, 1.8, 0.0, 1.1)

    parts = (
        Part("edema", "vasogenic oedema", ball(radius + scene.size(4, 8)), "white", 0.85),
        Part("intracranial_hemorrhage", "haemosiderin", ball(radius + 0.8), "intracranial"),
        Part("intracranial_hemorrhage", f"{stage} blood", ball(radius - 1.2), "intracranial"),
    )
    return Lesion(
        "intracranial_hemorrhage",
        scene.side,
        region,
        2 * radius,
        parts,
        (Mass(centre, radius, scene.between(0.22, 0.5) * radius),),
        stage=stage,
        edema=True,
        visible_on=ALL,
        referral=("neurosurgery", "stroke neurology"),
        priority="high",
    )


def small_vessel_disease(scene: Scene) -> Lesion:
    """Bright caps and bands along the ventricles, patchy to confluent deep white matter, punctate foci; microbleeds at times."""
    grade = scene.between(0.35, 1.0)
    seed = scene.seed()
    parts: list[Part] = [
        Part("small_vessel_disease", "white matter disease", VentricleRim(3.0 + 6.5 * grade, 0.45 + 0.35 * grade, seed), "white", 0.85)
    ]
    for _ in range(int(8 + 22 * grade)):
        here = scene if scene.chance(0.5) else scene.other_side()
        centre = here.pick(("frontal lobe", "frontal lobe", "parietal lobe"), "white", 0.97)
        size = scene.size(2.2, 3.5 + 3.0 * grade)
        parts.append(_patch(scene, centre, size))
    for _ in range(int(scene.rng.integers(0, 5)) if scene.chance(0.5) else 0):
        here = scene if scene.chance(0.5) else scene.other_side()
        spot = here.pick(("basal ganglia", "thalamus"), "deep grey", 0.3)
        parts.append(Part(None, "haemosiderin", Blob(spot, (2.0, 2.0, 2.0), 0.0, 0, 1.5), "brain", 0.8))
    return Lesion(
        "small_vessel_disease",
        "bilateral",
        "frontal lobe",
        0.0,
        tuple(parts),
        count=len(parts),
        stage="mild" if grade < 0.55 else "moderate" if grade < 0.8 else "severe",
        visible_on=FLUID,
        referral=("neurology",),
        priority="low",
        regions=("frontal lobe", "parietal lobe"),
    )


def _patch(scene: Scene, centre: tuple[float, float, float], size: float) -> Part:
    shape: Shape = Blob(centre, (size, size * scene.between(0.9, 1.5), size), 0.2, scene.seed(), 2.0)
    return Part("small_vessel_disease", "white matter disease", shape, "white", 0.85)


def cavernoma(scene: Scene) -> Lesion:
    """A "popcorn": mixed bright core of old blood with a complete dark rim that blooms on T2*."""
    region = scene.one_of("frontal lobe", "parietal lobe", "temporal lobe", "brainstem", "cerebellum")
    centre = scene.pick((region,), "white", 0.6)
    radius = scene.size(6, 11)
    parts = [
        Part("cavernoma", "haemosiderin", Blob(centre, (radius,) * 3, 0.12, scene.seed(), 1.5), "intracranial"),
        Part("cavernoma", "late subacute blood", Blob(centre, (radius * 0.62,) * 3, 0.2, scene.seed(), 1.5), "intracranial", 0.9),
    ]
    for _ in range(3):
        size = radius * scene.between(0.15, 0.25)
        parts.append(
            Part(
                "cavernoma",
                "haemosiderin",
                Blob(jitter(scene, centre, radius * 0.3), (size,) * 3, 0.1, scene.seed(), 1.5),
                "intracranial",
                0.8,
            )
        )
    return Lesion(
        "cavernoma",
        scene.side,
        region,
        2 * radius,
        tuple(parts),
        visible_on=(*FLUID, Weighting.T1, Weighting.SWI),
        referral=("neurosurgery",),
        priority="medium" if region == "brainstem" else "low",
    )


RECIPES = {
    "large_vessel_stroke": Recipe(large_vessel_stroke, (50, 88), 0.48, ("small_vessel_disease", "meningioma"), indication="weakness"),
    "lacunar_stroke": Recipe(lacunar_stroke, (50, 85), 0.48, ("small_vessel_disease",), indication="weakness"),
    "intracranial_hemorrhage": Recipe(intracranial_hemorrhage, (50, 85), 0.46, ("small_vessel_disease",), indication="weakness"),
    "small_vessel_disease": Recipe(
        small_vessel_disease,
        (55, 88),
        0.5,
        ("meningioma", "arachnoid_cyst", "schwannoma", "old large_vessel_stroke"),
        indication="memory problems",
    ),
    "cavernoma": Recipe(cavernoma, (18, 65), 0.52, ("meningioma",), indication="seizure"),
}
