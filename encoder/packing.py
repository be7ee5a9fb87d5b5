"""Packed rows of several segments, one after the other, laid out as one padded block and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ALIGNED = 8  # the fused attention kernels take masks whose rows are multiples of this


@dataclass(frozen=True)
class Padding:
    """Where packed rows lie in a block (segments, longest).

    places: (total,) index into the flattened block. filled: (segments, longest), true where a row lies.
    """

    places: Tensor
    filled: Tensor

    @staticmethod
    def of(lengths: Sequence[int], device: torch.device) -> Padding:
        """The layout of segments of these lengths."""
        longest = -(-max(lengths) // ALIGNED) * ALIGNED
        filled = torch.arange(longest) < torch.tensor(lengths)[:, None]
        return Padding(filled.flatten().nonzero()[:, 0].to(device), filled.to(device))

    def pad(self, rows: Tensor, value: float = 0.0) -> Tensor:
        """(total, ...) -> (segments, longest, ...); `value` where no row lies."""
        block = rows.new_full((self.filled.numel(), *rows.shape[1:]), value)
        return block.index_copy(0, self.places, rows).view(*self.filled.shape, *rows.shape[1:])

    def unpad(self, block: Tensor) -> Tensor:
        """(segments, longest, ...) -> (total, ...)."""
        return block.flatten(0, 1)[self.places]
