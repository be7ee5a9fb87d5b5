"""Tumours of the posterior fossa that children have."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, POST, T2, Wording

WORDINGS: dict[str, Wording] = {
    "brainstem_glioma": Wording(
        found=(
            "The pons is diffusely expanded by a T2 hyperintense mass measuring {size}.",
            "There is a {size} infiltrating mass occupying most of the pons.",
            "Diffuse expansile signal abnormality of the pons, {size} in diameter.",
            "An ill-defined expansile mass involves most of the pons, measuring {size}.",
        ),
        signs=(
            ((POST,), "none", ("The mass does not enhance.", "No enhancement is seen within the expanded pons.")),
            ((POST,), "patchy", ("There is a small focus of enhancement within the mass.", "Only a small part of the mass enhances.")),
        ),
        impression=(
            "Expansile pontine mass, most consistent with a brainstem glioma.",
            "Findings are typical of a diffuse intrinsic pontine glioma.",
            "Suspected brainstem glioma.",
            "Diffuse pontine glioma.",
        ),
    ),
    "ependymoma": Wording(
        found=(
            "There is a heterogeneous mass of {size} filling the fourth ventricle and extending through its foramina.",
            "A {size} lobulated mass expands the fourth ventricle and protrudes into the cisterna magna.",
            "Heterogeneous fourth ventricular mass, {size}, with extension through the outlet foramina.",
            "The fourth ventricle is occupied by a mixed-signal mass measuring {size}.",
        ),
        signs=(
            ((POST,), "", ("Enhancement is heterogeneous.", "The mass enhances unevenly.", "There is patchy enhancement after contrast.")),
            ((T2,), "", ("Small cysts are seen within the mass.", "The mass contains small cystic components.")),
        ),
        impression=(
            "Fourth ventricular mass, most likely an ependymoma.",
            "Findings are most consistent with an ependymoma of the fourth ventricle.",
            "Suspected ependymoma extending through the foramina of the fourth ventricle.",
        ),
    ),
    "medulloblastoma": Wording(
        found=(
            "There is a round mass of {size} in the {place} bulging into the fourth ventricle.",
            "A {size} well-defined mass is centered in the {place}.",
            "Solid {place} mass measuring {size}, compressing the fourth ventricle.",
            "There is a {size} solid posterior fossa mass arising from the {place}.",
        ),
        signs=(
            (
                (DWI,),
                "",
                (
                    "The mass shows restricted diffusion in keeping with high cellularity.",
                    "Diffusion is restricted throughout the solid parts.",
                    "The mass is bright on diffusion.",
                ),
            ),
            ((POST,), "solid", ("There is avid enhancement.", "The mass enhances strongly.")),
            ((POST,), "patchy", ("Enhancement is patchy.", "There is heterogeneous enhancement after contrast.")),
        ),
        impression=(
            "Posterior fossa mass, most likely a medulloblastoma.",
            "Findings are most consistent with a medulloblastoma of the {place}.",
            "Suspected medulloblastoma in the {place}.",
        ),
    ),
    "pilocytic_astrocytoma": Wording(
        found=(
            "There is a cystic mass with a mural nodule in the {place} measuring {size}.",
            "A {size} cyst with a nodule on its wall is present in the {place}.",
            "Cystic {place} mass of {size} with a solid mural nodule.",
            "Well-defined cyst of the {place}, {size} in diameter, containing a mural nodule.",
        ),
        signs=(
            ((POST,), "", ("The nodule enhances strongly.", "There is intense enhancement of the mural nodule.")),
            (
                (FLAIR,),
                "",
                ("The cyst is brighter than CSF on FLAIR.", "FLAIR does not suppress the cyst."),
            ),
        ),
        impression=(
            "Cystic mass with mural nodule in the {place}, most likely a pilocytic astrocytoma.",
            "Findings are most consistent with a pilocytic astrocytoma of the {place}.",
            "Suspected pilocytic astrocytoma in the {place}.",
        ),
    ),
}
