"""Questions about one study: a LangChain chain over our retriever and a chat model, its answers checked and cited."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda

import prompts
from assistant import answers, lexicon
from assistant.chat_model import StudyChatModel
from assistant.conditioner import inert, prompt_fields
from assistant.draft import Draft, Sentence, sentences
from assistant.evidence import Evidence, evidence_text
from assistant.result import Answer, Claim, ClaimStatus, Result, Spot
from assistant.verify import unretrieved, verify
from index.case import Case, Neighbour, ReportSections
from prompts.diagnoses import load

NOT_HERE = "Not in this study."
LEFT_OUT = "(A sentence about a case that was not retrieved was left out.)"
QUESTION_CHARACTERS = 400
TURN_CHARACTERS = 240
TURNS = 2  # earlier exchanges that the prompt repeats
_NO_CLAIM = re.compile(
    r"^not in this study|\bnot assessed\b|\bwas (?:not )?(?:given|acquired)\b|^no similar case|^no location|^priority|\bis close to\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Asked:
    """A question with what its answer may stand on.

    history: (question, answer) pairs, oldest first. result: the study's draft, if there is one.
    """

    evidence: Evidence
    question: str
    history: tuple[tuple[str, str], ...] = ()
    result: Result | None = None


@dataclass(frozen=True)
class Replied:
    """The whole answer.

    cases: what its [C1], [C2] ... name, ids in order. citations: those that it cites. claims: the model's sentences, checked, with those
    that the text leaves out. spots: where its [L:name] point, by name.
    """

    text: str
    cases: tuple[str, ...]
    citations: tuple[str, ...]
    claims: tuple[Claim, ...]
    spots: Mapping[str, Spot] = field(default_factory=dict)

    @property
    def doubtful(self) -> tuple[Claim, ...]:
        """The sentences that the evidence does not carry."""
        return tuple(claim for claim in self.claims if claim.status in (ClaimStatus.UNSUPPORTED, ClaimStatus.CONTRADICTED))


def ask(
    model: BaseChatModel, asked: Asked, *, retriever: BaseRetriever | None = None, seed: int = 0, stop: threading.Event | None = None
) -> Iterator[Answer | Replied]:
    """Stream an answer as Answer events, unchecked, then Replied with the checked one; without Replied when `stop` is set.

    Any LangChain chat model will do; ours also sees the study's features. With a retriever, questions about cases search the index again.
    What code knows (`assistant.answers`) is answered without the model.
    """
    stop = stop or threading.Event()
    asked = with_cases(asked, retriever)
    if fact := answers.known(asked.question, asked.evidence):
        yield Answer(fact)
        yield _replied(fact, (), asked.evidence)
        return
    pieces = []
    for piece in chain(_told(model, asked, seed, stop)).stream(asked):
        if stop.is_set():
            return
        pieces.append(piece)
        yield Answer(piece)
    if not stop.is_set():
        yield checked("".join(pieces).strip(), asked.evidence, asked.question)


def chain(model: Runnable, retriever: BaseRetriever | None = None) -> Runnable:
    """Asked -> retrieval -> prompt -> model -> text, as one Runnable."""
    return RunnableLambda(lambda asked: with_cases(asked, retriever)) | RunnableLambda(prompted) | model | StrOutputParser()


def with_cases(asked: Asked, retriever: BaseRetriever | None) -> Asked:
    """Where the question asks for cases of a name, those that the retriever finds for it take the place of the draft's."""
    if retriever is None or not answers.for_cases(asked.question) or not lexicon.mentions(asked.question):
        return asked
    documents = retriever.invoke(asked.question)
    return replace(
        asked, evidence=replace(asked.evidence, cases=tuple(_neighbour(document, rank) for rank, document in enumerate(documents, start=1)))
    )


def prompted(asked: Asked) -> list[HumanMessage]:
    """The chat prompt; names in the question are listed with their scores, whatever these are."""
    named = [mention.name for mention in lexicon.mentions(asked.question)]
    fields = prompt_fields(asked.evidence, mention=named)
    drafted = "none"
    if asked.result is not None:
        advice = [(item.specialty, item.urgency) for item in asked.result.referral]
        drafted = draft_field(asked.result.report.impression, asked.result.priority.value, advice)
    question = inert(asked.question, QUESTION_CHARACTERS)
    text = prompts.load("chat").render(**fields, draft=drafted, history=history_field(asked.history), question=question).text
    return [HumanMessage(text)]


