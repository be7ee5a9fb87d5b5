"""Visitors, their studies, drafts and chats, as rows. Every question names the visitor who asks; nobody sees another's."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from assistant import jobs
from assistant.database import AuditRow, Database, DraftRow, EventRow, JobRow, MessageRow, StudyRow, TabRow, Visitor, WorkerRow, new_id

TAB_LIFE = 7 * 86_400.0  # seconds after which a tab that chose no study since counts as closed


@dataclass(frozen=True)
class ShelfStudy:
    """A study as the page shows it. state: waiting, ready, failed. intake: see `assistant.worker`; empty until read."""

    id: str
    path: str
    label: str
    origin: str
    state: str
    intake: dict[str, Any]
    message: str | None


@dataclass(frozen=True)
class Message:
    """One chat message; job answers it (of an answer)."""

    id: int
    role: str
    text: str
    job: str | None


@dataclass(frozen=True)
class WorkerSign:
    """The worker's last sign of life. models: loading, ready, or a sentence saying why not."""

    beat: float
    models: str


def new_token() -> str:
    """A cookie for a new browser session."""
    return secrets.token_urlsafe(32)


def visitor_id(token: str) -> str:
    """The id under which a cookie's owner is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def known(database: Database, visitor: str) -> bool:
    """Whether this visitor was let in here before."""
    with database.begin() as rows:
        return rows.get(Visitor, visitor) is not None


def welcome(database: Database, visitor: str) -> None:
    """Adds a visitor; one who is known stays as they are."""
    with database.begin() as rows:
        if rows.get(Visitor, visitor) is None:
            rows.add(Visitor(id=visitor))


def current(database: Database, visitor: str) -> str | None:
    """The study this visitor looked at last."""
    with database.begin() as rows:
        row = rows.get(Visitor, visitor)
        return row.study if row else None


def choose(database: Database, visitor: str, study: str) -> None:
    """Remembers which study a visitor looks at."""
    with database.begin() as rows:
        rows.execute(update(Visitor).where(Visitor.id == visitor).values(study=study))


def begin_turn(database: Database, tab: str, *kinds: str) -> float:
    """A new turn for a tab's tellings of these kinds (screen, draft, chat, case); it ends the older ones."""
    turn = time.time()
    with database.begin() as rows:
        rows.execute(delete(TabRow).where(TabRow.screen < turn - TAB_LIFE))
        row = rows.get(TabRow, tab) or TabRow(id=tab, screen=turn)
        for kind in kinds:
            setattr(row, kind, turn)
        rows.add(row)
    return turn


def is_turn(database: Database, tab: str, kind: str, turn: float) -> bool:
    """Whether no newer turn of this kind has begun in the tab."""
    with database.begin() as rows:
        row = rows.get(TabRow, tab)
        return row is not None and getattr(row, kind) == turn


def add(
    database: Database,
    *,
    visitor: str | None,
    origin: str,
    label: str,
    path: str,
    id: str | None = None,
    part: int = 0,
    state: str = "waiting",
) -> str:
    """Puts a study on the shelf, to be read by the worker; returns its id."""
    with database.begin() as rows:
        row = StudyRow(id=id or new_id(), visitor=visitor, origin=origin, label=label, path=path, part=part, state=state)
        rows.add(row)
        rows.flush()
        return row.id


def uploaded(database: Database, study: str, path: str) -> None:
    """A study's files are all here: it waits to be read. Its label says when it came; file names may be people's."""
    label = f"Upload of {time.strftime('%d %b, %H:%M')}"
    with database.begin() as rows:
        rows.execute(update(StudyRow).where(StudyRow.id == study).values(state="waiting", label=label, path=path, intake={}))


def shelf(database: Database, visitor: str) -> tuple[ShelfStudy, ...]:
    """Everyone's studies, then the visitor's own, oldest first."""
    with database.begin() as rows:
        mine = or_(StudyRow.visitor.is_(None), StudyRow.visitor == visitor)
        query = select(StudyRow).where(mine).order_by(StudyRow.visitor.is_not(None), StudyRow.created)
        return tuple(_shown(row) for row in rows.scalars(query))


def everyones(database: Database) -> tuple[ShelfStudy, ...]:
    """The studies that belong to nobody: the demo's."""
    with database.begin() as rows:
        return tuple(_shown(row) for row in rows.scalars(select(StudyRow).where(StudyRow.visitor.is_(None)).order_by(StudyRow.created)))


def abandoned(database: Database, before: float) -> tuple[str, ...]:
    """Takes off the shelf what was begun to be sent before a time and never finished; returns the ids."""
    with database.begin() as rows:
        found = rows.scalars(select(StudyRow).where(StudyRow.state == "uploading", StudyRow.created < before)).all()
        for row in found:
            rows.delete(row)
        return tuple(row.id for row in found)


