"""Blood in the fluid's spaces."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, SWI, Wording

WORDINGS: dict[str, Wording] = {
    "intraventricular_hemorrhage": Wording(
        found=(
            "There is blood within the ventricles {on}.",
            "The ventricles contain material of abnormal signal {on}.",
            "Blood lies in the ventricular system {on}.",
            "There is abnormal signal of the fluid within the ventricles, in keeping with blood.",
        ),
        signs=(
            ((SWI,), "", ("It is dark on the susceptibility images.", "There is signal loss on susceptibility images in the ventricle.")),
            ((FLAIR,), "", ("The fluid does not suppress on FLAIR.", "It is bright compared with fluid on FLAIR.")),
            ((DWI,), "acute", ("The blood is bright on diffusion.",)),
        ),
        impression=(
            "Intraventricular hemorrhage {on}.",
            "Findings are consistent with intraventricular hemorrhage.",
            "Blood in the ventricles {on}, in keeping with intraventricular hemorrhage.",
        ),
    ),
    "subarachnoid_hemorrahage": Wording(
        found=(
            "The subarachnoid spaces show abnormal signal, mainly of the {region}.",
            "There is blood in the subarachnoid space, mainly in the {region}.",
            "Abnormal fluid signal is present in the subarachnoid space, centered on the {region}.",
            "Subarachnoid fluid of the {region} is not of normal signal.",
        ),
        signs=(
            ((FLAIR,), "", ("The subarachnoid fluid does not suppress on FLAIR.", "It is bright on FLAIR.")),
            (
                (SWI,),
                "",
                ("It is dark on the susceptibility images.", "There is signal loss on susceptibility images in the subarachnoid space."),
            ),
        ),
        impression=(
            "{Stage} subarachnoid hemorrhage.",
            "Findings are consistent with subarachnoid hemorrhage.",
            "Subarachnoid blood, mainly in the {region}.",
        ),
    ),
}
