"""Transformer blocks over packed sequences: rows of all sequences one after the other, none padded (PRIMA.md 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoder.config import TransformerConfig
from encoder.packing import Padding


class Attention(nn.Module):
    """Multi-head self-attention inside each segment of a packed batch."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, x: Tensor, lengths: Sequence[int], padding: Padding | None = None) -> Tensor:
        """x: (total, width); lengths of the segments, summing to total. padding: attend in one padded block of that layout."""
        qkv = self.qkv(self.norm(x)).view(len(x), 3, self.heads, self.head_width)
        if padding is not None:
            query, key, value = padding.pad(qkv).permute(2, 0, 3, 1, 4)
            block = F.scaled_dot_product_attention(query, key, value, attn_mask=padding.filled[:, None, None])
            return self.out(padding.unpad(block.transpose(1, 2)).flatten(1))  # type: ignore[no-any-return]
        attended = []
        runs = [(length, sum(1 for _ in run)) for length, run in groupby(lengths)]  # neighbours of one length share a kernel
        # Split, not sliced: the gradient of each slice would be a block of the whole size.
        for part, (length, count) in zip(qkv.split([length * count for length, count in runs]), runs, strict=True):
            query, key, value = part.view(count, length, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
            attended.append(_attend(query, key, value).transpose(1, 2).flatten(0, 1).flatten(1))
        return self.out(torch.cat(attended) if len(attended) > 1 else attended[0])  # type: ignore[no-any-return]


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention, (..., length, head_width). On a CPU in bfloat16 the fused kernel's backward is three times slower than this."""
    if not (torch.is_grad_enabled() and query.requires_grad and query.dtype == torch.bfloat16 and query.device.type == "cpu"):
        return F.scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", enabled=False):
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        attended: Tensor = weights.softmax(-1) @ value
        return attended


class FeedForward(nn.Module):
    """Norm, widen, GELU, narrow; row by row."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(F.gelu(self.widen(self.norm(x))))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each around a skip connection."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config.width, config.heads, config.head_width)
        self.feed_forward = FeedForward(config.width, config.mlp)

    def forward(self, x: Tensor, lengths: Sequence[int], padding: Padding | None = None) -> Tensor:
        x = x + self.attention(x, lengths, padding)
        return x + self.feed_forward(x)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A stack of pre-norm blocks without a final norm."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))

    def forward(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """x: (total, width) packed; lengths: rows of each segment. Segments do not see each other.

        A GPU takes many segments of unlike lengths as one padded block: it would lose its time on starting a kernel for each.
        """
        padding = Padding.of(lengths, x.device) if x.is_cuda and len(set(lengths)) > 1 else None
        for block in self.blocks:
            x = block(x, lengths, padding)
        return x
