"""What a lesion looks like against normal brain, sequence by sequence, as the reviewed table of diagnoses says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_phantoms import KEYS, every_sequence

import phantom
from phantom import anatomy, scanner
from phantom.signal import Weighting, null_time, signal
from phantom.style import Style
from phantom.tissue import TISSUES
from prompts import diagnoses

LEADING = {
    "high_grade_glioma": "high-grade tumour",
    "low_grade_glioma": "low-grade tumour",
    "lymphoma": "cellular tumour",
    "brain_metastasis": "metastatic tumour",
    "meningioma": "meningioma",
    "schwannoma": "schwannoma",
    "pituitary_adenoma": "adenoma",
    "brain_abscess": "pus",
    "large_vessel_stroke": "acute infarct",
    "lacunar_stroke": "acute infarct",
    "intracranial_hemorrhage": "haemosiderin",
    "cavernoma": "late subacute blood",
    "multiple_sclerosis": "demyelination",
    "small_vessel_disease": "white matter disease",
    "arachnoid_cyst": "csf",
    # midline and developmental
    "colloid_cyst": "colloid",
    "rathkes_cleft_cyst": "mucoid cyst fluid",
    "craniopharyngioma": "cholesterol fluid",
    "pineal_tumor": "pineal tumour",
    "germ_cell_tumor": "germinoma",
    "dandy_walker_malformation": "csf",
    "heterotopia": "grey",
    "intracranial_hypotension": "thick dura",
    # posterior fossa of children, infection, surgery
    "brainstem_glioma": "pontine tumour",
    "ependymoma": "ependymal tumour",
    "medulloblastoma": "embryonal tumour",
    "pilocytic_astrocytoma": "protein-rich cyst fluid",
    "viral_encephalitis": "inflamed cortex",
    "neurosarcoid": "granuloma",
    "encephalomalacia": "cavity",
    "resection_cavity": "surgical cavity",
    "catheter": "tube",
    # trauma, haemorrhage, vessels
    "brain_contusion": "contused brain",
    "diffuse_axonal_injury": "axonal injury",
    "intraventricular_hemorrhage": "ventricular blood",
    "subarachnoid_hemorrahage": "blood-stained csf",
    "arteriovenous_malformation": "flowing blood",
    "cerebral_aneurysm": "flowing blood",
    "moyamoya": "slow leptomeningeal flow",
}
"""The tissue that the table's signs speak of."""
ELSEWHERE = {
    ("brain_abscess", "T1post"): "capsule",
    ("cavernoma", "SWI"): "haemosiderin",
    ("brain_contusion", "SWI"): "acute blood",
    ("diffuse_axonal_injury", "SWI"): "haemosiderin",
}
EVEN = {"SWI": 0.6}
"""How far from normal brain still counts as "equal", as a share of its signal; 0.35 where not given."""


def acute(name: str, style: Style) -> phantom.Phantom:
    """The first phantom of a diagnosis that holds its leading tissue."""
    for seed in range(40):
        drawn = phantom.sample(seed, name, style=style)
        if LEADING[name] == "csf" or any(part.tissue == LEADING[name] for part in drawn.lesions[0].parts):
            return drawn
    raise AssertionError(name)


@pytest.mark.parametrize("name", sorted(LEADING))
def test_lesions_have_the_signs_of_the_table(name: str) -> None:
    drawn = acute(name, every_sequence(5))
    affine, shape = scanner.geometry(drawn.style, "axial")
    maps = scanner.sample_head(drawn, anatomy.field(drawn.anatomy, drawn.masses), affine, shape)
    labelled = np.any(list(maps.masks.values()), axis=0)
    share = {tissue: maps.fractions[:, maps.tissues.index(tissue)] for tissue in maps.tissues}
    white, grey = ((share[tissue] > 0.9) & ~labelled for tissue in ("white", "grey"))
    images = {
        series.weighting: series.voxels.transpose(2, 1, 0)[maps.window].ravel().astype(float)
        for series in phantom.render(drawn, noise=False)
    }
    for key, signs in diagnoses.load()[name].signs.items():
        if key not in KEYS:
            continue
        values = images[KEYS[key]]
        tissue = share[ELSEWHERE.get((name, key), LEADING[name])]
        inside = (tissue > min(0.8, 0.9 * float(tissue[maps.masks[name]].max()))) & maps.masks[name]
        assert inside.sum() >= 1, key
        # a lesion is brighter than normal brain, or darker than white matter; "equal" is about like normal brain
        brain = (values[white].mean() + values[grey].mean()) / 2
        reference = {"+": brain, "-": values[white].mean(), "=": brain}
        off = {sign: values[inside].mean() / level - 1 for sign, level in reference.items()}
        holds = {"+": off["+"] > 0.04, "-": off["-"] < -0.04, "=": abs(off["="]) <= EVEN.get(key, 0.35)}
        assert any(holds[sign] for sign in signs), (key, signs, off)


@pytest.mark.parametrize(("stage", "t1", "t2"), [("acute", -1, -1), ("early subacute", 1, -1), ("late subacute", 1, 1)])
def test_blood_changes_with_age(stage: str, t1: int, t2: int) -> None:
    style = every_sequence(1)
    blood, white = TISSUES[f"{stage} blood"], TISSUES["white"]
    for weighting, sign in ((Weighting.T1, t1), (Weighting.T2, t2)):
        sequence = next(plan.sequence for plan in style.series if plan.sequence.weighting is weighting)
        assert np.sign(signal(blood, sequence) - signal(white, sequence)) == sign


def test_flair_nulls_cerebrospinal_fluid() -> None:
    sequence = next(plan.sequence for plan in every_sequence(2).series if plan.sequence.weighting is Weighting.FLAIR)
    nulled = replace(sequence, ti=null_time(TISSUES["csf"].t1, sequence.tr))
    assert abs(signal(TISSUES["csf"], nulled)) < 1e-6
    assert signal(TISSUES["white"], nulled) > 0.05


def test_gadolinium_changes_nothing_before_it_is_given() -> None:
    """T1 before contrast sees a tumour's own T1, after contrast the shortened one."""
    plans = {plan.sequence.weighting: plan.sequence for plan in every_sequence(3).series}
    tumour = TISSUES["meningioma"]
    before = replace(plans[Weighting.T1_POST], weighting=Weighting.T1)
    assert signal(tumour, plans[Weighting.T1_POST]) > 1.8 * signal(tumour, before)
    assert signal(TISSUES["white"], plans[Weighting.T1_POST]) == signal(TISSUES["white"], before)
