"""What stands beside weights about how they came to be: README.md for people, card.json for programs. No date: equal runs, equal cards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assistant.train.site.cache import CachedStudy
from assistant.train.site.loop import Progress

README, CARD = "README.md", "card.json"
NOT_STATED = "not stated; the hospital that trained these weights decides"


@dataclass(frozen=True)
class Card:
    """stage: what was trained. started_from: weights it began with. figures: of the best validation. notes: what a reader should know."""

    stage: str
    trained_on: Mapping[str, Any]
    started_from: Mapping[str, str]
    settings: Mapping[str, Any]
    steps: int
    best_step: int
    figures: Mapping[str, float]
    licence: str
    notes: Sequence[str] = ()

    def write(self, folder: Path) -> None:
        """README.md and card.json."""
        (folder / CARD).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        (folder / README).write_text(self.text(), encoding="utf-8")

    def provenance(self) -> dict[str, Any]:
        """For the manifest of released weights."""
        return {"made_by": f"prima train {self.stage}", "trained_on": dict(self.trained_on), "licence": self.licence}

    def text(self) -> str:
        """The card in Markdown."""
        parts = [
            f"# {self.stage.capitalize()} trained by `prima train {self.stage}`",
            "Research use only; not a medical device. Only tested on the studies named here.",
            "## Trained on\n" + _listed(self.trained_on),
            "## Started from\n" + (_listed(self.started_from) or "Random weights."),
            f"## Result\n{self.steps} steps; validation loss was lowest at step {self.best_step}.\n" + _listed(self.figures),
            *(["## Notes\n" + "\n".join(f"- {note}" for note in self.notes)] if self.notes else []),
            "## Settings\n```json\n" + json.dumps(self.settings, indent=1) + "\n```",
            f"## Licence\n{self.licence}",
        ]
        return "\n\n".join(parts) + "\n"


def counts(training: Sequence[CachedStudy], validation: Sequence[CachedStudy], excluded: int) -> dict[str, Any]:
    """What the manifest came to: studies, patients, series, tokens and labels on both sides."""
    sides = {"training": training, "validation": validation}
    return {
        "excluded_studies": excluded,
        **{f"{name}_studies": len(side) for name, side in sides.items()},
        **{f"{name}_patients": len({one.patient for one in side}) for name, side in sides.items()},
        **{f"{name}_series": sum(len(one.lengths) for one in side) for name, side in sides.items()},
        **{f"{name}_tokens": sum(sum(one.lengths) for one in side) for name, side in sides.items()},
        **{f"{name}_labels": _labels(side) for name, side in sides.items()},
    }


def _labels(side: Sequence[CachedStudy]) -> dict[str, int]:
    """How many studies have each diagnosis."""
    return dict(sorted(Counter(name for one in side for name in one.entry.labels or ()).items()))


def figures_of(progress: Progress) -> dict[str, float]:
    """The row of the history that the weights are from."""
    return next(({k: v for k, v in row.items() if k != "step"} for row in progress.history if row["step"] == progress.best_step), {})


def _listed(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {_said(value)}" for name, value in values.items())


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
