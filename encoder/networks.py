"""Tokens -> sequence embeddings -> study embedding: the published towers (PRIMA.md 4 and 5), any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoder.config import PLANE_WIDTH, POSITION_WIDTH, EncoderConfig, PatchSpec, TransformerConfig
from encoder.names import CODES, character_codes
from encoder.patches import token_size
from encoder.tokenizer import VQVAE
from encoder.transformer import Transformer

NAME_POSITION_WIDTH = 10


@dataclass(frozen=True)
class SequenceOutput:
    """registers: (s, r, w) after their norm. embedding: (s, d_seq). tokens: (total, w), same norm, packed as they came in."""

    registers: Tensor
    embedding: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class StudyOutput:
    """registers: (b, r, d) after their norm. pooled: (b, r * d), the same flat: what the heads read. clip: (b, d_clip), unit length."""

    registers: Tensor
    pooled: Tensor
    clip: Tensor


class NameEncoder(nn.Module):
    """Characters of a name -> one row. Both published forms (PRIMA.md 4) are this: transformer, then one linear."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(CODES, config.width - NAME_POSITION_WIDTH)
        self.transformer = Transformer(config)
        self.project = nn.Linear(config.width, config.out)

    def forward(self, names: Sequence[str]) -> Tensor:
        """n names -> (n, out): the end character's output, projected."""
        codes = [character_codes(name) for name in names]
        lengths = [len(c) for c in codes]
        device = self.embed.weight.device
        characters = self.embed(torch.tensor(list(chain(*codes)), device=device))
        places = torch.cat([torch.arange(n, device=device) for n in lengths])
        packed = torch.cat([characters, sine_cosine(places, NAME_POSITION_WIDTH).to(characters.dtype)], dim=1)
        ends = torch.tensor(lengths, device=device).cumsum(0) - 1
        return self.project(self.transformer(packed, lengths)[ends])  # type: ignore[no-any-return]


class SequenceTransformer(nn.Module):
    """One sequence's name and tokens -> its registers and embedding."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.registers = nn.Parameter(torch.randn(config.registers, config.width))
        self.transformer = Transformer(config)
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.registers * config.width, config.out)

    def forward(self, tokens: Tensor, lengths: Sequence[int], names: Tensor) -> SequenceOutput:
        """tokens: (total, w) packed; lengths: tokens of each of the s sequences; names: (s, w)."""
        packed, segments, places = _with_front(self.registers, names, tokens, lengths)
        registers, rest = _split_front(self.norm(self.transformer(packed, segments)), len(self.registers), len(segments), places)
        return SequenceOutput(registers, self.project(registers.flatten(1)), rest)


class StudyTransformer(nn.Module):
    """A study's description and sequence embeddings -> pooled feature and CLIP embedding."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.registers = nn.Parameter(torch.randn(config.registers, config.width))
        self.transformer = Transformer(config)
        self.norm = nn.LayerNorm(config.width)
        self.clip = nn.Linear(config.registers * config.width, config.out)

    def forward(self, sequences: Tensor, counts: Sequence[int], descriptions: Tensor) -> StudyOutput:
        """sequences: (total, d) packed; counts: sequences of each of the b studies; descriptions: (b, d)."""
        packed, segments, places = _with_front(self.registers, descriptions, sequences, counts)
        registers, _ = _split_front(self.norm(self.transformer(packed, segments)), len(self.registers), len(segments), places)
        pooled = registers.flatten(1)
        return StudyOutput(registers, pooled, F.normalize(self.clip(pooled), dim=1))


class Towers(nn.Module):
    """All networks between voxels and embeddings, as one module with one state dict."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.tokenizer = VQVAE(config.tokenizer)
        self.name = NameEncoder(config.name)
        self.sequence = SequenceTransformer(config.sequence)
        self.description = NameEncoder(config.description)
        self.study = StudyTransformer(config.study)


def token_rows(latents: Tensor, positions: Tensor, plane_axis: int, spec: PatchSpec) -> Tensor:
    """Latents (n, ch, a, b, c) and start voxels (n, 3) of one series -> rows (n, 289) = [latent | position 30 | plane 3].

    Latents come in native axis order; here the thin axis changes places with the first (a transpose, not a move of axes).
    """
    latent = latents.transpose(2, 2 + plane_axis).flatten(1)
    places = positions.to(latent.device) // torch.tensor(token_size(plane_axis, spec), device=latent.device)
    position = torch.cat([sine_cosine(places[:, axis], POSITION_WIDTH // 3) for axis in range(3)], dim=1)
    plane = F.one_hot(torch.full((len(latent),), plane_axis, device=latent.device), PLANE_WIDTH)
    return torch.cat([latent, position.to(latent.dtype), plane.to(latent.dtype)], dim=1)


def sine_cosine(places: Tensor, width: int) -> Tensor:
    """(n,) whole numbers -> (n, width): sine and cosine interleaved, frequencies 10000^(-2i / width)."""
    frequencies = 1.0 / 10000 ** (torch.arange(0, width, 2, device=places.device).float() / width)
    angles = places.float().unsqueeze(1) * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _with_front(registers: Tensor, first: Tensor, rows: Tensor, lengths: Sequence[int]) -> tuple[Tensor, list[int], Tensor]:
    """Pack [registers, first, rows] of each segment; returns the rows, each segment's length, and where fronts and rows lie."""
    front = torch.cat([registers.to(rows.dtype).expand(len(lengths), -1, -1), first.to(rows.dtype).unsqueeze(1)], dim=1)
    segments = [length + front.shape[1] for length in lengths]
    apart = torch.cat([front.flatten(0, 1), rows])
    places = _places(front.shape[1], segments, rows.device)
    return torch.empty_like(apart).index_copy(0, places, apart), segments, places


def _split_front(rows: Tensor, registers: int, segments: int, places: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `_with_front`: the registers (segments, registers, width), and the packed rows without registers and first."""
    apart = rows.index_select(0, places)
    front = apart[: segments * (registers + 1)].view(segments, registers + 1, -1)
    return front[:, :registers], apart[segments * (registers + 1) :]


def _places(front: int, segments: Sequence[int], device: torch.device) -> Tensor:
    """Where the first `front` rows of all packed segments lie, then where the others do: (total,).

    Not a slice a segment: a GPU would wait for the loop.
    """
    lengths = torch.tensor(segments)
    starts = lengths.cumsum(0) - lengths
    first = torch.zeros(int(lengths.sum()), dtype=torch.bool)
    fronts = (starts[:, None] + torch.arange(front)).flatten()
    first[fronts] = True
    return torch.cat([fronts, (~first).nonzero()[:, 0]]).to(device)
