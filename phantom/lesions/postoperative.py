"""What surgery and old injury leave behind: encephalomalacia, resection cavity, craniotomy, ventricular catheter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.lesion import ALL, FLUID, Lesion, Part, Recipe, Scene, jitter, towards
from phantom.shape import Blob, Box, Crescent, Floats, Mass, Point, Surroundings, VentricleRim
from phantom.signal import Weighting

CONVEXITIES = ("frontal convexity", "frontal convexity", "parietal convexity", "parietal convexity", "occipital convexity")


@dataclass(frozen=True)
class Tube:
    """A straight tube of `radius` mm between two points."""

    start: Point
    end: Point
    radius: float
    softness: float = 1.2

    def box(self) -> Box:
        """The tube's bounds."""
        reach = self.radius + self.softness
        low = tuple(min(a, b) - reach for a, b in zip(self.start, self.end, strict=True))
        high = tuple(max(a, b) + reach for a, b in zip(self.start, self.end, strict=True))
        return low, high  # type: ignore[return-value]

    def mask(self, points: Floats, _around: Surroundings, /) -> Floats:
        """1 inside, soft at the surface."""
        start, along = np.asarray(self.start, np.float32), np.asarray(self.end, np.float32) - np.asarray(self.start, np.float32)
        share = np.clip((points - start) @ along / np.float32(along @ along), 0, 1)
        distance = np.linalg.norm(points - start - share[:, None] * along, axis=1)
        return np.asarray(np.clip(0.5 + (self.radius - distance) / np.float32(self.softness), 0, 1), np.float32)


@dataclass(frozen=True)
class Cut:
    """The saw's way around a bone flap: between two radii (mm) from the flap's centre."""

    centre: Point
    inner: float
    outer: float

    def box(self) -> Box:
        """The cut's bounds."""
        low, high = (tuple(c + sign * (self.outer + 1) for c in self.centre) for sign in (-1, 1))
        return low, high  # type: ignore[return-value]

    def mask(self, points: Floats, _around: Surroundings, /) -> Floats:
        """1 between the radii."""
        distance = np.linalg.norm(points - np.asarray(self.centre, np.float32), axis=1)
        return np.asarray(np.clip(np.minimum(distance - self.inner, self.outer - distance) + 0.5, 0, 1), np.float32)


def encephalomalacia(scene: Scene) -> Lesion:
    """An old cavity with a gliotic rim that reaches the surface and draws the ventricle out: after trauma, surgery or a bleed."""
    traumatic = scene.chance(0.45)
    if traumatic:  # where the brain strikes the skull
        frontal = scene.chance(0.55)
        middle = (scene.between(16, 28), scene.between(-54, -46), scene.between(-16, 2)) if frontal else (44.0, -8.0, -28.0)
        centre = scene.place(jitter(scene, middle, 2.5))
    else:
        outer, deeper = scene.under_the_skull(CONVEXITIES)
        centre = towards(outer, deeper, scene.between(9, 15))
    radius = scene.size(11, 19)
    stretch, seed, turn = scene.between(0.8, 1.25), scene.seed(), scene.between(0, 3)

    def hole(size: float) -> Blob:
        return Blob(centre, (size * stretch, size / stretch, size * 0.9), 0.2, seed, 2.5, turn, 1.3)

    rim = scene.between(4.0, 6.5)
    parts = [Part("encephalomalacia", "gliosis", hole(radius + rim), "brain", 0.9)]
    if scene.chance(0.5 if traumatic else 0.3):
        parts.append(Part("encephalomalacia", "haemosiderin", hole(radius + 1.6), "brain", 0.4))
    parts.append(Part("encephalomalacia", "cavity", hole(radius), "brain", 0.97))
    return Lesion(
        "encephalomalacia",
        scene.side,
        "frontal lobe",
        2 * radius * max(stretch, 1 / stretch),
        tuple(parts),
        (Mass(centre, radius, -scene.between(1.0, 2.5)),),
        stage="old",
        visible_on=(*FLUID, Weighting.T1, Weighting.ADC, Weighting.T1_POST),
        priority="low",
    )


def resection_cavity(scene: Scene) -> Lesion:
    """A cavity full of fluid under a bone flap, a rim stained by blood and a thin line of enhancement; at times a nodule grows on it."""
    outer, deeper = scene.under_the_skull(CONVEXITIES)
    radius = scene.between(11, 19)  # a cavity does not grow; what recurs on it does
    centre = towards(outer, deeper, radius * scene.between(0.75, 1.0))
    stretch, seed, turn = scene.between(0.85, 1.2), scene.seed(), scene.between(0, 3)

    def hole(size: float) -> Blob:
        return Blob(centre, (size * stretch, size / stretch, size), 0.1, seed, 1.8, turn, 1.2)

    fluid = "protein-rich surgical cavity" if scene.chance(0.35) else "surgical cavity"
    parts = [
        Part(None, "gliosis", hole(radius + scene.between(4, 8)), "white", 0.75),
        Part("resection_cavity", "scar", hole(radius + 2.6), "brain", 0.85),
        Part("resection_cavity", "haemosiderin", hole(radius + 0.9), "intracranial", 0.35),
        Part("resection_cavity", fluid, hole(radius - 0.4), "intracranial"),
    ]
    also = [_craniotomy(scene, outer, scene.between(20, 30))]
    recurrent = scene.chance(0.35)
    if recurrent:
        also.append(_recurrence(scene, towards(centre, jitter(scene, towards(outer, deeper, 60), 18), radius + 2)))
    return Lesion(
        "resection_cavity",
        scene.side,
        "frontal lobe",
        2 * radius * max(stretch, 1 / stretch),
        tuple(parts),
        enhancement="ring",
        stage="recurrent" if recurrent else "stable",
        visible_on=ALL,
        referral=("neuro-oncology",),
        priority="medium" if recurrent else "low",
        also=tuple(also),
    )


