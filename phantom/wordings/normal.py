"""How a report says that nothing is there."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, POST, SWI, T2

NORMAL_FINDINGS = (
    (
        "large_vessel_stroke",
        (DWI,),
        (
            "There is no restricted diffusion.",
            "No acute infarct.",
            "No evidence of acute infarct.",
            "No diffusion restriction to suggest acute ischemia.",
        ),
    ),
    ("intracranial_hemorrhage", (SWI,), ("No intracranial hemorrhage.", "There is no evidence of hemorrhage.", "No hemorrhage is seen.")),
    ("mass_effect", (T2,), ("There is no mass effect.", "No mass effect.", "No mass effect is seen.")),
    ("midline_shift", (T2,), ("There is no midline shift.", "No midline shift.", "The midline is not shifted.")),
    (
        "ventriculomegaly",
        (T2,),
        ("The ventricles are normal in size.", "Ventricles are of normal size and configuration.", "No ventriculomegaly."),
    ),
    ("subdural_hematoma", (T2,), ("No subdural collection.", "There is no subdural hematoma.", "No extra-axial collection is seen.")),
    ("cerebral_atrophy", (T2,), ("The sulci are normal for age.", "Brain volume is normal.", "No cerebral atrophy.")),
    (
        "enhancement",
        (POST,),
        ("There is no abnormal enhancement.", "No abnormal enhancement after contrast.", "No pathological enhancement."),
    ),
    (
        "signal",
        (FLAIR,),
        ("No abnormal parenchymal signal.", "Brain parenchyma shows normal signal.", "No focal signal abnormality on FLAIR."),
    ),
)
"""Subject, weightings needed, phrasings of what is normal or absent. The subjects "enhancement" and "signal" speak of all disease."""

LIMITS = (
    (DWI, ("Recent ischemia cannot be excluded without diffusion images.", "Assessment for recent ischemia is limited without diffusion.")),
    (POST, ("A small lesion cannot be excluded without contrast.", "Small lesions may escape a study without contrast.")),
    (
        SWI,
        ("Microbleeds cannot be excluded without susceptibility images.", "Small old bleeds may be missed without susceptibility images."),
    ),
)
"""A weighting that was not acquired, and phrasings of what its absence leaves open."""

NOTHING_SEEN = ("No abnormality is seen on the images acquired.", "No abnormality is seen with the sequences at hand.")
"""An impression where something is there that none of the acquired series shows."""

NORMAL_IMPRESSION = (
    "Normal MRI of the brain.",
    "No acute intracranial abnormality.",
    "Normal brain MRI.",
    "Unremarkable MRI of the brain.",
    "No intracranial abnormality is seen.",
)
NEGATIVE_IMPRESSION = {
    "large_vessel_stroke": ("No acute infarct.", "No evidence of acute ischemia."),
    "intracranial_hemorrhage": ("No intracranial hemorrhage.", "No acute hemorrhage."),
    "midline_shift": ("No midline shift.", "There is no midline shift."),
}
