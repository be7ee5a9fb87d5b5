"""The whole path: a study in, a checked and cited draft out."""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prompts
from assistant import needs, rendering, rules
from assistant.conditioner import prompt_fields
from assistant.draft import Draft, parse
from assistant.errors import DraftError, UsageError
from assistant.evidence import HIDEABLE, Evidence, in_taxonomy
from assistant.llm import LanguageModel
from assistant.result import Answer, CaseItem, Event, Finished, Intake, Left, Provenance, Reasoning, Result, Retrieved, Stage
from assistant.verify import verify
from encoder.encoder import SHIPPED, Encoder, StudyEncoder
from encoder.features import Priority, StudyFeatures
from encoder.precision import Asked
from encoder.study import Study
from index.case import Neighbour
from index.query import Query, patient_of
from index.store import DEMO, CaseIndex
from index.text import TextTower
from prompts.diagnoses import load

if TYPE_CHECKING:
    from assistant.chat import Replied

CASES = 4  # at most so many cases are retrieved and shown to the model
TEMPERATURES = (0.0, 0.4, 0.8)  # of the first draft, and of the attempts that follow one which cannot be read
_END_OF_THOUGHT = "</think>"


@dataclass(frozen=True)
class Assistant:
    """The parts that make a draft, opened and checked to belong together."""

    encoder: StudyEncoder
    index: CaseIndex
    llm: LanguageModel

    @classmethod
    def open(
        cls,
        encoder: Path | None = None,
        index: Path | None = None,
        llm: str | None = None,
        adapter: Path | None = None,
        precision: Asked = "auto",
    ) -> Assistant:
        """Opens the parts; None = the shipped ones; precision: the encoder's. Raises where a part is missing or of another encoder."""
        opened = Encoder.load(encoder, precision)
        words = (encoder or SHIPPED) / "text"  # the tower that puts questions into the space of the embeddings
        tower = TextTower(words) if words.is_dir() else None
        cases = CaseIndex.open(index or DEMO, encoder=opened.hash, tower=tower)
        return cls(opened, cases, LanguageModel.open(llm, adapter, opened.hash))

    def evidence(self, study: Study, *, hide: Collection[str] = ()) -> Evidence:
        """Encodes a study and retrieves its cases, never of the same patient; out of distribution, none are retrieved."""
        features = in_taxonomy(self.encoder.encode(study))
        return self._evidence(study, features, self._cases(study, features, frozenset(hide)), frozenset(hide))

    def report(self, study: Study, *, seed: int = 0, stop: threading.Event | None = None, hide: Collection[str] = ()) -> Iterator[Event]:
        """Drafts a report as events that end with Finished; ends without it when `stop` is set.

        hide: "scores" and "cases" keep those from the model (scores with the locations that would tell them), "gate" drafts even
        out of distribution; all three for evaluation only. Raises StudyError, UsageError, or DraftError for an unreadable draft.
        """
        stop, hidden = stop or threading.Event(), frozenset(hide)
        if unknown := hidden - HIDEABLE:
            raise UsageError(f"Expected hide to be among {sorted(HIDEABLE)}, found {sorted(unknown)}.")
        yield Intake(study.key, rendering.used(study), rendering.excluded(study))
        yield Stage("encoding")
        features = in_taxonomy(self.encoder.encode(study))
        if stop.is_set():
            return
        if features.foreign and "gate" not in hidden:
            yield Finished(self._outside(study, features, seed))
            return
        yield Stage("retrieving")
        evidence = self._evidence(study, features, self._cases(study, features, hidden), hidden)
        yield Retrieved(_case_items(evidence.cases))
        yield Stage("writing")
        draft = yield from self._draft(evidence, seed, stop)
        if draft is None:
            return
        yield Stage("checking")
        yield Finished(self._result(draft, evidence, seed))

    def ask(
        self,
        evidence: Evidence,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        result: Result | None = None,
        *,
        seed: int = 0,
        stop: threading.Event | None = None,
    ) -> Iterator[Answer | Replied]:
        """Answers a question about a study from its evidence (and its draft, where there is one); ends with Replied unless stopped.

        Out of distribution the model is not asked: the reason is the answer.
        """
        from assistant import chat  # LangChain: a second that a report need not spend
        from assistant.chat_model import StudyChatModel
        from index.retriever import CaseRetriever

        if evidence.features.foreign and "gate" not in evidence.hidden:
            assert evidence.features.out_of_distribution is not None
            why = rendering.outside(evidence.features.out_of_distribution)
            yield Answer(why)
            yield chat.Replied(why, (), (), ())
            return
        retriever = CaseRetriever(index=self.index, about=Query.of(evidence.features, patient_of(evidence.study)), k=CASES)
        asked = chat.Asked(evidence, question, tuple(history), result)
        yield from chat.ask(StudyChatModel(language_model=self.llm), asked, retriever=retriever, seed=seed, stop=stop)

    def _cases(self, study: Study, features: StudyFeatures, hidden: frozenset[str]) -> tuple[Neighbour, ...]:
        if "cases" in hidden or (features.foreign and "gate" not in hidden):
            return ()
        return self.index.search(Query.of(features, patient_of(study)), CASES)

    def _evidence(self, study: Study, features: StudyFeatures, cases: tuple[Neighbour, ...], hidden: frozenset[str]) -> Evidence:
        return Evidence(study, features, cases, needs.not_assessed(study, features), hidden)

    def _draft(self, evidence: Evidence, seed: int, stop: threading.Event) -> Generator[Event, None, Draft | None]:
        """The model's draft, streamed as events; None when stopped. An unreadable one is tried again, sampled."""
        prompt = _prompt(evidence)
        for temperature in TEMPERATURES:
            pieces: list[str] = []
            stream = self.llm.stream(prompt, evidence.features, seed=seed, temperature=temperature, stop=stop)
            yield from _told_apart(_kept(stream, pieces))
            if stop.is_set():
                return None
            try:
                return parse("".join(pieces))
            except DraftError as error:
                unreadable = error
                if temperature != TEMPERATURES[-1]:
                    yield Stage("writing again: the draft could not be read")
        raise unreadable

    def _result(self, draft: Draft, evidence: Evidence, seed: int) -> Result:
        study, features = evidence.study, evidence.features
        checked = verify(draft, evidence)
        limits = rendering.limits(evidence.not_assessed, needs.limited(study, features))
        recommended = rules.recommendations(evidence) or (rendering.NO_REFERRAL,)
        text = rendering.report(evidence, " ".join([checked.findings_text, *limits]), checked.impression_text, " ".join(recommended))
        added = [("findings", line) for line in limits] + [("recommendation", line) for line in recommended]
        level, reason = rules.priority(evidence)
        return Result(
            study_key=study.key,
            used=rendering.used(study, features.names),
            excluded=rendering.excluded(study, features.names),
            out_of_distribution=_verdict(features),
            differential=checked.differential,
            findings=checked.findings,
            not_assessed=evidence.not_assessed,
            referral=rules.referrals(evidence),
            priority=level,
            priority_reason=reason,
            cases=_case_items(evidence.cases),
            reasoning=checked.reasoning,
            report=text,
            claims=(*checked.claims, *rendering.claims(text, study, added)),
            provenance=self._provenance(features, seed),
            notice=rendering.NOTICE,
        )

    def _outside(self, study: Study, features: StudyFeatures, seed: int) -> Result:
        """Out of distribution: technique, intake and the reason; no differential, no referral, no priority, and no language model."""
        verdict = features.out_of_distribution
        assert verdict is not None
        why = rendering.outside(verdict)
        evidence = self._evidence(study, features, (), frozenset())
        text = rendering.report(evidence, f"Not drafted. {why}", "No assessment was made.", "Read this study without a draft.")
        added = [("findings", text.findings), ("impression", text.impression), ("recommendation", text.recommendation)]
        return Result(
            study_key=study.key,
            used=rendering.used(study, features.names),
            excluded=rendering.excluded(study, features.names),
            out_of_distribution=_verdict(features),
            differential=(),
            findings=(),
            not_assessed=tuple(Left(name, "the study is out of distribution") for name in load()),
            referral=(),
            priority=Priority.NOT_ASSESSED,
            priority_reason=why,
            cases=(),
            reasoning=(),
            report=text,
            claims=rendering.claims(text, study, added),
            provenance=self._provenance(features, seed),
            notice=rendering.NOTICE,
        )

    def _provenance(self, features: StudyFeatures, seed: int) -> Provenance:
        return Provenance(
            encoder=self.encoder.hash,
            index=self.index.info.build,
            llm=self.llm.hash,
            adapter=self.llm.adapter_hash,
            prompt=prompts.load("differential").hash,
            seed=seed,
            conditioning=self.llm.conditioning,
            calibration=features.calibration,
        )


