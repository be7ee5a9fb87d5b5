"""Runs the page until it is told to stop, and says when it listens."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable

import uvicorn

from assistant.app.server import create_app
from assistant.errors import UsageError
from assistant.site import Site

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PATIENCE = 120.0  # seconds after which the address is told all the same: the page itself says what it still waits for
LOOK = 0.2  # seconds between looks whether it is ready


class Server(uvicorn.Server):
    """A server that prints its address once it listens and is `ready`: who opens it then need not wait."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], bool]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's hook."""
        await super().startup(sockets)
        waited = 0.0
        while self.started and not self.should_exit and waited < PATIENCE and not self._ready():
            await asyncio.sleep(LOOK)
            waited += LOOK
        if self.started and not self.should_exit:
            print(f"Prima listens on http://{self.config.host}:{self.config.port} (Ctrl-C ends it)", flush=True)


def run(site: Site, *, host: str, port: int, ready: Callable[[], bool] = lambda: True) -> None:
    """Serves the site's page until Ctrl-C, and tells its address when it is `ready`; raises UsageError where the port is taken."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="page: %(levelname)s %(name)s: %(message)s")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"Cannot listen on {host}:{port} ({error.strerror}). Choose another port with --port.") from error
    if host not in LOOPBACK:
        print(
            f"There is no login: anyone who reaches {host}:{port} can use this page. Put it behind a proxy that asks for one.",
            file=sys.stderr,
        )
    print("Starting the page …", file=sys.stderr, flush=True)
    app = create_app(site, port, host)
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    logging.getLogger("uvicorn.error").addFilter(_worth_saying)
    Server(config, ready).run()


def _worth_saying(record: logging.LogRecord) -> bool:
    """Pages still open when the server ends are let go, which is no error of anyone's."""
    cut_off = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cut_off and not str(record.msg).startswith("Cancel ")
