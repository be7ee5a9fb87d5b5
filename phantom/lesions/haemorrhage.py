"""Blood in the fluid's spaces: in the ventricles and under the arachnoid."""

from __future__ import annotations

from phantom.lesion import FLUID, Lesion, Part, Recipe, Scene
from phantom.shape import Blob, Box, Level, Patches, Shape, Tube, VentricleRim
from phantom.signal import Weighting

IN_FRONT = -60.0  # a level (y, mm) in front of all ventricles: blood fills the whole space
HORN: Box = ((12.0, 16.0, -30.0), (60.0, 90.0, 60.0))
"""Atrium, occipital and temporal horn of the patient's left; nearer the midline the atlas has cisterns in its ventricles."""
BODY = ((14.0, -34.0, 2.0), (11.0, -22.0, 14.0), (13.0, 0.0, 22.0), (19.0, 22.0, 22.0))
"""From the frontal horn backwards, atlas points of the patient's left, LPS mm."""
SYLVIAN = ((14.0, -4.0, -22.0), (30.0, -6.0, -16.0), (42.0, -4.0, -6.0), (48.0, 12.0, 6.0), (50.0, 26.0, 14.0))
"""From the carotid cistern along the fissure, atlas points of the patient's left, LPS mm."""


def intraventricular_hemorrhage(scene: Scene) -> Lesion:
    """Blood that has settled in the occipital horns with a level; at times a cast of one ventricle, or blood in the third and fourth."""
    both = scene.chance(0.75)
    cast = scene.chance(0.35)
    levels = [scene.between(38, 50) for _ in range(2)]
    below = scene.chance(0.45)
    dams = scene.between(4.5, 7.5) if scene.chance(0.5) else 0.0
    shapes: list[Shape] = [_horn(scene, IN_FRONT if cast else _behind(scene, levels[0]))]
    if cast:
        shapes.append(Tube(tuple(scene.place(point) for point in BODY), 10.0, 12.0, 2.0))
    if both:
        shapes.append(_horn(scene.other_side(), _behind(scene, levels[1])))
    if below:
        shapes.append(Blob(scene.place((0.0, 8.0, -4.0)), (6.0, 13.0, 10.0)))
        shapes.append(Blob(scene.place((0.0, 46.0, -35.0)), (17.0, 15.0, 15.0)))
    parts = [Part("intraventricular_hemorrhage", "ventricular blood", shape, "ventricle", 0.95) for shape in shapes]
    if dams:
        parts.insert(0, Part(None, "vasogenic oedema", VentricleRim(2.2, 0.3, scene.seed()), "white", 0.8))
    return Lesion(
        "intraventricular_hemorrhage",
        "bilateral" if both else scene.side,
        "ventricles",
        0.0,
        tuple(parts),
        stage="acute",
        visible_on=(*FLUID, Weighting.DWI, Weighting.SWI, Weighting.T1),
        referral=("neurosurgery",),
        priority="high",
        dams=dams,
    )


def _behind(scene: Scene, level: float) -> float:
    return scene.place((24.0, level, 6.0))[1]


def _horn(scene: Scene, level: float) -> Level:
    """HORN of this side behind the level."""
    (x, y, z), (across, back, top) = HORN
    return Level((x, y, z) if scene.sign > 0 else (-across, y, z), (across if scene.sign > 0 else -x, back, top), level)


def subarachnoid_hemorrahage(scene: Scene) -> Lesion:
    """Blood-stained fluid: about one sylvian fissure and the basal cisterns, in all of them, or in some sulci of one convexity."""
    extent = scene.one_of("one side", "one side", "diffuse", "convexity")
    patchy = scene.between(0.1, 0.3)
    width = scene.between(15, 20)
    region = "basal cisterns"
    spaces: list[Shape]
    if extent == "convexity":
        region = scene.one_of("frontal convexity", "parietal convexity")
        outer = next(point for point in iter(lambda: scene.pick((region,), "csf", 0.3), None) if abs(point[0]) > 26)
        spread = scene.between(22, 34)
        spaces = [Patches(Blob(outer, (spread,) * 3, 0.2, scene.seed(), 6.0), patchy, scene.seed())]
    else:
        # the atlas counts some cisterns as ventricles, so what lies about the base must not keep clear of them
        basal = Blob(scene.place((4.0, 6.0, -24.0)), (32.0, 35.0, 17.0), 0.1, scene.seed(), 6.0)
        spaces = [Patches(shape, patchy, scene.seed(), outside=False) for shape in (basal, _sylvian(scene, width))]
        if extent == "diffuse":
            spaces.append(Patches(_sylvian(scene.other_side(), width), patchy, scene.seed(), outside=False))
            spaces.append(Patches(Blob(scene.place((0.0, -40.0, 16.0)), (7.0, 34.0, 34.0), 0.0, 0, 5.0), patchy, scene.seed()))
            spaces.append(Patches(Blob(scene.place((0.0, 30.0, 62.0)), (62.0, 70.0, 26.0), 0.1, scene.seed(), 8.0), patchy, scene.seed()))
    dams = scene.between(4.5, 7.0) if extent != "convexity" and scene.chance(0.3) else 0.0
    return Lesion(
        "subarachnoid_hemorrahage",
        "bilateral" if extent == "diffuse" else scene.side,
        region,
        0.0,
        tuple(Part("subarachnoid_hemorrahage", "blood-stained csf", space, "csf", 0.95) for space in spaces),
        stage="acute",
        visible_on=(Weighting.FLAIR, Weighting.SWI, Weighting.T1),
        referral=("neurosurgery",),
        priority="high",
        dams=dams,
    )


def _sylvian(scene: Scene, width: float) -> Tube:
    return Tube(tuple(scene.place(point) for point in SYLVIAN), width * 0.75, width, 5.0)


RECIPES = {
    "intraventricular_hemorrhage": Recipe(
        intraventricular_hemorrhage, (45, 85), 0.46, ("intracranial_hemorrhage", "subarachnoid_hemorrahage"), indication="confusion"
    ),
    "subarachnoid_hemorrahage": Recipe(
        subarachnoid_hemorrahage, (35, 75), 0.58, ("cerebral_aneurysm", "intraventricular_hemorrhage"), indication="headache"
    ),
}
