"""CLIP on studies and reports, with every other study of the step as a negative, however the step is parted.

A step's studies may be parted into micro-batches and among processes. Each part is embedded without gradients first; the loss of all
embeddings together gives each embedding's gradient; each part is then embedded again and handed its gradients. Memory is that of one
part, the gradient that of the undivided step (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from assistant.train.encoder import contrastive
from assistant.train.site.config import ClipTraining
from assistant.train.site.patients import PatientNet, attraction
from assistant.train.site.processes import Processes
from assistant.train.site.sampling import Batch, Studies
from encoder.model import embed
from encoder.networks import Towers

HOTTEST = math.log(100)
RECALLED = (1, 5)

Embedded = dict[str, Tensor]
Loss = Callable[[Embedded], Mapping[str, Tensor]]


class Pair(nn.Module):
    """Both towers and what the losses learn. The tokenizer among the towers stays as it is: studies come as latents."""

    def __init__(self, towers: Towers, text: SentenceTransformer) -> None:
        super().__init__()
        self.towers = towers
        self.text = text
        self.temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.patients = PatientNet(*towers.sequence.registers.shape)
        towers.tokenizer.requires_grad_(False)

    def forward(self, batch: Batch) -> Embedded:
        """image (b, d), text (b, d), unit; sequences (s, 128), unit; owners (s,)."""
        sequences, study = embed(self.towers, batch.tokens)
        words: dict[str, Any] = self.text.preprocess(batch.texts)
        device = self.temperature.device
        said = self.text({k: v.to(device) if isinstance(v, Tensor) else v for k, v in words.items()})["sentence_embedding"]
        return {
            "image": F.normalize(study.clip.float(), dim=1),
            "text": F.normalize(said.float(), dim=1),
            "sequences": self.patients(sequences.registers),
            "owners": batch.owners,
        }


class ClipLearner:
    """Towers and text tower on the training studies; see loop.Learner."""

    def __init__(self, pair: Pair, training: Studies, validation: Studies, config: ClipTraining, processes: Processes) -> None:
        self.module: nn.Module = pair
        self.pair, self.training, self.validation, self.config, self.processes = pair, training, validation, config, processes
        self.in_step = config.schedule.batch * config.schedule.accumulate * processes.size

    def step(self, step: int) -> Mapping[str, float]:
        """The step's studies are drawn for all processes alike; each takes its share."""
        chosen, size = self.training.drawn(step, self.in_step), self.config.schedule.batch
        own = range(len(chosen))[self.processes.share(len(chosen))]
        batches = [self.training.altered(chosen[at : at + size], step, at) for at in range(own.start, own.stop, size)]
        return accumulate(self.pair, batches, self.losses, self.processes)

    def losses(self, everything: Embedded) -> Mapping[str, Tensor]:
        """clip, patients and their weighted sum, of all embeddings of a step."""
        clip = contrastive(everything["image"], everything["text"], self.pair.temperature.clamp(max=HOTTEST))
        patients = attraction(everything["sequences"], everything["owners"], self.config.patient_temperature)
        return {"loss": clip + self.config.patient_weight * patients, "clip": clip, "patients": patients}

    def after(self) -> None:
        """Nothing else moves."""

    @torch.no_grad()
    def validate(self, step: int) -> Mapping[str, float]:
        """The losses among as many studies as a step has, and how often the own report is among the nearest of all."""
        del step
        count, size = len(self.validation.studies), self.config.schedule.batch
        mine = np.arange(count)[self.processes.rank :: self.processes.size]
        embedded = []
        for at in range(0, len(mine), size):
            with self.processes.autocast(self.pair):
                embedded.append(self.pair(self.validation.whole(mine[at : at + size])))
        width = self.pair.towers.study.clip.out_features
        empty = torch.zeros(0, width, device=self.processes.device)
        own = {name: torch.cat([e[name] for e in embedded]) if embedded else empty for name in ("image", "text")}
        places = np.concatenate([np.arange(count)[rank :: self.processes.size] for rank in range(self.processes.size)])
        order = torch.from_numpy(np.argsort(places)).to(self.processes.device)
        image, text = (torch.cat(self.processes.gather(own[name]))[order] for name in ("image", "text"))
        parts = torch.arange(count, device=image.device).tensor_split(max(1, round(count / self.in_step)))
        losses = [float(contrastive(image[part], text[part], self.pair.temperature.clamp(max=HOTTEST))) for part in parts]
        return {"loss": float(np.mean(losses)), **recall(image, text)}

    def state(self) -> dict[str, Any]:
        """Nothing but weights."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def saved(self) -> None:
        """Nothing to tidy."""


def recall(image: Tensor, text: Tensor) -> dict[str, float]:
    """Share of studies whose own report is among the k nearest, and the reverse, averaged."""
    similarity = image @ text.T
    own = similarity.diagonal()
    rank = torch.stack([(similarity > own[:, None]).sum(1), (similarity > own[None]).sum(0)])
    return {f"recall_at_{k}": float((rank < k).float().mean()) for k in RECALLED if k < len(image)}


def accumulate(module: nn.Module, batches: Sequence[Any], losses: Loss, processes: Processes) -> Mapping[str, float]:
    """Put into the parameters this process's share of the gradient of losses["loss"] over all batches of all processes.

    `module` embeds a batch as named tensors, rows (n, ...) each; `losses` sees the rows of all of them, first the first process's.
    The shares of all processes add up to the gradient of the undivided batch. Returns the losses, the same in every process.
    """
    once = len(batches) == 1
    embedded, states = [], []
    for batch in batches:
        states.append(_random_state(processes.device))
        with torch.set_grad_enabled(once), processes.autocast(module):
            embedded.append(module(batch))
    leaves = {name: _gathered([part[name] for part in embedded], processes) for name in embedded[0]}
    found = losses({name: torch.cat(parts) for name, parts in leaves.items()})
    found["loss"].backward()  # type: ignore[no-untyped-call]
    for parameter in module.parameters():  # those of the loss itself: every process has found their whole gradient
        if parameter.grad is not None:
            parameter.grad /= processes.size
    gradients = {name: parts[processes.rank].grad for name, parts in leaves.items()}
    starts = dict.fromkeys(gradients, 0)
    for batch, state, part in zip(batches, states, embedded, strict=True):
        if not once:
            _set_random_state(state, processes.device)  # dropout must drop the same again
            with processes.autocast(module):
                part = module(batch)
        _hand_back(part, gradients, starts)
    return {name: float(loss.detach()) for name, loss in found.items()}


def _gathered(parts: list[Tensor], processes: Processes) -> list[Tensor]:
    """The rows of each process, this one's as a leaf that gradients stop at."""
    rows = processes.gather(torch.cat(parts).detach())
    return [part.requires_grad_(part.is_floating_point()) for part in rows]


def _hand_back(part: Embedded, gradients: Mapping[str, Tensor | None], starts: dict[str, int]) -> None:
    tensors, own = [], []
    for name, tensor in part.items():
        start, starts[name] = starts[name], starts[name] + len(tensor)
        gradient = gradients[name]
        if tensor.requires_grad and gradient is not None:
            tensors.append(tensor)
            own.append(gradient[start : start + len(tensor)])
    torch.autograd.backward(tensors, own)


def _random_state(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_random_state(state: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
