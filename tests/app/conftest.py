"""The real page with its real worker, and a real Chromium, once for all browser tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marked
import pytest
from pydicom.uid import generate_uid

from assistant.database import Database

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 180.0  # seconds, for machines that do much else; a machine at rest needs few of them
START = """
import os
import signal
import sys
import threading
from pathlib import Path
from assistant.app.run import run
from assistant.commands import demo
from assistant.database import Database
from assistant.site import Site
site = Site.at(Path(sys.argv[1]), studies_root=Path(sys.argv[2]), demo=True)
demo.STUDIES = demo.STUDIES[:2]
database = Database.open(site.database)
demo.shelve(site, database)
database.close()

def end_with_the_tests():  # also when they are killed
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_tests, daemon=True).start()
run(site, host="127.0.0.1", port=int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Running:
    """A page that listens. state, root: its folders."""

    address: str
    state: Path
    root: Path
    process: subprocess.Popen[str]

    @contextmanager
    def database(self) -> Iterator[Database]:
        """What the page and its worker know."""
        opened = Database.open(f"sqlite:///{self.state / 'prima.db'}")
        yield opened
        opened.close()


def missing(what: str) -> None:
    """Skips here, fails where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI=true")
    pytest.skip(f"{what} is missing")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two demo studies, still being made while the first tests look at others, and a studies root with marked ones."""
    if not CHROMIUM.exists():
        missing(str(CHROMIUM))
    state, root = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("root")
    uid = generate_uid()
    for plane in marked.PLANES:
        marked.write_dicom(plane, root / "dicom" / plane, uid)
    for orientation, name in zip(marked.ORIENTATIONS, ("T1", "T2"), strict=True):
        marked.write_nifti(orientation, root / "nifti", name)
    marked.write_nifti("RAS", root / "two", "T1")
    marked.write_nifti("LAS", root / "two", "FLAIR", tilt=25.0)
    if real := os.environ.get("PRIMA_TEST_DATA"):
        shutil.copytree(Path(real) / "nifti_tumour_TCGA-FG-6692", root / "real")
    port = free_port()
    environment = {**os.environ, "PRIMA_HOME": str(state / "home")}
    command = [sys.executable, "-W", "ignore", "-c", START, str(state / "page"), str(root), str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    assert "listens on" in process.stdout.readline()
    yield Running(f"http://127.0.0.1:{port}", state / "page", root, process)
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        missing(str(CHROMIUM))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(running: Running, chromium: Any) -> Iterator[Callable[[], Any]]:
    """Opens the page as one more person; at the end nobody's browser has asked anyone but this site, and no script has failed."""
    contexts: list[Any] = []
    strange: list[str] = []

    def note(url: str) -> None:
        if not url.startswith((running.address, "blob:", "data:")):
            strange.append(url)

    def come() -> Any:
        context = chromium.new_context(viewport={"width": 1120, "height": 720})
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        context.on("request", lambda request: note(request.url))
        page = context.new_page()
        page.on("websocket", lambda socket: strange.append(socket.url))
        page.on("pageerror", lambda error: strange.append(f"script: {error}"))
        page.goto(running.address)
        return page

    yield come
    for context in contexts:
        context.close()
    assert strange == []


def eventually(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.1)
