"""What surgery and old injury leave behind."""

from __future__ import annotations

from phantom.wordings.wording import POST, SWI, T1, T2, Wording

WORDINGS: dict[str, Wording] = {
    "encephalomalacia": Wording(
        found=(
            "There is cystic volume loss of the {place} with surrounding gliosis, {size} in diameter.",
            "A {size} area of encephalomalacia with a gliotic rim is seen in the {place}.",
            "Old parenchymal defect of the {place} measuring {size}, filled with fluid.",
            "Cystic tissue loss with gliosis involves the {place} over {size}.",
        ),
        signs=(((T1,), "", ("The cavity follows CSF.", "There is ex vacuo change without swelling.")),),
        impression=(
            "Encephalomalacia of the {place}.",
            "Chronic encephalomalacia in the {place}, in keeping with an old injury.",
            "Old {place} encephalomalacia with gliosis.",
        ),
    ),
    "resection_cavity": Wording(
        found=(
            "There is a {size} resection cavity in the {place}.",
            "Postoperative cavity of the {place} measuring {size}, filled with fluid.",
            "A fluid-filled surgical cavity of {size} is present in the {place}.",
            "The resection bed in the {place} measures {size}.",
        ),
        signs=(
            ((SWI,), "", ("Hemosiderin lines the cavity.", "The margin of the cavity shows susceptibility from old blood.")),
            (
                (POST,),
                "stable",
                (
                    "There is only thin linear enhancement along its margin.",
                    "The margin enhances thinly and smoothly, without a nodular component.",
                ),
            ),
            (
                (POST,),
                "recurrent",
                ("There is nodular enhancement at its margin.", "A nodule enhances along the deep margin of the cavity."),
            ),
        ),
        impression=(
            "Resection cavity in the {place}.",
            "Postoperative cavity of the {place}.",
            "Surgical cavity in the {place}.",
        ),
    ),
    "craniotomy": Wording(
        found=(
            "There are changes of a {side} craniotomy.",
            "A {side} bone flap is noted with thickening of the underlying dura.",
            "Status post {side} craniotomy.",
            "Postoperative changes of the {side} calvarium with a bone flap.",
        ),
        signs=(
            ((POST,), "", ("There is thin dural enhancement beneath the bone flap.", "The dura enhances smoothly beneath the bone flap.")),
        ),
        impression=("{Side} craniotomy.", "Status post {side} craniotomy.", "Postoperative changes of a {side} craniotomy."),
    ),
    "catheter": Wording(
        found=(
            "A {side} ventricular catheter courses through the {region} towards the lateral ventricle.",
            "There is a ventricular catheter on the {side}, entering through a burr hole.",
            "A {side} shunt catheter traverses the {region}.",
            "Thin linear signal void of a {side} ventriculostomy catheter.",
        ),
        signs=(((T2,), "", ("The tube is dark on T2.",)),),
        impression=(
            "{Side} ventricular catheter.",
            "Ventricular catheter in place on the {side}.",
            "{Side} shunt catheter.",
        ),
    ),
}