def wait_again(database: Database, study: str) -> None:
    """A study that failed is about to be read once more."""
    with database.begin() as rows:
        rows.execute(update(StudyRow).where(StudyRow.id == study).values(state="waiting", message=None))


def see(database: Database, visitor: str, study: str | None) -> ShelfStudy | None:
    """A study, if this visitor may see it, else None."""
    with database.begin() as rows:
        row = rows.get(StudyRow, study) if study else None
        return _shown(row) if row is not None and row.visitor in (None, visitor) else None


def remove(database: Database, visitor: str, study: str) -> bool:
    """Takes a visitor's own study off the shelf, with its chat and drafts; False if it is not theirs."""
    with database.begin() as rows:
        row = rows.get(StudyRow, study)
        if row is None or row.visitor != visitor:
            return False
        rows.execute(delete(MessageRow).where(MessageRow.study == study))
        rows.execute(delete(DraftRow).where(DraftRow.study == study))
        begun = select(JobRow.id).where(JobRow.study == study)
        rows.execute(delete(EventRow).where(EventRow.job.in_(begun)))
        rows.execute(delete(JobRow).where(JobRow.study == study))
        rows.execute(update(Visitor).where(Visitor.study == study).values(study=None))
        rows.delete(row)
        return True


def messages(database: Database, visitor: str, study: str) -> tuple[Message, ...]:
    """A visitor's chat about a study, oldest first."""
    with database.begin() as rows:
        query = select(MessageRow).where(MessageRow.study == study, MessageRow.visitor == visitor).order_by(MessageRow.id)
        return tuple(Message(row.id, row.role, row.text, row.job) for row in rows.scalars(query))


def ask(database: Database, visitor: str, study: str, question: str, *, instead_of: int | None = None) -> str:
    """Adds a question, the place of its answer and the job that fills it; returns the job.

    All or nothing, so that no worker finds half of it, and nothing that is forgotten meanwhile comes back.
    instead_of: the message that goes first, with everything after it (retry, edit).
    """
    with database.begin() as rows:
        if instead_of is not None:
            _forget(rows, visitor, study, instead_of)
        rows.add(MessageRow(study=study, visitor=visitor, role="user", text=question))
        job = JobRow(kind=jobs.Kind.ASK, study=study, visitor=visitor)
        rows.add(job)
        rows.flush()
        rows.add(MessageRow(study=study, visitor=visitor, role="assistant", text="", job=job.id))
        return job.id


def answer(database: Database, job: str, text: str) -> None:
    """Writes the text of the answer that a job gives."""
    with database.begin() as rows:
        rows.execute(update(MessageRow).where(MessageRow.job == job).values(text=text))


def forget_chat(database: Database, visitor: str, study: str) -> None:
    """Takes everything out of a chat, also an answer that is being written."""
    with database.begin() as rows:
        _forget(rows, visitor, study, 0)


def keep_draft(database: Database, *, study: str, job: str, visitor: str | None, result: dict[str, Any]) -> None:
    """Keeps a finished draft, in the state `draft`."""
    with database.begin() as rows:
        rows.add(DraftRow(study=study, job=job, visitor=visitor, result=result))


def note(database: Database, visitor: str | None, action: str, study: str | None) -> None:
    """Adds a line to the audit."""
    with database.begin() as rows:
        rows.add(AuditRow(visitor=visitor, action=action, study=study))


def newest_draft(database: Database, visitor: str, study: str) -> dict[str, Any] | None:
    """The visitor's newest draft of a study, as `Result.to_json()`."""
    with database.begin() as rows:
        query = select(DraftRow.result).where(DraftRow.study == study, DraftRow.visitor == visitor)
        return rows.scalars(query.order_by(DraftRow.created.desc()).limit(1)).first()


def worker_sign(database: Database) -> WorkerSign | None:
    """The worker's last sign of life, None before the first."""
    with database.begin() as rows:
        row = rows.get(WorkerRow, 1)
        return WorkerSign(row.beat, row.models) if row else None


def _forget(rows: Session, visitor: str, study: str, first: int) -> None:
    gone = MessageRow.study == study, MessageRow.visitor == visitor, MessageRow.id >= first
    jobs.stop_all(rows, [job for job in rows.scalars(select(MessageRow.job).where(*gone)) if job is not None])
    rows.execute(delete(MessageRow).where(*gone))


def _shown(row: StudyRow) -> ShelfStudy:
    return ShelfStudy(row.id, row.path, row.label, row.origin, row.state, row.intake, row.message)
