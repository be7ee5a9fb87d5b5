"""The draft on screen: told from events, escaped, each sentence with its status, and as plain text to paste."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assistant import evidence
from assistant.app.chat import DOUBTFUL, UNCHECKED, answer_text, linked
from assistant.app.draft import Progress, partial_json, plain_text, render
from assistant.app.viewer import sequence_keys, study_value
from assistant.drafts import restored
from assistant.jobs import AGAIN, Job, JobEvent, Kind, State
from encoder.study import Context, Plane, Series, Study, Weighting

CASES = [{"id": "c-17", "similarity": 0.9, "diagnoses": ["high_grade_glioma"]}, {"id": "c-42", "similarity": None, "diagnoses": []}]

FIRST = {"diagnosis": "high_grade_glioma", "probability": 0.86, "score": 1.0, "evidence": ["P:high_grade_glioma", "C1"], "note": None}


def claim(section: str, text: str, status: str, reason: str | None = None, citations: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"section": section, "text": text, "status": status, "citations": list(citations), "evidence": [], "reason": reason}


def result(**over: Any) -> dict[str, Any]:
    findings = "A mass in the right frontal lobe. [L:high_grade_glioma] The left side is dark."
    sections = dict.fromkeys(("exam", "indication", "technique", "comparison", "recommendation"), "")
    return {
        "study": {"key": "k", "used": [], "excluded": []},
        "out_of_distribution": {"score": 1.0, "threshold": 3.0, "flagged": False, "reason": None},
        "differential": [
            {"diagnosis": "high_grade_glioma", "probability": 0.86, "score": 1.0, "evidence": ["P:high_grade_glioma", "C1"], "note": None}
        ],
        "findings": [],
        "not_assessed": [{"name": "meningitis", "reason": "no trained head in these weights"}],
        "referral": [{"specialty": "neurosurgery", "urgency": "same day", "reason": "glioma", "rule": "tumour-1"}],
        "priority": "high",
        "priority_reason": "glioma at 86 %",
        "cases": CASES,
        "reasoning": ["1. It is bright. [S:FLAIR]"],
        "report": {**sections, "findings": findings, "impression": "Glioma. [C1]"},
        "claims": [
            claim("findings", "A mass in the right frontal lobe. [L:high_grade_glioma]", "supported"),
            claim("findings", "The left side is dark.", "contradicted", "the mass lies on the right"),
            claim("impression", "Glioma. [C1]", "supported", citations=("c-17",)),
        ],
        "provenance": {
            "encoder": "e",
            "index": "i",
            "llm": "l",
            "adapter": None,
            "prompt": "p",
            "seed": 0,
            "conditioning": "text only",
            "calibration": None,
        },
        "notice": "n",
        **over,
    }


def replied(text: str, *claims: dict[str, Any], spots: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"text": text, "cases": ["c-17"], "citations": ["c-17"], "claims": list(claims), "spots": spots or {}}


def job(state: State = State.RUNNING, message: str | None = None, ahead: int = 0) -> Job:
    return Job("j", Kind.DRAFT, "s", "v", {}, state, message, ahead)


def told(*events: tuple[str, dict[str, Any]]) -> Progress:
    return Progress().after(JobEvent(number, kind, body) for number, (kind, body) in enumerate(events, 1))


def test_text_from_outside_stays_text() -> None:
    bad = "<img src=x onerror=alert(1)>"
    items = [{"diagnosis": bad, "probability": None, "score": None, "evidence": [bad]}]
    html = render(told(("finished", result(differential=items, priority_reason=bad, reasoning=[bad]))), job(State.DONE), "ready")
    assert "<img" not in html
    assert "&lt;img" in html


def test_each_sentence_shows_its_status_and_why() -> None:
    html = render(told(("finished", result())), job(State.DONE), "ready")
    assert 'class="sentence supported"' in html
    assert 'class="sentence contradicted"' in html
    assert "the mass lies on the right" in html
    assert 'href="#case-c-17"' in html
    assert 'href="#sequence-FLAIR"' in html
    assert "86 %" in html
    assert "Priority: high" in html
    assert "rule tumour-1" in html


def test_out_of_distribution_refuses_and_says_why() -> None:
    outside = {"score": 9.0, "threshold": 3.0, "flagged": True, "reason": "These images are unlike the training set."}
    empty: dict[str, Any] = {"differential": [], "findings": [], "referral": [], "cases": [], "reasoning": [], "priority": "not assessed"}
    html = render(told(("finished", result(out_of_distribution=outside, **empty))), job(State.DONE), "ready")
    assert "Not diagnosed. These images are unlike the training set." in html
    assert "No diagnosis of the taxonomy" not in html
    assert "Priority: not assessed" in html


def test_what_is_being_written_is_readable_and_marked_unchecked() -> None:
    html = render(told(("stage", {"name": "writing"}), ("answer", {"text": '{"differential": ["high_grade_gl'})), job(), "ready")
    assert "high grade gl" in html
    html = render(told(("answer", {"text": '{"differential": [], "findings": ["One. [P:x]", "Tw'})), job(), "ready")
    assert html.count("sentence unchecked") == 2
    assert "not yet checked" in html


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", {}),
        ("{", {}),
        ('{"a": ["x", "y', {"a": ["x", "y"]}),
        ('{"a": ["x"], "b', {"a": ["x"]}),
        ('{"a": ["x"], "b": ', {"a": ["x"]}),
        ('{"a": ["say \\"hi', {"a": ['say "hi']}),
        ("no json", {}),
    ],
)
def test_half_an_object_can_be_read(text: str, known: dict[str, Any]) -> None:
    assert partial_json(text) == known


def test_a_second_attempt_replaces_the_first() -> None:
    progress = told(("answer", {"text": "old"}), ("stage", {"name": "writing again: x"}), ("answer", {"text": "new"}))
    assert progress.answer == "new"
    assert told(("answer", {"text": "old"}), (AGAIN, {})).answer == ""


def test_the_plain_text_has_fixed_headers_no_tags_and_marks_what_to_check() -> None:
    text = plain_text(result())
    assert "FINDINGS:\nA mass in the right frontal lobe. [CHECK: contradicted] The left side is dark.\n" in text
    assert "IMPRESSION:\nGlioma.\n" in text
    assert "[L:" not in text
    assert text.rstrip().endswith("Must be reviewed by a radiologist.")


def test_a_line_end_before_the_first_word_is_nothing_to_show() -> None:
    assert 'class="live"' not in render(replace(told(), reasoning="\n"), job(), "ready")
    assert "1. It is bright." in render(replace(told(), reasoning="\n1. It is bright."), job(), "ready")


def test_an_end_without_a_draft_is_a_sentence() -> None:
    said = {State.STOPPED: "Stopped", State.FAILED: "could not be", State.INTERRUPTED: "could not be"}
    for state, words in said.items():
        assert words in render(Progress(), job(state), "ready")


def test_waiting_says_for_what() -> None:
    assert "2 requests before yours" in render(Progress(), job(State.QUEUED, ahead=2), "ready")
    assert "being loaded" in render(Progress(), job(State.QUEUED), "loading")
    assert "no weights" in render(Progress(), job(State.QUEUED), "no weights")


def test_an_answer_links_its_own_cases_once_it_is_whole() -> None:
    running = answer_text(job(), (JobEvent(1, "answer", {"text": "As in [C1]"}),))
    assert "C1" not in running
    assert running.endswith(UNCHECKED)
    spot = {"series": "AX FLAIR", "slice": 7, "mm": [-31.25, 10.0, 42.0]}
    whole = replied("As in [C1], not [C9]. [S:FLAIR] [P:lymphoma] [L:brain_abscess]", spots={"brain_abscess": spot})
    text = answer_text(job(State.DONE), (JobEvent(1, "answer", {"text": "As in"}), JobEvent(2, "replied", whole)))
    assert text.startswith("As in [C1](#case-c-17), not `C9`. [S:FLAIR](#sequence-FLAIR) `P:lymphoma`")
    assert text.endswith("[L:brain abscess](#place-AX%20FLAIR@-31.2,10.0,42.0)")
    assert linked("", {}) == ""


def test_a_doubtful_answer_is_marked_and_says_why() -> None:
    wrong = claim("reasoning", "It is left. [L:lymphoma]", "contradicted", "it lies on the right")
    unknown = claim("reasoning", "It is old.", "unsupported", "nothing dates it")
    dropped = claim("reasoning", "Case 7 is a lymphoma.", "contradicted", "2 cases were retrieved")
    said = replied("Glioma. It is left. [L:lymphoma] It is old.", wrong, unknown, dropped)
    text = answer_text(job(State.DONE), (JobEvent(1, "replied", said),))
    assert text.startswith(DOUBTFUL)
    assert "Glioma. ⚠ ~~It is left.~~ `L:lymphoma` ⚠ It is old." in text
    assert "it lies on the right" in text
    assert "nothing dates it" in text
    assert "Case 7" not in text
    assert DOUBTFUL not in answer_text(job(State.DONE), (JobEvent(1, "replied", replied("Glioma.")),))


def test_a_location_is_a_button_to_its_place() -> None:
    spot = {"series": "AX T2 <1>", "slice": 3, "mm": [20.04, -5.0, 8.0]}
    located = {"name": "high_grade_glioma", "side": "left", "region": "frontal lobe", "evidence": ["L:high_grade_glioma"], "spot": spot}
    html = render(told(("finished", result(findings=[located]))), job(State.DONE), "ready")
    assert html.count('<button type="button" class="tag" data-opens="#place-AX%20T2%20%3C1%3E@20.0,-5.0,8.0"') == 2
    assert "<button" not in render(told(("finished", result())), job(State.DONE), "ready")


@pytest.mark.parametrize(
    ("weightings", "first"),
    [(("T1", "T2", "FLAIR"), 2), (("T1", "T2"), 1), (("DWI", "T1", "T1 post-contrast"), 2), (("DWI", "T1"), 1), (("DWI",), 0)],
)
def test_a_study_opens_with_its_flair_or_the_next_best(weightings: tuple[str, ...], first: int) -> None:
    shown = study_value("s", "t", "", [{"weighting": each, "file": f"{at}.nii"} for at, each in enumerate(weightings)])
    assert [each["first"] for each in shown["series"]] == [at == first for at in range(len(weightings))]


def test_a_kept_draft_comes_back_whole() -> None:
    spot = {"series": "AX FLAIR", "slice": 7, "mm": [-31.25, 10.0, 42.0]}
    finding = {"name": "edema", "side": None, "region": None, "evidence": [], "spot": None, "possible": False}
    kept = result(differential=[{**FIRST, "spot": spot}], findings=[finding])
    assert json.loads(json.dumps(restored(kept).to_json())) == json.loads(json.dumps(kept))


def test_sequences_are_named_as_in_the_evidence() -> None:
    """The page knows a study only as rows, so the rule is in two places; this keeps them one."""
    weightings = ("T1", "T1", "T1 post-contrast", "FLAIR", "unknown", "T1 post-contrast")
    series = tuple(Series("x", np.zeros((2, 2, 2)), np.eye(4), Plane.AXIAL, Weighting(each)) for each in weightings)
    expected = evidence.sequence_keys(Study("k", None, series, (), Context()))
    assert tuple(sequence_keys([{"weighting": each} for each in weightings])) == expected
