"""Heads on frozen features: one network learns all names, each name keeps it as it was at its own best validation (PRIMA.md 6, 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from assistant.evaluate.metrics import auroc
from assistant.train.site.cache import CachedStudy
from assistant.train.site.config import HeadsTraining
from assistant.train.site.processes import Processes
from assistant.train.site.sampling import Studies
from encoder.calibration import best_threshold
from encoder.heads import HeadGroup
from encoder.model import embed
from encoder.networks import Towers
from encoder.weights import Entry
from prompts.diagnoses import PRIORITIES, load

DIAGNOSIS, REFERRAL, PRIORITY = "diagnosis", "referral", "priority"
HEAVIEST = 50.0  # of a positive: beyond it, one study would be the gradient


@dataclass(frozen=True)
class Column:
    """One output of the network."""

    group: str
    name: str


@dataclass(frozen=True)
class Labelled:
    """Pooled features (n, r * d) float32; labels (n, columns), NaN = not known; priority (n,) level, -1 = not known."""

    features: NDArray[np.float32]
    labels: NDArray[np.float32]
    priority: NDArray[np.int64]


@dataclass(frozen=True)
class Best:
    """The validation at which a head did best, and how well."""

    step: int
    value: float


def columns_of(
    training: Sequence[CachedStudy], validation: Sequence[CachedStudy], fewest: int
) -> tuple[tuple[Column, ...], dict[str, str]]:
    """What can be learned and judged, and why the rest cannot: each needs `fewest` positives, a negative, and both in validation."""
    specialties = sorted({name for one in (*training, *validation) for name in one.entry.referral or ()})
    able, unable = [], {}
    for column in [*(Column(DIAGNOSIS, name) for name in load()), *(Column(REFERRAL, name) for name in specialties)]:
        (positives, negatives), (seen, unseen) = (_counts(side, column) for side in (training, validation))
        if positives < fewest or negatives < 1:
            unable[f"{column.group} {column.name}"] = f"{positives} positive and {negatives} negative training studies"
        elif min(seen, unseen) < 1:
            unable[f"{column.group} {column.name}"] = f"{seen} positive and {unseen} negative validation studies"
        else:
            able.append(column)
    return tuple(able), unable


def knows_priority(training: Sequence[CachedStudy], validation: Sequence[CachedStudy]) -> bool:
    """Whether a priority head can be trained: two levels in training, one in validation."""
    return len({one.entry.priority for one in training} - {None}) > 1 and any(one.entry.priority for one in validation)


@torch.inference_mode()
def pooled(towers: Towers, studies: Studies, processes: Processes, batch: int = 8) -> NDArray[np.float32]:
    """The frozen features of every study, each process doing its share: (n, r * d)."""
    count = len(studies.studies)
    towers.eval().to(processes.device)
    own = np.arange(count)[processes.rank :: processes.size]
    width = towers.study.clip.in_features
    parts = [torch.zeros(0, width, device=processes.device)]
    for at in range(0, len(own), batch):
        with processes.autocast(towers):
            _, study = embed(towers, studies.whole(own[at : at + batch]).tokens)
        parts.append(study.pooled.float())
    gathered = [part.cpu().numpy() for part in processes.gather(torch.cat(parts))]
    found = np.empty((count, width), np.float32)
    for rank, part in enumerate(gathered):
        found[rank :: processes.size] = part
    return found


def labelled(studies: Sequence[CachedStudy], features: NDArray[np.float32], columns: Sequence[Column]) -> Labelled:
    """Features with their truth."""
    labels = np.array([[_known(study, column) for column in columns] for study in studies], np.float32).reshape(len(studies), len(columns))
    priority = [-1 if study.entry.priority is None else PRIORITIES.index(study.entry.priority) for study in studies]
    return Labelled(features, labels, np.array(priority, np.int64))


class Heads(nn.Module):
    """All columns' network, and the priority's where it can be trained; ReLU between layers."""

    def __init__(self, width: int, hidden: Sequence[int], columns: int, priority: bool) -> None:
        super().__init__()
        self.labels = _mlp((width, *hidden, columns))
        self.priority = _mlp((width, *hidden, len(PRIORITIES))) if priority else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """(b, r * d) -> logits (b, columns), (b, 4)."""
        return self.labels(features).float(), None if self.priority is None else self.priority(features).float()


class HeadsLearner:
    """See loop.Learner. best: of each column by AUC, of the priority by its log loss."""

    def __init__(
        self,
        network: Heads,
        columns: Sequence[Column],
        training: Labelled,
        validation: Labelled,
        config: HeadsTraining,
        folder: Path,
        seed: int,
        processes: Processes,
    ) -> None:
        self.module: nn.Module = network
        self.network, self.columns, self.training, self.validation = network, tuple(columns), training, validation
        self.config, self.folder, self.seed, self.processes = config, folder, seed, processes
        self.best: dict[str, Best] = {}
        positives, known = np.nansum(training.labels, 0), (~np.isnan(training.labels)).sum(0)
        weight = np.clip((known - positives) / np.maximum(positives, 1), 1.0, HEAVIEST).astype(np.float32)
        self.weight = torch.from_numpy(weight).to(processes.device)

    def step(self, step: int) -> Mapping[str, float]:
        """Rows are drawn, and their noise, for all processes alike; each takes its share in micro-batches."""
        schedule, rng = self.config.schedule, np.random.default_rng([self.seed, step])
        count = schedule.batch * schedule.accumulate * self.processes.size
        chosen = rng.choice(len(self.training.features), count, replace=count > len(self.training.features))
        noise = 1 + self.config.noise * rng.standard_normal((count, self.training.features.shape[1]), np.float32)
        own = range(count)[self.processes.share(count)]
        total = 0.0
        for at in range(own.start, own.stop, schedule.batch):
            part = chosen[at : at + schedule.batch]
            features = torch.from_numpy(self.training.features[part] * noise[at : at + schedule.batch]).to(self.processes.device)
            with self.processes.autocast(self.network):
                logits, levels = self.network(features)
            loss = self._loss(logits, levels, self.training, part) * (len(part) / count)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return {"loss": float(torch.cat(self.processes.gather(torch.tensor([total], device=self.processes.device))).sum())}

    def after(self) -> None:
        """Nothing else moves."""

    @torch.no_grad()
    def validate(self, step: int) -> Mapping[str, float]:
        """The loss and the mean AUC; keeps the network where some head was never better."""
        logits, levels = self._judge(self.network)
        loss = float(self._loss(logits, levels, self.validation, np.arange(len(self.validation.features))))
        found = {column: _auc(self.validation.labels[:, k], logits[:, k]) for k, column in enumerate(self.columns)}
        values = {_key(column): auc for column, auc in found.items()}
        if levels is not None:
            values[PRIORITY] = -float(self._priority_loss(levels, self.validation, np.arange(len(levels))))
        better = {name: Best(step, value) for name, value in values.items() if name not in self.best or value > self.best[name].value}
        self.best |= better
        if better and self.processes.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({name: t.cpu().contiguous().clone() for name, t in self.network.state_dict().items()}, self._snapshot(step))
        shown = {"auc": float(np.mean(list(found.values())))} if found else {}
        return {"loss": loss, **shown}

    def state(self) -> dict[str, Any]:
        """Which validation each head takes."""
        return {name: [best.step, best.value] for name, best in self.best.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self.best = {name: Best(step, value) for name, (step, value) in state.items()}

    def saved(self) -> None:
        """Networks that no head takes any more go; not before a checkpoint says so, or a resumed run would miss them."""
        wanted = {self._snapshot(best.step) for best in self.best.values()}
        for path in self.folder.glob("*.safetensors"):
            if path not in wanted:
                path.unlink()

    def result(self) -> tuple[dict[str, HeadGroup], list[Entry], list[Entry]]:
        """Head groups with thresholds, tensors of the priority head, tensors of the separate heads, as encoder.released wants them."""
        groups: dict[str, HeadGroup] = {}
        separate: list[Entry] = []
        judged = {step: self._judged_again(step) for step in sorted({self.best[_key(column)].step for column in self.columns})}
        for group in dict.fromkeys(column.group for column in self.columns):
            own = [(k, column, self.best[_key(column)].step) for k, column in enumerate(self.columns) if column.group == group]
            thresholds = tuple(self._threshold(judged[step][:, k], k) for k, _, step in own)
            groups[group] = HeadGroup(tuple(column.name for _, column, _ in own), thresholds, self.config.hidden, separate=True)
            separate += [entry for k, column, step in own for entry in self._entries(column, k, step)]
        shared: list[Entry] = []
        if self.network.priority is not None:
            groups[PRIORITY] = HeadGroup(PRIORITIES, (0.0,) * len(PRIORITIES), self.config.hidden, separate=False)
            shared = self._priority_entries()
        return groups, shared, separate

    def _judge(self, network: Heads) -> tuple[Tensor, Tensor | None]:
        """Validation logits in float32, as in use."""
        network.eval()
        parts = torch.split(torch.from_numpy(self.validation.features), 256)
        found = [network(part.to(self.processes.device)) for part in parts]
        levels = [level for _, level in found if level is not None]
        return torch.cat([logits for logits, _ in found]), torch.cat(levels) if levels else None

    def _loss(self, logits: Tensor, levels: Tensor | None, side: Labelled, rows: NDArray[np.int64]) -> Tensor:
        """Weighted cross-entropy over what is known of these rows, per row and column, plus the priority's."""
        truth = torch.from_numpy(side.labels[rows]).to(logits)
        known = ~truth.isnan()
        each = F.binary_cross_entropy_with_logits(logits, truth.nan_to_num(), pos_weight=self.weight, reduction="none")
        loss = (each * known).sum() / max(1, each.numel())
        return loss if levels is None else loss + self._priority_loss(levels, side, rows)

    def _priority_loss(self, levels: Tensor, side: Labelled, rows: NDArray[np.int64]) -> Tensor:
        truth = torch.from_numpy(side.priority[rows]).to(levels.device)
        return F.cross_entropy(levels, truth, ignore_index=-1, reduction="sum") / len(rows)

    @torch.no_grad()
    def _judged_again(self, step: int) -> NDArray[np.float64]:
        """Validation logits of the network that was kept at a step: (n, columns)."""
        network = Heads(self.training.features.shape[1], self.config.hidden, len(self.columns), self.network.priority is not None)
        network.load_state_dict(load_file(self._snapshot(step)))
        logits: NDArray[np.float64] = self._judge(network.to(self.processes.device))[0].double().cpu().numpy()
        return logits

    def _threshold(self, logits: NDArray[np.float64], column: int) -> float:
        truth = self.validation.labels[:, column]
        known = ~np.isnan(truth)
        return best_threshold(logits[known], truth[known] > 0)

    def _entries(self, column: Column, k: int, step: int) -> list[Entry]:
        """One name's network: all hidden layers, and its own row of the last."""
        depth, dtype = len(self.config.hidden) + 1, torch.float16 if self.config.half else torch.float32
        found = []
        for i in range(depth):
            row = k if i == depth - 1 else None
            found.append(self._entry(step, f"labels.{2 * i}.weight", f"{column.group}.{column.name}.{i}.weight", row, dtype))
            found.append(self._entry(step, f"labels.{2 * i}.bias", f"{column.group}.{column.name}.{i}.bias", row))
        return found

    def _priority_entries(self) -> list[Entry]:
        step, depth = self.best[PRIORITY].step, len(self.config.hidden) + 1
        return [
            self._entry(step, f"priority.{2 * i}.{kind}", f"heads.{PRIORITY}.layers.{i}.{kind}")
            for i in range(depth)
            for kind in ("weight", "bias")
        ]

    def _entry(self, step: int, own: str, released: str, row: int | None = None, dtype: torch.dtype = torch.float32) -> Entry:
        """A tensor of a kept network, or one row of it, read when it is written: 52 heads of published size are 9 GB."""

        def read() -> Tensor:
            with safe_open(self._snapshot(step), framework="pt") as file:
                tensor: Tensor = file.get_tensor(own)
            return tensor if row is None else tensor[row : row + 1]

        shape = self.network.state_dict()[own].shape
        return Entry(released, tuple(shape) if row is None else (1, *shape[1:]), dtype, read)

    def _snapshot(self, step: int) -> Path:
        return self.folder / f"{step:08d}.safetensors"


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _key(column: Column) -> str:
    return f"{column.group} {column.name}"


def _known(study: CachedStudy, column: Column) -> float:
    stated = study.entry.labels if column.group == DIAGNOSIS else study.entry.referral
    return np.nan if stated is None else float(column.name in stated)


def _counts(studies: Sequence[CachedStudy], column: Column) -> tuple[int, int]:
    found = [_known(study, column) for study in studies]
    return found.count(1.0), found.count(0.0)


def _auc(truth: NDArray[np.float32], logits: Tensor) -> float:
    known = ~np.isnan(truth)
    scores = logits.double().cpu().numpy()[known]
    return float(auroc(truth[known] > 0, scores, np.ones((1, known.sum())))[0])