def _prompt(evidence: Evidence) -> str:
    hide = set(evidence.hidden - {"gate"}) | ({"locations"} if "scores" in evidence.hidden else set())
    return prompts.load("differential").render(**prompt_fields(evidence, hide)).text


def _verdict(features: StudyFeatures) -> dict[str, Any]:
    found = features.out_of_distribution
    if found is None:
        return {"score": None, "threshold": None, "flagged": False, "reason": "these weights carry no out-of-distribution statistics"}
    reason = rendering.outside(found) if found.flagged else None
    return {"score": found.score, "threshold": found.threshold, "flagged": found.flagged, "reason": reason}


def _case_items(cases: Iterable[Neighbour]) -> tuple[CaseItem, ...]:
    return tuple(CaseItem(neighbour.case.id, neighbour.similarity, neighbour.case.diagnoses) for neighbour in cases)


def _kept(stream: Iterator[str], pieces: list[str]) -> Iterator[str]:
    for piece in stream:
        pieces.append(piece)
        yield piece


def _told_apart(pieces: Iterable[str]) -> Iterator[Reasoning | Answer]:
    """Reasoning up to `</think>`, answer after it; a mark that arrives in parts is held back until it is whole."""
    held, answering = "", False
    for piece in pieces:
        if answering:
            yield Answer(piece)
            continue
        held += piece
        thought, found, rest = held.partition(_END_OF_THOUGHT)
        if found:
            answering = True
            if thought := thought.replace("<think>", ""):
                yield Reasoning(thought)
            if rest:
                yield Answer(rest)
        elif "<" not in held.replace("<think>", ""):
            if thought := held.replace("<think>", ""):
                yield Reasoning(thought)
            held = ""
    if held and not answering:
        yield Reasoning(held.replace("<think>", ""))
