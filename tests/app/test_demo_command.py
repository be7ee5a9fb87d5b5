"""`prima demo` and `prima serve` as commands: they say where they listen, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def worker_of(pid: int) -> int:
    """The page's only child."""
    deadline = time.monotonic() + 60
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return int(children[0])


def gone(pid: int, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_it_says_where_it_listens_restarts_its_worker_and_leaves_none_behind(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "assistant", "serve", "--studies-root", str(tmp_path), "--port", str(port)]
    environment = {**os.environ, "PRIMA_HOME": str(tmp_path / "home")}
    page = subprocess.Popen(
        [*command, "--state", str(tmp_path / "state")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert page.stdout is not None
    assert f"http://127.0.0.1:{port}" in page.stdout.readline()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert b"Prima" in answer.read()
    first = worker_of(page.pid)
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    second = worker_of(page.pid)
    assert second != first
    page.send_signal(signal.SIGINT)
    page.wait(60)
    page.stdout.close()
    assert gone(second)


def test_a_killed_page_takes_its_worker_along(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "assistant", "serve", "--studies-root", str(tmp_path), "--port", str(free_port())]
    environment = {**os.environ, "PRIMA_HOME": str(tmp_path / "home")}
    page = subprocess.Popen(
        [*command, "--state", str(tmp_path / "state")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert page.stdout is not None
    page.stdout.readline()
    worker = worker_of(page.pid)
    page.kill()
    page.wait(20)
    page.stdout.close()
    assert gone(worker, 60)


def test_a_taken_port_and_a_missing_root_are_messages(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        base = [sys.executable, "-W", "ignore", "-m", "assistant", "serve", "--state", str(tmp_path / "state"), "--port", str(port)]
        for root, said in ((tmp_path, "Choose another port"), (tmp_path / "none", "--studies-root must be a folder")):
            done = subprocess.run([*base, "--studies-root", str(root)], capture_output=True, text=True)
            assert (done.returncode, done.stdout) == (2, "")
            assert said in done.stderr
            assert "Traceback" not in done.stderr
