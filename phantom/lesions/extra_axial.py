"""What grows or collects outside the brain: meningioma, schwannoma, pituitary adenoma, arachnoid cyst, subdural haematoma."""

from __future__ import annotations

import numpy as np

from phantom import atlas
from phantom.lesion import ALL, Lesion, Part, Recipe, Scene, towards
from phantom.shape import Blob, Crescent, Mass
from phantom.signal import Weighting

CONVEXITIES = ("frontal convexity", "parietal convexity", "occipital convexity", "middle cranial fossa")


def meningioma(scene: Scene) -> Lesion:
    """A broad-based dural mass like grey matter, with a cleft of fluid, strong even enhancement and a dural tail; calcium at times."""
    region = scene.one_of(*CONVEXITIES, "frontal convexity", "parietal convexity")
    outer, deeper = scene.under_the_skull((region,))
    radius = scene.size(11, 22)
    centre = towards(outer, deeper, radius * 0.55)
    seed = scene.seed()

    def ball(size: float) -> Blob:
        return Blob(centre, (size, size, size), 0.05, seed, 1.5, 0.0, 1.2)

    parts: list[Part] = []
    swollen = radius / scene.growth > 15 and scene.chance(0.5)
    if swollen:
        shape = Blob(towards(outer, deeper, radius * 1.3), (radius * 1.1,) * 3, 0.22, scene.seed(), 5.0, 0.0, 0.6)
        parts.append(Part("edema", "vasogenic oedema", shape, "white", 0.9))
    parts.append(Part(None, "csf", ball(radius + 1.6), "intracranial", 0.7))
    parts.append(Part(None, "dural tail", Crescent(outer, 2.2, radius + 12, scene.seed()), "intracranial", 0.9))
    parts.append(Part("meningioma", "meningioma", ball(radius), "intracranial"))
    if scene.chance(0.3):
        size = radius * 0.3
        parts.append(Part("meningioma", "calcification", Blob(centre, (size,) * 3, 0.3, scene.seed()), "intracranial", 0.8))
    return Lesion(
        "meningioma",
        scene.side,
        region,
        2 * radius,
        tuple(parts),
        (Mass(centre, radius, 0.3 * radius),),
        enhancement="solid",
        edema=swollen,
        visible_on=(Weighting.T1_POST, Weighting.T2, Weighting.FLAIR, Weighting.T1),
        referral=("neurosurgery",),
        priority="medium" if swollen or radius > 17 else "low",
    )


def schwannoma(scene: Scene) -> Lesion:
    """An "ice-cream cone" in the cerebellopontine angle: a ball in the cistern with a stub into the internal auditory meatus."""
    centre = scene.place((scene.between(21, 25), scene.between(30, 36), scene.between(-42, -36)))
    radius = scene.size(7, 14)
    stub = (centre[0] + scene.sign * (radius + 2.5), centre[1] - 1.0, centre[2] + 1.0)
    parts = [
        Part("schwannoma", "schwannoma", Blob(stub, (7.0, 3.2, 3.2), 0.0, 0, 1.5), "any", 0.95),
        Part(None, "csf", Blob(centre, (radius + 1.5,) * 3, 0.05, scene.seed(), 1.5), "intracranial", 0.6),
        Part("schwannoma", "schwannoma", Blob(centre, (radius, radius * 0.95, radius), 0.06, scene.seed(), 1.5), "any"),
    ]
    if radius / scene.growth > 9 and scene.chance(0.5):
        size = radius * scene.between(0.3, 0.45)
        parts.append(
            Part("schwannoma", "cyst fluid", Blob(towards(centre, (0, 60, centre[2]), size), (size,) * 3, 0.15, scene.seed()), "any")
        )
    return Lesion(
        "schwannoma",
        scene.side,
        "cerebellopontine angle",
        2 * radius,
        tuple(parts),
        (Mass(centre, radius, 0.4 * radius),),
        enhancement="solid",
        visible_on=(Weighting.T1_POST, Weighting.T2, Weighting.FLAIR),
        referral=("neurosurgery", "ENT"),
        priority="medium" if radius > 11 else "low",
    )


def pituitary_adenoma(scene: Scene) -> Lesion:
    """A microadenoma within the gland, or a macroadenoma that rises from the sella, grey-matter-like, even, at times up to the chiasm."""
    if scene.chance(0.3):
        return _microadenoma(scene)
    radius = scene.size(8, 14)
    x, y, z = scene.place((scene.between(0.2, 1.5), -3.0, -26.0 + 0.3 * radius))
    centre = (x, y, z)
    low = (x, y, z - radius * 0.75)
    parts = (
        Part("pituitary_adenoma", "adenoma", Blob(low, (radius * 0.8, radius * 0.75, radius * 0.6), 0.05, scene.seed(), 1.5), "any"),
        Part("pituitary_adenoma", "adenoma", Blob(centre, (radius, radius * 0.85, radius * 0.9), 0.06, scene.seed(), 1.5), "any"),
    )
    reaches_chiasm = radius > 11.5
    return Lesion(
        "pituitary_adenoma",
        "midline",
        "sella",
        2.2 * radius,
        parts,
        (Mass(centre, radius, 0.4 * radius),),
        enhancement="solid",
        stage="large macro" if reaches_chiasm else "macro",
        visible_on=(Weighting.T1_POST, Weighting.T1, Weighting.T2),
        referral=("endocrinology", "neurosurgery", "ophthalmology"),
        priority="high" if reaches_chiasm else "medium",
    )


