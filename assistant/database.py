"""The page's and the worker's shared memory: one SQL database, SQLite (WAL) by default, PostgreSQL by URL.

Tried: SQLite everywhere; PostgreSQL 15 through psycopg 3.3 with the tests of jobs and of visitors' rows, not yet under load.

Rows carry pseudonyms and session ids only. What names a person lives sealed in `identities`, see `assistant.identities`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import JSON, Engine, ForeignKey, LargeBinary, create_engine, event, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from assistant.errors import UsageError

SCHEMA = 1


def new_id() -> str:
    """A random id, unguessable, safe in URLs."""
    return uuid.uuid4().hex


class Base(DeclarativeBase):
    """Every table's base; times are seconds since 1970, UTC."""

    type_annotation_map = {dict[str, Any]: JSON}


class SchemaRow(Base):
    """The number of the tables' form, so that another version's database is refused instead of misread."""

    __tablename__ = "schema"
    number: Mapped[int] = mapped_column(primary_key=True)


class Visitor(Base):
    """One browser session. id: SHA-256 of its cookie, so that the database alone opens nobody's page."""

    __tablename__ = "visitors"
    id: Mapped[str] = mapped_column(primary_key=True)
    study: Mapped[str | None] = mapped_column(default=None)
    created: Mapped[float] = mapped_column(default=time.time)


class TabRow(Base):
    """One open tab. Each column holds the newest turn of one kind of telling; who tells under an older turn falls silent."""

    __tablename__ = "tabs"
    id: Mapped[str] = mapped_column(primary_key=True)
    screen: Mapped[float] = mapped_column(default=0.0)
    draft: Mapped[float] = mapped_column(default=0.0)
    chat: Mapped[float] = mapped_column(default=0.0)
    case: Mapped[float] = mapped_column(default=0.0)


class StudyRow(Base):
    """A study on the page. visitor: its owner, None = everyone's (demo). part: which study of its path. intake: what the reader found."""

    __tablename__ = "studies"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    visitor: Mapped[str | None] = mapped_column(ForeignKey("visitors.id"), index=True)
    origin: Mapped[str]  # demo, upload, root
    label: Mapped[str]
    path: Mapped[str]
    part: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(default="waiting")  # waiting, ready, failed
    key: Mapped[str | None] = mapped_column(default=None)
    intake: Mapped[dict[str, Any]] = mapped_column(default=dict)
    message: Mapped[str | None] = mapped_column(default=None)
    created: Mapped[float] = mapped_column(default=time.time)


class JobRow(Base):
    """Work for the worker. stop: somebody asked to end it. attempts: how often it was begun."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    study: Mapped[str | None] = mapped_column(default=None, index=True)
    visitor: Mapped[str | None] = mapped_column(default=None)
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(default="queued", index=True)
    stop: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)
    message: Mapped[str | None] = mapped_column(default=None)
    created: Mapped[float] = mapped_column(default=time.time)
    ended: Mapped[float | None] = mapped_column(default=None)


class EventRow(Base):
    """One event of a job, in the order of `id`."""

    __tablename__ = "events"
    __table_args__ = {"sqlite_autoincrement": True}  # a number is never used twice, so a follower misses nothing
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    kind: Mapped[str]
    body: Mapped[dict[str, Any]]


class DraftRow(Base):
    """A finished, checked draft. state: draft, reviewed, signed. result: `Result.to_json()`."""

    __tablename__ = "drafts"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    study: Mapped[str] = mapped_column(ForeignKey("studies.id"), index=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    visitor: Mapped[str | None] = mapped_column(default=None)
    state: Mapped[str] = mapped_column(default="draft")
    result: Mapped[dict[str, Any]]
    created: Mapped[float] = mapped_column(default=time.time)


class MessageRow(Base):
    """One message of a chat about a study. job: the job that answers (of an answer) or None (of a question)."""

    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study: Mapped[str] = mapped_column(ForeignKey("studies.id"), index=True)
    visitor: Mapped[str] = mapped_column(ForeignKey("visitors.id"))
    role: Mapped[str]  # user, assistant
    text: Mapped[str]
    job: Mapped[str | None] = mapped_column(default=None)
    created: Mapped[float] = mapped_column(default=time.time)


class IdentityRow(Base):
    """Who a pseudonym is: JSON sealed with the site key; only exports and an authorised worklist open it."""

    __tablename__ = "identities"
    key: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class WorkerRow(Base):
    """The worker's sign of life. beat: last time seen. models: loading, ready, or why they could not be opened."""

    __tablename__ = "worker"
    id: Mapped[int] = mapped_column(primary_key=True)
    pid: Mapped[int]
    beat: Mapped[float]
    models: Mapped[str]


class AuditRow(Base):
    """Who did what to which study; rows are only ever added."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(default=time.time)
    visitor: Mapped[str | None]
    action: Mapped[str]
    study: Mapped[str | None]


class Database:
    """An open database; `begin()` is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Database:
        """Opens the database at an SQLAlchemy URL and makes its tables; raises UsageError where it cannot be used."""
        try:
            engine = create_engine(url, pool_pre_ping=True)
            if engine.dialect.name == "sqlite":
                event.listen(engine, "connect", _tune_sqlite)
            Base.metadata.create_all(engine)
            database = cls(engine)
            database._check_schema()
        except (SQLAlchemyError, ImportError) as error:
            raise UsageError(
                f"The database could not be opened: {type(error).__name__}. Expected an SQLAlchemy URL such as "
                "'sqlite:////path/prima.db' or 'postgresql+psycopg://user@host/name' (needs `pip install psycopg`)."
            ) from error
        return database

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Gives every connection back."""
        self._engine.dispose()

    def _check_schema(self) -> None:
        with self.begin() as rows:
            found = rows.scalars(select(SchemaRow.number)).all()
            if not found:
                rows.add(SchemaRow(number=SCHEMA))
            elif found != [SCHEMA]:
                raise UsageError(f"The database has form {found[0]}, this version needs {SCHEMA}. Name another with --database or --state.")


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """WAL lets the page read while the worker writes; NORMAL is durable enough with it, and quick."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
