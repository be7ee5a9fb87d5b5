"""How soon the page can be used: `python benchmarks/page.py --out benchmarks/results/page.json`

Starts the demo in a fresh state folder and visits it once in Chromium: seconds from the command to "listens", from there to a page that
can be used, from opening to the first image, from the button to the draft's first words; memory of page and worker before and after use;
seconds from a citation to the cited case's full study. The command finds no study made and no model loaded, as after an installation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"]
PATIENCE = 300_000  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as state, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "assistant", "demo", "--port", str(port), "--state", state]
        began = time.monotonic()
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PRIMA_HOME": f"{state}/home"})
        try:
            assert demo.stdout is not None
            demo.stdout.readline()
            found = {"listens_s": time.monotonic() - began, **visit(browser.new_page(), f"http://127.0.0.1:{port}", demo.pid)}
        finally:
            demo.terminate()
            demo.wait(30)
        browser.close()
    result = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", **found}
    print(json.dumps(result, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


def visit(page: Any, address: str, pid: int) -> dict[str, float]:
    """One visit, timed."""
    page.set_default_timeout(PATIENCE)
    found = {}
    began = time.monotonic()
    page.goto(address)
    page.wait_for_selector("#write-draft")
    found["page_ready_s"] = time.monotonic() - began
    page.wait_for_selector("#study-viewer .viewer[data-loaded]")
    found["first_image_s"] = time.monotonic() - began
    found["memory_before_use_gib"] = memory(pid)
    began = time.monotonic()
    page.locator("#write-draft").click()
    page.wait_for_selector("#draft-reasoning")
    found["first_words_s"] = time.monotonic() - began
    page.wait_for_selector("#draft .badges")
    found["draft_s"] = time.monotonic() - began
    if cited := page.locator("#draft ul a[href^='#case-']").all():
        began = time.monotonic()
        cited[0].click()
        page.wait_for_selector("#case-viewer .viewer[data-loaded]")
        found["cited_study_s"] = time.monotonic() - began
    found["memory_after_use_gib"] = memory(pid)
    return found


def memory(pid: int) -> float:
    """Resident GiB of a process and all its descendants."""
    children: dict[int, list[int]] = {}
    resident = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        own = int(path.parent.name)
        children.setdefault(int(fields[1]), []).append(own)
        resident[own] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    family, todo = 0, [pid]
    while todo:
        one = todo.pop()
        family += resident.get(one, 0)
        todo += children.get(one, [])
    return family / 2**30


if __name__ == "__main__":
    main()
