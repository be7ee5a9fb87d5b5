"""A place is told as far as the table of diagnoses bears it out."""

from __future__ import annotations

import hand_made
import pytest

from encoder.study import Side

RIGHT, LEFT, BOTH = (Side.RIGHT, "temporal lobe"), (Side.LEFT, "suprasellar region"), (Side.BILATERAL, "frontal lobe")


@pytest.mark.parametrize(
    ("name", "found", "told"),
    [
        ("meningioma", RIGHT, Side.RIGHT),
        ("craniopharyngioma", LEFT, Side.MIDLINE),  # lies in the midline only, whichever token shows it best
        ("multiple_sclerosis", BOTH, Side.BILATERAL),
        ("multiple_sclerosis", RIGHT, None),  # half of the truth
        ("cerebral_atrophy", RIGHT, None),  # of the whole brain
        ("cerebral_atrophy", BOTH, None),
        ("ventriculomegaly", LEFT, None),
        ("a name of another encoder", RIGHT, Side.RIGHT),
    ],
)
def test_a_place_that_anatomy_does_not_allow_is_not_told(name: str, found: tuple[Side, str], told: Side | None) -> None:
    location = hand_made.evidence({name: 0.9}, {name: found}).locations.get(name)
    assert (location.side if location else None) == told
    assert location is None or location.region == found[1]