def _microadenoma(scene: Scene) -> Lesion:
    """A focus of 6 to 10 mm in one half of a full gland; it enhances later and less than the gland."""
    radius = min(scene.size(3.0, 4.8), 4.9)  # from 10 mm on it would be called otherwise
    x, y, z = scene.place((0.0, -3.0, -30.5))
    focus = (x + scene.sign * scene.between(1.8, 3.2), y + scene.between(-0.8, 0.8), z)
    gland = Blob((x, y, z), (radius + 4.6, radius + 2.2, radius + 1.6), 0.03, scene.seed(), 1.5)
    return Lesion(
        "pituitary_adenoma",
        "midline",
        "sella",
        2 * radius,
        (
            Part(None, "gland", gland, "any"),
            Part("pituitary_adenoma", "microadenoma", Blob(focus, (radius,) * 3, 0.05, scene.seed(), 1.2), "any"),
        ),
        enhancement="solid",
        stage="micro",
        visible_on=(Weighting.T1_POST, Weighting.T1),
        referral=("endocrinology",),
        priority="low",
    )


def arachnoid_cyst(scene: Scene) -> Lesion:
    """A smooth pocket that follows cerebrospinal fluid on every sequence: middle fossa, posterior fossa or convexity."""
    region = scene.one_of("middle cranial fossa", "middle cranial fossa", "posterior fossa", "frontal convexity", "parietal convexity")
    radius = scene.size(14, 24)
    if region == "middle cranial fossa":
        outer = scene.place((scene.between(46, 54), scene.between(-14, 6), scene.between(-30, -14)))
        centre = towards(outer, (0, 15, 5), radius * 0.35)
    elif region == "posterior fossa":
        outer = scene.place((scene.between(8, 30), scene.between(84, 90), scene.between(-42, -30)))
        centre = towards(outer, (0, 40, -30), radius * 0.4)
    else:
        outer, deeper = scene.under_the_skull((region,))
        centre = towards(outer, deeper, radius * 0.35)
    shape = Blob(centre, (radius, radius * scene.between(0.9, 1.3), radius * 0.85), 0.04, scene.seed(), 1.5, 0.0, 1.5)
    return Lesion(
        "arachnoid_cyst",
        scene.side,
        region,
        2 * radius,
        (Part("arachnoid_cyst", "csf", shape, "intracranial"),),
        (Mass(centre, radius, 0.3 * radius),),
        visible_on=(*ALL[:-2], Weighting.T1_POST),
        referral=("neurosurgery",) if radius > 20 else (),
        priority="low",
    )


def subdural_hematoma(scene: Scene) -> Lesion:
    """A crescent over one convexity, acute, subacute or chronic, that pushes the hemisphere."""
    stage = scene.one_of("acute", "subacute", "chronic")
    tissue = {"acute": "acute subdural blood", "subacute": "subacute subdural fluid", "chronic": "chronic subdural fluid"}[stage]
    outer = scene.place((60.0, scene.between(-15, 35), scene.between(28, 42)))
    thickness, spread = scene.size(8, 17), scene.between(62, 85)
    seed = scene.seed()
    parts = [Part("subdural_hematoma", tissue, Crescent(outer, thickness, spread, seed), "intracranial", 0.97)]
    if stage != "acute":
        parts.append(
            Part(
                None,
                "dural tail",
                Crescent(outer, thickness + 1.2, spread, seed, 1.5, (thickness - 0.6) / (thickness + 1.2)),
                "intracranial",
                0.6,
            )
        )
    radius = spread * 0.7
    # a broad push inwards: the centre of the push lies outside the head
    far = np.array(outer) * (1.75, 1, 1)
    masses = (Mass((float(far[0]), float(far[1]), float(far[2])), radius, scene.between(0.7, 1.4) * thickness),)
    label = atlas.REGIONS[12] if outer[1] < 0 else atlas.REGIONS[13]
    return Lesion(
        "subdural_hematoma",
        scene.side,
        label,
        thickness,
        tuple(parts),
        masses,
        stage=stage,
        own_measure=True,  # how thick it is
        visible_on=ALL if stage == "acute" else (Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.T1_POST),
        referral=("neurosurgery",),
        priority="high" if stage == "acute" or thickness > 11 else "medium",
    )


RECIPES = {
    "meningioma": Recipe(meningioma, (40, 80), 0.68, ("small_vessel_disease",), indication="headache"),
    "schwannoma": Recipe(schwannoma, (35, 68), 0.5, ("small_vessel_disease", "arachnoid_cyst"), indication="hearing loss"),
    "pituitary_adenoma": Recipe(pituitary_adenoma, (25, 70), 0.5, ("small_vessel_disease",), indication="visual disturbance"),
    "subdural_hematoma": Recipe(subdural_hematoma, (50, 90), 0.38, ("small_vessel_disease",), indication="confusion"),
    "arachnoid_cyst": Recipe(arachnoid_cyst, (18, 70), 0.42, indication="headache"),
}