def draft_field(impression: str, priority: str, referral: Sequence[tuple[str, str]]) -> str:
    """The prompt's `$draft`: impression, priority, and the referrals as (specialty, urgency)."""
    sent = ", ".join(dict.fromkeys(f"{specialty}, {urgency}" for specialty, urgency in referral[:2])) or "none"
    return f"{inert(impression, TURN_CHARACTERS) or 'none'} Priority: {priority}. Referral: {sent}."


def history_field(history: Sequence[tuple[str, str]]) -> str:
    """The prompt's `$history`: the last exchanges on one line."""
    return (
        " ".join(f"Q: {inert(question, TURN_CHARACTERS)} A: {inert(answer, TURN_CHARACTERS)}" for question, answer in history[-TURNS:])
        or "none"
    )


def checked(text: str, evidence: Evidence, question: str = "") -> Replied:
    """A model's answer held against the question and, sentence by sentence, the evidence; an empty answer says NOT_HERE.

    Left out, and said to be: a sentence that names a case which was not retrieved; an answer that does not speak of what was asked.
    """
    text = text or NOT_HERE
    added = answers.not_assessed(question, evidence)
    if instead := answers.beside_the_point(question, text, evidence):
        return _replied(f"{instead} {added}".strip(), (), evidence)
    said = sentences(text)
    kept = [sentence for sentence in said if not unretrieved(sentence, evidence)]
    if len(kept) < len(said):
        text = " ".join([*(sentence.tagged for sentence in kept), LEFT_OUT])
    claiming = tuple(sentence for sentence in said if sentence not in kept or not _NO_CLAIM.search(sentence.text))
    claims = verify(Draft(reasoning=claiming, differential=(), findings=(), impression=()), evidence).claims[: len(claiming)]
    wrong = tuple(claim for sentence in said if sentence not in claiming for claim in _wrong_absence(sentence, evidence))
    return _replied(f"{text} {added}".strip(), claims + wrong, evidence)


def _replied(text: str, claims: tuple[Claim, ...], evidence: Evidence) -> Replied:
    ids = tuple(neighbour.case.id for neighbour in evidence.cases)
    cited = [int(number) for number in re.findall(r"\[C(\d+)\]", text)]
    citations = tuple(dict.fromkeys(ids[number - 1] for number in cited if 1 <= number <= len(ids)))
    spots = {name: Spot.of(location) for name, location in evidence.locations.items() if f"[L:{name}]" in text}
    return Replied(text, ids, citations, claims, spots)


def _wrong_absence(sentence: Sentence, evidence: Evidence) -> Iterator[Claim]:
    """That something is not known needs no evidence, but there may be evidence against it."""
    text = sentence.text.lower()
    if "no similar case" in text and evidence.cases:
        yield _contradicted(sentence, f"{len(evidence.cases)} cases were retrieved")
    if "no prior" in text and evidence.study.context.prior:
        yield _contradicted(sentence, "a prior was given")
    for name in dict.fromkeys(mention.name for mention in lexicon.mentions(text)) if "not assessed" in text else ():
        if name in evidence.scores:
            yield _contradicted(sentence, f"{load()[name].label} was assessed ({evidence_text(evidence.scores[name])})")


def _contradicted(sentence: Sentence, reason: str) -> Claim:
    return Claim("reasoning", sentence.tagged, ClaimStatus.CONTRADICTED, (), (), reason)


def _told(model: BaseChatModel, asked: Asked, seed: int, stop: threading.Event) -> Runnable:
    """The model with what only ours takes."""
    return model.bind(features=asked.evidence.features, seed=seed, halt=stop) if isinstance(model, StudyChatModel) else model


def _neighbour(document: Document, rank: int) -> Neighbour:
    """A retrieved document as a case again; it has no vectors, which nothing after retrieval needs."""
    findings, _, impression = document.page_content.removeprefix("FINDINGS\n").partition("\n\nIMPRESSION\n")
    known = document.metadata
    none = np.zeros(0, np.float32)
    case = Case(
        id=known["id"],
        patient="",
        report=ReportSections(findings=findings, impression=impression),
        diagnoses=tuple(known["diagnoses"]),
        age_band=None,
        sex=None,
        sequences=(),
        source=known.get("source"),
        pictures=(),
        embedding=none,
        sequence_vectors=none[None],
    )
    return Neighbour(case, known.get("similarity"), rank, known.get("why", "words"))
