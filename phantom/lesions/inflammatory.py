"""Multiple sclerosis."""

from __future__ import annotations

from phantom.lesion import FLUID, Lesion, Part, Recipe, Scene
from phantom.shape import Blob
from phantom.signal import Weighting


def multiple_sclerosis(scene: Scene) -> Lesion:
    """Ovoid plaques at right angles to the ventricles, in the callosum, under the cortex and infratentorially, both sides; some active."""
    active = scene.chance(0.35)
    parts: list[Part] = []
    largest = 0.0
    for _ in range(int(scene.rng.integers(8, 22))):
        here = scene if scene.chance(0.5) else scene.other_side()
        kind = scene.rng.choice(["periventricular", "callosal", "juxtacortical", "infratentorial"], p=[0.55, 0.12, 0.2, 0.13])
        length, width = scene.size(4.0, 8.5), scene.size(2.6, 4.2)
        if kind == "periventricular":
            centre = here.place((scene.between(20, 29), scene.between(-30, 45), scene.between(10, 30)))
            radii = (length, width, width)
        elif kind == "callosal":
            centre = here.place((scene.between(3, 10), scene.between(-26, 24), scene.between(22, 26)))
            radii = (width, width, length * 0.7)
        elif kind == "juxtacortical":
            centre = here.pick(("frontal lobe", "parietal lobe", "temporal lobe"), "white", 0.6)
            radii = (width * 1.1, length * 0.7, width * 1.1)
        else:
            centre = here.pick(("cerebellum", "brainstem"), "white", 0.6)
            radii = (width, width, width)
        tissue = "active demyelination" if active and scene.chance(0.35) else "demyelination"
        shape = Blob(centre, radii, 0.1, scene.seed(), 1.8, scene.between(-0.5, 0.5))
        parts.append(Part("multiple_sclerosis", tissue, shape, "brain", 0.95))
        largest = max(largest, 2 * length)
    active = any(part.tissue == "active demyelination" for part in parts)
    return Lesion(
        "multiple_sclerosis",
        "bilateral",
        "frontal lobe",
        largest,
        tuple(parts),
        count=len(parts),
        enhancement="patchy" if active else "none",
        stage="active" if active else "stable",
        visible_on=(*FLUID, Weighting.T1_POST) if active else FLUID,
        referral=("neurology",),
        priority="medium",
        regions=("frontal lobe", "parietal lobe"),
    )


RECIPES = {
    "multiple_sclerosis": Recipe(multiple_sclerosis, (20, 52), 0.7, ("arachnoid_cyst",), indication="numbness"),
}
