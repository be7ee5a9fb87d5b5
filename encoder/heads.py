"""Scores from the pooled study feature: small shared heads, or the published one-network-per-diagnosis heads (PRIMA.md 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS = 128  # rows of a half-precision layer widened at a time: 5 MB stay in the cache; 512 rows take six times as long


@dataclass(frozen=True)
class HeadGroup:
    """One kind of scores (diagnosis, referral, priority). hidden: widths of the hidden layers.

    separate: each name has a network of its own, with one output; else one network has a column for each name.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    hidden: tuple[int, ...]
    separate: bool


class SharedHeads(nn.Module):
    """One MLP with a column for each name; trainable."""

    def __init__(self, width: int, group: HeadGroup) -> None:
        super().__init__()
        self.group = group
        widths = (width, *group.hidden, len(group.names))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.register_buffer("thresholds", torch.tensor(group.thresholds), persistent=False)  # their home is the json
        self.thresholds: Tensor

    def forward(self, pooled: Tensor) -> Tensor:
        """(b, width) -> (b, names): logit - threshold."""
        *hidden, last = self.layers
        for layer in hidden:
            pooled = F.relu(layer(pooled))
        return last(pooled) - self.thresholds  # type: ignore[no-any-return]

    def column(self, name: str) -> Callable[[Tensor], Tensor]:
        """One name's score alone: (b, width) -> (b,)."""
        return lambda pooled: self(pooled)[:, self.group.names.index(name)]


class SeparateHeads:
    """One MLP a name, read when it is used: 52 published heads are 2.4 G parameters, of which one head is in use at a time.

    read: tensor name -> tensor, best a view of a mapped file; names are `<name>.<layer>.weight` and `.bias`. Half-precision weights are
    widened to float32 a few rows at a time, so that scores do not depend on the processor's half-precision kernels.
    """

    def __init__(self, read: Callable[[str], Tensor], group: HeadGroup) -> None:
        self.group = group
        self._read = read

    @torch.no_grad()
    def __call__(self, pooled: Tensor) -> Tensor:
        """(b, width) -> (b, names): logit - threshold, float32."""
        columns = [_mlp(pooled.float(), self._layers(name)) for name in self.group.names]
        return torch.cat(columns, dim=1) - torch.tensor(self.group.thresholds)

    def column(self, name: str) -> Callable[[Tensor], Tensor]:
        """One name's score alone, its layers read once: (b, width) -> (b,). Unlike the whole, it passes gradients back."""
        layers, threshold = self._layers(name), self.group.thresholds[self.group.names.index(name)]
        return lambda pooled: _mlp(pooled.float(), layers)[:, 0] - threshold

    def _layers(self, name: str) -> list[tuple[Tensor, Tensor]]:
        depth = len(self.group.hidden) + 1
        return [(self._read(f"{name}.{i}.weight"), self._read(f"{name}.{i}.bias")) for i in range(depth)]


def _mlp(x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    for weight, bias in layers[:-1]:
        x = F.relu(_linear(x, weight, bias))
    return _linear(x, *layers[-1])


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.dtype == x.dtype:
        return F.linear(x, weight, bias)
    return torch.cat([x @ rows.to(x.dtype).T for rows in torch.split(weight, ROWS)], dim=1) + bias.to(x.dtype)
