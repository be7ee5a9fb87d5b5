"""Train the tiny encoder on cached studies: contrastive with the reports, and supervised by the phantoms' truth.

The paper trains by CLIP alone on 220,000 studies (PRIMA.md section 8). A few thousand simulated studies are too few for
that, so the tiny preset adds what simulation gives for nothing: labels of the study and of every token.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from assistant.device import mixed
from assistant.labelled import diagnoses_of
from assistant.train.reports import Wordings, told
from assistant.train.schedule import share_done
from assistant.train.site.processes import Processes
from assistant.train.studies import names
from encoder.features import Priority
from encoder.model import Model, TokenBatch
from encoder.networks import Towers

LEVELS = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
TOKENS = 56  # of each series in an early step: token dropout that also bounds the step's cost
LESION_CHANCE = 6.0  # how much likelier a token with a lesion is kept by that dropout: most tokens are normal tissue
WHOLE = 0.55  # progress from which every token is seen, as in use: heads fitted on favoured tokens alone are off on whole series
MIN_VOXELS = 6  # a token with fewer lesion voxels does not count as showing the lesion
NAME_DROPOUT, DESCRIPTION_DROPOUT, SERIES_DROPOUT = 0.3, 0.3, 0.15


@dataclass(frozen=True)
class Corpus:
    """All cached studies with their tokens as rows for the sequence transformer.

    rows: (n, 289) float16. lesions: (n, names) uint8. regions: (n,) uint8. offsets: (n, 3) float16 mm. These four lie on one device,
    where steps are computed. starts: first token of each series. first_series: of each study.
    """

    rows: Tensor
    lesions: Tensor
    regions: Tensor
    offsets: Tensor
    starts: NDArray[np.int64]
    first_series: NDArray[np.int64]
    studies: tuple[dict[str, Any], ...]

    def batch(
        self, chosen: NDArray[np.int64], rng: np.random.Generator | None, *, whole: bool = False
    ) -> tuple[TokenBatch, NDArray[np.int64], list[tuple[int, ...]]]:
        """Tokens of the chosen studies; with a generator: dropped names and series, and unless `whole` equal-length random subsets."""
        picks, lengths, labels, counts, kept_series = [], [], [], [], []
        for study in chosen:
            series = list(range(self.first_series[study], self.first_series[study + 1]))
            if rng is not None and len(series) > 2:
                series = [s for s in series if rng.random() > SERIES_DROPOUT] or series[:1]
            known = self.studies[study]["names"]
            for s in series:
                tokens = np.arange(self.starts[s], self.starts[s + 1])
                if rng is not None and not whole:
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
        batch = TokenBatch(self.rows[torch.from_numpy(index).to(self.rows.device)].float(), lengths, labels, counts, texts)
        return batch, index, kept_series

    @cached_property
    def diseased(self) -> NDArray[np.bool_]:
        """Whether each token holds a lesion."""
        found: NDArray[np.bool_] = self.lesions.any(1).bool().cpu().numpy()  # `any` of uint8 is uint8
        return found

    def _some(self, tokens: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """`TOKENS` of a series' tokens in order, those with a lesion preferred (repeated where there are too few)."""
        if len(tokens) < TOKENS:
            return np.sort(rng.choice(tokens, TOKENS))
        chance = np.where(self.diseased[tokens], LESION_CHANCE, 1.0)
        keys = rng.exponential(size=len(tokens)) / chance  # the smallest keys are a weighted draw without replacement
        return np.sort(tokens[np.argpartition(keys, TOKENS - 1)[:TOKENS]])


@dataclass(frozen=True)
class Targets:
    """Study labels: diagnoses (b, names), referral (b, specialties), priority (b,) level index."""

    diagnoses: Tensor
    referral: Tensor
    priority: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        return Targets(self.diagnoses.to(device), self.referral.to(device), self.priority.to(device))


def targets(studies: list[dict[str, Any]], specialties: tuple[str, ...]) -> Targets:
    """Truth as tensors; a finding counts as a label of its own, and a child makes its parent true."""
    column = {name: k for k, name in enumerate(names())}
    y = torch.zeros(len(studies), len(column))
    r = torch.zeros(len(studies), len(specialties))
    for row, study in enumerate(studies):
        for name in diagnoses_of([*study["diagnoses"], *(f["name"] for f in study["findings"])]) & column.keys():
            y[row, column[name]] = 1
        for specialty in set(study["referral"]) & set(specialties):
            r[row, specialties.index(specialty)] = 1
    level = torch.tensor([LEVELS.index(Priority(s["priority"])) for s in studies])
    return Targets(y, r, level)


