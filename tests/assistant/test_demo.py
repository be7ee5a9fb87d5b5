"""`prima demo` tells its address when there is something to see."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import update

from assistant.app import run
from assistant.commands.demo import ready, shelve
from assistant.database import Database, StudyRow, WorkerRow
from assistant.site import Site


def test_the_demo_is_ready_with_its_models_and_its_first_study(tmp_path: Path) -> None:
    site = Site.at(tmp_path / "state", demo=True)
    database, began = Database.open(site.database), time.time()
    shelve(site, database)

    def sign(beat: float, models: str) -> bool:
        with database.begin() as rows:
            rows.merge(WorkerRow(id=1, pid=1, beat=beat, models=models))
        return ready(database, began)

    assert not ready(database, began)  # no worker yet
    assert not sign(began + 1, "ready")  # no study yet
    with database.begin() as rows:
        rows.execute(update(StudyRow).values(state="ready"))
    assert not sign(began + 1, "loading")
    assert not sign(began - 1, "ready")  # the worker of the last time
    assert sign(began + 1, "ready")
    database.close()


@pytest.mark.parametrize("patience", [60.0, 0.05])
def test_the_address_is_told_when_all_is_ready_or_patience_has_ended(
    patience: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "LOOK", 0.01)
    monkeypatch.setattr(run, "PATIENCE", patience)
    early: list[bool] = []

    def ready() -> bool:
        early.append("listens" in capsys.readouterr().out)
        return patience > 1 and len(early) == 3

    looks = 3 if patience > 1 else 5
    # in a thread of its own: browser tests before this one leave a running event loop in the main one
    serving = threading.Thread(target=lambda: asyncio.run(_served(ready, lambda: len(early) >= looks)))
    serving.start()
    serving.join()
    assert early == [False] * looks
    assert "Prima listens on http://127.0.0.1:" in capsys.readouterr().out


async def _served(ready: Callable[[], bool], asked: Callable[[], bool]) -> None:
    """Serve on a port that is free until `ready` was asked often enough, and a moment longer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = run.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="critical"), ready)
    serving = asyncio.create_task(server.serve())
    while not asked():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    server.should_exit = True
    await serving
