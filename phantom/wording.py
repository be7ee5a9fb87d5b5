"""How a report says each disease: phrasings as data.

Fields: {place} = side and region, {side}, {region}, {size} = "24 mm", {foci}, {stage}; capitalised where a sentence begins.
A phrasing under `signs` is used only where all its sequences were acquired and the lesion has the property it names.
"""

from __future__ import annotations

from dataclasses import dataclass

from phantom.signal import Weighting

W = Weighting
DWI, POST, SWI, T2, FLAIR, T1 = W.DWI, W.T1_POST, W.SWI, W.T2, W.FLAIR, W.T1


@dataclass(frozen=True)
class Wording:
    """found: the finding itself. signs: (weightings that must all be there, property or "", phrasings). impression: the conclusion.

    A property is a value of the lesion's enhancement or stage. several, several_impression: for more than one focus.
    undated: conclusions for an acute lesion that no diffusion image dates.
    """

    found: tuple[str, ...]
    impression: tuple[str, ...]
    signs: tuple[tuple[tuple[Weighting, ...], str, tuple[str, ...]], ...] = ()
    several: tuple[str, ...] = ()
    several_impression: tuple[str, ...] = ()
    undated: tuple[str, ...] = ()


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
            ((DWI,), "", ("The lesion shows no restricted diffusion.", "Diffusion within the lesion is facilitated.")),
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
            "A {size} homogeneous mass abuts the ventricle in the {place}.",
            "Solid periventricular lesion of the {place}, {size}.",
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
            ((POST,), "ring", ("Ring enhancement is seen after contrast.", "The largest lesion shows smooth ring enhancement.")),
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
                    "It enhances strongly and homogeneously with a dural tail.",
                    "There is avid uniform enhancement and a dural tail.",
                    "Homogeneous enhancement with dural tail after contrast.",
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
            "There is a sellar mass with suprasellar extension measuring {size}.",
            "A {size} mass expands the sella and rises toward the optic chiasm.",
            "Enlarged pituitary gland with a suprasellar mass of {size}.",
        ),
        signs=(((POST,), "", ("The mass enhances evenly.", "There is homogeneous enhancement of the sellar mass.")),),
        impression=(
            "Pituitary macroadenoma with suprasellar extension.",
            "Sellar mass, most consistent with a pituitary adenoma.",
            "Findings are typical of a pituitary adenoma.",
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
    "large_vessel_stroke": Wording(
        found=(
            "There is a wedge-shaped area of abnormal signal in the {place} involving cortex and white matter.",
            "A territorial lesion involves cortex and white matter of the {place}.",
            "Wedge-shaped T2 hyperintensity of the {place}.",
        ),
        signs=(
            (
                (DWI,),
                "acute",
                (
                    "It shows restricted diffusion.",
                    "The area is bright on diffusion, in keeping with acute ischemia.",
                    "There is corresponding restricted diffusion.",
                ),
            ),
            (
                (T2,),
                "old",
                (
                    "The area is cystic with a gliotic rim and volume loss.",
                    "There is encephalomalacia with surrounding gliosis.",
                    "Cystic change with gliosis indicates an old injury.",
                ),
            ),
        ),
        impression=(
            "{Stage} infarct of the {place}.",
            "{Stage} territorial infarct in the {place}.",
            "Findings are consistent with an {stage} large vessel infarct of the {place}.",
        ),
        undated=(
            "Infarct of the {place}, age indeterminate without diffusion images.",
            "Territorial infarct in the {place}; its age cannot be told without diffusion.",
        ),
    ),
    "lacunar_stroke": Wording(
        found=(
            "There is a small focus of abnormal signal in the {place} measuring {size}.",
            "A {size} lesion is seen in the {place}.",
            "Small round {place} lesion of {size}.",
        ),
        signs=(
            (
                (DWI,),
                "acute",
                ("It shows restricted diffusion.", "The focus is bright on diffusion.", "There is restricted diffusion in the focus."),
            ),
        ),
        impression=(
            "Acute lacunar infarct of the {place}.",
            "Small acute lacunar infarct in the {place}.",
            "Findings are consistent with a recent lacunar stroke in the {place}.",
        ),
        undated=(
            "Lacunar infarct of the {place}, age indeterminate without diffusion images.",
            "Small lacunar infarct in the {place}; its age cannot be told without diffusion.",
        ),
    ),
    "intracranial_hemorrhage": Wording(
        found=(
            "There is a parenchymal hematoma in the {place} measuring {size}.",
            "A {size} intraparenchymal hemorrhage is centered in the {place}.",
            "Hematoma of the {place}, {size} in diameter.",
        ),
        signs=(
            ((SWI,), "", ("It shows marked susceptibility.", "There is strong signal loss on the susceptibility images.")),
            ((T1,), "early subacute", ("It is bright on T1, in keeping with subacute blood.",)),
            ((T1,), "late subacute", ("It is bright on T1 and T2, in keeping with late subacute blood.",)),
            ((T2,), "acute", ("It is dark on T2, in keeping with acute blood.",)),
        ),
        impression=(
            "{Stage} intraparenchymal hemorrhage of the {place}.",
            "{Stage} parenchymal hematoma in the {place}.",
            "{Place} intracranial hemorrhage, {stage}.",
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
    ),
    "cavernoma": Wording(
        found=(
            "There is a popcorn-like lesion in the {place} measuring {size} with a complete dark rim.",
            "A {size} lesion with mixed bright core and dark rim is seen in the {place}.",
            "Lobulated {place} lesion, {size}, with a hemosiderin rim.",
        ),
        signs=(((SWI,), "", ("It blooms on the susceptibility images.", "There is marked blooming.")),),
        impression=(
            "{Place} cavernoma.",
            "Findings are typical of a cavernous malformation of the {place}.",
            "Lesion of the {place} consistent with cavernoma.",
        ),
    ),
    "multiple_sclerosis": Wording(
        found=(
            "There are multiple ovoid T2 hyperintense lesions in the periventricular white matter of both hemispheres.",
            "Several ovoid plaques are seen perpendicular to the ventricles on both sides.",
            "Numerous periventricular and juxtacortical white matter lesions are present bilaterally.",
        ),
        signs=(
            (
                (POST,),
                "active",
                ("Some of the lesions enhance, in keeping with active disease.", "Enhancing lesions indicate active demyelination."),
            ),
            ((POST,), "stable", ("None of the lesions enhances.", "There are no enhancing plaques.")),
        ),
        impression=(
            "Findings are consistent with multiple sclerosis.",
            "Demyelinating lesions in keeping with multiple sclerosis.",
            "White matter plaques typical of multiple sclerosis.",
        ),
    ),
    "small_vessel_disease": Wording(
        found=(
            "There are {stage} patchy T2 hyperintensities in the periventricular and deep white matter of both hemispheres.",
            "{Stage} periventricular caps and confluent white matter hyperintensities are present bilaterally.",
            "Scattered and confluent foci of white matter signal change on both sides, {stage} in extent.",
        ),
        impression=(
            "{Stage} chronic small vessel disease.",
            "White matter changes consistent with {stage} small vessel disease.",
            "{Stage} chronic small vessel ischemic change.",
        ),
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
            "Incidental arachnoid cyst of the {place}.",
            "Findings are typical of an arachnoid cyst in the {place}.",
        ),
    ),
    "edema": Wording(
        found=(
            "There is surrounding vasogenic edema.",
            "Vasogenic edema extends into the adjacent white matter.",
            "The lesion is surrounded by edema.",
            "There is edema in the adjacent white matter of the {region}.",
        ),
        impression=(),
    ),
    "mass_effect": Wording(
        found=(
            "There is local mass effect.",
            "Adjacent sulci are effaced.",
            "Local mass effect with effacement of the sulci is seen.",
            "Mass effect on the adjacent structures.",
        ),
        impression=("Associated mass effect.", "Local mass effect."),
    ),
    "midline_shift": Wording(
        found=(
            "There is midline shift to the {side} of {size}.",
            "The midline is shifted by {size} to the {side}.",
            "Midline shift of {size} toward the {side}.",
        ),
        impression=("Midline shift to the {side}.", "Associated midline shift of {size}."),
    ),
    "ventriculomegaly": Wording(
        found=("The ventricles are enlarged.", "There is enlargement of the ventricular system.", "The lateral ventricles are dilated."),
        impression=("Ventriculomegaly.", "Enlarged ventricles.", "Ventricular enlargement."),
    ),
    "cerebral_atrophy": Wording(
        found=(
            "The sulci are widened in keeping with volume loss.",
            "There is generalized cerebral volume loss.",
            "Prominent sulci indicate cerebral atrophy.",
        ),
        impression=("Cerebral atrophy.", "Generalized cerebral atrophy.", "Age-related cerebral volume loss."),
    ),
}

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
    ("intracranial_hemorrhage", (T2,), ("No intracranial hemorrhage.", "There is no evidence of hemorrhage.", "No hemorrhage is seen.")),
    ("mass_effect", (T2,), ("There is no mass effect.", "No mass effect.", "No mass effect is seen.")),
    ("midline_shift", (T2,), ("There is no midline shift.", "No midline shift.", "The midline is not shifted.")),
    (
        "ventriculomegaly",
        (T2,),
        ("The ventricles are normal in size.", "Ventricles are of normal size and configuration.", "No ventriculomegaly."),
    ),
    ("subdural_hematoma", (T2,), ("No subdural collection.", "There is no subdural hematoma.", "No extra-axial collection is seen.")),
    ("cerebral_atrophy", (T2,), ("The sulci are normal for age.", "Brain volume is normal.", "No cerebral atrophy.")),
    ("normal", (POST,), ("There is no abnormal enhancement.", "No abnormal enhancement after contrast.", "No pathological enhancement.")),
    (
        "normal",
        (FLAIR,),
        ("No abnormal parenchymal signal.", "Brain parenchyma shows normal signal.", "No focal signal abnormality on FLAIR."),
    ),
)
"""Subject, weightings needed, phrasings of what is normal or absent."""

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
