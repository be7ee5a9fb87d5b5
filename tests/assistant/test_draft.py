"""The model's text is read tolerantly, or refused; never read as an empty report."""

from __future__ import annotations

import pytest

from assistant.draft import parse, sentences
from assistant.errors import DraftError

WRITTEN = """<think>
1. FLAIR shows a right frontal mass. [S:FLAIR] [L:high_grade_glioma]
2. A similar case was a high-grade glioma [C1].
</think>
{"differential": ["high_grade_glioma"],
 "findings": ["Right frontal mass. [P:high_grade_glioma, L:high_grade_glioma] Oedema around it. [P:edema]"],
 "impression": ["High-grade glioma. [P:high_grade_glioma]"]}"""


def test_steps_sentences_and_tags_are_read() -> None:
    draft = parse(WRITTEN)
    assert [step.tags for step in draft.reasoning] == [("S:FLAIR", "L:high_grade_glioma"), ("C1",)]
    assert [finding.text for finding in draft.findings] == ["Right frontal mass.", "Oedema around it."]
    assert draft.findings[0].tags == ("P:high_grade_glioma", "L:high_grade_glioma")
    assert draft.differential == ("high_grade_glioma",)


@pytest.mark.parametrize(
    "around",
    [
        lambda text: text.removeprefix("<think>\n"),
        lambda text: text.replace("</think>\n", "</think>\n```json\n") + "\n```\nI hope this helps {really}.",
        lambda text: text.replace('glioma]"]}', 'glioma]",]}'),
        lambda text: f"\n\n  {text}  \n",
    ],
)
def test_fences_blanks_and_trailing_text_do_not_matter(around) -> None:  # type: ignore[no-untyped-def]
    assert parse(around(WRITTEN)) == parse(WRITTEN)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "I cannot do that.",
        "<think>\n1. x\n</think>",
        WRITTEN[:-20],
        '{"differential": [], "findings": []}',
        WRITTEN.replace('["high_grade_glioma"]', "7"),
    ],
)
def test_an_unreadable_output_is_an_error(broken: str) -> None:
    with pytest.raises(DraftError):
        parse(broken)


def test_a_sentence_is_split_after_its_tags_only() -> None:
    assert [s.text for s in sentences("No shift. [P:midline_shift] The ventricles are normal [P:ventriculomegaly]. ___ mm")] == [
        "No shift.",
        "The ventricles are normal.",
        "___ mm.",
    ]
