"""The tiny preset's network as it is trained: the towers, with heads that read tokens and study together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoder.config import EncoderConfig
from encoder.networks import NameEncoder, SequenceOutput, StudyOutput, Towers
from encoder.packing import Padding
from encoder.token_head import TokenEvidence, TokenHead

TOKEN_HIDDEN = 192
DROPOUT = 0.2  # of the study heads while they learn: they are the first to know a few thousand studies by heart


@dataclass(frozen=True)
class Labels:
    """What the heads' columns mean."""

    diagnoses: tuple[str, ...]
    specialties: tuple[str, ...]
    regions: tuple[str, ...]


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of several studies, packed.

    rows: (n, 289) token inputs. lengths: tokens of each series. names: of each series. counts: series of each study.
    descriptions: of each study.
    """

    rows: Tensor
    lengths: list[int]
    names: list[str]
    counts: list[int]
    descriptions: list[str]


@dataclass(frozen=True)
class ModelOutput:
    """sequences: (s, d_seq). registers: (b, r, d). pooled: (b, r * d). clip: (b, d_clip), unit. evidence: of each token.
    scores: (b, diagnoses), referral: (b, specialties), priority: (b, 4) logits."""

    sequences: Tensor
    registers: Tensor
    pooled: Tensor
    clip: Tensor
    evidence: TokenEvidence
    scores: Tensor
    referral: Tensor
    priority: Tensor


class Gaze(nn.Module):
    """For each name, what each series shows where that series looks most like it.

    A ring on one sequence and restricted diffusion on another make an abscess; the token head sees one sequence at a time, so the
    sequences are brought together here, name by name.
    """

    def __init__(self, hidden: int, names: int, width: int = 48) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.ones(names))
        self.values = nn.Linear(hidden, width)

    def forward(self, evidence: TokenEvidence, lengths: Sequence[int], counts: Sequence[int]) -> Tensor:
        """Mean and maximum over each study's series: (b, names, 2 * width)."""
        padding = Padding.of(lengths, evidence.lesions.device)
        weights = padding.pad(self.sharpness * evidence.lesions.float(), -torch.inf).softmax(1)
        values = padding.pad(self.values(evidence.hidden).float())
        return torch.cat(_mean_and_most(weights.transpose(1, 2) @ values, counts), dim=-1)


class StudyHeads(nn.Module):
    """Study-level logits: the strongest token evidence for each name, corrected by what the series show there and by the pooled feature.

    The strongest token lets a 5 mm lesion be heard, which a pooled vector trained on few studies would average away.
    """

    def __init__(self, pooled: int, tokens: int, labels: Labels, hidden: int = 256, look: int = 64) -> None:
        super().__init__()
        width = len(labels.diagnoses)
        self.trunk = nn.Sequential(nn.LayerNorm(pooled), nn.Linear(pooled, hidden), nn.GELU(), nn.Dropout(DROPOUT))
        self.mix = nn.Sequential(nn.Linear(hidden + 2 * width, hidden), nn.GELU(), nn.Dropout(DROPOUT))
        self.scale = nn.Parameter(torch.ones(width))
        self.scores = nn.Linear(hidden, width)
        self.gaze = Gaze(tokens, width)
        self.look = nn.Linear(2 * self.gaze.values.out_features, look)
        self.looked = nn.Parameter(torch.randn(2, width, look) / look**0.5)  # of each name: offset before, weight after the nonlinearity
        self.referral = nn.Linear(hidden + width, len(labels.specialties))
        self.priority = nn.Linear(hidden + width, 4)

    def forward(
        self, pooled: Tensor, evidence: TokenEvidence, lengths: Sequence[int], counts: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """pooled: (b, r * d); evidence of the packed tokens; lengths and counts as in TokenBatch."""
        strongest = strongest_evidence(evidence.lesions, lengths, counts)
        mixed = self.mix(torch.cat([self.trunk(pooled), strongest / 4], dim=1))
        looked = F.dropout(F.gelu(self.look(self.gaze(evidence, lengths, counts)) + self.looked[0]), DROPOUT, self.training)
        scores = self.scale * strongest[:, : len(self.scale)] + self.scores(mixed) + (looked * self.looked[1]).sum(-1)
        known = torch.cat([mixed, scores.sigmoid()], dim=1)
        return scores, self.referral(known), self.priority(known)


def strongest_evidence(lesions: Tensor, lengths: Sequence[int], counts: Sequence[int]) -> Tensor:
    """For each study and name: the highest token logit, and the mean over series of each series' highest: (b, 2 * names)."""
    by_series = Padding.of(lengths, lesions.device).pad(lesions, -torch.inf).amax(1)
    mean, most = _mean_and_most(by_series, counts)
    return torch.cat([most, mean], dim=1)


def _mean_and_most(of_series: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and maximum over the series of each study: (s, ...) -> twice (b, ...)."""
    padding = Padding.of(counts, of_series.device)
    series = padding.filled.sum(1).view(-1, *[1] * (of_series.dim() - 1))
    return padding.pad(of_series).sum(1) / series, padding.pad(of_series, -torch.inf).amax(1)


class Readout(nn.Module):
    """Token head and study heads: everything of the tiny preset that the published network has not."""

    def __init__(self, config: EncoderConfig, labels: Labels) -> None:
        super().__init__()
        self.tokens = TokenHead(config.sequence.width, len(labels.diagnoses), len(labels.regions), TOKEN_HIDDEN)
        self.heads = StudyHeads(config.study.registers * config.study.width, TOKEN_HIDDEN, labels)


class Model(nn.Module):
    """Towers and readout together."""

    def __init__(self, config: EncoderConfig, labels: Labels) -> None:
        super().__init__()
        self.labels = labels
        self.towers = Towers(config)
        self.readout = Readout(config, labels)

    def forward(self, batch: TokenBatch) -> ModelOutput:
        """Packed over series and studies; equals a loop over single studies."""
        sequences, study = embed(self.towers, batch)
        return read_out(self.readout, sequences, study, batch)


def embed(towers: Towers, batch: TokenBatch) -> tuple[SequenceOutput, StudyOutput]:
    """Token rows and names -> sequence and study outputs."""
    sequences = towers.sequence(batch.rows, batch.lengths, _each_once(towers.name, batch.names))
    return sequences, towers.study(sequences.embedding, batch.counts, _each_once(towers.description, batch.descriptions))


def read_out(readout: Readout, sequences: SequenceOutput, study: StudyOutput, batch: TokenBatch) -> ModelOutput:
    """Token evidence and study logits."""
    evidence = readout.tokens(sequences.tokens)
    scores, referral, priority = readout.heads(study.pooled, evidence, batch.lengths, batch.counts)
    return ModelOutput(sequences.embedding, study.registers, study.pooled, study.clip, evidence, scores, referral, priority)


def _each_once(encode: NameEncoder, texts: list[str]) -> Tensor:
    """Encode each different text once (a batch repeats few names): (n, out) in the order of `texts`."""
    unique = sorted(set(texts), key=len)
    place = {text: row for row, text in enumerate(unique)}
    rows: Tensor = encode(unique)
    return rows[[place[text] for text in texts]]
