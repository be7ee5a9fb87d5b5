"""What may be called absent or normal: told by the tissues that the lesions are made of, so that it holds for any disease."""

from __future__ import annotations

from phantom.atlas import EXTRA_AXIAL
from phantom.lesion import Lesion
from phantom.study import WIDE_VENTRICLES, Phantom
from phantom.tissue import TISSUES, Tissue

PUSHES = 3.0  # mm at a lesion's surface from which mass effect is reported
RESTRICTED = 0.7  # 10^-3 mm2/s
SHORT_T2_STAR, SHORT_T1 = 15.0, 600.0  # ms, of blood and what looks like it
FLUID_T1 = 2200.0  # ms
SEEN = 0.4  # proton density below which a tissue has no signal to judge: bone, calcium, flow, tubes
CONVEXITIES = ("frontal convexity", "parietal convexity", "occipital convexity", "middle cranial fossa")
VENTRICULAR = ("ventricles", "third ventricle", "fourth ventricle", "pineal region")


def restricts(lesion: Lesion) -> bool:
    """Whether a main part of it has a low ADC."""
    parts = (part for part in lesion.parts if part.label and part.label != "edema")
    return any(TISSUES[part.tissue].adc <= RESTRICTED and TISSUES[part.tissue].pd > SEEN for part in parts)


def bleeds(lesion: Lesion) -> bool:
    """Whether there is blood in it, or what cannot be told from it."""
    return any("blood" in part.tissue or _like_blood(TISSUES[part.tissue]) for part in lesion.parts)


def enhances(lesion: Lesion) -> bool:
    """Whether anything in it is bright on T1 after gadolinium that is not so in a normal head."""
    tissues = [TISSUES[part.tissue] for part in lesion.parts]
    return lesion.enhancement != "none" or bleeds(lesion) or any(tissue.t1_post or tissue.t1 <= SHORT_T1 for tissue in tissues)


def deniable(phantom: Phantom) -> dict[str, bool]:
    """For each subject of a negative sentence, whether the image bears it out."""
    lesions = phantom.lesions
    names = {lesion.name for lesion in lesions}
    pushed = any(lesion.masses or lesion.dams for lesion in lesions) or phantom.obstructed
    holds = {
        "large_vessel_stroke": not any(restricts(lesion) for lesion in lesions),
        "intracranial_hemorrhage": not any(bleeds(lesion) or lesion.name == "subdural_hematoma" for lesion in lesions),  # old blood too
        "mass_effect": not pushed and "brain_herniation" not in names,
        "midline_shift": abs(phantom.midline_shift) < 1.5 and "brain_herniation" not in names,
        "ventriculomegaly": phantom.anatomy.ventricles < 0.6 * WIDE_VENTRICLES and not any(_near_ventricles(lesion) for lesion in lesions),
        "subdural_hematoma": not any(lesion.region in EXTRA_AXIAL for lesion in lesions) and "intracranial_hypotension" not in names,
        "cerebral_atrophy": phantom.anatomy.sulci < 1.0 and not pushed and not any(_fluid(lesion) for lesion in lesions),
        "enhancement": not any(enhances(lesion) for lesion in lesions),
        "signal": not lesions,
    }
    return {subject: true and subject not in names for subject, true in holds.items()}


def _like_blood(tissue: Tissue) -> bool:
    return tissue.pd > SEEN and not tissue.fat and (tissue.t2_star <= SHORT_T2_STAR or tissue.t1 <= SHORT_T1)


def _fluid(lesion: Lesion) -> bool:
    return any(TISSUES[part.tissue].t1 >= FLUID_T1 for part in lesion.parts)


def _near_ventricles(lesion: Lesion) -> bool:
    """Whether a lesion may change the ventricles' size or shape."""
    presses = any(mass.push >= PUSHES for mass in lesion.masses) or lesion.dams > 0
    within = lesion.region in VENTRICULAR or any(part.within == "ventricle" for part in lesion.parts)
    return presses or within or (_fluid(lesion) and lesion.region not in CONVEXITIES)
