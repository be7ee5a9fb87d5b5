"""The lexicon hears names, negation, doubt, sides, sizes and priors as a radiologist would."""

from __future__ import annotations

import pytest

from assistant import lexicon
from encoder.study import Side
from prompts.diagnoses import load


def heard(text: str) -> list[tuple[str, bool, bool]]:
    return [(mention.name, mention.negated, mention.hedged) for mention in lexicon.mentions(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No mass effect, midline shift or hydrocephalus.", [("mass_effect", 1, 0), ("midline_shift", 1, 0), ("ventriculomegaly", 1, 0)]),
        ("High-grade glioma with oedema but no shift.", [("high_grade_glioma", 0, 0), ("edema", 0, 0), ("midline_shift", 1, 0)]),
        ("Meningioma without oedema.", [("meningioma", 0, 0), ("edema", 1, 0)]),
        ("Metastasis cannot be excluded.", [("brain_metastasis", 0, 1)]),
        ("Metastasis is unlikely.", [("brain_metastasis", 1, 0)]),
        ("Differential includes lymphoma or metastases.", [("lymphoma", 0, 1), ("brain_metastasis", 0, 1)]),
        ("Haemorrhage and tumour: subarachnoid haemorrhage.", [("intracranial_hemorrhage", 0, 0), ("subarachnoid_hemorrahage", 0, 0)]),
        ("The ventricles are not enlarged.", [("ventriculomegaly", 1, 0)]),
        ("The lateral ventricles are enlarged.", [("ventriculomegaly", 0, 0)]),
        ("Large meningoma.", [("meningioma", 0, 0)]),
        ("No infarct, but an old lacune.", [("large_vessel_stroke", 1, 0), ("lacunar_stroke", 0, 0)]),
    ],
)
def test_names_negation_and_doubt(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert heard(text) == [(name, bool(negated), bool(hedged)) for name, negated, hedged in expected]


@pytest.mark.parametrize("name", load())
def test_every_label_and_phrase_is_heard_as_its_name(name: str) -> None:
    for phrase in (load()[name].label, *load()[name].phrases):
        assert heard(f"There is a {phrase}.") == [(name, False, False)], phrase
        assert heard(f"There is no {phrase}.") == [(name, True, False)], phrase


def test_sides_and_directions() -> None:
    assert [(w.side, w.direction) for w in lexicon.sides("Left-sided mass, shift to the right.")] == [
        (Side.LEFT, False),
        (Side.RIGHT, True),
    ]
    assert [w.side for w in lexicon.sides("Bilateral foci in both hemispheres.")] == [Side.BILATERAL, Side.BILATERAL]
    assert lexicon.sides("Midline shift.") == ()
    assert lexicon.without_sides("Left frontal mass with shift to the right.") == "Frontal mass with shift."


def test_sizes_and_priors() -> None:
    assert lexicon.sizes("A 12 x 14 mm mass, ___ mm ring, 3 cm.") == ("12 x 14", "3")
    assert lexicon.without_sizes("A 12 x 14 mm mass.") == "A ___ mm mass."
    assert lexicon.without_sizes("A mass of 3.4 cm.") == "A mass of ___ mm."
    assert lexicon.prior_phrase("Unchanged since the last examination.") == "unchanged"
    assert lexicon.prior_phrase("Increased FLAIR signal.") is None
