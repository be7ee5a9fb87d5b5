"""Tumours in the brain's tissue, and the abscess that looks like one."""

from __future__ import annotations

from phantom.wordings.wording import ADC, DWI, POST, SWI, Wording

WORDINGS: dict[str, Wording] = {
    "high_grade_glioma": Wording(
        found=(
            "There is an irregular heterogeneous mass in the {place} measuring {size}.",
            "A {size} necrotic mass is centered in the {place}.",
            "Within the {place} there is an infiltrating mass with central necrosis, {size} in diameter.",
            "Heterogeneous {place} mass measuring {size} with irregular margins.",
        ),
        signs=(
            (
                (POST,),
                "",
                (
                    "The lesion shows thick irregular ring enhancement.",
                    "There is irregular peripheral enhancement around a necrotic center.",
                    "Thick nodular rim enhancement after contrast.",
                ),
            ),
            (
                (SWI,),
                "",
                ("Foci of susceptibility within the lesion indicate blood products.", "Small areas of old blood are seen within the mass."),
            ),
        ),
        impression=(
            "Findings are most consistent with a high-grade glioma of the {place}.",
            "{Place} mass, most likely a high-grade glioma.",
            "Suspected high-grade glioma in the {place}.",
            "Necrotic {place} mass, high-grade glioma favored.",
        ),
    ),
    "low_grade_glioma": Wording(
        found=(
            "There is a homogeneous T2 hyperintense mass in the {place} measuring {size}.",
            "A {size} infiltrating lesion expands the cortex and white matter of the {place}.",
            "Well-defined homogeneous signal abnormality in the {place}, {size} in diameter.",
            "Ill-defined homogeneous T2 bright lesion of the {place}, about {size}.",
        ),
        signs=(
            (
                (POST,),
                "",
                (
                    "The lesion does not enhance.",
                    "There is no associated enhancement after contrast.",
                    "No enhancement of the lesion is seen.",
                ),
            ),
            ((DWI, ADC), "", ("The lesion shows no restricted diffusion.", "Diffusion within the lesion is facilitated.")),
        ),
        impression=(
            "Homogeneous {place} lesion, most likely a low-grade glioma.",
            "Findings suggest a low-grade glioma of the {place}.",
            "Suspected low-grade glioma in the {place}.",
            "{Place} mass compatible with a low-grade glioma.",
        ),
    ),
    "lymphoma": Wording(
        found=(
            "There is a solid deep mass in the {place} measuring {size}.",
            "A {size} homogeneous mass lies deep in the {place}.",
            "Solid deep lesion of the {place}, {size}.",
        ),
        signs=(
            (
                (POST,),
                "",
                (
                    "The mass enhances strongly and evenly.",
                    "There is solid homogeneous enhancement.",
                    "Intense uniform enhancement after contrast.",
                ),
            ),
            (
                (DWI,),
                "",
                (
                    "The mass shows restricted diffusion in keeping with high cellularity.",
                    "Diffusion is restricted throughout the solid mass.",
                ),
            ),
        ),
        impression=(
            "Solid {place} mass, most suggestive of lymphoma.",
            "Findings favor primary CNS lymphoma of the {place}.",
            "Suspected lymphoma in the {place}.",
        ),
    ),
    "brain_metastasis": Wording(
        found=(
            "There is a round lesion at the gray-white junction of the {place} measuring {size}.",
            "A {size} nodule is present in the {place} with edema out of proportion to its size.",
            "Solitary {place} lesion, {size}, at the gray-white junction.",
        ),
        several=(
            "There are {foci} lesions at the gray-white junction, the largest in the {region} measuring {size}.",
            "Multiple round lesions are present, the largest {size} in the {region}.",
            "{Foci} nodules are seen, the largest in the {region}, {size} in diameter.",
        ),
        signs=(
            ((POST,), "ring", ("Ring enhancement is seen after contrast.", "There is smooth ring enhancement.")),
            ((POST,), "solid", ("Nodular enhancement is seen after contrast.", "There is solid enhancement.")),
        ),
        impression=(
            "Solitary {place} lesion, most likely a brain metastasis.",
            "Findings are consistent with a brain metastasis in the {place}.",
            "Suspected metastasis of the {place}.",
        ),
        several_impression=(
            "Multiple lesions, most consistent with brain metastases.",
            "Findings are consistent with brain metastases, the largest in the {region}.",
            "Brain metastases with surrounding edema.",
        ),
    ),
    "brain_abscess": Wording(
        found=(
            "There is a thin-walled cavity in the {place} measuring {size}.",
            "A {size} smooth ring-like lesion is seen in the {place}.",
            "Well-defined cystic lesion of the {place}, {size}, with a T2 dark capsule.",
        ),
        signs=(
            (
                (DWI,),
                "",
                (
                    "Its contents show markedly restricted diffusion.",
                    "The core is very bright on diffusion, in keeping with pus.",
                    "There is central restricted diffusion.",
                ),
            ),
            ((POST,), "", ("There is thin smooth ring enhancement.", "Smooth rim enhancement is seen after contrast.")),
        ),
        impression=(
            "Findings are most consistent with a brain abscess in the {place}.",
            "{Place} brain abscess.",
            "Ring lesion of the {place}, brain abscess suspected.",
        ),
    ),
}
