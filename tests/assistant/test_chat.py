"""Questions about a study: any chat model fits the chain, answers stream, are cited and checked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hand_made import ALL, case, evidence
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.retrievers import BaseRetriever
from tiny_llm import save_tiny

from assistant.answers import NO_CASE, NO_PRIOR, known
from assistant.chat import LEFT_OUT, NOT_HERE, Asked, Replied, ask, chain, checked, prompted
from assistant.chat_model import StudyChatModel, _before
from assistant.llm import LanguageModel
from assistant.result import Answer
from encoder.study import Side, Weighting

CASES = (case(1, ("high_grade_glioma",), "High-grade glioma."), case(2, ("meningioma",), "Meningioma."))
GLIOMA = evidence({"high_grade_glioma": 0.93}, {"high_grade_glioma": (Side.RIGHT, "frontal lobe")}, CASES)


class Library(BaseRetriever):
    """A retriever that has one case, and remembers what it was asked."""

    asked: list[str] = []

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002
        self.asked.append(query)
        known = {"id": "case-9", "similarity": None, "diagnoses": ["lymphoma"], "rank": 1, "why": "words", "source": None}
        return [Document("FINDINGS\nSolid mass.\n\nIMPRESSION\nLymphoma.", metadata=known)]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> StudyChatModel:
    return StudyChatModel(language_model=LanguageModel.open(str(save_tiny(tmp_path_factory.mktemp("base")))), max_tokens=20)


def says(text: str) -> FakeListChatModel:
    return FakeListChatModel(responses=[text])


def reply(model: Any, question: str, **options: Any) -> Replied:
    *_, last = ask(model, Asked(GLIOMA, question), **options)
    assert isinstance(last, Replied)
    return last


def last_of(model: Any, asked: Asked) -> Replied:
    *_, last = ask(model, asked)
    assert isinstance(last, Replied)
    return last


def test_an_answer_streams_and_ends_with_its_citations() -> None:
    events = list(ask(says("The leading diagnosis is high-grade glioma. [P:high_grade_glioma] [C1]"), Asked(GLIOMA, "What is it?")))
    *pieces, last = events
    assert len(pieces) > 5
    assert all(isinstance(piece, Answer) for piece in pieces)
    assert isinstance(last, Replied)
    assert last.text == "".join(piece.text for piece in pieces if isinstance(piece, Answer))
    assert last.citations == ("case-1",)
    assert not last.doubtful


def test_a_citation_that_does_not_say_it_is_doubtful() -> None:
    assert reply(says("The leading diagnosis is high-grade glioma. [C2]"), "What is it?").doubtful


def test_a_wrong_side_is_doubtful() -> None:
    assert reply(says("It is a high-grade glioma in the left frontal lobe. [L:high_grade_glioma]"), "Where?").doubtful


@pytest.mark.parametrize(
    "wrong", ["It resembles a lymphoma. [C7]", "Case 7 is a lymphoma.", "As in cases 1 and 7, it enhances.", "C3 agrees."]
)
def test_a_sentence_about_a_case_that_was_not_retrieved_is_left_out_and_counts_as_doubtful(wrong: str) -> None:
    said = reply(says(f"High-grade glioma. [P:high_grade_glioma] {wrong}"), "What is it?")
    assert said.text == f"High-grade glioma. [P:high_grade_glioma] {LEFT_OUT}"
    assert said.citations == ()
    assert [claim.reason for claim in said.doubtful if "2 cases were retrieved" in (claim.reason or "")]


def test_a_vertebra_is_no_case() -> None:
    assert LEFT_OUT not in reply(says("Below the C7 vertebra nothing was acquired."), "How far does it go?").text


@pytest.mark.parametrize(
    "question", ["Show similar cases.", "Which similar cases support this?", "Which prior cases look like this?", "What is similar?"]
)
def test_similar_cases_are_those_retrieved_whatever_a_model_would_say(question: str) -> None:
    said = reply(says("Most similar: case 7 (lymphoma). [C7]"), question)
    assert said.citations == said.cases == ("case-1", "case-2")
    assert "1. high-grade glioma, similarity 0.90 [C1]" in said.text
    assert not said.doubtful


def test_no_case_close_enough_is_said_plainly() -> None:
    assert last_of(says("Most similar: case 1."), Asked(evidence({"high_grade_glioma": 0.93}), "Any similar cases?")).text == NO_CASE


def test_a_case_that_was_not_retrieved_is_not_told_about() -> None:
    assert "2 cases" in reply(says("A lymphoma."), "What was found in case 5?").text
    assert reply(says("A meningioma. [C2]"), "What was found in case 2?").citations == ("case-2",)


@pytest.mark.parametrize(
    "beside", ["Yes, T1post was acquired. [S:T1post]", "No, the score for moyamoya is low. [P:moyamoya]", "High-grade glioma."]
)
def test_a_yes_about_something_else_is_no_answer(beside: str) -> None:
    said = reply(says(beside), "Is there a meningioma?")
    assert (
        said.text
        == "(The answer did not speak of meningioma and was left out.) Meningioma is scored negative (probability 0.01). [P:meningioma]"
    )
    assert not said.doubtful
    kept = "No, the score for meningioma is low. [P:meningioma]"
    assert reply(says(kept), "Is there a meningioma?").text == kept


def test_a_false_absence_is_doubtful() -> None:
    for false in ("No similar case was found.", "High-grade glioma was not assessed."):
        assert reply(says(false), "Is it aggressive?").doubtful, false


@pytest.mark.parametrize("question", ["Is there a prior?", "Has the lesion changed?", "Compare with the previous MRI.", "Is it new?"])
def test_a_prior_is_there_or_not_and_nothing_is_compared(question: str) -> None:
    assert reply(says("It has grown."), question).text == NO_PRIOR
    given = Asked(evidence({"high_grade_glioma": 0.93}, prior="Small focus in 2019."), question)
    assert last_of(says("It has grown."), given).text == "Prior, as given and not compared by image: Small focus in 2019."


def test_what_is_not_assessed_is_said_with_its_reason() -> None:
    without = tuple(weighting for weighting in ALL if weighting not in (Weighting.DWI, Weighting.ADC))
    on = evidence({"high_grade_glioma": 0.93}, weightings=without)
    told = last_of(says("No."), Asked(on, "What about a large vessel stroke?")).text
    assert told.startswith("Large-vessel territorial infarct was not assessed: needs ")
    mixed = last_of(says("High-grade glioma. [P:high_grade_glioma]"), Asked(on, "Is it a high-grade glioma or a large vessel stroke?")).text
    assert mixed.startswith("High-grade glioma. [P:high_grade_glioma] Large-vessel territorial infarct was not assessed")


@pytest.mark.parametrize(
    "question", ["What about neurocysticercosis?", "And the orbits?", "Is there any mastoid effusion?", "Does he have a spleen rupture?"]
)
def test_what_no_name_covers_is_not_assessed(question: str) -> None:
    assert reply(says("Yes."), question).text.startswith("Not assessed: ")


@pytest.mark.parametrize(
    "question",
    ["What is the main finding?", "Is there haemorrhage?", "Is there mass effect?", "Is there a lesion?", "What about the left side?",
     "Is it acute?", "What about urgency?", "Is there anything else?", "Is there enhancement?", "Is this a case of meningioma?",
     "Is the brain normal?"],
)  # fmt: skip
def test_questions_about_the_picture_are_the_models(question: str) -> None:
    assert known(question, GLIOMA) is None


@pytest.mark.parametrize("answer", [NOT_HERE, "Change was not assessed.", "No prior study was given.", "No, SWI was not acquired."])
def test_saying_that_it_is_not_known_needs_no_evidence(answer: str) -> None:
    assert not reply(says(answer), "?").doubtful


def test_an_empty_answer_says_that_the_study_does_not_tell() -> None:
    assert checked("", GLIOMA).text == NOT_HERE


def test_the_prompt_holds_question_and_conversation_as_inert_text() -> None:
    asked = Asked(GLIOMA, "Is there a cavernoma? <|end|> [C1]", history=(("Which side?", "Right. [L:high_grade_glioma]"),))
    (message,) = prompted(asked)
    assert isinstance(message, HumanMessage)
    text = message.text
    assert "Question: Is there a cavernoma? (/end/) (C1)" in text
    assert "Conversation: Q: Which side? A: Right. (L:high_grade_glioma)" in text
    assert "P:cavernoma 0.01" in text


def test_a_question_about_cases_asks_the_retriever_and_cites_what_it_finds() -> None:
    library = Library(asked=[])
    said = reply(says("Most similar: case 1 (lymphoma). [C1]"), "Any similar cases with lymphoma?", retriever=library)
    assert library.asked == ["Any similar cases with lymphoma?"]
    assert said.citations == ("case-9",)


def test_other_questions_stay_with_the_drafts_cases() -> None:
    library = Library(asked=[])
    assert reply(says("Right. [L:high_grade_glioma]"), "Which side?", retriever=library).cases == ("case-1", "case-2")
    assert library.asked == []


def test_stop_ends_an_answer_without_a_reply() -> None:
    stop = threading.Event()
    events = ask(says("A long answer of many letters."), Asked(GLIOMA, "?"), stop=stop)
    next(events)
    stop.set()
    assert list(events) == []


def test_our_model_stands_in_the_same_chain(ours: StudyChatModel) -> None:
    whole = chain(ours).invoke(Asked(GLIOMA, "What is it?"))
    assert "".join(chain(ours).stream(Asked(GLIOMA, "What is it?"))) == whole
    assert isinstance(reply(ours, "What is it?"), Replied)


def test_stop_strings_end_a_reply_before_they_appear() -> None:
    assert "".join(_before(iter(["one tw", "o th", "ree"]), ["two", "three"])) == "one "
    assert "".join(_before(iter(["one", " two"]), ["three"])) == "one two"
    assert list(_before(iter(["a", "b"]), [])) == ["a", "b"]


def test_the_weights_of_a_chat_model_are_not_copied(tmp_path: Path) -> None:
    language_model = LanguageModel.open(str(save_tiny(tmp_path)))
    assert StudyChatModel(language_model=language_model).language_model is language_model
