"""Small studies for training: made volumes as NIfTI files with a manifest, and cached latents that no reader has seen."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from safetensors.numpy import save_file

from assistant.train.encoder import quiet_registers
from assistant.train.site.cache import CachedStudy
from assistant.train.site.clip import ClipLearner, Pair
from assistant.train.site.config import Schedule, TrainConfig, load_config
from assistant.train.site.manifest import Entry
from assistant.train.site.processes import Processes
from assistant.train.site.sampling import Studies
from assistant.train.site.text_tower import open_text_tower
from encoder.config import TransformerConfig
from encoder.networks import Towers
from encoder.weights import write_weights

SERIES = ("ax_t1", "ax_flair")
WORDS = ("mass", "oedema", "shift", "normal ventricles", "small vessel change", "no infarct", "sinus disease", "midline")


def small_config() -> TrainConfig:
    """The tiny preset, smaller still, and a few steps of everything."""
    config = load_config("tiny")
    network = replace(
        config.network,
        patch=replace(config.network.patch, max_kept=12),
        tokenizer=replace(config.network.tokenizer, channels=(8, 8), residual_channels=(8, 8), codebook=32),
        name=TransformerConfig(256, 1, 2, 16, 32, 0, 289),
        sequence=TransformerConfig(289, 1, 2, 16, 32, 4, 32),
        description=TransformerConfig(256, 1, 2, 16, 32, 0, 32),
        study=TransformerConfig(32, 1, 2, 16, 32, 2, 16),
    )
    return replace(
        config,
        network=network,
        tokenizer=replace(config.tokenizer, schedule=short(config.tokenizer.schedule, 2, 8), permute_axes=True, tokens_a_study=32),
        names=replace(config.names, schedule=short(config.names.schedule, 2, 2)),
        clip=replace(config.clip, schedule=short(config.clip.schedule, 4, 2, 2)),
        text=replace(config.text, vocabulary=200),
        heads=replace(config.heads, schedule=short(config.heads.schedule, 6, 4), fewest=1, hidden=(8,), half=True),
        save_minutes=0.0,
    )


def short(schedule: Schedule, steps: int, batch: int, accumulate: int = 1) -> Schedule:
    return replace(schedule, steps=steps, batch=batch, accumulate=accumulate, validate_every=2, warm_up=1, patience=0)


def write_studies(folder: Path, count: int = 6) -> Path:
    """Studies of two made volumes each, every second one with a bright lesion, and their manifest; the last two are for validation."""
    rows = []
    for number in range(count):
        rng = np.random.default_rng(number)
        home = folder / "studies" / f"s{number}"
        home.mkdir(parents=True)
        for name in SERIES:
            volume = rng.integers(90, 110, (40, 40, 8)).astype(np.int16)
            volume[:4], volume[-4:] = 0, 0
            if number % 2:
                volume[12:20, 12:20, 2:6] = 400
            nibabel.save(nibabel.Nifti1Image(volume, np.diag([-5.0, -5.0, 5.0, 1.0])), home / f"{name}.nii.gz")
        rows.append(
            {
                "path": f"studies/s{number}",
                "report": f"1. {WORDS[number % len(WORDS)]}. 2. {'A mass is seen' if number % 2 else 'Nothing abnormal'}.",
                "labels": "meningioma" if number % 2 else "",
                "referral": "neurosurgery" if number % 2 else "",
                "priority": "medium" if number % 2 else "none",
                "patient": f"p{number}",
                "split": "validation" if number >= count - 2 else "training",
            }
        )
    manifest = folder / "manifest.csv"
    write_table(manifest, rows)
    return manifest


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def cached_studies(folder: Path, count: int = 8) -> list[CachedStudy]:
    """Studies of two or three sequences with random latents; studies 0 and 1 are of one patient."""
    found = []
    for number in range(count):
        rng = np.random.default_rng(number)
        lengths = tuple(rng.integers(3, 7, 2 + number % 2).tolist())
        file = folder / f"{number}.safetensors"
        save_file({"rows": rng.standard_normal((sum(lengths), 289)).astype(np.float16)}, file, metadata={"study": json.dumps({})})
        report = f"1. {WORDS[number % len(WORDS)]} 2. finding {number} 3. stable"
        entry = Entry(file, report, frozenset({"meningioma"}) if number % 2 else frozenset())
        names = tuple(f"{'ax' if k else 'sag'}_t{k}" for k in range(len(lengths)))
        found.append(CachedStudy(entry, file, lengths, names, "mr brain", f"p{max(1, number)}"))
    return found


def small_pair(text: Path) -> Pair:
    """Towers and the text tower of a folder, the same each time."""
    torch.manual_seed(0)
    towers = Towers(small_config().network)
    quiet_registers(towers)
    return Pair(towers, open_text_tower(text))


def learner(folder: Path, processes: Processes, batch: int, accumulate: int, **changed: Any) -> ClipLearner:
    """On the cached studies below `folder`, with its text tower; made anew, so that two of them share nothing."""
    config = small_config().clip
    config = replace(config, schedule=short(config.schedule, 6, batch, accumulate), **changed)
    studies = cached_studies(folder)
    sides = [Studies(side, config, 0, processes.device) for side in (studies, studies[5:])]
    return ClipLearner(small_pair(folder / "text"), sides[0], sides[1], config, processes)


def gradients(of: ClipLearner) -> dict[str, torch.Tensor]:
    """Of one step, summed over processes."""
    of.pair.train()
    of.step(0)
    of.processes.sum_gradients(of.pair)
    return {name: p.grad.clone() for name, p in of.pair.named_parameters() if p.grad is not None}


def gradients_of_a_process(rank: int, folder: str, size: int, batch: int, accumulate: int) -> None:
    """To be spawned: writes gradients-<rank>.safetensors."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    found = gradients(learner(Path(folder), Processes(rank, size), batch, accumulate))
    write_weights(Path(folder) / f"gradients-{rank}.safetensors", found)
    torch.distributed.destroy_process_group()
