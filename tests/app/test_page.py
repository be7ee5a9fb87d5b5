"""Handlers that tell over time, through Gradio's own queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from sqlalchemy import update

from assistant import jobs, studies
from assistant.app import draft
from assistant.app.page import UNCHANGED, Handlers
from assistant.database import Database, StudyRow
from assistant.jobs import Kind
from assistant.site import Site


def finished(work: Callable[[], Coroutine[Any, Any, list[Any]]]) -> list[Any]:
    """In a thread of its own: where the browser tests have begun, this one has a running loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def last_word(handler: Callable[[], AsyncIterator[Any]]) -> list[Any]:
    """What Gradio sends to the page when the handler ends."""

    async def to_its_end() -> list[Any]:
        with gr.Blocks() as page:
            gr.Button().click(handler, None, [gr.Textbox(), gr.Textbox()])
        iterator = None
        while True:
            told = await page.process_api(0, [], iterator=iterator, session_hash="tab", event_id="event")
            if not told["is_generating"]:
                return list(told["data"])
            iterator = told["iterator"]

    return finished(to_its_end)


def test_a_silent_end_wipes_what_a_newer_handler_has_shown() -> None:
    """Why every handler that is overtaken says `UNCHANGED`."""

    async def silent() -> AsyncIterator[tuple[str, str]]:
        for _ in ():
            yield "a", "b"

    async def telling() -> AsyncIterator[Any]:
        yield "a", "b"
        yield UNCHANGED

    assert last_word(silent) == [None, None]
    assert last_word(telling) == [gr.skip(), gr.skip()]


class Overtaken(Handlers):
    """A newer turn has begun whenever one looks."""

    def __init__(self) -> None:
        pass

    def _visitor(self, *_: Any) -> str:
        return "visitor"

    async def _turn(self, *_: Any) -> float:
        return 1.0

    @asynccontextmanager
    async def _telling(self, *_: Any) -> AsyncIterator[bool]:
        yield False


@pytest.mark.parametrize(
    ("handler", "arguments", "outputs"),
    [("show", ("study",), 9), ("follow_draft", ("study",), 4), ("follow_chat", ("study",), 2), ("follow_case", (("case", "C1", 0.0),), 1)],
)
def test_a_handler_that_is_overtaken_changes_nothing(handler: str, arguments: tuple[Any, ...], outputs: int) -> None:
    async def said() -> list[Any]:
        return [words async for words in getattr(Overtaken(), handler)(*arguments, None)]

    *_, last = finished(said)
    assert last in (UNCHANGED, (UNCHANGED,) * outputs)


class Delayed(Handlers):
    """Held up once, just after it was found to be the newest: the time in which another click may come."""

    held_up = False

    async def _do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        found = await super()._do(act, *arguments)
        if act is studies.is_turn and not self.held_up:
            self.held_up = True
            await asyncio.sleep(0.5)
        return found


@pytest.fixture
def handlers(tmp_path: Path) -> Iterator[Handlers]:
    """Of a page with one visitor and two studies, of which `one` has a draft under way."""
    site = Site.at(tmp_path)
    database = Database.open(site.database)
    visitor = studies.visitor_id("token")
    studies.welcome(database, visitor)
    for id in ("one", "two"):
        studies.add(database, visitor=visitor, origin="root", label=id, path=id, id=id, state="ready")
    with database.begin() as rows:
        rows.execute(update(StudyRow).values(intake={"series": [], "excluded": []}))
    jobs.enqueue(database, Kind.DRAFT, study="one", visitor=visitor)
    yield Delayed(site, database, "prima")
    database.close()


def told_in_one_tab(*begun: Callable[[Any], AsyncIterator[Any]]) -> list[Any]:
    """What reaches the page, in order, of handlers that begin one after the other."""
    request = SimpleNamespace(session_hash="tab", cookies={"prima": "token"})
    told: list[Any] = []

    async def deliver(handler: Callable[[Any], AsyncIterator[Any]]) -> None:
        async for words in handler(request):
            if words != UNCHANGED and set(map(str, words)) != {str(UNCHANGED)}:
                told.append(words)

    async def all_of_them() -> list[Any]:
        tasks = []
        for handler in begun:
            tasks.append(asyncio.create_task(deliver(handler)))
            await asyncio.sleep(0.2)
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)
        return told

    return finished(all_of_them)


def test_of_two_choices_the_newer_one_is_told_last(handlers: Handlers) -> None:
    told = told_in_one_tab(partial(handlers.show, "one"), partial(handlers.show, "two"))
    assert told[-1][0] == "two"


def test_no_draft_is_told_beside_a_study_chosen_later(handlers: Handlers) -> None:
    told = told_in_one_tab(partial(handlers.follow_draft, "one"), partial(handlers.follow_draft, "two"))
    assert told[-1][0] == draft.empty()
