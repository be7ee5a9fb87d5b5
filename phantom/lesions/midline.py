"""Masses and cysts of the midline: third ventricle, sella and suprasellar cistern, pineal region; they often dam the ventricles."""

from __future__ import annotations

from phantom.lesion import ALL, FLUID, Lesion, Part, Recipe, Scene, jitter
from phantom.shape import Blob, Mass, Point, VentricleRim
from phantom.signal import Weighting

CONTRAST = (Weighting.T1_POST, Weighting.T1, *FLUID)


def _ball(scene: Scene, centre: Point, radius: float, roughness: float = 0.06, softness: float = 1.5) -> Blob:
    """A near-sphere with an uneven surface."""
    return Blob(centre, (radius, radius * scene.between(0.9, 1.1), radius), roughness, scene.seed(), softness)


def _dammed(scene: Scene, probability: float) -> tuple[float, tuple[Part, ...]]:
    """How far the ventricles widen because the way is blocked, mm (0 where it is not), and the fluid that seeps into their walls."""
    blocked, widening = scene.chance(probability), scene.between(4.8, 7.5)
    rim = VentricleRim(scene.between(1.5, 3.0), 0.25, scene.seed())
    return (widening, (Part(None, "vasogenic oedema", rim, "white", 0.75),)) if blocked else (0.0, ())


def colloid_cyst(scene: Scene) -> Lesion:
    """A round cyst at the foramen of Monro, bright on T1, like brain on T2, at times with a dark inspissated centre."""
    centre = scene.place((scene.between(-1.0, 1.0), scene.between(-4, 0), scene.between(6, 9)))
    radius = scene.size(4.5, 9.0)
    parts = [Part("colloid_cyst", "colloid", _ball(scene, centre, radius, 0.03), "any")]
    if scene.chance(0.3):
        parts.append(Part("colloid_cyst", "inspissated colloid", _ball(scene, jitter(scene, centre, 0.8), radius * 0.5, 0.15), "any", 0.9))
    dams, rim = _dammed(scene, 0.65)
    return Lesion(
        "colloid_cyst",
        "midline",
        "third ventricle",
        2 * radius,
        (*rim, *parts),
        (Mass(centre, radius, 0.25 * radius),),
        visible_on=(*CONTRAST, Weighting.DWI),
        referral=("neurosurgery",),
        priority="high" if dams else "medium",
        dams=dams,
    )


def rathkes_cleft_cyst(scene: Scene) -> Lesion:
    """A smooth midline cyst held in a claw of enhancing gland: mucoid (bright on T1) or serous, at times with a dark nodule inside."""
    radius = scene.size(4.5, 8.0)
    centre = scene.place((scene.between(-0.8, 0.8), scene.between(-4.0, -2.5), scene.between(-30.5, -28.5) + 0.4 * radius))
    x, y, z = centre
    tissue = scene.one_of("mucoid cyst fluid", "mucoid cyst fluid", "serous cyst fluid")
    claw = Blob((x, y - 0.5, z - 0.45 * radius), (radius * 1.25, radius * 1.1, radius * 0.85), 0.0, 0, 1.5)
    parts = [
        Part(None, "gland", claw, "any", 0.95),
        Part("rathkes_cleft_cyst", tissue, _ball(scene, centre, radius, 0.02), "any"),
    ]
    if scene.chance(0.35):
        nodule = jitter(scene, centre, 0.25 * radius)
        parts.append(Part("rathkes_cleft_cyst", "inspissated colloid", _ball(scene, nodule, radius * 0.35, 0.1), "any", 0.9))
    return Lesion(
        "rathkes_cleft_cyst",
        "midline",
        "sella",
        2 * radius,
        tuple(parts),
        (Mass(centre, radius, 0.2 * radius),),
        stage="mucoid" if tissue == "mucoid cyst fluid" else "serous",
        visible_on=CONTRAST,
        referral=("endocrinology",),
        priority="low",
    )


