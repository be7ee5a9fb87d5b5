"""Handlers that tell over time, through Gradio's own queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from assistant import jobs
from assistant.app.page import UNCHANGED, Handlers
from assistant.jobs import State


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

    async def _is_turn(self, *_: Any) -> bool:
        return False

    async def _models(self) -> str:
        return "ready"

    async def _do(self, act: Callable[..., Any], *_: Any) -> Any:
        if act is jobs.look:
            return SimpleNamespace(state=State.RUNNING, message=None), []
        return SimpleNamespace(id="job")


@pytest.mark.parametrize(
    ("handler", "arguments", "outputs"),
    [("show", ("study",), 9), ("follow_draft", ("study", 0.0), 4), ("follow_chat", ("study", 0.0), 2), ("follow_case", (None,), 1)],
)
def test_a_handler_that_is_overtaken_changes_nothing(handler: str, arguments: tuple[Any, ...], outputs: int) -> None:
    async def said() -> list[Any]:
        return [words async for words in getattr(Overtaken(), handler)(*arguments, None)]

    *_, last = finished(said)
    assert last in (UNCHANGED, (UNCHANGED,) * outputs)
