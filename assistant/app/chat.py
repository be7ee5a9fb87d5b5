"""The chat about one study: stored messages and a running answer, as the chatbot shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from assistant import jobs, studies
from assistant.app.draft import TAG, case_links, place_links, readable
from assistant.database import Database
from assistant.jobs import AGAIN, Job, JobEvent, Kind, State

THINKING = "…"
UNCHECKED = "*Being written; not yet checked.*"
DOUBTFUL = "⚠ **Doubtful answer.** What the evidence does not carry is marked; check it in the images."
LIMIT = 2_000  # characters of a question
_SENTENCE = re.compile(r"(?<=[.!?\]])\s+(?=[A-Z\"_])")
_OF_A_CASE = re.compile(r"\bcases?\b|\bC\d", re.IGNORECASE)


def shown(database: Database, visitor: str, study: str) -> list[dict[str, Any]]:
    """The whole chat, oldest first; an unfinished answer as far as it has come."""
    return [_message(database, message) for message in studies.messages(database, visitor, study)]


def ask(database: Database, visitor: str, study: str, question: str) -> str:
    """Stores a question and sends it to the worker; returns the job that answers."""
    return studies.ask(database, visitor, study, question.strip()[:LIMIT])


def ask_again(database: Database, visitor: str, study: str, position: int, question: str | None = None) -> str | None:
    """Forgets the chat from the question at `position` on (or the one before it) and asks that, or `question`, anew."""
    said = studies.messages(database, visitor, study)
    if not 0 <= position < len(said):
        return None
    while position and said[position].role != "user":
        position -= 1
    asked = question if question is not None else said[position].text
    return studies.ask(database, visitor, study, asked.strip()[:LIMIT], instead_of=said[position].id)


def stop(database: Database, visitor: str, study: str) -> None:
    """Ends the answer being written, if one is."""
    job = jobs.latest(database, Kind.ASK, study=study, visitor=visitor)
    if job is not None and not job.state.ended:
        jobs.stop(database, job.id)


def running(database: Database, visitor: str, study: str) -> str | None:
    """The job of an answer still being written."""
    job = jobs.latest(database, Kind.ASK, study=study, visitor=visitor)
    return job.id if job is not None and not job.state.ended else None


def answer_text(job: Job, events: tuple[JobEvent, ...]) -> str:
    """An answer as Markdown: its text so far; whole, with citations as links and doubtful sentences marked; or why there is none."""
    text, whole = "", None
    for event in events:
        if event.kind == AGAIN:
            text = ""
        elif event.kind == "answer":
            text += event.body["text"]
        elif event.kind == "replied":
            whole = _checked(event.body)
    if whole is not None:
        return whole
    if job.state is State.STOPPED:
        return f"{_so_far(text)}\n\n*Stopped; what is here was not checked.*"
    if job.state in (State.FAILED, State.INTERRUPTED):
        return job.message or "This question could not be answered. Ask it once more."
    if job.state is State.QUEUED and job.ahead:
        return f"*Waiting: {job.ahead} before yours.*"
    return f"{_so_far(text)}\n\n{UNCHECKED}" if text else THINKING


def _so_far(text: str) -> str:
    """What is written so far; a sentence about a case waits until it is known to be about one that was retrieved."""
    return linked(" ".join(each for each in _SENTENCE.split(text) if not _OF_A_CASE.search(each)), {})


def _checked(replied: Mapping[str, Any]) -> str:
    """The whole answer: doubtful sentences marked where they stand, and below why; contradicted ones struck through."""
    text, why = replied["text"], list[str]()
    for claim in replied["claims"]:
        said = TAG.sub("", claim["text"]).strip()
        if claim["status"] not in ("unsupported", "contradicted") or said not in text:  # what was left out is not told again
            continue
        against = claim["status"] == "contradicted"
        text = text.replace(said, f"⚠ ~~{said}~~" if against else f"⚠ {said}", 1)
        why.append(f"⚠ **{'Evidence against' if against else 'No evidence for'}** “{said}”: {claim.get('reason') or 'nothing carries it'}.")
    links = case_links({"id": id} for id in replied["cases"]) | place_links(replied.get("spots", {}).items())
    return "\n\n".join([DOUBTFUL, linked(text, links), *why] if why else [linked(text, links)])


def linked(text: str, links: Mapping[str, str]) -> str:
    """Markdown with tags turned into links to cases, places and sequences; the page's script opens them."""

    def link(match: re.Match[str]) -> str:
        tag = match[1]
        if tag in links:
            return f"[{readable(tag)}]({links[tag]})"
        if tag.startswith("S:"):
            return f"[{tag}](#sequence-{quote(tag[2:], safe='')})"
        return f"`{readable(tag)}`"

    return TAG.sub(link, text)


def _message(database: Database, message: studies.Message) -> dict[str, Any]:
    content = message.text if message.job is None else answer_text(*jobs.look(database, message.job))
    return {"role": message.role, "content": content}
