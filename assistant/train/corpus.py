"""Cached shards -> one corpus of token rows, tokenised once and kept on disk."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from assistant.cores import one_thread_each
from assistant.train.encoder import Corpus
from assistant.train.studies import as_tokens, load_shard
from encoder.config import EncoderConfig
from encoder.networks import token_rows
from encoder.tokenizer import VQVAE

FEWEST_A_PROCESS = 5  # shards: for fewer, starting a process costs more than it saves
BATCH = 128  # tokens encoded at a time: more fall out of a processor's cache


def tokenise(shards: list[Path], tokenizer: VQVAE, config: EncoderConfig, folder: Path) -> None:
    """Write rows (n, 289) float16 beside each shard, skipping those that exist, so that no epoch tokenises again.

    Computed where the tokenizer lies; on a CPU by a process a core, which is twice as fast as threads that share one small network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo, write = [path for path in shards if not _target(folder, path).exists()], partial(_write, tokenizer, config, folder)
    processes = min(os.cpu_count() or 1, len(todo) // FEWEST_A_PROCESS)
    if next(tokenizer.parameters()).is_cuda or processes < 2:
        for path in todo:
            write(path)
    else:
        with one_thread_each(), multiprocessing.get_context("spawn").Pool(processes) as pool:
            list(pool.imap_unordered(write, todo))


def _target(folder: Path, shard: Path) -> Path:
    return folder / f"{shard.stem}.npy"


def _write(tokenizer: VQVAE, config: EncoderConfig, folder: Path, shard: Path) -> None:
    target = _target(folder, shard)
    part = target.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, _rows(shard, tokenizer, config))
    os.replace(part, target)


@torch.inference_mode()
def _rows(path: Path, tokenizer: VQVAE, config: EncoderConfig) -> NDArray[np.float16]:
    shard = load_shard(path)
    rows = np.empty((len(shard.values), config.sequence.width), np.float16)
    device = next(tokenizer.parameters()).device
    for plane in (0, 1, 2):
        index = np.nonzero(shard.planes == plane)[0]
        for at in range(0, len(index), BATCH):
            some = index[at : at + BATCH]
            latents = tokenizer.encode(as_tokens(torch.from_numpy(shard.values[some]).to(device), plane)[:, None])
            positions = torch.from_numpy(shard.positions[some].astype(np.int64))
            rows[some] = token_rows(latents, positions, plane, config.patch).half().cpu().numpy()
    return rows


def load_corpus(shards: list[Path], rows: Path, device: torch.device = torch.device("cpu")) -> tuple[Corpus, list[NDArray[np.float32]]]:
    """The corpus of these shards, its tokens on a device, and the image statistics (s, f) of each study."""
    parts: dict[str, list[Any]] = {name: [] for name in ("rows", "lesions", "regions", "offsets", "lengths", "counts")}
    studies: list[dict[str, Any]] = []
    statistics: list[NDArray[np.float32]] = []
    for path in shards:
        shard = load_shard(path)
        parts["rows"].append(np.load(rows / f"{path.stem}.npy"))
        for name in ("lesions", "regions", "offsets", "lengths", "counts"):
            parts[name].append(getattr(shard, name))
        studies.extend(shard.studies)
        statistics.extend(np.split(shard.statistics, np.cumsum(shard.counts)[:-1]))
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    tokens = {name: torch.from_numpy(joined[name]).to(device) for name in ("rows", "lesions", "regions", "offsets")}
    corpus = Corpus(
        **tokens,
        starts=np.concatenate([[0], np.cumsum(joined["lengths"], dtype=np.int64)]),
        first_series=np.concatenate([[0], np.cumsum(joined["counts"], dtype=np.int64)]),
        studies=tuple(studies),
    )
    return corpus, statistics
