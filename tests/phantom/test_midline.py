"""Midline masses and malformations: what tells them from their mimics, and the forms that no signal shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_phantoms import every_sequence
from numpy.typing import NDArray

import phantom
from assistant import lexicon
from phantom import anatomy, scanner
from phantom.lesion import Lesion, Scene
from phantom.lesions import RECIPES, developmental, extra_axial, midline
from phantom.report import compose
from phantom.scanner import Maps
from phantom.shape import Shell, Surroundings
from phantom.signal import Weighting

NAMES = ("pituitary_adenoma", *midline.RECIPES, *developmental.RECIPES)


def drawn(name: str, stage: str = "") -> phantom.Phantom:
    """The first study of a diagnosis at this stage, on a coarse grid."""
    studies = (phantom.sample(seed, name, style=every_sequence(1)) for seed in range(60))
    return next(study for study in studies if stage in ("", study.lesions[0].stage))


def head_of(study: phantom.Phantom) -> Maps:
    """The head on the grid of its axial series."""
    return scanner.sample_head(study, anatomy.field(study.anatomy, study.masses), *scanner.geometry(study.style, "axial"))


def heads(study: phantom.Phantom) -> tuple[Maps, Maps]:
    """The head with and without its lesion, in the same place and of the same anatomy."""
    return head_of(study), head_of(replace(study, lesions=()))


def centres(maps: Maps, study: phantom.Phantom) -> NDArray[np.float64]:
    """Scanner mm (n, 3) of the maps' points."""
    affine, _ = scanner.geometry(study.style, "axial")
    k, j, i = np.meshgrid(*(np.arange(part.start, part.stop) for part in maps.window), indexing="ij")
    found: NDArray[np.float64] = np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(i.size)], 1) @ affine[:3].T
    return found


def share(maps: Maps, tissue: str) -> NDArray[np.float32]:
    return maps.fractions[:, maps.tissues.index(tissue)]


def test_impressions_say_their_own_name_and_no_other() -> None:
    for name in NAMES:
        for seed in range(8):
            for sentence in compose(phantom.sample(seed, name)).sentences:
                if sentence.subject == name and sentence.section == "impression":
                    assert {mention.name for mention in lexicon.mentions(sentence.text)} == {name}, sentence


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("heterotopia",)])
def test_midline_and_bilateral_things_lie_on_both_sides(name: str) -> None:
    for seed in range(2):
        study = phantom.sample(seed, name, style=every_sequence(seed, 64))
        maps = head_of(study)
        x = centres(maps, study)[maps.masks[name], 0] - study.style.offset[0]
        assert study.lesions[0].side in ("midline", "bilateral")
        assert len(x) >= 4, (name, seed)
        assert abs(x.mean()) < 6, (name, seed)


def test_nodules_of_one_side_stay_there() -> None:
    study = next(
        s for s in (phantom.sample(n, "heterotopia", style=every_sequence(1)) for n in range(30)) if s.lesions[0].side != "bilateral"
    )
    maps = head_of(study)
    x = centres(maps, study)[maps.masks["heterotopia"], 0]
    assert (np.sign(x) == (1 if study.lesions[0].side == "left" else -1)).all()


def test_a_lesion_grows_from_the_same_random_numbers() -> None:
    head = anatomy.field(phantom.sample(1, "normal").anatomy, ())
    for name in midline.RECIPES:
        small, large = (RECIPES[name].draw(Scene(np.random.default_rng(7), head, 1, 40, growth)) for growth in (1.0, 1.2))
        assert large.size_mm == pytest.approx(1.2 * small.size_mm)
        assert len(small.parts) <= len(large.parts) <= len(small.parts) + 1  # a larger one may dam


def test_what_dams_is_urgent_and_widens_the_ventricles() -> None:
    found = [phantom.sample(seed, "colloid_cyst") for seed in range(20)]
    assert {bool(study.lesions[0].dams) for study in found} == {True, False}
    for study in found:
        dams = bool(study.lesions[0].dams)
        assert study.lesions[0].priority == ("high" if dams else "medium")
        assert study.ventriculomegaly or not dams


def test_a_microadenoma_enhances_less_than_the_gland_around_it() -> None:
    study = drawn("pituitary_adenoma", "micro")
    assert 6 <= study.lesions[0].size_mm < 10
    assert study.lesions[0].priority == "low"
    maps = head_of(study)
    post = next(s for s in phantom.render(study, noise=False) if s.weighting is Weighting.T1_POST)
    values = post.voxels.transpose(2, 1, 0)[maps.window].ravel().astype(float)
    focus = maps.masks["pituitary_adenoma"] & (share(maps, "microadenoma") > 0.8)
    gland = (share(maps, "gland") > 0.8) & ~maps.masks["pituitary_adenoma"]
    assert values[focus].mean() < 0.95 * values[gland].mean()


def test_an_adenoma_that_reaches_the_chiasm_is_urgent() -> None:
    levels = {study.lesions[0].stage: study.lesions[0].priority for study in (phantom.sample(s, "pituitary_adenoma") for s in range(40))}
    assert levels == {"micro": "low", "macro": "medium", "large macro": "high"}