def contrastive(image: Tensor, text: Tensor, temperature: Tensor) -> Tensor:
    """Symmetric cross-entropy between unit vectors (b, d) (PRIMA.md section 8)."""
    logits = temperature.exp() * image @ text.T
    truth = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2


def token_loss(evidence: Any, corpus: Corpus, chosen: NDArray[np.int64], weight: Tensor) -> Tensor:
    """Does each token show each lesion, which region is it, and where in it does the lesion lie."""
    index = torch.from_numpy(chosen).to(corpus.lesions.device)
    voxels = corpus.lesions[index]
    shown = (voxels >= MIN_VOXELS).float()
    certain = ((voxels == 0) | (voxels >= MIN_VOXELS)).float()
    lesion = (
        (F.binary_cross_entropy_with_logits(evidence.lesions.float(), shown, pos_weight=weight, reduction="none") * certain).mean(0).sum()
    )
    region = corpus.regions[index].long()
    tissue = region > 0
    place = F.cross_entropy(evidence.regions.float()[tissue], region[tissue])
    any_lesion = shown.bool().any(1)
    offset = corpus.offsets[index].float()
    here = any_lesion & (offset.abs().sum(1) > 0)
    far = F.smooth_l1_loss(evidence.offsets.float()[here] / 10, offset[here] / 10) if here.any() else lesion.new_zeros(())
    return lesion + 0.3 * place + 0.3 * far


def series_labels(corpus: Corpus) -> Tensor:
    """Which names some token of each series shows: (series, names)."""
    lengths = torch.from_numpy(np.diff(corpus.starts)).to(corpus.lesions.device)
    most = torch.segment_reduce((corpus.lesions >= MIN_VOXELS).float(), "max", lengths=lengths, axis=0)
    return most.clamp(min=0)  # a series without tokens shows nothing


@dataclass(frozen=True)
class Plan:
    """How long and how fast. minutes, steps: whichever runs out first ends the training, annealed to its end by then.

    batch: studies in a step of thinned series; whole_batch: in a step of whole ones.
    """

    minutes: float
    steps: int
    batch: int = 24
    whole_batch: int = 16
    rate: float = 1.5e-3
    warm_up: float = 0.05
    seed: int = 0
    save_every: float = 120.0


SHARES = {"study": 0.5, "tokens": 3.0, "series": 0.25, "pooled": 0.25, "clip": 1.0, "priority": 1.0, "referral": 1.0}


