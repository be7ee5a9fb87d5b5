"""Train the tiny encoder on cached studies: contrastive with the reports, and supervised by the phantoms' truth.

The paper trains by CLIP alone on 220,000 studies (PRIMA.md section 8). A few thousand simulated studies are too few for
that, so the tiny preset adds what simulation gives for nothing: labels of the study and of every token.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional as F

import phantom
from assistant.train.studies import names
from encoder.features import Priority
from encoder.model import Model, TokenBatch

LEVELS = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
TOKENS = 56  # of each series in a training step: token dropout that also bounds the step's cost
LESION_CHANCE = 6.0  # how much likelier a token with a lesion is kept by that dropout: most tokens are normal tissue
MIN_VOXELS = 6  # a token with fewer lesion voxels does not count as showing the lesion
NAME_DROPOUT, DESCRIPTION_DROPOUT, SERIES_DROPOUT = 0.3, 0.3, 0.15


@dataclass(frozen=True)
class Corpus:
    """All cached studies with their tokens as rows for the sequence transformer.

    rows: (n, 289) float16. lesions: (n, names) uint8. starts: first token of each series. first_series: of each study.
    """

    rows: NDArray[np.float16]
    lesions: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    offsets: NDArray[np.float16]
    starts: NDArray[np.int64]
    first_series: NDArray[np.int64]
    studies: tuple[dict[str, Any], ...]

    def batch(
        self, chosen: NDArray[np.int64], rng: np.random.Generator | None
    ) -> tuple[TokenBatch, NDArray[np.int64], list[tuple[int, ...]]]:
        """Tokens of the chosen studies; with a generator: equal-length random subsets, dropped names and series."""
        picks, lengths, labels, counts, kept_series = [], [], [], [], []
        for study in chosen:
            series = list(range(self.first_series[study], self.first_series[study + 1]))
            if rng is not None and len(series) > 2:
                series = [s for s in series if rng.random() > SERIES_DROPOUT] or series[:1]
            known = self.studies[study]["names"]
            for s in series:
                tokens = np.arange(self.starts[s], self.starts[s + 1])
                if rng is not None:
                    tokens = self._some(tokens, rng)
                picks.append(tokens)
                lengths.append(len(tokens))
                hidden = rng is not None and rng.random() < NAME_DROPOUT
                labels.append("unk" if hidden else known[s - self.first_series[study]])
            counts.append(len(series))
            kept_series.append(tuple(s - int(self.first_series[study]) for s in series))
        hide = [rng is not None and rng.random() < DESCRIPTION_DROPOUT for _ in chosen]
        texts = [("unk" if h else self.studies[s]["description"] or "unk") for h, s in zip(hide, chosen, strict=True)]
        index = np.concatenate(picks)
        batch = TokenBatch(torch.from_numpy(self.rows[index]).float(), lengths, labels, counts, texts)
        return batch, index, kept_series

    def _some(self, tokens: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """`TOKENS` of a series' tokens in order, those with a lesion preferred (repeated where there are too few)."""
        if len(tokens) < TOKENS:
            return np.sort(rng.choice(tokens, TOKENS))
        chance = np.where(self.lesions[tokens].any(1), LESION_CHANCE, 1.0)
        keys = rng.exponential(size=len(tokens)) / chance  # the smallest keys are a weighted draw without replacement
        return np.sort(tokens[np.argpartition(keys, TOKENS - 1)[:TOKENS]])


@dataclass(frozen=True)
class Targets:
    """Study labels: diagnoses (b, names), referral (b, specialties), priority (b,) level index."""

    diagnoses: Tensor
    referral: Tensor
    priority: Tensor