def test_germinomas_restrict_and_other_pineal_tumours_do_not() -> None:
    adc = {}
    for name in ("germ_cell_tumor", "pineal_tumor"):
        study = drawn(name)
        maps = head_of(study)
        image = next(s for s in phantom.render(study, noise=False) if s.weighting is Weighting.ADC)
        adc[name] = np.median(image.voxels.transpose(2, 1, 0)[maps.window].ravel()[maps.masks[name]])
    assert adc["germ_cell_tumor"] < 700 < adc["pineal_tumor"]


def test_without_a_callosum_fluid_lies_between_the_hemispheres() -> None:
    study = drawn("dysgenesis_corpus_callosum", "complete")
    with_lesion, without = heads(study)
    callosum = (np.abs(without.atlas_points - (0, 8, 26)) < (2.5, 10, 3)).all(1) & (share(without, "white") > 0.8)
    assert callosum.sum() > 5
    assert share(with_lesion, "csf")[callosum].mean() > 0.8
    horns = (np.abs(np.abs(without.atlas_points[:, 0]) - 25) < 6) & (np.abs(without.atlas_points[:, 1:] - (62, 6)) < (10, 5)).all(1)
    assert share(with_lesion, "csf")[horns].mean() > share(without, "csf")[horns].mean() + 0.3


def test_a_partly_built_callosum_keeps_its_genu() -> None:
    study = drawn("dysgenesis_corpus_callosum", "partial")
    with_lesion, without = heads(study)
    for y, z, built in ((-27, 10, True), (36, 15, False)):
        near = (np.abs(without.atlas_points - (0, y, z)) < (4, 6, 6)).all(1) & (share(without, "white") > 0.8)
        assert near.sum() >= 2
        assert (share(with_lesion, "white")[near].mean() > 0.7) == built, (y, z)


def test_dandy_walker_opens_the_lower_vermis_and_spares_the_upper() -> None:
    study = drawn("dandy_walker_malformation")
    with_lesion, without = heads(study)

    def brain(maps: Maps, where: NDArray[np.bool_]) -> float:
        return float((share(maps, "grey") + share(maps, "white"))[where].mean())

    lower, upper = ((np.abs(without.atlas_points - (0, 62, z)) < (5, 8, 4)).all(1) for z in (-42, -14))
    assert brain(with_lesion, lower) < 0.15 < 0.5 < brain(without, lower)
    assert brain(with_lesion, upper) > 0.8 * brain(without, upper)


def test_chiari_tonsils_stand_below_the_foramen_in_a_sagittal_view() -> None:
    for seed in range(4):
        study = phantom.sample(seed, "chiari_malformation", style=every_sequence(1))
        head = anatomy.field(study.anatomy, ())
        affine = np.eye(4)
        affine[:3, 3] = (-20.0, 25.0, -70.0)
        straight = replace(study, style=replace(study.style, tilt=(0.0, 0.0, 0.0), offset=(0.0, 0.0, 0.0)))
        maps = scanner.sample_head(straight, head, affine, (41, 51, 31))
        mask = maps.masks["chiari_malformation"].reshape(maps.shape)
        levels = np.flatnonzero(mask.any((1, 2))) + maps.window[0].start - 70.0
        foramen = anatomy.to_head(head, np.array([[0.0, 52.0, developmental.FORAMEN]]))[0, 2]
        descent = foramen - levels.min()
        assert descent > 4.5
        assert abs(descent - study.lesions[0].size_mm) < 3.5 or levels.min() < -67, (seed, descent)
        assert (study.lesions[0].priority == "medium") == (study.lesions[0].size_mm > 9)


def test_low_pressure_thickens_the_dura_all_round_and_lowers_the_brain() -> None:
    study = drawn("intracranial_hypotension")
    with_lesion, without = heads(study)
    mask, points = with_lesion.masks["intracranial_hypotension"], centres(with_lesion, study)
    quarters = {(bool(x > 0), bool(y > 15)) for x, y in points[mask & (np.abs(points[:, 2] - 20) < 8)][:, :2]}
    assert len(quarters) == 4
    # what lies in the head's middle comes from higher up in the atlas
    middle = (np.abs(points - (0, 15, 10)) < (15, 20, 10)).all(1)
    assert (with_lesion.atlas_points - without.atlas_points)[middle, 2].mean() > 1.0
    assert not any(fact.name == "mass_effect" for fact in phantom.truth(study).findings)


def test_a_shell_is_a_layer_of_its_depth_within_its_box() -> None:
    points = np.zeros((5, 3), np.float32)
    points[4, 0] = 9.0
    around = Surroundings(np.array([0.0, 2.0, 4.5, 8.0, 4.5], np.float32), np.zeros(5, np.float32))
    layer = Shell(6.0, 3.0, low=(-20.0, -20.0, -20.0), high=(10.0, 20.0, 20.0))
    assert layer.mask(points, around) == pytest.approx([0, 0, 1, 0, 0.125])


def test_sizes_are_those_of_textbooks() -> None:
    ranges = {"colloid_cyst": (5, 20), "rathkes_cleft_cyst": (8, 20), "pineal_tumor": (12, 30), "chiari_malformation": (5, 16)}
    for name, (low, high) in ranges.items():
        found: list[Lesion] = [phantom.sample(seed, name).lesions[0] for seed in range(12)]
        assert all(low <= lesion.size_mm <= high for lesion in found), name
    assert extra_axial.RECIPES["pituitary_adenoma"].ages[0] >= 18
