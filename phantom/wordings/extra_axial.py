"""What grows or collects outside the brain."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, POST, T1, T2, Wording

WORDINGS: dict[str, Wording] = {
    "meningioma": Wording(
        found=(
            "There is a dural-based extra-axial mass along the {place} measuring {size}.",
            "A {size} broad-based extra-axial mass is seen at the {place}.",
            "Extra-axial mass over the {place}, {size}, with a cleft of cerebrospinal fluid.",
            "Dural-based mass of the {place} measuring {size}, similar in signal to gray matter.",
        ),
        signs=(
            (
                (POST,),
                "",
                (
                    "It enhances strongly, with a dural tail.",
                    "There is avid enhancement and a dural tail.",
                    "Strong enhancement with a dural tail after contrast.",
                ),
            ),
        ),
        impression=(
            "{Place} meningioma.",
            "Findings are typical of a meningioma of the {place}.",
            "Extra-axial mass of the {place}, consistent with meningioma.",
            "Most likely {place} meningioma.",
        ),
    ),
    "schwannoma": Wording(
        found=(
            "There is a mass in the {place} measuring {size} that extends into the internal auditory canal.",
            "A {size} extra-axial mass in the {place} enters the internal auditory meatus.",
            "{Place} mass, {size}, with an intracanalicular component.",
        ),
        signs=(
            ((POST,), "", ("The mass enhances strongly.", "Avid enhancement is seen after contrast.", "There is intense enhancement.")),
        ),
        impression=(
            "{Place} mass, most consistent with vestibular schwannoma.",
            "Findings are typical of a {side} vestibular schwannoma.",
            "Suspected schwannoma of the {place}.",
        ),
    ),
    "pituitary_adenoma": Wording(
        found=(
            "There is a pituitary lesion measuring {size}.",
            "A {size} lesion is centered in the sella turcica.",
            "Sellar lesion of {size}, similar in signal to gray matter.",
            "The pituitary gland contains a lesion of {size}.",
        ),
        signs=(
            ((T1,), "micro", ("It lies within the gland, to one side of the stalk.", "The gland is full and the sella is not expanded.")),
            ((T1,), "macro", ("It expands the sella and rises into the suprasellar cistern.", "There is suprasellar extension.")),
            ((T1,), "large macro", ("It lifts and compresses the optic chiasm.", "Suprasellar extension compresses the optic chiasm.")),
            ((POST,), "micro", ("It enhances less than the gland around it.", "The focus stands out as less enhancing than the gland.")),
            ((POST,), "macro", ("The mass enhances evenly.", "There is homogeneous enhancement of the sellar mass.")),
            ((POST,), "large macro", ("The mass enhances evenly.", "There is homogeneous enhancement of the sellar mass.")),
        ),
        impression=(
            "{Stage}adenoma of the pituitary gland.",
            "Sellar lesion, most consistent with a pituitary adenoma.",
            "Findings are typical of a pituitary adenoma.",
            "Findings are consistent with a {stage}adenoma of the pituitary gland.",
        ),
    ),
    "subdural_hematoma": Wording(
        found=(
            "There is a crescentic subdural collection over the {place}, {size} thick.",
            "A {side} subdural collection measures {size} in thickness.",
            "Crescent-shaped extra-axial collection along the {place}, up to {size}.",
        ),
        signs=(
            ((T1,), "subacute", ("It is bright on T1.",)),
            ((FLAIR,), "chronic", ("The collection is brighter than cerebrospinal fluid on FLAIR.",)),
            ((T2,), "acute", ("It is dark on T2.",)),
        ),
        impression=(
            "{Stage} {side} subdural hematoma.",
            "{Side} subdural hematoma, {stage}.",
            "{Stage} subdural hematoma over the {place}.",
        ),
        undated=("{Side} subdural hematoma.", "Subdural hematoma over the {place}, age indeterminate without T1 images."),
        dated_by=T1,
    ),
    "arachnoid_cyst": Wording(
        found=(
            "There is an extra-axial cyst in the {place} measuring {size} that follows cerebrospinal fluid on all sequences.",
            "A {size} cyst of cerebrospinal fluid signal is seen at the {place}.",
            "Smooth extra-axial fluid-filled cyst of the {place}, {size}.",
        ),
        signs=(((DWI,), "", ("The cyst shows no restricted diffusion.",)), ((POST,), "", ("The cyst does not enhance.",))),
        impression=(
            "{Place} arachnoid cyst.",
            "Arachnoid cyst of the {place}.",
            "Findings are typical of an arachnoid cyst in the {place}.",
        ),
    ),
}
