"""Infarcts, haemorrhage, small vessels, cavernoma."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, SWI, T1, T2, Wording

WORDINGS: dict[str, Wording] = {
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
            (
                (FLAIR,),
                "old",
                (
                    "It follows fluid with a bright rim on FLAIR.",
                    "The focus is cystic with a gliotic rim.",
                    "A FLAIR bright rim surrounds fluid.",
                ),
            ),
            ((DWI,), "old", ("It shows no restricted diffusion.", "The focus is dark on diffusion, in keeping with an old lesion.")),
        ),
        impression=(
            "{Stage} lacunar infarct of the {place}.",
            "Small {stage} lacunar infarct in the {place}.",
            "Findings are consistent with {stage} lacunar stroke in the {place}.",
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
        undated=("Intraparenchymal hemorrhage of the {place}.", "{Place} hematoma, age indeterminate without T1 images."),
        dated_by=T1,
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
}
