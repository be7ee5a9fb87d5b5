"""Handlers that tell over time, through Gradio's own queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr
import pytest

from assistant.app.page import quietly_ending


async def overtaken() -> AsyncIterator[tuple[str, str]]:
    """Says nothing, as one that is not needed any more."""
    for _ in ():
        yield "a", "b"


async def telling() -> AsyncIterator[tuple[str, str]]:
    yield "a", "b"


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

    return asyncio.run(to_its_end())


@pytest.mark.parametrize("handler", [overtaken, telling])
def test_a_handlers_end_changes_nothing(handler: Callable[[], AsyncIterator[Any]]) -> None:
    assert last_word(quietly_ending(handler)) == [gr.skip(), gr.skip()]


def test_without_it_the_end_wipes_what_a_newer_handler_has_shown() -> None:
    assert last_word(overtaken) == [None, None]