def targets(studies: list[dict[str, Any]], specialties: tuple[str, ...]) -> Targets:
    """Truth as tensors; a finding counts as a label of its own, and a child makes its parent true."""
    from prompts import diagnoses as table

    column = {name: k for k, name in enumerate(names())}
    y = torch.zeros(len(studies), len(column))
    r = torch.zeros(len(studies), len(specialties))
    for row, study in enumerate(studies):
        for name in {*study["diagnoses"], *(f["name"] for f in study["findings"])} & column.keys():
            y[row, column[name]] = 1
            parent = table.load()[name].parent
            if parent:
                y[row, column[parent]] = 1
        for specialty in set(study["referral"]) & set(specialties):
            r[row, specialties.index(specialty)] = 1
    level = torch.tensor([LEVELS.index(Priority(s["priority"])) for s in studies])
    return Targets(y, r, level)


Wordings = tuple[tuple[str, ...], ...]  # several wordings of one report, each its sentences


def report_wordings(studies: Sequence[dict[str, Any]], variants: int = 4) -> list[Wordings]:
    """Findings and impression of each study's report, worded `variants` times; drawing a phantom costs more than wording it."""
    drawn: dict[int, phantom.Phantom] = {}
    found = []
    for study in studies:
        if study["seed"] not in drawn:
            drawn = {study["seed"]: phantom.sample(study["seed"])}
        shown = replace(drawn[study["seed"]], mirror=study["mirror"])
        found.append(tuple(tuple(s.text for s in phantom.report.compose(shown, variant).sentences) for variant in range(variants)))
    return found


def told(wordings: Wordings, rng: np.random.Generator) -> str:
    """One of the wordings, its sentences shuffled (PRIMA.md section 8)."""
    sentences = wordings[rng.integers(len(wordings))]
    return " ".join(sentences[k] for k in rng.permutation(len(sentences)))


def contrastive(image: Tensor, text: Tensor, temperature: Tensor) -> Tensor:
    """Symmetric cross-entropy between unit vectors (b, d) (PRIMA.md section 8)."""
    logits = temperature.exp() * image @ text.T
    truth = torch.arange(len(logits))
    return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2


def token_loss(evidence: Any, corpus: Corpus, index: NDArray[np.int64], weight: Tensor) -> Tensor:
    """Does each token show each lesion, which region is it, and where in it does the lesion lie."""
    voxels = torch.from_numpy(corpus.lesions[index])
    shown = (voxels >= MIN_VOXELS).float()
    certain = ((voxels == 0) | (voxels >= MIN_VOXELS)).float()
    lesion = (
        (F.binary_cross_entropy_with_logits(evidence.lesions.float(), shown, pos_weight=weight, reduction="none") * certain).mean(0).sum()
    )
    region = torch.from_numpy(corpus.regions[index].astype(np.int64))
    tissue = region > 0
    place = F.cross_entropy(evidence.regions.float()[tissue], region[tissue])
    any_lesion = shown.bool().any(1)
    offset = torch.from_numpy(corpus.offsets[index]).float()
    here = any_lesion & (offset.abs().sum(1) > 0)
    far = F.smooth_l1_loss(evidence.offsets.float()[here] / 10, offset[here] / 10) if here.any() else lesion.new_zeros(())
    return lesion + 0.3 * place + 0.3 * far


@dataclass(frozen=True)
class Plan:
    """How long and how fast. minutes: stop and anneal by the clock, whatever the step count; most_steps: stop there even so."""

    minutes: float
    batch: int = 24
    rate: float = 1.2e-3
    warm_up: float = 0.05
    seed: int = 0
    save_every: float = 120.0
    most_steps: int | None = None


