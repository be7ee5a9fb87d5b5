"""Blood in the fluid's spaces."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, SWI, Wording

WORDINGS: dict[str, Wording] = {
    "intraventricular_hemorrhage": Wording(
        found=(
            "There is blood within the ventricles.",
            "The lateral ventricles contain material of abnormal signal that has settled in their dependent part.",
            "Blood lies in the dependent part of the ventricular system.",
            "There is abnormal signal of the fluid within the ventricles, in keeping with blood.",
        ),
        signs=(
            ((SWI,), "", ("It is dark on the susceptibility images.", "There is signal loss on susceptibility images in the ventricle.")),
            ((FLAIR,), "", ("The fluid does not suppress on FLAIR.", "It is bright compared with fluid on FLAIR.")),
            ((DWI,), "acute", ("The sediment is bright on diffusion.", "The settled blood is bright on diffusion images.")),
        ),
        impression=(
            "Intraventricular hemorrhage.",
            "Findings are consistent with intraventricular hemorrhage.",
            "Intraventricular blood in the dependent part of the ventricles.",
        ),
    ),
    "subarachnoid_hemorrahage": Wording(
        found=(
            "The subarachnoid spaces show abnormal signal of the {place}.",
            "There is blood in the subarachnoid space, mainly in the {place}.",
            "Abnormal fluid signal is present in the sulci and cisterns, centered on the {place}.",
            "Subarachnoid fluid of the {place} is not of normal signal.",
        ),
        signs=(
            ((FLAIR,), "", ("The sulci do not suppress on FLAIR.", "The fluid of sulci and cisterns is bright on FLAIR.")),
            (
                (SWI,),
                "",
                ("The sulci are dark on the susceptibility images.", "There is signal loss on susceptibility images in the sulci."),
            ),
        ),
        impression=(
            "{Stage} subarachnoid hemorrhage.",
            "Findings are consistent with subarachnoid hemorrhage.",
            "Subarachnoid blood, mainly in the {place}.",
        ),
    ),
}
