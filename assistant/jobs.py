"""The queue between the page and the worker: jobs, and the events they leave behind, as rows.

The page enqueues, follows and stops; the worker takes, emits and ends. Nothing passes between them in any other way, so a reload,
a restart or a second user is the same mechanism.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from assistant.database import Database, EventRow, JobRow

AGAIN = "again"  # the event that tells a follower to forget what it saw: the job begins anew
ATTEMPTS = 2  # a job that takes the worker down with it is not begun a third time


class Kind(StrEnum):
    """What a job does."""

    READ = "read"  # a study's files -> intake and viewer volumes
    PHANTOM = "phantom"  # a demo study is made, then read
    CASE = "case"  # a cited case's full study is made again, for the viewer
    DRAFT = "draft"
    ASK = "ask"


FILES = (Kind.READ, Kind.CASE, Kind.PHANTOM)
MODEL = (Kind.DRAFT, Kind.ASK)


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come from the job."""
        return self not in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True)
class Job:
    """A job as taken or looked at. ahead: jobs that go before it, 0 once it runs."""

    id: str
    kind: Kind
    study: str | None
    visitor: str | None
    payload: dict[str, Any]
    state: State
    message: str | None
    ahead: int = 0


@dataclass(frozen=True)
class JobEvent:
    """One event of a job; number rises within the job."""

    number: int
    kind: str
    body: dict[str, Any]


def enqueue(database: Database, kind: Kind, *, study: str | None, visitor: str | None, payload: dict[str, Any] | None = None) -> str:
    """Adds a job and returns its id."""
    with database.begin() as rows:
        row = JobRow(kind=kind, study=study, visitor=visitor, payload=payload or {})
        rows.add(row)
        rows.flush()
        return row.id


def take(database: Database, kinds: Iterable[Kind]) -> Job | None:
    """Takes the oldest waiting job of these kinds, in the order of the kinds, or None; safe with several takers."""
    for kind in kinds:
        with database.begin() as rows:
            waiting = JobRow.state == State.QUEUED
            row = rows.scalars(select(JobRow).where(waiting, JobRow.kind == kind).order_by(JobRow.created).limit(1)).first()
            if row is None:
                continue
            claim = update(JobRow).where(waiting, JobRow.id == row.id).values(state=State.RUNNING, attempts=row.attempts + 1)
            if rows.connection().execute(claim).rowcount == 1:
                return _job(row, state=State.RUNNING)
    return None


def emit(database: Database, job: str, kind: str, body: dict[str, Any]) -> None:
    """Adds an event to a job."""
    with database.begin() as rows:
        rows.add(EventRow(job=job, kind=kind, body=body))


def end(database: Database, job: str, state: State, message: str | None = None) -> None:
    """Closes a job."""
    with database.begin() as rows:
        rows.execute(update(JobRow).where(JobRow.id == job).values(state=state, message=message, ended=time.time()))


def stop(database: Database, job: str) -> None:
    """Asks a job to end: a waiting one ends at once, a running one when the worker sees it."""
    with database.begin() as rows:
        stop_all(rows, [job])


def stop_all(rows: Session, these: Iterable[str]) -> None:
    """`stop` of several jobs, as part of a transaction."""
    asked = JobRow.id.in_(tuple(these))
    rows.execute(update(JobRow).where(asked).values(stop=True))
    rows.execute(update(JobRow).where(asked, JobRow.state == State.QUEUED).values(state=State.STOPPED, ended=time.time()))


def to_stop(database: Database) -> set[str]:
    """The running jobs that were asked to end."""
    with database.begin() as rows:
        return set(rows.scalars(select(JobRow.id).where(JobRow.state == State.RUNNING, JobRow.stop)))


def recover(database: Database) -> None:
    """Run by a starting worker: what its predecessor left running waits again, from its beginning, or counts as interrupted."""
    with database.begin() as rows:
        for row in rows.scalars(select(JobRow).where(JobRow.state == State.RUNNING)).all():
            if row.stop:
                row.state, row.ended = State.STOPPED, time.time()
            elif row.attempts < ATTEMPTS:
                rows.execute(delete(EventRow).where(EventRow.job == row.id))
                rows.add(EventRow(job=row.id, kind=AGAIN, body={}))
                row.state = State.QUEUED
            else:
                row.state, row.ended = State.INTERRUPTED, time.time()
                row.message = "The work was interrupted twice and was not begun again. Ask for it once more."


def look(database: Database, job: str, after: int = 0) -> tuple[Job, tuple[JobEvent, ...]]:
    """A job and its events numbered above `after`; raises KeyError for an unknown job."""
    with database.begin() as rows:
        row = rows.get(JobRow, job)
        if row is None:
            raise KeyError(job)
        ahead = 0
        if row.state == State.QUEUED:
            lane = MODEL if row.kind in MODEL else FILES
            before = JobRow.state.in_((State.QUEUED, State.RUNNING)) & JobRow.kind.in_(lane) & (JobRow.created < row.created)
            ahead = rows.scalar(select(func.count()).where(before)) or 0
        found = rows.scalars(select(EventRow).where(EventRow.job == job, EventRow.id > after).order_by(EventRow.id))
        return _job(row, ahead=ahead), tuple(JobEvent(each.id, each.kind, each.body) for each in found)


def latest(database: Database, kind: Kind, *, study: str, visitor: str | None) -> Job | None:
    """The newest job of this kind of a study for a visitor (None = anybody's)."""
    with database.begin() as rows:
        query = select(JobRow).where(JobRow.kind == kind, JobRow.study == study).order_by(JobRow.created.desc()).limit(1)
        row = rows.scalars(query if visitor is None else query.where(JobRow.visitor == visitor)).first()
        return None if row is None else _job(row)


def _job(row: JobRow, *, state: State | None = None, ahead: int = 0) -> Job:
    return Job(row.id, Kind(row.kind), row.study, row.visitor, row.payload, state or State(row.state), row.message, ahead)
