"""Forms that tell the tumours of the posterior fossa apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_phantoms import every_sequence

import phantom
from phantom import anatomy, atlas, scanner
from phantom.lesion import Scene
from phantom.lesions import RECIPES
from phantom.scanner import Maps
from phantom.shape import Floats

SEEDS = range(5)
GRID = np.array([[3.0, 0, 0, -74], [0, 3.0, 0, -60], [0, 0, 3.0, -69], [0, 0, 0, 1]])
NAMES = ("brainstem_glioma", "ependymoma", "medulloblastoma", "pilocytic_astrocytoma")


def maps_of(study: phantom.Phantom) -> Maps:
    """Every 3 mm of the lower head: further down than some axial series go."""
    return scanner.sample_head(study, anatomy.field(study.anatomy, study.masses), GRID, (50, 50, 40))


def from_the_middle(study: phantom.Phantom, maps: Maps) -> Floats:
    """Each point of the maps from the first lesion's middle, mm in the head (n, 3)."""
    frame = scanner.head_frame(study.style) @ GRID
    corner = np.array([edge.start for edge in maps.window[::-1]])
    index = np.stack(np.unravel_index(np.arange(len(maps.fractions)), maps.shape)[::-1], 1) + corner
    offset: Floats = index @ frame[:3, :3].T + frame[:3, 3] - study.lesions[0].masses[0].centre
    return offset


def middle(name: str, seed: int) -> Floats:
    """Where in the atlas the tumour's middle lies, mm, on the side that is drawn."""
    maps = maps_of(phantom.sample(seed, name, style=every_sequence(seed)))
    where: Floats = maps.atlas_points[maps.masks[name]].mean(0)
    return where


@pytest.mark.parametrize("seed", SEEDS)
def test_they_sit_from_front_to_back_as_in_the_textbook(seed: int) -> None:
    """Pons before fourth ventricle before vermis."""
    pons, ventricle, vermis = (middle(name, seed)[1] for name in NAMES[:3])
    assert pons + 8 < ventricle < vermis


def test_a_pontine_glioma_swells_the_brainstem() -> None:
    """The brainstem takes more room than in the same head without it."""
    for seed in SEEDS:
        ill = phantom.sample(seed, "brainstem_glioma", style=every_sequence(seed))
        swollen, healthy = (
            (atlas.load().region_at(maps_of(study).atlas_points) == atlas.REGIONS.index("brainstem")).sum()
            for study in (ill, replace(ill, lesions=()))
        )
        assert swollen > 1.1 * healthy


def test_an_ependymoma_leaves_the_ventricle_through_its_foramina() -> None:
    """It is longer downwards than the ball in the ventricle is."""
    for seed in SEEDS:
        study = phantom.sample(seed, "ependymoma", style=every_sequence(seed))
        maps = maps_of(study)
        up = from_the_middle(study, maps)[maps.masks["ependymoma"], 2]
        assert up.min() < -16
        assert up.max() > 6
        assert -up.min() > 1.1 * study.lesions[0].masses[0].radius


def test_dammed_ventricles_are_wide_and_asked_about_soon() -> None:
    for name in NAMES[1:]:
        study = next(p for seed in range(20) if (p := phantom.sample(seed, name)).lesions[0].dams)
        truth = phantom.truth(study)
        assert "ventriculomegaly" in {finding.name for finding in truth.findings}
        assert truth.priority == "high"


@pytest.mark.parametrize("name", [*NAMES, "viral_encephalitis", "neurosarcoid"])
def test_masks_lie_where_truth_says(name: str) -> None:
    """Left or right lesions on their side; all large enough for an encoder of 128 pixels."""
    for seed in range(4):
        study = phantom.sample(seed, name, style=every_sequence(seed, 128))
        maps = scanner.sample_head(study, anatomy.field(study.anatomy, study.masses), *scanner.geometry(study.style, "axial"))
        points = maps.atlas_points[maps.masks[name]]
        assert len(points) > 60
        side = study.lesions[0].side
        across = points[:, 0].mean()
        if side in ("left", "right"):
            assert np.sign(across) == (1 if side == "left" else -1)
        if side == "midline":
            assert abs(across) < 9
        if side == "bilateral":
            assert points[:, 0].min() < -5 < 5 < points[:, 0].max()


def test_follow_up_tumours_grow_in_place() -> None:
    """The same random numbers draw the same tumour, larger."""
    backward = anatomy.field(phantom.sample(1, "normal").anatomy, ())
    for name in NAMES:
        first, later = (RECIPES[name].draw(Scene(np.random.default_rng(2), backward, 1, 9, growth)) for growth in (1.0, 1.3))
        assert later.size_mm > 1.15 * first.size_mm
        assert np.allclose(first.masses[0].centre, later.masses[0].centre)
