"""What a training step costs at published size: python -m benchmarks.train_prima --steps 2 --out benchmarks/results

Random tokens and reports, the networks of preset `prima`, the training code of `prima train`. Three arms: the tokenizer on tokens, the
towers with the text tower on studies (CLIP with negatives gathered over two micro-batches), the heads on features. A GPU, where there
is one, gets a row of its own with the published batch (8 x 2); the processor gets what two cores can wait for. Writes train_prima.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from assistant.train.site.cache import CachedStudy
from assistant.train.site.config import Schedule, TrainConfig, load_config
from assistant.train.site.loop import Learner, Run, train
from assistant.train.site.manifest import Entry
from assistant.train.site.processes import Processes, start
from benchmarks.encode import machine, peak_mb

SERIES, TOKENS = 8, 250  # of a study: eight sequences of 2,000 tokens in all
WORDS = ("mass", "left", "right", "frontal", "lobe", "oedema", "infarct", "no", "shift", "normal", "ventricles", "lesion")
# (tokens in the tokenizer's step, studies in a micro-batch of two, features in the heads' step)
PORTIONS = {"cpu": (4, 1, 32), "cuda": (64, 8, 32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--config", default="prima", help="tiny, to try the script itself")
    parser.add_argument("--arm", help="internal: one arm in a process of its own")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(ARMS[options.arm](load_config(options.config), start(options.device), options.steps)))
        return
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    arms = {device: {arm: _in_own_process(arm, device, options) for arm in ARMS} for device in devices}
    load = round(os.getloadavg()[0], 1)  # what else the processors were busy with
    report = {"machine": machine(), "load": load, "config": options.config, "steps": options.steps, "arms": arms}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "train_prima.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(arms, indent=1))


def _in_own_process(arm: str, device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Each arm's peak memory is its own."""
    words = ["--arm", arm, "--device", device, "--steps", str(options.steps), "--config", options.config]
    done = subprocess.run([sys.executable, "-m", "benchmarks.train_prima", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"arm {arm} on {device} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def tokenizer_arm(config: TrainConfig, processes: Processes, steps: int) -> dict[str, Any]:
    """The VQ-VAE: forward, backward, codebook, optimiser."""
    from assistant.train.site.tokenizer import TokenizerLearner
    from encoder.tokenizer import VQVAE

    tokens, spec = PORTIONS[processes.device.type][0], config.network.patch
    with tempfile.TemporaryDirectory() as folder:
        studies = []
        for number in range(2):
            file = Path(folder) / f"{number}.safetensors"
            values = np.random.default_rng(number).random((tokens, spec.thin, spec.patch, spec.patch), np.float32).astype(np.float16)
            save_file({"values": values, "planes": np.arange(tokens, dtype=np.uint8) % 3}, file)
            studies.append(CachedStudy(Entry(file, ""), file, (tokens,), ("ax_t1",), "mr brain", str(number)))
        schedule = _few(config.tokenizer.schedule, steps, tokens, 1)
        learner = TokenizerLearner(
            VQVAE(config.network.tokenizer), studies, studies, replace(config.tokenizer, schedule=schedule), 0, processes
        )
        return {"tokens_a_step": tokens, **_timed(learner, schedule, processes, tokens)}


def clip_arm(config: TrainConfig, processes: Processes, steps: int) -> dict[str, Any]:
    """Both towers on studies of 2,000 tokens and reports of six findings."""
    from assistant.train.site.clip import ClipLearner, Pair
    from assistant.train.site.sampling import Studies
    from assistant.train.site.text_tower import begin_text_tower, open_text_tower
    from encoder.networks import Towers

    studies_at_once, accumulate = PORTIONS[processes.device.type][1], 2
    with tempfile.TemporaryDirectory() as folder:
        studies = [_study(Path(folder), number, config.network.sequence.width) for number in range(2 * studies_at_once * accumulate)]
        begin_text_tower(Path(folder) / "text", config.text, (s.entry.report for s in studies), config.network.study.out, None)
        pair = Pair(Towers(config.network), open_text_tower(Path(folder) / "text"))
        schedule = _few(config.clip.schedule, steps, studies_at_once, accumulate)
        clip = replace(config.clip, schedule=schedule)
        sides = [Studies(side, clip, 0, processes.device) for side in (studies, studies[:1])]
        found = _timed(ClipLearner(pair, sides[0], sides[1], clip, processes), schedule, processes, studies_at_once * accumulate)
        text = sum(p.numel() for p in pair.text.parameters())
        return {"studies_a_step": studies_at_once * accumulate, "tokens_a_study": SERIES * TOKENS, "text_parameters": text, **found}


def heads_arm(config: TrainConfig, processes: Processes, steps: int) -> dict[str, Any]:
    """One network for all names on frozen features."""
    from assistant.train.site.heads import Column, Heads, HeadsLearner, Labelled
    from prompts.diagnoses import load

    features, columns = PORTIONS[processes.device.type][2], [Column("diagnosis", name) for name in load()]
    width = config.network.study.registers * config.network.study.width
    rng = np.random.default_rng(0)
    labels = (rng.random((2 * features, len(columns))) < 0.3).astype(np.float32)
    side = Labelled(rng.standard_normal((2 * features, width), np.float32), labels, rng.integers(4, size=2 * features))
    schedule = _few(config.heads.schedule, steps, features, 1)
    network = Heads(width, config.heads.hidden, len(columns), priority=True)
    with tempfile.TemporaryDirectory() as folder:
        heads = replace(config.heads, schedule=schedule)
        learner = HeadsLearner(network, columns, side, side, heads, Path(folder), 0, processes)
        return {"features_a_step": features, **_timed(learner, schedule, processes, features)}


ARMS: dict[str, Callable[[TrainConfig, Processes, int], dict[str, Any]]] = {
    "tokenizer": tokenizer_arm,
    "clip": clip_arm,
    "heads": heads_arm,
}


def _few(schedule: Schedule, steps: int, batch: int, accumulate: int) -> Schedule:
    """One step more than is timed: the first also loads kernels and makes the optimiser's state."""
    return replace(schedule, steps=steps + 1, batch=batch, accumulate=accumulate, validate_every=steps + 1, warm_up=0)


def _study(folder: Path, number: int, width: int) -> CachedStudy:
    rng = np.random.default_rng(number)
    file = folder / f"{number}.safetensors"
    save_file({"rows": rng.standard_normal((SERIES * TOKENS, width), np.float32).astype(np.float16)}, file)
    report = " ".join(f"{k}. {' '.join(rng.choice(WORDS, 12))}" for k in range(1, 7))
    names = tuple(f"series_{k}" for k in range(SERIES))
    return CachedStudy(Entry(file, report, frozenset()), file, (TOKENS,) * SERIES, names, "mr brain", str(number))


def _timed(learner: Learner, schedule: Schedule, processes: Processes, items: int) -> dict[str, Any]:
    """Seconds of each step but the first, whole: data, both passes, optimiser. Memory is the process's, or the GPU's."""
    seconds: list[float] = []
    losses: list[float] = []
    began = 0.0

    class Watched:
        """The learner, with a clock before each step and after its weights have changed."""

        module = learner.module
        validate, state, restore, saved = learner.validate, learner.state, learner.restore, learner.saved

        def step(self, step: int) -> Any:
            nonlocal began
            _settle(processes)
            began = time.perf_counter()
            found = learner.step(step)
            losses.append(found["loss"])
            return found

        def after(self) -> None:
            learner.after()
            _settle(processes)
            seconds.append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder:
        train(Watched(), schedule, Run(Path(folder), "benchmark", 0, 1e9, "benchmark"), processes)
    gpu = processes.device.type == "cuda"
    step = float(np.mean(seconds[1:]))
    return {
        "precision": "bfloat16" if _lower(learner, processes) else "float32",
        "parameters": sum(p.numel() for p in learner.module.parameters() if p.requires_grad),
        "step_s": [round(s, 3) for s in seconds[1:]],
        "first_step_s": round(seconds[0], 3),
        "items_per_s": items / step,
        "peak_mb": peak_mb(),
        "gpu_peak_mb": torch.cuda.max_memory_allocated() // 2**20 if gpu else None,
        "losses": losses,
    }


def _lower(learner: Learner, processes: Processes) -> bool:
    with processes.autocast(learner.module):
        return torch.is_autocast_enabled(processes.device.type)


def _settle(processes: Processes) -> None:
    if processes.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
