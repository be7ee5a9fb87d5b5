"""Makes the README's pictures: `python docs/make_pictures.py` starts the demo, uses it as a person would, and saves what they see.

Phantoms only. Needs /usr/bin/chromium, Playwright and the shipped demo weights.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent / "pictures"
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"]
WIDTH = 1200  # pixels of the saved picture
COLOURS = 128  # a palette keeps a picture near 100 kB
QUESTIONS = ("What is the main finding?", "Which similar cases support this?")
PATIENCE = 300_000  # ms


def main() -> None:
    """Dark and light, a draft, a cited case, a chat."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as state, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "assistant", "demo", "--port", str(port), "--state", state]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PRIMA_HOME": f"{state}/home"})
        assert demo.stdout is not None
        try:
            demo.stdout.readline()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
                use(browser.new_page(viewport={"width": 1440, "height": 980}, color_scheme="dark"), f"http://127.0.0.1:{port}")
                browser.close()
        finally:
            demo.terminate()
            demo.wait(30)


def use(page: Any, address: str) -> None:
    """One visit, with a picture wherever the README wants one."""
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("#study-viewer .viewer[data-loaded]")
    page.locator("#write-draft").click()
    page.wait_for_selector("#draft .badges")
    save(page, "draft")
    if cited := page.locator("#draft ul a[href^='#case-']").all():
        cited[0].click()
        page.wait_for_selector("#case-viewer .viewer[data-loaded]")
        page.wait_for_timeout(1000)
        save(page, "cited-case")
        page.locator("#case-viewer [data-part=close]").click()
    for question in QUESTIONS:
        page.locator("#question textarea, #question input").first.fill(question)
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        page.wait_for_selector("#stop-chat:disabled")
    page.locator("#study-viewer [data-view=all]").click()
    page.locator("#theme").click()
    page.locator("#chat").scroll_into_view_if_needed()
    save(page, "chat-light")


def save(page: Any, name: str) -> None:
    """The screen as a small PNG."""
    page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = picture.resize((WIDTH, round(WIDTH * picture.height / picture.width)), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
