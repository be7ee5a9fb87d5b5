"""What goes with lesions or with age."""

from __future__ import annotations

from phantom.wordings.wording import Wording

WORDINGS: dict[str, Wording] = {
    "edema": Wording(
        found=(
            "There is surrounding vasogenic edema.",
            "Vasogenic edema extends into the adjacent white matter.",
            "Surrounding edema is present.",
            "There is edema in the adjacent white matter of the {region}.",
        ),
        impression=(),
    ),
    "mass_effect": Wording(
        found=(
            "There is local mass effect.",
            "Adjacent sulci are effaced.",
            "Local mass effect with effacement of adjacent sulci is seen.",
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
    "brain_herniation": Wording(
        found=(
            "There is {stage} herniation.",
            "Signs of {stage} herniation are present.",
            "There is brain herniation, {stage} in type.",
            "The displacement amounts to {stage} herniation.",
        ),
        signs=(
            (
                (),
                "subfalcine",
                ("The cingulate gyrus is pushed under the falx to the {side}.", "The cingulate gyrus crosses the midline to the {side}."),
            ),
            (
                (),
                "uncal",
                ("The {side} uncus lies over the edge of the tentorium.", "The {side} uncus narrows the suprasellar cistern."),
            ),
            ((), "tonsillar", ("The cerebellar tonsils are pushed down.", "The cerebellar tonsils fill the foramen magnum.")),
        ),
        impression=("{Stage} herniation.", "Brain herniation, {stage}.", "Signs of {stage} herniation."),
    ),
    "ventriculomegaly": Wording(
        found=("The ventricles are enlarged.", "There is enlargement of the ventricular system.", "The lateral ventricles are dilated."),
        impression=("Ventriculomegaly.", "Enlarged ventricles.", "Ventricular enlargement."),
    ),
    "cerebral_atrophy": Wording(
        found=(
            "The sulci are generally widened in keeping with volume loss.",
            "There is generalized cerebral volume loss.",
            "Prominent sulci indicate cerebral atrophy.",
        ),
        impression=("Cerebral atrophy.", "Generalized cerebral atrophy.", "Age-related cerebral volume loss."),
    ),
}
