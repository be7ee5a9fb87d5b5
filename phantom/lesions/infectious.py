"""Herpes encephalitis, and neurosarcoidosis, which looks like an infection of the basal meninges."""

from __future__ import annotations

from phantom.lesion import FLUID, Lesion, Part, Recipe, Scene, jitter
from phantom.shape import Blob, Mass
from phantom.signal import Weighting

Place = tuple[tuple[float, float, float], tuple[float, float, float]]

LIMBIC: dict[str, Place] = {
    # centre on the patient's left (LPS mm), radii (mm)
    "hippocampus and amygdala": ((25.0, 8.0, -22.0), (11.0, 20.0, 11.0)),
    "temporal pole": ((36.0, -10.0, -32.0), (14.0, 13.0, 12.0)),
    "lateral temporal": ((48.0, 8.0, -26.0), (13.0, 22.0, 11.0)),
    "insula": ((38.0, -2.0, 0.0), (8.0, 20.0, 14.0)),
    "orbitofrontal": ((13.0, -34.0, -20.0), (12.0, 18.0, 8.0)),
    "cingulate": ((6.0, -18.0, 30.0), (7.0, 22.0, 9.0)),
}
"""Where herpes goes, in the order in which it does."""

BASAL: tuple[Place, ...] = (
    # where granulomas coat or stud the base, on the patient's left (LPS mm), radii (mm)
    ((3.0, -6.0, -17.0), (5.0, 4.5, 4.5)),  # chiasm and floor of the third ventricle
    ((7.0, 12.0, -19.0), (4.5, 4.0, 4.5)),  # interpeduncular
    ((9.0, 13.0, -30.0), (6.0, 3.5, 6.0)),  # before the pons
    ((18.0, 24.0, -16.0), (3.8, 7.0, 4.5)),  # ambient cistern
    ((29.0, -6.0, -17.0), (7.0, 4.0, 4.0)),  # stem of the Sylvian fissure
    ((19.0, 31.0, -38.0), (6.0, 3.2, 3.5)),  # facial and vestibulocochlear nerves
    ((13.0, 22.0, -27.0), (4.5, 4.5, 3.5)),  # trigeminal nerve
    ((5.0, -22.0, -20.0), (4.0, 6.0, 4.0)),  # gyrus rectus
    ((7.0, 60.0, -16.0), (5.0, 5.0, 4.0)),  # above the vermis
)


def viral_encephalitis(scene: Scene) -> Lesion:
    """Swollen bright cortex of the medial temporal lobe, insula and orbitofrontal gyri, one side or both, the basal ganglia spared."""
    both = scene.chance(0.5)
    reach = int(scene.rng.integers(2, len(LIMBIC) + 1))
    enhancing = scene.chance(0.35)
    parts: list[Part] = []
    for here, names in ((scene, tuple(LIMBIC)[:reach]), (scene.other_side(), tuple(LIMBIC)[: max(1, reach // 2)] if both else ())):
        for name in names:
            middle, radii = LIMBIC[name]
            centre = here.place(jitter(scene, middle, 1.5))
            size = scene.size(0.85, 1.15)
            x, y, z = radii
            shape = Blob(centre, (x * size, y * size, z * size), 0.16, scene.seed(), 3.0, 0.0, 0.9)
            parts.append(Part("viral_encephalitis", "vasogenic oedema", shape, "white", 0.75))
            parts.append(Part("viral_encephalitis", "inflamed cortex", shape, "grey", 0.97))
    for _ in range(int(scene.rng.integers(4, 7)) if enhancing else 0):
        middle, radii = LIMBIC[scene.one_of(*tuple(LIMBIC)[:reach])]
        spot = scene.place(jitter(scene, middle, 0.45 * min(radii)))
        shape = Blob(spot, (scene.between(4, 7),) * 3, 0.3, scene.seed(), 2.0)
        parts.append(Part("viral_encephalitis", "enhancing inflamed cortex", shape, "grey", 0.9))
    if scene.chance(0.3):  # petechiae, late
        for _ in range(int(scene.rng.integers(2, 5))):
            spot = scene.place(jitter(scene, LIMBIC["hippocampus and amygdala"][0], 6))
            parts.append(Part("viral_encephalitis", "haemosiderin", Blob(spot, (2.5, 2.5, 2.0), 0.3, scene.seed(), 1.5), "brain", 0.6))
    push = scene.between(1.5, 4.0)
    return Lesion(
        "viral_encephalitis",
        "bilateral" if both else scene.side,
        "temporal lobe",
        0.0,
        tuple(parts),
        (Mass(scene.place((33.0, 2.0, -24.0)), 20.0, push),),
        enhancement="patchy" if enhancing else "none",
        stage="bilateral" if both else "unilateral",
        visible_on=(*FLUID, Weighting.DWI, Weighting.T1),
        referral=("neurology", "infectious disease"),
        priority="high",
    )


def neurosarcoid(scene: Scene) -> Lesion:
    """Granulomas that stud and coat the meninges of the base, the chiasm and the nerves: isointense, strongly enhancing."""
    count = int(scene.rng.integers(6, 13))
    parts: list[Part] = []
    pons = scene.place((0.0, 28.0, -32.0))
    if scene.chance(0.6):
        coat = Blob(pons, (20.0, 17.5, 17.0), 0.05, scene.seed(), 2.0)
        parts.append(Part("neurosarcoid", "granuloma", coat, "csf", 0.75))
    for number in range(count):
        here = scene if number % 2 == 0 else scene.other_side()
        middle, radii = BASAL[0] if number == 0 else BASAL[int(scene.rng.integers(1, len(BASAL)))]
        size = scene.size(0.8, 1.25)
        x, y, z = radii
        shape = Blob(here.place(jitter(scene, middle, 1.2)), (x * size, y * size, z * size), 0.2, scene.seed(), 1.5)
        parts.append(Part("neurosarcoid", "granuloma", shape, "intracranial", 0.95))
    if scene.chance(0.4):  # the hypothalamus swells
        swollen = Blob(scene.place((4.0, -4.0, -10.0)), (11.0, 9.0, 7.0), 0.2, scene.seed(), 4.0)
        parts.insert(0, Part(None, "vasogenic oedema", swollen, "brain", 0.7))
    return Lesion(
        "neurosarcoid",
        "bilateral",
        "basal cisterns",
        0.0,
        tuple(parts),
        count=count,
        enhancement="solid",
        visible_on=(Weighting.T1_POST, Weighting.FLAIR, Weighting.T2, Weighting.T1),
        referral=("neurology", "rheumatology"),
        priority="medium",
    )


RECIPES = {
    "viral_encephalitis": Recipe(viral_encephalitis, (18, 80), 0.5, ("small_vessel_disease",), indication="confusion"),
    "neurosarcoid": Recipe(neurosarcoid, (25, 55), 0.6, ("arachnoid_cyst",), indication="visual disturbance"),
}
