"""Blood settles, vessels are voids, brain that leaves its compartment is reported: trauma, haemorrhage, vessels, herniation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_phantoms import every_sequence

import phantom
from assistant import lexicon
from phantom import anatomy
from phantom.groundtruth import herniations
from phantom.lesion import Lesion, Scene
from phantom.lesions import RECIPES
from phantom.shape import Blob, Level, Mass, Patches, Shape, Surroundings, Tangle, Tube
from phantom.wordings import WORDINGS, effects, haemorrhage, trauma, vessels

NAMES = (*trauma.WORDINGS, *haemorrhage.WORDINGS, *vessels.WORDINGS)
FIELDS = {"place": "left frontal lobe", "side": "left", "on": "on the left", "region": "frontal lobe", "size": "14 mm"}
FIELDS |= {"foci": "three", "stage": "acute"}


def surroundings(count: int, from_ventricles: float = 30.0) -> Surroundings:
    return Surroundings(np.full(count, 20.0, np.float32), np.full(count, from_ventricles, np.float32))


def grid(half: float, step: float) -> np.ndarray:
    axis = np.arange(-half, half + step / 2, step, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


@pytest.mark.parametrize(
    "shape",
    [
        Tube(((-8.0, 0.0, 3.0), (0.0, 6.0, 0.0), (9.0, -2.0, -5.0)), 3.0, 1.5),
        Tangle(Blob((2.0, -3.0, 1.0), (9.0, 8.0, 7.0), 0.15, 4), 3.5, 8.0, 5),
        Level((-10.0, -12.0, -8.0), (10.0, 12.0, 8.0), 3.0),
        Patches(Blob((0.0, 0.0, 0.0), (10.0, 9.0, 8.0)), 0.3, 6),
    ],
    ids=lambda shape: type(shape).__name__,
)
def test_a_shape_lies_within_its_box(shape: Shape) -> None:
    points = grid(24, 1.5)
    mask = shape.mask(points, surroundings(len(points)))
    low, high = (np.asarray(corner) for corner in shape.box())
    outside = ((points < low) | (points > high)).any(1)
    assert mask.max() > 0.9
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert not mask[outside].any()


def test_a_tube_tapers() -> None:
    tube = Tube(((0.0, 0.0, 0.0), (20.0, 0.0, 0.0)), 4.0, 1.0)
    points = np.array([[1, 3, 0], [19, 3, 0]], np.float32)
    assert tube.mask(points, surroundings(2)).tolist() == [1.0, 0.0]


def test_subarachnoid_blood_keeps_out_of_the_ventricles() -> None:
    shape = Patches(Blob((0.0, 0.0, 0.0), (10.0, 10.0, 10.0)), 0.0)
    points = np.zeros((1, 3), np.float32)
    assert shape.mask(points, surroundings(1, 0.5))[0] == 0
    assert shape.mask(points, surroundings(1, 9.0))[0] == 1


def test_blood_in_the_horns_lies_behind_a_level() -> None:
    """The patient lies on the back: in each horn what is blood is further back than what is still fluid."""
    drawn = next(
        p for p in (phantom.sample(s, "intraventricular_hemorrhage", style=every_sequence(s, 128)) for s in range(40)) if _layered(p)
    )
    series = phantom.render(drawn, noise=False)[0]
    blood = phantom.labels(drawn, series.affine, series.voxels.shape).lesions["intraventricular_hemorrhage"]
    j = np.argwhere(blood)[:, 1]
    level = min(part.shape.level for part in drawn.lesions[0].parts if isinstance(part.shape, Level))
    assert (j * series.affine[1, 1] + series.affine[1, 3]).min() > level - 3


def _layered(drawn: phantom.Phantom) -> bool:
    shapes = [part.shape for part in drawn.lesions[0].parts if part.label]
    return all(isinstance(shape, Level) and shape.level > 0 for shape in shapes) and drawn.style.offset[1] < 3


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_seen_and_on_the_side_of_the_truth(name: str) -> None:
    for seed in range(3):
        drawn = phantom.sample(seed, name, style=replace(every_sequence(seed, 128), offset=(0.0, 0.0, 0.0)))
        affine = np.diag([2.0, 2.0, 4.0, 1.0])
        affine[:3, 3] = (-90, -105, -66)
        mask = phantom.labels(drawn, affine, (90, 110, 38)).lesions[name]
        x = np.argwhere(mask)[:, 0] * 2.0 - 90
        assert len(x) >= 8, seed
        side = drawn.lesions[0].side
        if side in ("left", "right"):
            assert (x.mean() > 0) == (side == "left"), seed
        if side == "midline":
            assert abs(x.mean()) < 8, seed


GROWING = (
    *("meningioma", "schwannoma", "arachnoid_cyst", "subdural_hematoma", "high_grade_glioma", "low_grade_glioma", "brain_metastasis"),
    *("brain_abscess", "lymphoma", "intracranial_hemorrhage", "cavernoma", "multiple_sclerosis", "brain_contusion", "cerebral_aneurysm"),
)


@pytest.mark.parametrize("name", GROWING)
def test_the_same_lesion_grows(name: str) -> None:
    """The same random numbers draw the same parts of the same place, larger."""
    backward = anatomy.field(phantom.sample(1, "normal").anatomy, ())
    for seed in range(6):
        scenes = [Scene(np.random.default_rng(seed), backward, 1, 60, growth) for growth in (1.0, 1.3)]
        first, later = (RECIPES[name].draw(scene) for scene in scenes)
        assert later.size_mm == pytest.approx(1.3 * first.size_mm)
        assert [(part.label, part.tissue) for part in first.parts] == [(part.label, part.tissue) for part in later.parts]
        assert (later.side, later.region, later.stage, later.enhancement) == (first.side, first.region, first.stage, first.enhancement)
        assert scenes[0].rng.random() == scenes[1].rng.random()


def test_an_aneurysm_is_large_enough_to_be_seen_without_angiography() -> None:
    assert min(phantom.sample(seed, "cerebral_aneurysm").lesions[0].size_mm for seed in range(40)) >= 7


def test_old_lacunes_are_fluid_and_ask_for_no_haste() -> None:
    drawn = [phantom.sample(seed, "lacunar_stroke") for seed in range(40)]
    stages = {p.lesions[0].stage for p in drawn}
    assert stages == {"acute", "old"}
    for lesion in (p.lesions[0] for p in drawn):
        tissues = {part.tissue for part in lesion.parts}
        assert ("cavity" in tissues) == (lesion.stage == "old") == (lesion.priority == "low") != ("acute infarct" in tissues)


def _pushed(mass: Mass, priority: str = "high") -> phantom.Phantom:
    lesion = Lesion("high_grade_glioma", "left", "temporal lobe", 40.0, (), (mass,), priority=priority)
    return replace(phantom.sample(1, "normal"), lesions=(lesion,))


def test_each_kind_of_herniation_follows_from_where_the_mass_pushes() -> None:
    assert ("subfalcine", "right") in herniations(_pushed(Mass((40.0, 0.0, 25.0), 24.0, 14.0)))
    assert herniations(_pushed(Mass((48.0, -4.0, -22.0), 20.0, 12.0))) == (("uncal", "left"),)
    assert ("tonsillar", "midline") in herniations(_pushed(Mass((0.0, 48.0, -26.0), 20.0, 14.0)))
    assert herniations(_pushed(Mass((30.0, 10.0, 30.0), 10.0, 3.0))) == ()


def test_what_has_grown_for_years_does_not_herniate() -> None:
    assert herniations(_pushed(Mass((48.0, -4.0, -22.0), 20.0, 12.0), "low")) == ()


def test_herniation_is_urgent_and_mirrors() -> None:
    drawn = _pushed(Mass((48.0, -4.0, -22.0), 20.0, 12.0), "medium")
    for mirror, side in ((False, "left"), (True, "right")):
        truth = phantom.truth(replace(drawn, mirror=mirror))
        found = [finding for finding in truth.findings if finding.name == "brain_herniation"]
        assert [(finding.side, finding.stage) for finding in found] == [(side, "uncal")]
        assert truth.priority == "high"
        assert "neurosurgery" in truth.referral


@pytest.mark.parametrize("name", [*NAMES, "brain_herniation", "lacunar_stroke"])
def test_an_impression_names_its_disease_and_no_other(name: str) -> None:
    wording = WORDINGS[name]
    assert len(wording.found) >= 3
    for stage in ("uncal",) if name in effects.WORDINGS else ("acute", "old"):
        fields = FIELDS | {"stage": stage}
        for phrasing in (*wording.impression, *wording.several_impression):
            text = phrasing.format(**fields, **{key.capitalize(): value.capitalize() for key, value in fields.items()})
            said = lexicon.mentions(text)
            assert [mention.name for mention in said] == [name], text
            assert not any(mention.negated or mention.hedged for mention in said), text
