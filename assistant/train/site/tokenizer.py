"""The VQ-VAE on tokens of the hospital's studies (PRIMA.md 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from assistant.train.site.cache import CachedStudy
from assistant.train.site.config import TokenizerTraining
from assistant.train.site.processes import Processes
from assistant.train.studies import as_tokens
from assistant.train.tokenizer import start_codebook
from encoder.tokenizer import VQVAE

FROM_ONE = 16  # tokens of one study in a step: fewer files are opened than tokens drawn
JUDGED = 2048  # validation tokens


@dataclass(frozen=True)
class Drawn:
    """Tokens with the thin axis first (n, thin, patch, patch), and the array axis (n,) that it becomes."""

    values: NDArray[np.float16]
    planes: NDArray[np.uint8]


class TokenizerLearner:
    """See loop.Learner."""

    def __init__(
        self,
        network: VQVAE,
        training: Sequence[CachedStudy],
        validation: Sequence[CachedStudy],
        config: TokenizerTraining,
        seed: int,
        processes: Processes,
    ) -> None:
        self.module: nn.Module = network
        self.network, self.training, self.config, self.seed, self.processes = network, training, config, seed, processes
        each = max(1, JUDGED // len(validation))
        self.judged = [Drawn(a["values"][:each], a["planes"][:each]) for a in (study.arrays() for study in validation)]

    def step(self, step: int) -> Mapping[str, float]:
        """Micro-batches one after the other; the codebook follows each of them."""
        if step == 0:
            self._start()
        schedule = self.config.schedule
        parts = [self._losses(self._drawn(step, k), self._generator(step, k)) for k in range(schedule.accumulate)]
        return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}

    def after(self) -> None:
        """Codes follow the latents of all processes: their moving averages are averaged."""
        codebook = self.network.quantizer.quantizer
        if self.processes.size > 1:
            self.processes.mean(codebook.ema_w, codebook.ema_cluster_size)
            codebook.settle()

    @torch.no_grad()
    def validate(self, step: int) -> Mapping[str, float]:
        """Loss, the share of the tokens' variance that reconstruction misses, and how many codes are in use."""
        del step
        totals, used, squares, count = torch.zeros(2), set(), [], 0
        for drawn in self.judged:
            for x in self._turned(drawn, None):
                with self.processes.autocast(self.network):
                    latents = self.network.encode(x)
                    quantised, commitment = self.network.quantizer(latents)
                    reconstruction = self.network.decode(quantised)
                loss = _reconstruction_loss(reconstruction, x) + commitment
                totals += len(x) * torch.stack([loss, F.mse_loss(reconstruction.float(), x)]).cpu()
                squares.append(torch.stack([x.sum(), x.square().sum(), x.new_tensor(float(x.numel()))]).double().cpu())
                used |= set(self.network.quantizer.quantizer.nearest(latents).tolist())
                count += len(x)
        total, square, numbers = torch.stack(squares).sum(0)
        variance = square / numbers - (total / numbers) ** 2
        loss, error = (totals / count).tolist()
        return {"loss": loss, "unexplained": error / max(float(variance), 1e-12), "codes": float(len(used))}

    def state(self) -> dict[str, Any]:
        """Nothing but weights."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def saved(self) -> None:
        """Nothing to tidy."""

    def _start(self) -> None:
        """Codes begin as latents that occur; every process begins with the first one's."""
        with torch.no_grad():
            start_codebook(self.network, next(self._turned(self._drawn(0, 0), None)))
        self.processes.same(self.network)

    def _losses(self, drawn: Drawn, rng: np.random.Generator) -> dict[str, float]:
        """Adds this micro-batch's share of the gradient."""
        found: dict[str, float] = {"loss": 0.0, "reconstruction": 0.0, "commitment": 0.0}
        for x in self._turned(drawn, rng if self.config.permute_axes else None):
            with self.processes.autocast(self.network):
                reconstruction, commitment = self.network(x)
            difference = _reconstruction_loss(reconstruction, x)
            share = len(x) / len(drawn.values)
            (share * (difference + commitment) / (self.config.schedule.accumulate * self.processes.size)).backward()  # type: ignore[no-untyped-call]
            for name, loss in (("loss", difference + commitment), ("reconstruction", difference), ("commitment", commitment)):
                found[name] += share * float(loss.detach())
        return found

    def _generator(self, step: int, portion: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, step, portion, self.processes.rank])

    def _drawn(self, step: int, portion: int) -> Drawn:
        """This process's tokens of a micro-batch: some studies, some tokens of each."""
        rng = self._generator(step, portion)
        batch = self.config.schedule.batch
        studies = rng.choice(len(self.training), min(len(self.training), -(-batch // FROM_ONE)), replace=False)
        values, planes = [], []
        for study, count in zip(studies.tolist(), (len(part) for part in np.array_split(np.arange(batch), len(studies))), strict=True):
            arrays = self.training[study].arrays()
            chosen = np.sort(rng.choice(len(arrays["values"]), count, replace=count > len(arrays["values"])))
            values.append(arrays["values"][chosen])
            planes.append(arrays["planes"][chosen])
        return Drawn(np.concatenate(values), np.concatenate(planes))

    def _turned(self, drawn: Drawn, rng: np.random.Generator | None) -> Iterator[Tensor]:
        """Tokens (n, 1, a, b, c) as the network takes them, one plane at a time; with a generator, their axes permuted at random."""
        values, planes = drawn.values, drawn.planes
        if rng is not None:
            planes, swapped = rng.integers(3, size=len(planes), dtype=np.uint8), rng.random(len(planes)) < 0.5
            values = np.where(swapped[:, None, None, None], values.swapaxes(2, 3), values)
        for plane in np.unique(planes):
            yield as_tokens(torch.from_numpy(values[planes == plane]).to(self.processes.device), int(plane))[:, None]


def _reconstruction_loss(reconstruction: Tensor, x: Tensor) -> Tensor:
    return F.l1_loss(reconstruction.float(), x) + F.mse_loss(reconstruction.float(), x)