def train_encoder(model: Model, tower: SentenceTransformer, corpus: Corpus, reports: list[Wordings], plan: Plan, checkpoint: Path) -> None:
    """Train in place; progress is the share of `plan.minutes` spent, so that a slow machine still anneals to the end.

    reports: of each study. checkpoint: written every `save_every` seconds, resumed from when there.
    """
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    wanted = targets(list(corpus.studies), model.labels.specialties)
    weight = (1 - wanted.diagnoses.mean(0)).div(wanted.diagnoses.mean(0).clamp(min=1e-3)).clamp(1, 8)
    share = torch.from_numpy((corpus.lesions >= MIN_VOXELS).mean(0)).float()
    token_weight = (0.02 / share.clamp(min=1e-4)).clamp(1, 12)
    used = (wanted.diagnoses.sum(0) > 5).float()
    parameters = [*(p for n, p in model.named_parameters() if not n.startswith("towers.tokenizer.")), *tower.parameters(), temperature]
    optimiser = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=0.02, betas=(0.9, 0.98))
    spent, step = _resume(checkpoint, model, tower, optimiser, temperature)
    last_save = began = time.monotonic()
    if step == 0:
        _quiet_registers(model)
    model.train()
    tower.train()
    while spent < 60 * plan.minutes and (plan.most_steps is None or step < plan.most_steps):
        progress = spent / (60 * plan.minutes)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * min(1.0, progress / plan.warm_up + 0.02) * (0.5 + 0.5 * math.cos(math.pi * progress) + 0.01)
        tick = time.monotonic()
        chosen = rng.choice(len(corpus.studies), plan.batch, replace=False)
        batch, index, _ = corpus.batch(chosen, rng)
        with torch.autocast("cpu", torch.bfloat16):
            out = model(batch)
            words = tower(_features(tower, [told(reports[s], rng) for s in chosen]))["sentence_embedding"]
        y = wanted.diagnoses[chosen]
        study = (F.binary_cross_entropy_with_logits(out.scores.float(), y, pos_weight=weight, reduction="none") * used).mean(0).sum()
        urgency = F.cross_entropy(out.priority.float(), wanted.priority[chosen])
        refer = F.binary_cross_entropy_with_logits(out.referral.float(), wanted.referral[chosen])
        clip = contrastive(F.normalize(out.clip.float(), dim=1), words.float(), temperature.clamp(max=math.log(50)))
        tokens = token_loss(out.evidence, corpus, index, token_weight)
        loss = 0.5 * study + urgency * 0.3 + refer + 0.3 * clip + 3 * tokens
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        spent += time.monotonic() - tick
        if step % 25 == 0:
            print(
                f"encoder step {step} ({100 * progress:.0f} %) loss {loss.item():.3f} study {study.item():.3f} tokens {tokens.item():.3f} "
                f"clip {clip.item():.3f} priority {urgency.item():.3f} {spent / step:.2f} s/step",
                flush=True,
            )
        if time.monotonic() - last_save > plan.save_every:
            _save(checkpoint, model, tower, optimiser, temperature, spent, step)
            last_save = time.monotonic()
    _save(checkpoint, model, tower, optimiser, temperature, spent, step)
    print(f"encoder: {step} steps in {(time.monotonic() - began) / 60:.1f} min", flush=True)
    model.eval()
    tower.eval()


@torch.no_grad()
def _quiet_registers(model: Model) -> None:
    """Registers that start small take up what they attend to from the first step; at unit size they would be a constant with a whisper."""
    for registers in (model.towers.sequence.registers, model.towers.study.registers):
        nn.init.normal_(registers, std=0.02)


def _features(tower: SentenceTransformer, texts: list[str]) -> dict[str, Tensor]:
    features: dict[str, Tensor] = tower.preprocess(texts)
    return features


def _save(path: Path, model: Model, tower: SentenceTransformer, optimiser: Any, temperature: Tensor, spent: float, step: int) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | {f"tower.{k}": v for k, v in tower.state_dict().items()}
    for k, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{k}.{name}": value for name, value in state.items()}
    tensors["temperature"] = temperature.detach()
    part = path.with_suffix(".part")
    save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()}, part, metadata={"progress": json.dumps({"spent": spent, "step": step})}
    )
    os.replace(part, path)


def _resume(path: Path, model: Model, tower: SentenceTransformer, optimiser: Any, temperature: nn.Parameter) -> tuple[float, int]:
    if not path.exists():
        return 0.0, 0
    from safetensors import safe_open

    tensors = load_file(path)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    tower.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("tower.")})
    temperature.data.copy_(tensors["temperature"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    with safe_open(path, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
    return float(progress["spent"]), int(progress["step"])


def chunks(total: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Consecutive index blocks."""
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))
