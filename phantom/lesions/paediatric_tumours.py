"""Tumours of the posterior fossa that children have: pontine glioma, ependymoma, medulloblastoma, pilocytic astrocytoma."""

from __future__ import annotations

from phantom.lesion import ALL, FLUID, Lesion, Part, Recipe, Scene, jitter, towards
from phantom.shape import Blob, Mass, Point, VentricleRim
from phantom.signal import Weighting


def brainstem_glioma(scene: Scene) -> Lesion:
    """A diffuse bright swelling of the whole pons that hardly enhances."""
    x, y, z = scene.place((scene.between(0.0, 2.0), scene.between(26, 28), scene.between(-34, -31)))
    centre = (x, y, z)
    radius = scene.size(13, 18)
    shape = Blob(centre, (radius * 1.15, radius * 0.95, radius * 1.05), 0.07, scene.seed(), 3.5, 0.0, 1.2)
    parts = [Part("brainstem_glioma", "pontine tumour", shape, "brain", 0.95)]
    if scene.chance(0.4):  # down into the medulla or up into the midbrain
        end = (x, y + 6, z - radius * 1.3) if scene.chance(0.5) else (x, y - 3, z + radius * 1.2)
        parts.append(Part("brainstem_glioma", "pontine tumour", Blob(end, (9.0, 8.0, 9.0), 0.1, scene.seed(), 3.5), "brain", 0.9))
    patchy = scene.chance(0.3)
    if patchy:
        spot, size = towards(centre, jitter(scene, centre, 30), radius * 0.45), scene.size(3.5, 5.5)
        parts.append(Part("brainstem_glioma", "high-grade tumour", Blob(spot, (size,) * 3, 0.35, scene.seed(), 2.0), "brain"))
    return Lesion(
        "brainstem_glioma",
        "midline",
        "brainstem",
        2.2 * radius,
        tuple(parts),
        (Mass(centre, radius, 0.24 * radius),),
        enhancement="patchy" if patchy else "none",
        visible_on=(*FLUID, Weighting.T1),
        referral=("paediatric neuro-oncology",),
        priority="high",
    )


def ependymoma(scene: Scene) -> Lesion:
    """A mixed mass that fills the fourth ventricle and squeezes out through its foramina, with calcium, cysts and uneven enhancement."""
    centre = scene.place((scene.between(0.0, 1.5), scene.between(44, 47), scene.between(-38, -34)))
    x, y, z = centre
    dams = _dams(scene, 0.85)
    radius = scene.size(11, 15) + 0.25 * dams  # the fourth ventricle that it fills is wide too
    core = Blob(centre, (radius, radius * 0.95, radius * 1.15), 0.12, scene.seed(), 1.8, 0.0, 0.9)
    below = scene.place((0.5, 53.0, -52.0))  # through the foramen of Magendie into the cisterna magna
    parts = [
        Part("ependymoma", "ependymal tumour", core, "intracranial"),
        Part("ependymoma", "ependymal tumour", Blob(below, (7.0, 6.5, scene.size(8.0, 10.0)), 0.12, scene.seed(), 1.8), "intracranial"),
    ]
    if scene.chance(0.65):  # through the foramen of Luschka into the cerebellopontine angle
        for along, size in ((0.95, 6.0), (1.5, 7.0)):
            spot = (x + scene.sign * radius * along, y - 7.0 * along, z - 4.0)
            parts.append(
                Part("ependymoma", "ependymal tumour", Blob(spot, (size + 1, size, size), 0.12, scene.seed(), 1.8), "intracranial")
            )
    parts += [_speck(scene, "ependymoma", "enhancing ependymal tumour", centre, radius, (0.3, 0.42)) for _ in range(5)]
    parts += [_speck(scene, "ependymoma", "cyst fluid", centre, radius, (0.13, 0.24)) for _ in range(int(scene.rng.integers(1, 4)))]
    if scene.chance(0.6):
        parts += [_speck(scene, "ependymoma", "calcification", centre, radius, (0.12, 0.2)) for _ in range(int(scene.rng.integers(1, 4)))]
    return Lesion(
        "ependymoma",
        "midline",
        "fourth ventricle",
        2.4 * radius,
        (*_transependymal(scene, dams), *parts),
        (Mass(centre, radius, 0.35 * radius),),
        enhancement="patchy",
        visible_on=(Weighting.T1_POST, *FLUID, Weighting.T1),
        referral=("paediatric neurosurgery",),
        priority="high",
        dams=dams,
    )


