"""The one training loop: schedule, checkpoints, early stop and the record of losses, for whatever learns."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from assistant.errors import UsageError
from assistant.train.site.config import Schedule
from assistant.train.site.curves import curves
from assistant.train.site.processes import Processes

CHECKPOINT, BEST, METRICS, PLOT = "checkpoint.safetensors", "best.safetensors", "metrics.csv", "metrics.svg"


class Learner(Protocol):
    """What the loop trains."""

    module: nn.Module

    def step(self, step: int) -> Mapping[str, float]:
        """Put this process's share of the step's gradient into the parameters; returns the step's losses."""

    def after(self) -> None:
        """Called when the weights have changed."""

    def validate(self, step: int) -> Mapping[str, float]:
        """Figures on the validation studies; the loop watches "loss"."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides weights, as json."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""

    def saved(self) -> None:
        """Called on the first process when a checkpoint is on disk."""


@dataclass(frozen=True)
class Run:
    """Where a run keeps its files, what it must have been started with to be resumed, and how often it is saved."""

    folder: Path
    fingerprint: str
    seed: int
    save_minutes: float
    name: str


@dataclass
class Progress:
    """How far a run has come. history: a row a validation. losses, since: training losses summed since the last one, and of how many."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    finished: bool = False
    since: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def train(learner: Learner, schedule: Schedule, run: Run, processes: Processes) -> Progress:
    """Train to the end of the schedule or until the validation loss has stopped falling; the module then has its best weights.

    Resumes from the checkpoint in `run.folder`: what follows is what an uninterrupted run would have done (bit for bit on a CPU).
    Raises UsageError where that checkpoint is of another run, or where a loss is no number.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    module = learner.module.to(processes.device)
    optimiser = _optimiser(module, schedule)
    progress = _resume(learner, optimiser, run)
    if progress.step == 0:
        processes.same(module)
    last_save = time.monotonic()
    with Bar(run.name, schedule.steps, processes.first) as shown:
        while not progress.finished and progress.step < schedule.steps:
            shown(progress)
            _one_step(learner, optimiser, schedule, run, progress, processes)
            if progress.step % schedule.validate_every == 0 or progress.step == schedule.steps:
                _validate(learner, schedule, run, progress, processes)
            progress.finished |= progress.step >= schedule.steps
            if processes.first and (progress.finished or time.monotonic() - last_save >= 60 * run.save_minutes):
                save_checkpoint(learner, optimiser, run, progress)
                last_save = time.monotonic()
        shown(progress)
    processes.together(None)
    if progress.history:
        module.load_state_dict(load_file(run.folder / BEST, device=str(processes.device)))
    return progress


def rate_at(step: int, schedule: Schedule) -> float:
    """The learning rate of a step (from 0)."""
    warm = min(1.0, (step + 1) / schedule.warm_up) if schedule.warm_up else 1.0
    past = max(0.0, (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up))
    return schedule.rate * warm * (0.5 + 0.5 * math.cos(math.pi * past) if schedule.anneal else 1.0)


def _one_step(
    learner: Learner, optimiser: torch.optim.Optimizer, schedule: Schedule, run: Run, progress: Progress, processes: Processes
) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate_at(progress.step, schedule)
    # Seeded anew each step: there is no generator whose state a checkpoint could miss.
    torch.manual_seed(int(np.random.SeedSequence([run.seed, progress.step, processes.rank]).generate_state(1)[0]))
    learner.module.train()
    optimiser.zero_grad(set_to_none=True)
    losses = learner.step(progress.step)
    if not all(map(math.isfinite, losses.values())):
        raise UsageError(f"{run.name}, step {progress.step + 1}: expected finite losses, found {dict(losses)}; lower the rate.")
    processes.sum_gradients(learner.module)
    if schedule.clip_norm:
        nn.utils.clip_grad_norm_(learner.module.parameters(), schedule.clip_norm)
    optimiser.step()
    learner.after()
    progress.step += 1
    progress.since += 1
    for name, loss in losses.items():
        progress.losses[name] = progress.losses.get(name, 0.0) + loss


def _validate(learner: Learner, schedule: Schedule, run: Run, progress: Progress, processes: Processes) -> None:
    learner.module.eval()
    found = {name: processes.agreed(value) for name, value in learner.validate(progress.step).items()}
    if not math.isfinite(found["loss"]):
        raise UsageError(f"{run.name}, step {progress.step}: expected a finite validation loss, found {found['loss']}; lower the rate.")
    row = {"step": float(progress.step), "rate": rate_at(progress.step - 1, schedule)}
    row |= {f"training_{name}": total / progress.since for name, total in progress.losses.items()}
    progress.history.append(row | {f"validation_{name}": value for name, value in found.items()})
    progress.losses, progress.since = {}, 0
    if found["loss"] < progress.best:
        progress.best, progress.best_step, progress.stale = found["loss"], progress.step, 0
        if processes.first:
            _save_tensors(run.folder / BEST, learner.module.state_dict())
    else:
        progress.stale += 1
        progress.finished = bool(schedule.patience) and progress.stale >= schedule.patience
    if processes.first:
        _write_metrics(run.folder, progress.history)


def _optimiser(module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if schedule.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=schedule.rate, weight_decay=schedule.weight_decay)
    kind = torch.optim.AdamW if schedule.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, lr=schedule.rate, weight_decay=schedule.weight_decay)


def save_checkpoint(learner: Learner, optimiser: torch.optim.Optimizer, run: Run, progress: Progress) -> None:
    """Everything that the rest of the run depends on, in one file that appears whole or not at all."""
    tensors = {f"module.{name}": tensor for name, tensor in learner.module.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
    said = {"fingerprint": run.fingerprint, "progress": asdict(progress), "learner": learner.state()}
    _save_tensors(run.folder / CHECKPOINT, tensors, {"run": json.dumps(said)})
    learner.saved()


def _resume(learner: Learner, optimiser: torch.optim.Optimizer, run: Run) -> Progress:
    path = run.folder / CHECKPOINT
    if not path.exists():
        return Progress()
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["run"])
    if said["fingerprint"] != run.fingerprint:
        raise UsageError(
            f"{path}: expected a run with these settings and studies, found another; give --restart to begin anew, or another --work."
        )
    tensors = load_file(path)
    learner.module.load_state_dict({n.removeprefix("module."): t for n, t in tensors.items() if n.startswith("module.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, number, part = name.split(".", 2)
            state.setdefault(int(number), {})[part] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    learner.restore(said["learner"])
    return Progress(**said["progress"])


def _save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    part = path.with_suffix(".part")
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, part, metadata)
    os.replace(part, path)


def _write_metrics(folder: Path, history: list[dict[str, float]]) -> None:
    """A row a validation, and its curves; both follow from the history alone, so a resumed run's are whole."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    with (folder / METRICS).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(history)
    (folder / PLOT).write_text(curves(history), encoding="utf-8")


class Bar:
    """A progress bar on stderr; silent on all processes but the first."""

    def __init__(self, name: str, steps: int, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._bars = Bars(*columns, console=Console(stderr=True), disable=not shown)
        self._task = self._bars.add_task(name, total=steps, said="")

    def __enter__(self) -> Callable[[Progress], None]:
        self._bars.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _show(self, progress: Progress) -> None:
        best = "" if math.isinf(progress.best) else f"validation loss {progress.best:.4f} at step {progress.best_step}"
        self._bars.update(self._task, completed=progress.step, said=best)
