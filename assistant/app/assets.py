"""What the browser loads from this site: the viewer's library, our scripts and styles."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "static"


@cache
def address(name: str) -> str:
    """The URL of a static file; its content's hash is in it, so a browser keeps it until it changes."""
    return f"/site/static/{name}?v={sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}"
