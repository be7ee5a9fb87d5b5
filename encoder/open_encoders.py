"""Other published encoders (HLIP, NeuroVFM, a site's own), each one class in a package of its own; docs/OPEN_ENCODERS.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from encoder.errors import WeightsError
from encoder.precision import Asked

if TYPE_CHECKING:
    from encoder.encoder import StudyEncoder

GROUP = "prima.encoders"  # of entry points: a kind's name -> what opens its folders


def kind_of(manifest: Path) -> str | None:
    """The `kind` that an encoder.json states; None for the house's own format, and for a file that is no json at all."""
    try:
        stated = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind = stated.get("kind") if isinstance(stated, dict) else None
    return None if kind is None else str(kind)


def opener(kind: str) -> Callable[[Path, Asked], StudyEncoder]:
    """What an installed package registered for this kind. Raises WeightsError where none did, or where it cannot be imported.

    Only packages that somebody installed are asked; nothing in the weights' folder is ever run.
    """
    registered = {entry.name: entry for entry in entry_points(group=GROUP)}
    if kind not in registered:
        known = ", ".join(sorted(registered)) or "none"
        raise WeightsError(
            f"encoder.json: kind {kind!r} needs a package with an entry point of that name in {GROUP!r}, found {known}; install it."
        )
    try:
        opened: Callable[[Path, Asked], StudyEncoder] = registered[kind].load()
    except (ImportError, AttributeError) as error:
        raise WeightsError(f"The package for encoders of kind {kind!r} cannot be imported: {error}; install it again.") from error
    return opened
