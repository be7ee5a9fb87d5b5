"""Injury of the brain itself."""

from __future__ import annotations

from phantom.wordings.wording import DWI, SWI, T1, T2, Wording

WORDINGS: dict[str, Wording] = {
    "brain_contusion": Wording(
        found=(
            "There is a swollen cortical lesion of the {place} with mixed signal, {size}.",
            "A {size} area of cortical swelling with blood products is seen at the pole of the {region}.",
            "Heterogeneous signal of cortex and subcortical white matter of the {place}, {size} across.",
            "The surface of the {place} shows a mottled lesion of {size}.",
        ),
        several=(
            "There are {foci} swollen cortical lesions with mixed signal, the largest in the {region} measuring {size}.",
            "{Foci} mottled cortical lesions are seen, the largest {size}.",
            "Cortical lesions with blood products lie against the skull base, the largest in the {region}, {size}.",
        ),
        signs=(
            (
                (SWI,),
                "",
                ("Blood within it is dark on the susceptibility images.", "There is patchy signal loss on susceptibility images."),
            ),
            ((T1,), "early subacute", ("Bright spots on T1 indicate subacute blood products.",)),
            ((T2,), "acute", ("Dark spots on T2 indicate fresh blood products.",)),
        ),
        impression=(
            "{Place} contusion.",
            "Findings are consistent with a brain contusion of the {place}.",
            "Traumatic lesion of the {place}, in keeping with cerebral contusion.",
        ),
        several_impression=(
            "Multiple brain contusions.",
            "Hemorrhagic contusions, the largest in the {region}.",
            "Findings are consistent with cerebral contusions.",
        ),
    ),
    "diffuse_axonal_injury": Wording(
        found=(
            "There are many small foci at the gray-white junction and in the corpus callosum.",
            "Multiple small lesions involve the subcortical white matter and the corpus callosum.",
            "Small foci of abnormal signal are scattered along the gray-white junction on both sides.",
            "Scattered punctate lesions of the lobar white matter and the splenium are seen.",
        ),
        signs=(
            (
                (SWI,),
                "",
                (
                    "Several are dark dots on the susceptibility images.",
                    "Punctate signal loss on susceptibility images indicates microbleeds.",
                ),
            ),
            ((DWI,), "acute", ("Some show restricted diffusion.", "Several foci are bright on diffusion.")),
        ),
        impression=(
            "Findings are consistent with diffuse axonal injury.",
            "Pattern typical of diffuse axonal injury.",
            "Traumatic axonal injury with lesions of lobar white matter and callosum.",
        ),
    ),
}
