"""Jobs and events as rows: nothing is lost by a stop, a crash or a second reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from assistant import jobs, studies
from assistant.database import Base, Database
from assistant.errors import UsageError
from assistant.jobs import FILES, MODEL, Kind, State


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database; PostgreSQL where PRIMA_TEST_POSTGRES is the URL of one that may be emptied."""
    url = f"sqlite:///{tmp_path / 'prima.db'}"
    if request.param == "postgresql":
        if not (url := os.environ.get("PRIMA_TEST_POSTGRES", "")):
            pytest.skip("PRIMA_TEST_POSTGRES names no database")
        engine = create_engine(url)
        Base.metadata.drop_all(engine)
        engine.dispose()
    opened = Database.open(url)
    yield opened
    opened.close()


def add(database: Database, kind: Kind = Kind.DRAFT) -> str:
    return jobs.enqueue(database, kind, study="s", visitor=None, payload={"n": 1})


def test_the_oldest_waiting_job_is_taken_once(database: Database) -> None:
    first, second = add(database), add(database)
    taken = [jobs.take(database, MODEL) for _ in range(3)]
    assert [job and job.id for job in taken] == [first, second, None]
    assert taken[0] is not None
    assert taken[0].payload == {"n": 1}


def test_a_lane_takes_only_its_kinds(database: Database) -> None:
    add(database, Kind.DRAFT)
    assert jobs.take(database, FILES) is None


def test_a_waiting_job_knows_how_many_go_before_it(database: Database) -> None:
    add(database)
    add(database, Kind.READ)
    last = add(database)
    assert jobs.look(database, last)[0].ahead == 1


def test_a_follower_that_comes_late_or_again_sees_every_event_once(database: Database) -> None:
    job = add(database)
    for number in range(3):
        jobs.emit(database, job, "answer", {"text": str(number)})
    _, first = jobs.look(database, job)
    jobs.emit(database, job, "answer", {"text": "3"})
    _, rest = jobs.look(database, job, first[-1].number)
    assert [event.body["text"] for event in (*first, *rest)] == ["0", "1", "2", "3"]


def test_stopping_a_waiting_job_ends_it_and_a_running_one_is_told(database: Database) -> None:
    running, waiting = add(database), add(database)
    jobs.take(database, MODEL)
    jobs.stop(database, running)
    jobs.stop(database, waiting)
    assert jobs.look(database, waiting)[0].state is State.STOPPED
    assert jobs.look(database, running)[0].state is State.RUNNING
    assert jobs.to_stop(database) == {running}


def test_after_a_crash_a_job_begins_anew_and_tells_its_followers_to_forget(database: Database) -> None:
    job = add(database)
    jobs.take(database, MODEL)
    jobs.emit(database, job, "answer", {"text": "half"})
    seen = jobs.look(database, job)[1][-1].number
    jobs.recover(database)
    looked, events = jobs.look(database, job, seen)
    assert looked.state is State.QUEUED
    assert [event.kind for event in events] == [jobs.AGAIN]


def test_a_job_that_takes_the_worker_down_twice_counts_as_interrupted(database: Database) -> None:
    job = add(database)
    for _ in range(2):
        jobs.take(database, MODEL)
        jobs.recover(database)
    looked, _ = jobs.look(database, job)
    assert looked.state is State.INTERRUPTED
    assert looked.message


def test_a_database_of_another_form_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'prima.db'}"
    database = Database.open(url)
    with database.begin() as rows:
        rows.connection().exec_driver_sql("UPDATE schema SET number = 99")
    database.close()
    with pytest.raises(UsageError, match="form 99"):
        Database.open(url)


def test_a_visitors_rows_are_theirs_and_go_together(database: Database) -> None:
    for visitor in ("v", "w"):
        studies.welcome(database, visitor)
    study = studies.add(database, visitor="v", origin="upload", label="x", path="/p")
    job = jobs.enqueue(database, Kind.DRAFT, study=study, visitor="v")
    jobs.emit(database, job, "answer", {"text": "ä"})
    studies.keep_draft(database, study=study, job=job, visitor="v", result={"a": [1]})
    studies.ask(database, "v", study, "q")
    studies.choose(database, "v", study)
    assert studies.newest_draft(database, "v", study) == {"a": [1]}
    assert (studies.see(database, "w", study), studies.newest_draft(database, "w", study)) == (None, None)
    assert not studies.remove(database, "w", study)
    assert studies.remove(database, "v", study)
    assert (studies.current(database, "v"), studies.messages(database, "v", study), studies.shelf(database, "v")) == (None, (), ())


def test_a_question_put_differently_ends_the_answer_to_the_first(database: Database) -> None:
    """Once an edit and a Clear crossed: the answer came after the chat had been cleared."""
    studies.welcome(database, "v")
    study = studies.add(database, visitor="v", origin="upload", label="x", path="/p")
    first = studies.ask(database, "v", study, "one?")
    assert jobs.take(database, MODEL) is not None
    asked = studies.messages(database, "v", study)[0]
    second = studies.ask(database, "v", study, "another?", instead_of=asked.id)
    assert jobs.to_stop(database) == {first}
    assert [(said.text, said.job) for said in studies.messages(database, "v", study)] == [("another?", None), ("", second)]
    studies.forget_chat(database, "v", study)
    studies.answer(database, second, "too late")
    assert studies.messages(database, "v", study) == ()
    assert jobs.look(database, second)[0].state is State.STOPPED


def test_a_newer_turn_of_a_tab_ends_the_older(database: Database) -> None:
    first = studies.begin_turn(database, "tab", "screen", "draft")
    assert studies.is_turn(database, "tab", "draft", first)
    studies.begin_turn(database, "tab", "draft")
    assert not studies.is_turn(database, "tab", "draft", first)
    assert studies.is_turn(database, "tab", "screen", first)


def test_the_tables_can_be_said_in_postgresqls_words() -> None:
    """Where no PostgreSQL is at hand, this still keeps SQLite's own types and words out of the tables."""
    for table in Base.metadata.sorted_tables:
        said = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert "AUTOINCREMENT" not in said
        assert "DATETIME" not in said


def test_an_unusable_url_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="could not be opened"):
        Database.open(f"sqlite:///{tmp_path}/no/such/folder/x.db")