def craniopharyngioma(scene: Scene) -> Lesion:
    """Suprasellar: lobulated T1-bright cysts with an enhancing wall and calcium, mostly of the young, or a solid mass of the older."""
    cystic = scene.chance(0.8 if scene.age < 40 else 0.45)
    radius = scene.size(10, 16)
    x, y, z = centre = scene.place((scene.between(-1.5, 1.5), scene.between(-8, -4), scene.between(-24, -21) + 0.5 * radius))
    name = "craniopharyngioma"
    if cystic:
        parts = _cysts(scene, centre, radius)
    else:
        lump = (x + scene.between(-3, 3), y - 2, z + 0.6 * radius)
        parts = [
            Part(name, "craniopharyngioma", _ball(scene, centre, 0.9 * radius, 0.12), "any"),
            Part(name, "craniopharyngioma", _ball(scene, lump, 0.6 * radius, 0.12), "any"),
            Part(name, "serous cyst fluid", _ball(scene, jitter(scene, lump, 1.5), 0.25 * radius, 0.15), "any", 0.9),
        ]
    dams, rim = _dammed(scene, 0.5 if radius > 13 else 0.1)
    return Lesion(
        name,
        "midline",
        "suprasellar region",
        2.2 * radius,
        (*rim, *parts),
        (Mass(centre, radius, 0.35 * radius),),
        enhancement="ring" if cystic else "solid",
        stage="cystic" if cystic else "papillary",
        visible_on=ALL if cystic else CONTRAST,
        referral=("neurosurgery", "endocrinology", "ophthalmology"),
        priority="high" if dams else "medium",
        dams=dams,
    )


def _cysts(scene: Scene, centre: Point, radius: float) -> list[Part]:
    """A large cyst with one or two daughters above it, solid tissue at the base and crumbs of calcium in the wall."""
    x, y, z = centre
    name = "craniopharyngioma"
    cavities = [(centre, 0.85 * radius)]
    for _ in range(int(scene.rng.integers(1, 3))):
        away = (x + scene.between(-0.6, 0.6) * radius, y + scene.between(-0.5, 0.4) * radius, z + scene.between(0.5, 0.8) * radius)
        cavities.append((away, radius * scene.between(0.4, 0.6)))
    walls, fluids = [], []
    for middle, size in cavities:
        seed = scene.seed()
        walls.append(Part(name, "craniopharyngioma", Blob(middle, (size + 1.6,) * 3, 0.06, seed, 1.5), "any"))
        fluids.append(Part(name, "cholesterol fluid", Blob(middle, (size - 0.4,) * 3, 0.06, seed, 1.5), "any"))
    solid = _ball(scene, (x, y, z - 0.75 * radius), 0.5 * radius, 0.15)
    crumbs = [
        Part(
            name,
            "calcification",
            _ball(scene, jitter(scene, (x, y, z - 0.8 * radius), 0.25 * radius), scene.between(2.0, 3.5), 0.3),
            "any",
            0.9,
        )
        for _ in range(int(scene.rng.integers(2, 5)))
    ]
    return [*walls, *fluids, Part(name, "craniopharyngioma", solid, "any"), *crumbs]


def pineal_tumor(scene: Scene) -> Lesion:
    """A solid, lobulated, evenly enhancing pineal mass on the tectum; it bursts the gland's calcium outwards to its rim."""
    radius = scene.size(7, 13)
    centre = scene.place((scene.between(-1.5, 1.5), 28 + 0.35 * radius, scene.between(-1, 3)))
    x, y, z = centre
    lobe = (x + scene.between(-0.3, 0.3) * radius, y + 0.3 * radius, z + scene.between(-0.4, 0.4) * radius)
    parts = [
        Part("pineal_tumor", "pineal tumour", _ball(scene, centre, radius, 0.09), "any"),
        Part("pineal_tumor", "pineal tumour", _ball(scene, lobe, 0.8 * radius, 0.09), "any"),
    ]
    if scene.chance(0.45):
        cavity = jitter(scene, centre, 0.3 * radius)
        parts.append(Part("pineal_tumor", "cyst fluid", _ball(scene, cavity, 0.3 * radius, 0.15), "any", 0.9))
    for side in (-1, 1):
        if scene.chance(0.6):
            rim = (x + side * 0.75 * radius, y + scene.between(-0.4, 0.3) * radius, z + scene.between(-0.3, 0.3) * radius)
            parts.append(Part("pineal_tumor", "calcification", _ball(scene, rim, scene.between(1.5, 2.5), 0.2), "any", 0.8))
    return _pineal(scene, "pineal_tumor", centre, radius, parts)