def _recurrence(scene: Scene, centre: Point) -> Lesion:
    """High-grade glioma that has come back at the cavity's deep margin: an irregular nodule with a necrotic core, oedema and old blood."""
    radius = scene.size(7, 11)
    spot = towards(centre, jitter(scene, centre, 20), radius * 0.6)
    parts = (
        Part("edema", "vasogenic oedema", Blob(centre, (radius + 9,) * 3, 0.25, scene.seed(), 5.0, 0.0, 0.6), "white", 0.9),
        Part("high_grade_glioma", "high-grade tumour", Blob(centre, (radius,) * 3, 0.2, scene.seed(), 2.0), "intracranial"),
        Part("high_grade_glioma", "necrosis", Blob(centre, (radius * 0.48,) * 3, 0.3, scene.seed(), 2.0), "intracranial", 0.95),
        Part("high_grade_glioma", "haemosiderin", Blob(spot, (2.2, 2.2, 2.2), 0.3, scene.seed()), "intracranial", 0.7),
    )
    return Lesion(
        "high_grade_glioma",
        scene.side,
        "frontal lobe",
        2 * radius,
        parts,
        (Mass(centre, radius, 0.15 * radius),),
        enhancement="ring",
        stage="recurrent",
        edema=True,
        visible_on=ALL,
        referral=("neurosurgery", "neuro-oncology"),
        priority="high",
    )


def craniotomy(scene: Scene) -> Lesion:
    """A bone flap alone, as after the evacuation of a clot or the clipping of an aneurysm."""
    outer, _ = scene.under_the_skull(CONVEXITIES)
    return _craniotomy(scene, outer, scene.between(22, 34))


def _craniotomy(scene: Scene, outer: Point, radius: float) -> Lesion:
    """A bone flap around a point of the inner table: its cut, its lost marrow, the dura that heals below it and the scalp above."""
    scarred = scene.chance(0.6)
    scalp = Blob(outer, (radius * 0.8,) * 3, 0.15, scene.seed(), 6.0)
    parts = (
        Part("craniotomy", "bone flap", Blob(outer, (radius,) * 3, 0.0, 0, 1.5), "skull", 0.75),
        Part("craniotomy", "scar", Cut(outer, radius - 1.5, radius + 2.0), "skull", 0.95),
        Part("craniotomy", "scar" if scarred else "swollen scalp", scalp, "scalp", 0.7),
        Part("craniotomy", "dural tail", Crescent(outer, scene.between(2.4, 3.4), radius * 1.15, scene.seed()), "intracranial", 0.9),
    )
    return Lesion(
        "craniotomy",
        scene.side,
        "frontal convexity" if outer[1] < -10 else "occipital convexity" if outer[1] > 62 else "parietal convexity",
        2 * radius,
        parts,
        enhancement="solid",
        visible_on=(Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.T1_POST),
        priority="low",
    )


def catheter(scene: Scene) -> Lesion:
    """A thin dark tube from a burr hole into a lateral ventricle; where the ventricles are wide it may have failed."""
    frontal = scene.chance(0.5)
    if frontal:
        burr, tip = (scene.between(26, 34), scene.between(-30, -16), 62.0), (scene.between(5, 9), scene.between(-8, 2), 10.0)
    else:
        burr, tip = (scene.between(27, 36), scene.between(82, 90), scene.between(20, 28)), (14.0, scene.between(-18, -4), 14.0)
    start, end = scene.place(burr), scene.place(tip)
    outside = towards(end, start, float(np.linalg.norm(np.subtract(start, end))) + 18)
    failed = scene.chance(0.35)
    dams = scene.between(4.8, 7.5) if failed else 0.0
    radius, seed = scene.between(2.1, 2.6), scene.seed()  # a little wider than the tube: its signal void
    parts = [Part(None, "vasogenic oedema", VentricleRim(2.0, 0.3, seed), "white", 0.6)] if failed else []
    parts += [
        Part(None, "gliosis", Tube(start, end, radius + 1.6, 2.0), "white", 0.6),
        Part(None, "scar", Blob(start, (7.0,) * 3, 0.0, 0, 1.5), "skull", 0.95),
        Part("catheter", "tube", Tube(outside, end, radius), "intracranial"),
        Part("catheter", "tube", Tube(outside, end, radius), "skull"),
        Part("catheter", "tube", Blob(towards(start, outside, 10), (7.5, 7.5, 7.5), 0.0, 0, 2.0), "scalp", 0.95),
    ]
    return Lesion(
        "catheter",
        scene.side,
        "frontal lobe" if frontal else "parietal lobe",
        0.0,
        tuple(parts),
        visible_on=(Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.SWI, Weighting.T1_POST),
        referral=("neurosurgery",) if failed else (),
        priority="high" if failed else "low",
        dams=dams,
    )


RECIPES = {
    "encephalomalacia": Recipe(encephalomalacia, (30, 85), 0.42, ("small_vessel_disease",), indication="seizure", kind="finding"),
    "resection_cavity": Recipe(resection_cavity, (30, 78), 0.45, ("small_vessel_disease",), indication="follow-up", kind="postoperative"),
    "craniotomy": Recipe(craniotomy, (30, 80), 0.5, ("encephalomalacia",), indication="follow-up", kind="postoperative"),
    "catheter": Recipe(catheter, (18, 80), 0.5, ("encephalomalacia",), indication="headache", kind="postoperative"),
}
