"""A padded block holds the packed rows, and nothing else is heard."""

from __future__ import annotations

import torch

from encoder.config import TransformerConfig
from encoder.packing import Padding
from encoder.transformer import Attention, Transformer

LENGTHS = [5, 1, 11, 5]


def test_packed_rows_come_back_from_their_block() -> None:
    rows = torch.randn(sum(LENGTHS), 3, 2)
    padding = Padding.of(LENGTHS, rows.device)
    block = padding.pad(rows, -7.0)
    assert block.shape[:2] == padding.filled.shape
    assert (block[~padding.filled] == -7).all()
    assert torch.equal(padding.unpad(block), rows)
    assert torch.equal(block[2, :11], rows[6:17])


def test_attention_in_a_padded_block_equals_attention_segment_by_segment() -> None:
    torch.manual_seed(0)
    attention, x = Attention(24, 3, 8), torch.randn(sum(LENGTHS), 24)
    alone = torch.cat([attention(part, [len(part)]) for part in torch.split(x, LENGTHS)])
    torch.testing.assert_close(attention(x, LENGTHS, Padding.of(LENGTHS, x.device)), alone)
    network = Transformer(TransformerConfig(24, 2, 3, 8, 32, 0, 24))
    torch.testing.assert_close(network(x, LENGTHS), torch.cat([network(p, [len(p)]) for p in torch.split(x, LENGTHS)]))
