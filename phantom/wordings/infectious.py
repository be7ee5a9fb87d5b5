"""Herpes encephalitis and neurosarcoidosis."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, POST, Wording

WORDINGS: dict[str, Wording] = {
    "viral_encephalitis": Wording(
        found=(
            "There is swelling and T2 hyperintensity of the cortex of the {region} {on}, most marked medially.",
            "Swollen hyperintense cortex is seen in the medial {region} {on}.",
            "The medial cortex of the {region} {on} is thickened and T2 bright, with sparing of the basal ganglia.",
            "Cortical and subcortical signal change involves the limbic structures of the {region} {on}.",
        ),
        signs=(
            ((DWI,), "", ("The affected cortex is bright on diffusion.", "There is restricted diffusion of the affected cortex.")),
            ((POST,), "patchy", ("There is faint gyral enhancement.", "Patchy cortical enhancement is seen after contrast.")),
            ((POST,), "none", ("The affected cortex does not enhance.", "No abnormal enhancement of the affected cortex is seen.")),
        ),
        impression=(
            "Swollen limbic cortex {on}, most consistent with viral encephalitis.",
            "Findings are most consistent with herpes encephalitis of the {region} {on}.",
            "Suspected viral encephalitis of the {region} {on}.",
            "Limbic signal change {on}, typical of herpes simplex encephalitis.",
        ),
    ),
    "neurosarcoid": Wording(
        found=(
            "There is nodular thickening along the leptomeninges of the {region}.",
            "Multiple small nodules stud the {region} and the cranial nerves.",
            "The leptomeninges of the skull base are thickened and nodular around the optic chiasm.",
            "Nodular soft tissue coats the surfaces of the {region} and the optic chiasm.",
        ),
        signs=(
            (
                (POST,),
                "",
                (
                    "The nodules enhance strongly.",
                    "There is nodular leptomeningeal enhancement.",
                    "Avid nodular enhancement is seen along the basal meninges.",
                ),
            ),
            ((FLAIR,), "", ("The nodules are bright against the suppressed CSF on FLAIR.",)),
        ),
        impression=(
            "Nodular basal leptomeningeal disease, most consistent with neurosarcoidosis.",
            "Findings suggest neurosarcoidosis of the {region}.",
            "Suspected neurosarcoidosis.",
        ),
    ),
}
