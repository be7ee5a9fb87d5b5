"""Multiple sclerosis."""

from __future__ import annotations

from phantom.wordings.wording import POST, Wording

WORDINGS: dict[str, Wording] = {
    "multiple_sclerosis": Wording(
        found=(
            "There are multiple ovoid T2 hyperintense lesions in the periventricular white matter of both hemispheres.",
            "Several ovoid plaques are seen perpendicular to the ventricles on both sides.",
            "Numerous periventricular white matter lesions are present bilaterally.",
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
}
