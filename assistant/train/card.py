"""The card of the demo encoder, for people: what made it, how well it tells each name, and why some are told badly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.evaluate.intervals import FEWEST
from assistant.evaluate.metrics import auroc

WEAK = 0.8
WHY: Mapping[str, str] = {
    "cavernoma": "small and without mass; only SWI or T2* shows it well, and not every study has one",
    "diffuse_axonal_injury": "a few bleeds of millimetres; only SWI or T2* shows them well, and not every study has one",
    "multiple_sclerosis": "small plaques beside the white-matter change of age",
    "lacunar_stroke": "millimetres wide; told from old lacunes only by DWI",
    "cerebral_aneurysm": "a few millimetres beside vessels that look alike",
    "heterotopia": "grey matter in millimetres along the ventricles",
}


def card_text(
    digest: str, provenance: Mapping[str, Any], names: tuple[str, ...], scores: NDArray[np.float64], truth: NDArray[np.bool_]
) -> str:
    """Markdown. scores, truth: (studies, names) of the studies of calibration, which no training saw."""
    once = np.ones((1, len(truth)))
    enough = [k for k in range(len(names)) if min(truth[:, k].sum(), (~truth[:, k]).sum()) >= FEWEST]
    rows = {names[k]: float(auroc(truth[:, k], scores[:, k], once)[0]) for k in enough}
    weak = [f"- {name} {value:.2f}: {WHY.get(name, 'not explained')}" for name, value in sorted(rows.items()) if value < WEAK]
    untold = [name for name in names if name not in rows]
    return (
        "\n\n".join(
            [
                "# The demo encoder",
                f"{provenance['trained_on']} Hash {digest}. Licence: {provenance['licence']}.\nMade by {provenance['made_by']}.",
                f"AUROC on the {len(truth)} simulated studies of calibration, by name; the project's README has the figures on others.",
                f"## Below {WEAK:.2f}\n" + ("\n".join(weak) or "None."),
                "## All\n" + "\n".join(f"- {name} {value:.2f} ({truth[:, names.index(name)].sum()})" for name, value in rows.items()),
                "## Too few positive studies, not told here\n" + (", ".join(untold) or "None."),
            ]
        )
        + "\n"
    )