def germ_cell_tumor(scene: Scene) -> Lesion:
    """Cellular masses that restrict diffusion and enhance strongly: pineal, around the gland's calcium, suprasellar, or both."""
    where = scene.one_of("pineal", "pineal", "suprasellar", "both")
    name, parts = "germ_cell_tumor", []
    radius = scene.size(8, 13)
    pineal = scene.place((scene.between(-1.5, 1.5), 28 + 0.35 * radius, scene.between(-1, 3)))
    other = scene.size(6.5, 11) if where == "suprasellar" else scene.size(5, 7.5)
    stalk = scene.place((scene.between(-1, 1), scene.between(-5, -2), scene.between(-21, -18)))
    if where != "suprasellar":
        parts += [
            Part(name, "germinoma", _ball(scene, pineal, radius, 0.07), "any"),
            Part(None, "calcification", _ball(scene, jitter(scene, pineal, 1.0), scene.between(1.8, 2.6), 0.2), "any", 0.8),
        ]
    if where != "pineal":
        x, y, z = stalk
        parts += [
            Part(name, "germinoma", _ball(scene, stalk, other, 0.07), "any"),
            Part(name, "germinoma", Blob((x, y, z - 0.8 * other), (0.45 * other, 0.45 * other, 0.8 * other), 0.0, 0, 1.5), "any"),
        ]
    if where == "suprasellar":
        return Lesion(
            name,
            "midline",
            "suprasellar region",
            2 * other,
            tuple(parts),
            (Mass(stalk, other, 0.3 * other),),
            enhancement="solid",
            visible_on=(*ALL[:-2], Weighting.T1_POST),
            referral=("paediatric neuro-oncology", "endocrinology"),
            priority="medium",
        )
    return _pineal(scene, name, pineal, radius, parts, 2 if where == "both" else 1)


def _pineal(scene: Scene, name: str, centre: Point, radius: float, parts: list[Part], count: int = 1) -> Lesion:
    """A pineal mass as a lesion; the aqueduct below it gives way with its size."""
    dams, rim = _dammed(scene, 0.75 if radius > 9 else 0.3)
    restricts = name == "germ_cell_tumor"
    return Lesion(
        name,
        "midline",
        "pineal region",
        2 * radius,
        (*rim, *parts),
        (Mass(centre, radius, 0.35 * radius),),
        count,
        enhancement="solid",
        visible_on=(*CONTRAST, Weighting.DWI, Weighting.ADC) if restricts else CONTRAST,
        referral=("neurosurgery", "paediatric neuro-oncology") if restricts else ("neurosurgery",),
        priority="high" if dams else "medium",
        dams=dams,
    )


RECIPES = {
    "colloid_cyst": Recipe(colloid_cyst, (20, 60), indication="headache"),
    "rathkes_cleft_cyst": Recipe(rathkes_cleft_cyst, (20, 75), 0.65, ("small_vessel_disease",), indication="headache"),
    "craniopharyngioma": Recipe(craniopharyngioma, (8, 70), indication="visual disturbance"),
    "pineal_tumor": Recipe(pineal_tumor, (12, 45), indication="headache"),
    "germ_cell_tumor": Recipe(germ_cell_tumor, (9, 22), 0.25, indication="visual disturbance"),
}