def medulloblastoma(scene: Scene) -> Lesion:
    """A dense round mass of the vermis that bulges into the fourth ventricle: restricted diffusion, uneven to strong enhancement."""
    aside = scene.chance(0.2)  # in a hemisphere, as in older patients
    x, y, z = scene.between(0.0, 1.5), scene.between(55, 61), scene.between(-36, -29)
    centre = scene.place((x + 22, y + 3, z - 3) if aside else (x, y, z))
    radius = scene.size(13, 20)
    stretch = scene.between(0.9, 1.15)
    shape = Blob(centre, (radius * stretch, radius / stretch, radius), 0.07, scene.seed(), 1.8, 0.0, 1.1)
    strong = scene.chance(0.45)
    parts = [Part("medulloblastoma", "enhancing embryonal tumour" if strong else "embryonal tumour", shape, "intracranial")]
    if not strong:
        parts += [_speck(scene, "medulloblastoma", "enhancing embryonal tumour", centre, radius, (0.3, 0.45)) for _ in range(4)]
    if scene.chance(0.5):
        parts += [_speck(scene, "medulloblastoma", "cyst fluid", centre, radius, (0.12, 0.2)) for _ in range(int(scene.rng.integers(1, 4)))]
    swollen = scene.chance(0.5)
    rim = Blob(centre, (radius + scene.between(4, 7),) * 3, 0.2, scene.seed(), 4.0, 0.0, 0.6)
    dams = _dams(scene, 0.8)
    return Lesion(
        "medulloblastoma",
        scene.side if aside else "midline",
        "cerebellum",
        2 * radius * max(stretch, 1 / stretch),
        (*_transependymal(scene, dams), *((Part("edema", "vasogenic oedema", rim, "white", 0.85),) if swollen else ()), *parts),
        (Mass(centre, radius, 0.3 * radius),),
        enhancement="solid" if strong else "patchy",
        edema=swollen,
        visible_on=ALL,
        referral=("paediatric neurosurgery",),
        priority="high",
        dams=dams,
    )


def pilocytic_astrocytoma(scene: Scene) -> Lesion:
    """A large cerebellar cyst, brighter than cerebrospinal fluid on FLAIR, with a strongly enhancing nodule on its wall."""
    aside = scene.chance(0.75)
    centre = scene.place((scene.between(18, 25) if aside else 1.0, scene.between(58, 66), scene.between(-38, -31)))
    radius = scene.size(12, 19)
    stretch = scene.between(0.85, 1.15)
    cyst = Blob(centre, (radius * stretch, radius / stretch, radius * 0.95), 0.05, scene.seed(), 1.5, 0.0, 1.3)
    nodule = radius * scene.between(0.42, 0.6)
    wall = towards(centre, (centre[0] + scene.rng.normal(0, 20), centre[1] + scene.rng.normal(0, 20), centre[2] + 4), radius * 0.75)
    parts = (
        Part("pilocytic_astrocytoma", "protein-rich cyst fluid", cyst, "intracranial"),
        Part("pilocytic_astrocytoma", "pilocytic nodule", Blob(wall, (nodule,) * 3, 0.1, scene.seed(), 1.5), "intracranial"),
    )
    dams = _dams(scene, 0.6)
    return Lesion(
        "pilocytic_astrocytoma",
        scene.side if aside else "midline",
        "cerebellum",
        2 * radius * max(stretch, 1 / stretch),
        (*_transependymal(scene, dams), *parts),
        (Mass(centre, radius, 0.3 * radius),),
        enhancement="solid",
        visible_on=(*FLUID, Weighting.T1, Weighting.ADC, Weighting.T1_POST),
        referral=("paediatric neurosurgery",),
        priority="high" if dams else "medium",
        dams=dams,
    )


def _speck(scene: Scene, label: str, tissue: str, centre: Point, radius: float, share: tuple[float, float]) -> Part:
    """A small piece of another tissue somewhere inside a mass; its size is a share of the mass's radius."""
    spot = towards(centre, jitter(scene, centre, 30), radius * scene.between(0.25, 0.68))
    size = radius * scene.between(*share)
    return Part(label, tissue, Blob(spot, (size, size, size), 0.25, scene.seed(), 1.5), "intracranial", 0.9)


def _dams(scene: Scene, probability: float) -> float:
    """By how much the fluid that cannot leave the fourth ventricle widens the ventricles, mm; often not at all."""
    wide = scene.between(4.8, 8.0)
    return wide if scene.chance(probability) else 0.0


def _transependymal(scene: Scene, dams: float) -> tuple[Part, ...]:
    """Fluid pressed into the white matter along dammed ventricles."""
    seed = scene.seed()
    return (Part(None, "vasogenic oedema", VentricleRim(2.4, 0.3, seed), "white", 0.7),) if dams else ()


RECIPES = {
    "brainstem_glioma": Recipe(brainstem_glioma, (3, 12), indication="gait disturbance"),
    "ependymoma": Recipe(ependymoma, (1, 12), 0.45, indication="nausea and vomiting"),
    "medulloblastoma": Recipe(medulloblastoma, (3, 16), 0.38, indication="nausea and vomiting"),
    "pilocytic_astrocytoma": Recipe(pilocytic_astrocytoma, (3, 18), 0.5, ("arachnoid_cyst",), indication="gait disturbance"),
}
