"""Keeps one worker process alive as long as the page is, and not a moment longer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys

from assistant.site import Site

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds a worker gets to end by itself
SLOW = (1.0, 2.0, 5.0, 15.0, 60.0)  # seconds before the next start, by the number of quick deaths in a row
QUICK = 20.0


class Supervisor:
    """Starts the worker, starts it again when it dies, ends it with the page."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id, None between two workers."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Begins to keep a worker; needs a running event loop."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Ends the worker: its stdin closes, and if that is not enough it is killed."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._process and self._process.returncode is None:
            self._hang_up(self._process)
            try:
                await asyncio.wait_for(self._process.wait(), PATIENCE)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            born = loop.time()
            self._process = await self._spawn()
            code = await self._process.wait()
            deaths = deaths + 1 if loop.time() - born < QUICK else 1
            log.warning("the worker ended with code %s; starting another", code)
            await asyncio.sleep(SLOW[min(deaths, len(SLOW)) - 1])

    async def _spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "assistant.commands.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C goes to the page, which then ends the worker in order
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        root = self._site.studies_root
        # The database URL may hold a password, so it goes through the pipe, not onto a command line that others can list.
        said = {"state": str(self._site.state), "database": self._site.database, "studies_root": str(root) if root else None}
        assert process.stdin is not None
        process.stdin.write((json.dumps(said) + "\n").encode())
        await process.stdin.drain()
        return process

    @staticmethod
    def _hang_up(process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
