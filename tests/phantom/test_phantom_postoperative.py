"""What surgery leaves behind, and how it stands in the truth beside diagnoses."""

from __future__ import annotations

import numpy as np
import pytest
from made_phantoms import every_sequence

import phantom
from phantom import anatomy, atlas, scanner
from phantom.lesion import Scene
from phantom.lesions import RECIPES
from phantom.signal import Weighting
from prompts import diagnoses
from prompts.diagnoses import Kind


def drawn(name: str, holds: str, style_seed: int = 5) -> phantom.Phantom:
    """The first phantom of a diagnosis whose lesions hold another name too."""
    return next(p for seed in range(60) if holds in (p := phantom.sample(seed, name, style=every_sequence(style_seed))).names)


def test_kinds_are_those_of_the_table() -> None:
    for name, recipe in RECIPES.items():
        kind = diagnoses.load()[name].kind
        assert recipe.kind == ("diagnosis" if kind is Kind.PARENT else kind.value), name


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.kind != "diagnosis"])
def test_what_is_no_diagnosis_is_a_finding_only(name: str) -> None:
    study = phantom.sample(3, name)
    truth = phantom.truth(study)
    assert study.names[0] == name == truth.findings[0].name
    assert name not in truth.diagnoses


def test_a_resection_cavity_comes_with_a_craniotomy_on_its_side() -> None:
    for seed in range(8):
        findings = {finding.name: finding for finding in phantom.truth(phantom.sample(seed, "resection_cavity")).findings}
        assert findings["craniotomy"].side == findings["resection_cavity"].side


def test_a_recurrence_is_the_diagnosis_and_makes_the_study_urgent() -> None:
    recurrent = drawn("resection_cavity", "high_grade_glioma")
    truth = phantom.truth(recurrent)
    assert truth.diagnoses == ("high_grade_glioma",)
    assert truth.priority == "high"
    series = next(r for r in phantom.render(recurrent, noise=False) if r.weighting is Weighting.T1_POST)
    masks = phantom.labels(recurrent, series.affine, series.voxels.shape).lesions
    nodule, cavity = masks["high_grade_glioma"], masks["resection_cavity"] & ~masks["high_grade_glioma"]
    assert series.voxels[nodule].mean() > 1.3 * series.voxels[cavity].mean()


def test_a_bone_flap_has_lost_its_marrow() -> None:
    """On T1 the marrow of the other side is bright, the flap is dark."""
    study = drawn("craniotomy", "craniotomy")
    series = next(r for r in phantom.render(study, noise=False) if r.weighting is Weighting.T1)
    maps = scanner.sample_head(study, anatomy.field(study.anatomy, study.masses), *scanner.geometry(study.style, "axial"))
    image = series.voxels.transpose(2, 1, 0)[maps.window].ravel().astype(float)
    flap = maps.fractions[:, maps.tissues.index("bone flap")] > 0.5
    marrow = maps.fractions[:, maps.tissues.index("marrow")] > 0.8
    assert flap.sum() > 50
    assert image[flap].mean() < 0.6 * image[marrow].mean()


def test_a_catheter_runs_from_the_skull_into_a_lateral_ventricle() -> None:
    for seed in range(4):
        study = phantom.sample(seed, "catheter", style=every_sequence(seed, 128))
        maps = scanner.sample_head(study, anatomy.field(study.anatomy, study.masses), *scanner.geometry(study.style, "axial"))
        source = maps.atlas_points[maps.masks["catheter"]]
        found = atlas.load().channels.at(source)
        assert found[:, atlas.CHANNELS.index("depth")].min() < 1
        assert found[:, atlas.CHANNELS.index("ventricle distance")].min() < 2
        assert (np.sign(source[:, 0]) == (1 if study.lesions[0].side == "left" else -1)).all()


def test_a_catheter_in_wide_ventricles_is_urgent() -> None:
    studies = [phantom.sample(seed, "catheter") for seed in range(30)]
    failed = [study for study in studies if study.lesions[0].dams]
    assert 3 <= len(failed) <= 20
    for study in failed:
        truth = phantom.truth(study)
        assert truth.priority == "high"
        assert "neurosurgery" in truth.referral
        assert "ventriculomegaly" in {finding.name for finding in truth.findings}


def test_under_the_skull_is_under_the_skull() -> None:
    """The labels of the convexities reach into the ventricles and to the sella; once, lesions of the dura were drawn there."""
    head = phantom.sample(1, "normal").anatomy
    scene = Scene(np.random.default_rng(1), anatomy.field(head, ()), 1, 50)
    for _ in range(100):
        outer, deeper = scene.under_the_skull(("frontal convexity", "parietal convexity"))
        assert np.hypot(outer[0], outer[1] - 10) > 42 or outer[2] > 30
        assert np.linalg.norm(np.subtract(outer, deeper)) == pytest.approx(15)
        there = np.array([outer], np.float32)
        source = there + scene.backward.at(there)[:, :3]
        assert atlas.load().channels.at(source)[0, atlas.CHANNELS.index("depth")] < 10
