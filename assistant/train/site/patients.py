"""The patient-discrimination loss: sequences of one patient attract, those of others repel (PRIMA.md 8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN, OUT = 500, 128


class PatientNet(nn.Module):
    """A sequence's registers -> a unit vector; only training knows it."""

    def __init__(self, registers: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(registers * width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUT))

    def forward(self, registers: Tensor) -> Tensor:
        """(s, r, w) -> (s, 128)."""
        return F.normalize(self.layers(registers.flatten(1)).float(), dim=1)


def attraction(vectors: Tensor, owners: Tensor, temperature: float) -> Tensor:
    """Mean over sequences of the cross-entropy between their softmax over all others and those of the same owner.

    vectors: (s, d), unit. owners: (s,) whole numbers. A sequence that is its owner's only one has nothing to say; zero if all are.
    """
    if len(vectors) < 2:
        return vectors.sum() * 0
    self_pairs = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    same = (owners[:, None] == owners[None]) & ~self_pairs
    log_share = (vectors @ vectors.T / temperature).masked_fill(self_pairs, -torch.inf).log_softmax(1)
    per_row = -torch.where(same, log_share, 0.0).sum(1) / same.sum(1).clamp(min=1)
    return per_row.sum() / same.any(1).sum().clamp(min=1)
