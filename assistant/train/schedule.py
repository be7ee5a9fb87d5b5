"""How far a training is, where minutes and steps both bound it."""

from __future__ import annotations

from typing import Protocol


class Bounded(Protocol):
    """A plan that ends with whichever runs out first; a slow machine does fewer steps, and still anneals to the end."""

    @property
    def minutes(self) -> float: ...

    @property
    def steps(self) -> int: ...


def share_done(plan: Bounded, spent: float, step: int) -> float:
    """Share of the training that is over, 1 or more at its end. spent: seconds."""
    return max(spent / (60 * plan.minutes), step / plan.steps)
