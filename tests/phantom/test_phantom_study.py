"""Drawing, mirroring, rendering and labelling studies."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from made_phantoms import every_sequence
from scipy import ndimage

import phantom
from phantom import atlas
from phantom.lesions import RECIPES
from phantom.signal import Weighting
from phantom.study import _diagnosis, _patient


def test_one_seed_gives_one_study() -> None:
    first, second = (phantom.sample(11) for _ in range(2))
    assert first == second
    for a, b in zip(phantom.render(first), phantom.render(second), strict=True):
        assert np.array_equal(a.voxels, b.voxels)
        assert np.array_equal(a.affine, b.affine)
    assert phantom.sample(12) != first


def test_about_one_in_eight_is_normal() -> None:
    drawn = Counter(_diagnosis(np.random.default_rng([seed, 0])) for seed in range(4000))
    assert 0.10 < drawn["normal"] / 4000 < 0.14
    assert set(drawn) == {"normal", *phantom.DIAGNOSES}


@pytest.mark.parametrize("name", ["meningioma", "large_vessel_stroke", "subdural_hematoma"])
def test_the_mirror_image_swaps_sides_everywhere(name: str) -> None:
    style = every_sequence(3)
    plain, mirrored = (phantom.sample(8, name, style=style, mirror=mirror) for mirror in (False, True))
    for a, b in zip(phantom.render(plain), phantom.render(mirrored), strict=True):
        assert np.array_equal(a.voxels[::-1], b.voxels)
    masks, swapped = (phantom.labels(p, r.affine, r.voxels.shape) for p in (plain, mirrored) for r in phantom.render(p)[:1])
    assert np.array_equal(masks.lesions[name][::-1], swapped.lesions[name])
    sides = [phantom.truth(p).findings[0].side for p in (plain, mirrored)]
    assert sorted(sides, key=str) == ["left", "right"]


def test_masks_lie_on_the_side_that_truth_and_affine_say() -> None:
    for seed in range(6):
        for mirror in (False, True):
            drawn = phantom.sample(seed, "high_grade_glioma", style=every_sequence(seed, 64), mirror=mirror)
            series = phantom.render(drawn)[0]
            mask = phantom.labels(drawn, series.affine, series.voxels.shape).lesions["high_grade_glioma"]
            x = (series.affine @ [*np.argwhere(mask).mean(0), 1])[0]
            assert phantom.truth(drawn).findings[0].side == ("left" if x > 0 else "right")


def test_masks_are_where_the_image_differs() -> None:
    """Without the plaques the same head looks the same outside their masks, and different inside."""
    drawn = phantom.sample(4, "multiple_sclerosis", style=every_sequence(4))
    with_lesions = next(r for r in phantom.render(drawn, noise=False) if r.weighting is Weighting.FLAIR)
    without = next(r for r in phantom.render(replace(drawn, lesions=()), noise=False) if r.weighting is Weighting.FLAIR)
    mask = phantom.labels(drawn, with_lesions.affine, with_lesions.voxels.shape).lesions["multiple_sclerosis"]
    difference = with_lesions.voxels.astype(float) - without.voxels
    near = ndimage.binary_dilation(mask, iterations=2)
    assert np.abs(difference[~near]).max() < 0.5 * difference[mask].mean()
    assert (difference[mask] > 0).mean() > 0.95


def test_regions_cover_the_lesion_with_the_region_of_truth() -> None:
    drawn = phantom.sample(2, "meningioma", style=every_sequence(2))
    series = phantom.render(drawn)[0]
    labels = phantom.labels(drawn, series.affine, series.voxels.shape)
    region = phantom.truth(drawn).findings[0].region
    assert {labels.region_names[index] for index in np.unique(labels.regions[labels.lesions["meningioma"]])} == {region}


def test_what_was_not_acquired_shows_nothing() -> None:
    dropped = (Weighting.DWI, Weighting.ADC)
    drawn = phantom.sample(3, "large_vessel_stroke", drop=dropped)
    assert not {r.weighting for r in phantom.render(drawn)} & set(dropped)
    assert not set(phantom.truth(drawn).findings[0].visible_on) & {"DWI", "ADC"}


def test_a_second_disease_can_be_asked_for() -> None:
    assert phantom.sample(5, "small_vessel_disease", companion="meningioma").diagnoses == ("small_vessel_disease", "meningioma")
    assert phantom.sample(5, "normal").diagnoses == ()


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(phantom.UnknownDiagnosis, match="small_vessel_disease"):
        phantom.sample(1, "migraine")


def test_the_acquisition_says_nothing_of_the_disease() -> None:
    """Vendor, series and geometry come from a stream of their own."""
    assert phantom.sample(21, "normal").style == phantom.sample(21, "high_grade_glioma").style


def test_atlas_fractions_are_fractions() -> None:
    loaded = atlas.load()
    total = sum(loaded.channel(name).astype(np.float64) for name in atlas.TISSUES)
    assert total.max() < 1.03
    assert atlas.PATH.stat().st_size < 5_000_000
    assert set(np.unique(loaded.regions)) == set(range(atlas.REGIONS.index("sella") + 1))


def test_age_alone_hardly_tells_the_disease() -> None:
    """The share of pairs in which a patient's age is nearer the disease's typical ages than a normal patient's stays close to one half."""
    rng = np.random.default_rng(0)
    normal = np.array([_patient(rng, "normal").age for _ in range(1500)])
    shares = []
    for name, recipe in RECIPES.items():
        ages = np.array([_patient(rng, name).age for _ in range(1500)])
        near, usual = (-np.abs(values - np.mean(recipe.ages)) for values in (ages, normal))
        shares.append((near[:, None] > usual).mean() + 0.5 * (near[:, None] == usual).mean())
    assert np.mean(shares) < 0.55
    assert max(shares) < 0.6


@pytest.mark.parametrize(
    "name", ["schwannoma", "high_grade_glioma", "large_vessel_stroke", "intracranial_hemorrhage", "brain_contusion", "encephalomalacia"]
)
def test_a_size_is_what_a_ruler_finds_on_the_mask(name: str) -> None:
    step, drawn = 1.5, phantom.sample(7_700_010, name)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = (-95.0, -110.0, -100.0)
    mask = phantom.labels(drawn, affine, (128, 160, 130)).lesions[name]
    foci, count = ndimage.label(mask, np.ones((3, 3, 3)))
    points = [np.argwhere(foci == focus) * step for focus in range(1, count + 1)]
    largest = max(float(np.linalg.norm(every - one, axis=1).max()) for every in points for one in every[:: len(every) // 300 + 1])
    told = next(finding.size_mm for finding in phantom.truth(drawn).findings if finding.name == name)
    assert told == pytest.approx(largest, rel=0.15)