class Learner(nn.Module):
    """All that learns, and the losses of a step.

    The two linear readings of the embeddings are for training only: the labels must be in the embeddings, not just in the token
    evidence. CLIP alone would put them there with the paper's 220,000 reports, not with a few thousand.
    """

    def __init__(self, model: Model, tower: SentenceTransformer, corpus: Corpus) -> None:
        super().__init__()
        self.model, self.tower, self.corpus = model, tower, corpus
        towers, names = model.towers, len(model.labels.diagnoses)
        self.from_series = nn.Linear(towers.sequence.project.out_features, names)
        self.from_pooled = nn.Linear(towers.study.clip.in_features, names)
        self.temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.device = corpus.rows.device
        self.wanted = targets(list(corpus.studies), model.labels.specialties).to(self.device)
        self.series = series_labels(corpus)
        share = self.wanted.diagnoses.mean(0)
        self.weight = ((1 - share) / share.clamp(min=1e-3)).clamp(1, 4)
        self.used = (self.wanted.diagnoses.sum(0) > 5).float()
        shown = (corpus.lesions >= MIN_VOXELS).float().mean(0)
        self.token_weight = (0.02 / shown.clamp(min=1e-4)).clamp(1, 12)

    def forward(self, chosen: NDArray[np.int64], texts: list[str], rng: np.random.Generator, *, whole: bool) -> dict[str, Tensor]:
        """The losses of some studies and their reports, by name; `SHARES` says how much each counts."""
        batch, index, kept = self.corpus.batch(chosen, rng, whole=whole)
        series = np.concatenate([self.corpus.first_series[study] + np.array(own) for study, own in zip(chosen, kept, strict=True)])
        with mixed(self.device):
            out = self.model(batch)
            words = self.tower(_features(self.tower, texts, self.device))["sentence_embedding"]
            by_series, by_study = self.from_series(out.sequences), self.from_pooled(out.pooled)
        truth = self.wanted.diagnoses[chosen]
        warmth = self.temperature.clamp(max=math.log(20))  # beyond, a hair's breadth between embeddings would do; retrieval needs more
        return {
            "study": self._labels(out.scores, truth),
            "tokens": token_loss(out.evidence, self.corpus, index, self.token_weight),
            "series": self._labels(by_series, self.series[series]),
            "pooled": self._labels(by_study, truth),
            "clip": contrastive(F.normalize(out.clip.float(), dim=1), words.float(), warmth),
            "priority": F.cross_entropy(out.priority.float(), self.wanted.priority[chosen]),
            "referral": F.binary_cross_entropy_with_logits(out.referral.float(), self.wanted.referral[chosen]),
        }

    def _labels(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Weighted cross-entropy, summed over the names that occur, averaged over rows."""
        loss = F.binary_cross_entropy_with_logits(logits.float(), truth, pos_weight=self.weight, reduction="none")
        return (loss * self.used).mean(0).sum()


def train_encoder(
    model: Model,
    tower: SentenceTransformer,
    corpus: Corpus,
    reports: list[Wordings],
    plan: Plan,
    checkpoint: Path,
    *,
    begun: bool = False,
    team: Processes = Processes(),
    chances: NDArray[np.float64] | None = None,
) -> None:
    """Train in place, on the device of the corpus; a slow machine does fewer steps, and still anneals to the end.

    reports: of each study. checkpoint: written every `save_every` seconds, resumed from when there. begun: the model is trained already.
    team: processes that each take `plan.batch` studies a step. chances: of each study to be drawn once series are whole; None = alike.
    """
    torch.manual_seed(plan.seed)
    learner = Learner(model, tower, corpus).to(corpus.rows.device)
    parameters = [p for name, p in learner.named_parameters() if not name.startswith("model.towers.tokenizer.")]
    optimiser = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=0.05, betas=(0.9, 0.98))
    spent, step = _resume(checkpoint, learner, optimiser)
    last_save = began = time.monotonic()
    if step == 0 and not begun:
        quiet_registers(model.towers)
    learner.train()
    while (progress := share_done(plan, spent, step)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * min(1.0, progress / plan.warm_up + 0.02) * (0.5 + 0.5 * math.cos(math.pi * progress) + 0.01)
        tick = time.monotonic()
        whole = progress >= WHOLE
        rng = np.random.default_rng((plan.seed, step, team.rank))  # of the step alone: a resumed run draws as one that never stopped
        torch.manual_seed(int(rng.integers(2**62)))  # dropout too
        size = plan.whole_batch if whole else plan.batch
        chosen = rng.choice(len(corpus.studies), size, replace=False, p=chances if whole else None)
        losses = learner(chosen, [told(reports[study], rng) for study in chosen], rng, whole=whole)
        optimiser.zero_grad()
        total = torch.stack([SHARES[name] * loss for name, loss in losses.items()]).sum()
        (total / team.size).backward()  # type: ignore[no-untyped-call]
        team.sum_gradients(learner)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        passed = torch.tensor(time.monotonic() - tick, dtype=torch.float64)
        team.mean(passed)
        spent += float(passed)
        if not team.first:
            continue
        if step % 25 == 0:
            shown = " ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            print(f"encoder step {step} ({100 * progress:.0f} %) {shown} {spent / step:.2f} s/step", flush=True)
        if time.monotonic() - last_save > plan.save_every:
            _save(checkpoint, learner, optimiser, spent, step)
            last_save = time.monotonic()
    learner.eval()
    if not team.first:
        return
    _save(checkpoint, learner, optimiser, spent, step)
    print(f"encoder: {step} steps in {(time.monotonic() - began) / 60:.1f} min", flush=True)


@torch.no_grad()
def quiet_registers(towers: Towers) -> None:
    """Registers that start small take up what they attend to from the first step; at unit size they would be a constant with a whisper."""
    for registers in (towers.sequence.registers, towers.study.registers):
        nn.init.normal_(registers, std=0.02)


def _features(tower: SentenceTransformer, texts: list[str], device: torch.device) -> dict[str, Any]:
    features: dict[str, Any] = tower.preprocess(texts)
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}


def _save(path: Path, learner: Learner, optimiser: Any, spent: float, step: int) -> None:
    tensors = {f"learner.{k}": v for k, v in learner.state_dict().items()}
    for k, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{k}.{name}": value for name, value in state.items()}
    part = path.with_suffix(".part")
    save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()}, part, metadata={"progress": json.dumps({"spent": spent, "step": step})}
    )
    os.replace(part, path)


def _resume(path: Path, learner: Learner, optimiser: Any) -> tuple[float, int]:
    if not path.exists():
        return 0.0, 0
    from safetensors import safe_open

    tensors = load_file(path)
    learner.load_state_dict({k.removeprefix("learner."): v for k, v in tensors.items() if k.startswith("learner.")})
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
