"""How a report says each disease; one file a group, named as in `phantom.lesions`."""

from __future__ import annotations

from phantom.wordings import (
    developmental,
    effects,
    extra_axial,
    haemorrhage,
    infectious,
    inflammatory,
    intra_axial_tumours,
    midline,
    paediatric_tumours,
    postoperative,
    trauma,
    vascular,
    vessels,
)
from phantom.wordings.changes import CHANGES, CHANGES_IMPRESSION, LESION, NOUNS
from phantom.wordings.normal import LIMITS, NEGATIVE_IMPRESSION, NORMAL_FINDINGS, NORMAL_IMPRESSION, NOTHING_SEEN
from phantom.wordings.wording import Wording

__all__ = [
    "CHANGES",
    "CHANGES_IMPRESSION",
    "LESION",
    "LIMITS",
    "NEGATIVE_IMPRESSION",
    "NORMAL_FINDINGS",
    "NORMAL_IMPRESSION",
    "NOTHING_SEEN",
    "NOUNS",
    "WORDINGS",
    "Wording",
]

WORDINGS: dict[str, Wording] = {
    **intra_axial_tumours.WORDINGS,
    **extra_axial.WORDINGS,
    **vascular.WORDINGS,
    **inflammatory.WORDINGS,
    **midline.WORDINGS,
    **developmental.WORDINGS,
    **infectious.WORDINGS,
    **paediatric_tumours.WORDINGS,
    **postoperative.WORDINGS,
    **trauma.WORDINGS,
    **haemorrhage.WORDINGS,
    **vessels.WORDINGS,
    **effects.WORDINGS,
}
