"""Pre-training of the name encoder: which name belongs to which sequence (PRIMA.md 4: name <-> sequence CLIP)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assistant.train.site.clip import HOTTEST, Embedded, accumulate
from assistant.train.site.config import Schedule
from assistant.train.site.processes import Processes
from assistant.train.site.sampling import Batch, Studies
from encoder.config import EncoderConfig
from encoder.networks import NameEncoder, SequenceTransformer


class NamePair(nn.Module):
    """A name encoder with a projection of its own, and a sequence transformer that is not told the name."""

    def __init__(self, config: EncoderConfig, known: Mapping[str, int]) -> None:
        super().__init__()
        self.names = NameEncoder(replace(config.name, out=config.sequence.out))
        self.sequence = SequenceTransformer(config.sequence)
        self.temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.known = known

    def forward(self, batch: Batch) -> Embedded:
        """sequences (s, d), names (s, d), unit; labels (s,): which name."""
        tokens = batch.tokens
        untold = tokens.rows.new_zeros(len(tokens.lengths), tokens.rows.shape[1])
        sequences = self.sequence(tokens.rows, tokens.lengths, untold).embedding
        return {
            "sequences": F.normalize(sequences.float(), dim=1),
            "names": F.normalize(self.names(tokens.names).float(), dim=1),
            "labels": torch.tensor([self.known[name] for name in tokens.names], device=tokens.rows.device),
        }

    def hand_over(self, encoder: NameEncoder) -> None:
        """Give a tower's name encoder what was learned, all but the projection, which is new there as in the released weights."""
        encoder.embed.load_state_dict(self.names.embed.state_dict())
        encoder.transformer.load_state_dict(self.names.transformer.state_dict())


def matching(sequences: Tensor, names: Tensor, labels: Tensor, temperature: Tensor) -> Tensor:
    """Symmetric cross-entropy between sequences and the different names among them; a name has as many right answers as sequences."""
    different, place = torch.unique(labels, return_inverse=True)
    first = torch.stack([(place == k).nonzero()[0, 0] for k in range(len(different))])
    logits = temperature.exp() * sequences @ names[first].T
    right = F.one_hot(place, len(different)).bool()
    by_name = logits.log_softmax(0).masked_fill(~right, -torch.inf).logsumexp(0)
    return (F.cross_entropy(logits, place) - by_name.mean()) / 2


class NamesLearner:
    """See loop.Learner. Names are never dropped here: there would be nothing to learn from `unk`."""

    def __init__(self, pair: NamePair, training: Studies, validation: Studies, schedule: Schedule, processes: Processes) -> None:
        self.module: nn.Module = pair
        self.pair, self.training, self.validation, self.schedule, self.processes = pair, training, validation, schedule, processes

    def step(self, step: int) -> Mapping[str, float]:
        """As in ClipLearner: every process and micro-batch sees all the others' names as negatives."""
        size = self.schedule.batch
        chosen = self.training.drawn(step, size * self.schedule.accumulate * self.processes.size)
        own = range(len(chosen))[self.processes.share(len(chosen))]
        batches = [self.training.altered(chosen[at : at + size], step, at) for at in range(own.start, own.stop, size)]
        return accumulate(self.pair, batches, self.losses, self.processes)

    def losses(self, everything: Embedded) -> Mapping[str, Tensor]:
        """The one loss."""
        warmth = self.pair.temperature.clamp(max=HOTTEST)
        return {"loss": matching(everything["sequences"], everything["names"], everything["labels"], warmth)}

    def after(self) -> None:
        """Nothing else moves."""

    @torch.no_grad()
    def validate(self, step: int) -> Mapping[str, float]:
        """The loss by batches of studies, averaged; every process does its share of them."""
        del step
        count, size = len(self.validation.studies), self.schedule.batch
        starts = range(0, count, size)[self.processes.rank :: self.processes.size]
        found = []
        for at in starts:
            with self.processes.autocast(self.pair):
                found.append(self.losses(self.pair(self.validation.whole(np.arange(at, min(at + size, count)))))["loss"].reshape(1))
        own = torch.cat(found) if found else torch.zeros(0, device=self.processes.device)
        return {"loss": float(torch.cat(self.processes.gather(own)).mean())}

    def state(self) -> dict[str, Any]:
        """Nothing but weights."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def saved(self) -> None:
        """Nothing to tidy."""
