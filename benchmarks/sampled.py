"""The comparison of benchmarks/encode.py where the machine is shared: processor time of one thread, a sample of the tokens.

Cutting, filtering and the transformers run whole; the tokenizer runs on N tokens spread over each series and is scaled to as many as
the procedure encodes; heads are timed on a few and scaled to all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.encode import DIAGNOSES, REFERRALS, has_bfloat16, head_widths, made_study
from benchmarks.official import cut_one_by_one, monai_tokenizer
from encoder.networks import token_rows
from encoder.patches import Patches, patchify
from encoder.prima import Prima
from encoder.tokenizer import encode_patches
from encoder.volume import canonical

T = TypeVar("T")

HEADS = DIAGNOSES + REFERRALS


def compare(weights: Path, sample: int) -> dict[str, Any]:
    """Processor seconds of one study, part by part, in each way, and how many times as fast ours are."""
    ours = [Prima.load(weights, precision) for precision in (("float32", "bfloat16") if has_bfloat16() else ("float32",))]  # type: ignore[arg-type]
    series, spec = made_study().series, ours[0].config.patch
    volumes = [canonical(one, spec) for one in series]
    cutting, cuts = seconds(lambda: [cut_one_by_one(volume) for volume in volumes])
    patching, patches = seconds(lambda: [patchify(one, spec) for one in series])
    tokenizer = monai_tokenizer(ours[0].config)
    head = [torch.randn(b, a) for a, b in pairwise(head_widths(ours[0].config))]
    pooled = torch.randn(1, head[0].shape[1])
    with torch.inference_mode():
        rows = [_rows(p, ours[0]) for p in patches]
        arms = {
            "official": {
                "bookkeeping_s": cutting,
                "tokenizer_s": sum(_scaled(lambda x: tokenizer.encode(x[:, None]), cut[0], sample) for cut in cuts),  # type: ignore[operator]
                "towers_s": seconds(lambda: [_sequence(ours[0], [one]) for one in rows])[0],
                "heads_s": seconds(lambda: [_head(pooled, head) for _ in range(3)])[0] * HEADS / 3,
            }
        }
        for prima in ours:
            arms[prima.precision] = {
                "bookkeeping_s": patching,
                "tokenizer_s": sum(_own_tokenizer(prima, p, sample) for p in patches),
                "towers_s": seconds(lambda prima=prima: _sequence(prima, rows))[0],  # type: ignore[misc]
                "heads_s": seconds(lambda prima=prima: prima.weights.scorer("referral")(pooled))[0] * HEADS / REFERRALS,  # type: ignore[misc]
            }
    for arm in arms.values():
        arm["study_s"] = sum(arm.values())
    whole = arms["official"]["study_s"]
    return {
        "measure": f"processor seconds of one thread on a shared machine; {sample} tokens a series, scaled",
        "tokens": {"official": sum(len(cut[0]) for cut in cuts), "ours": sum(len(p) for p in patches)},
        "arms": arms,
        "speedup": {name: round(whole / arm["study_s"], 2) for name, arm in arms.items() if name != "official"},
    }


def seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Processor seconds, and what the work gave."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _scaled(encode: Callable[[Tensor], Any], tokens: Tensor, sample: int) -> float:
    some = tokens[np.linspace(0, len(tokens) - 1, sample).astype(int)]
    encode(some[:2])  # the first call prepares kernels
    return seconds(lambda: encode(some))[0] * len(tokens) / sample


def _own_tokenizer(prima: Prima, patches: Patches, sample: int) -> float:
    places = np.linspace(0, len(patches) - 1, sample).astype(int)
    some = replace(patches, values=patches.values[places], ids=np.arange(sample))
    encode_patches(prima.towers.tokenizer, [replace(some, values=some.values[:2], ids=some.ids[:2])])
    return seconds(lambda: encode_patches(prima.towers.tokenizer, [some]))[0] * len(np.unique(patches.ids)) / sample


def _rows(patches: Patches, prima: Prima) -> Tensor:
    shape = [8, 8, 8]
    shape[patches.plane_axis] = 2
    return token_rows(torch.randn(len(patches), 2, *shape), torch.from_numpy(patches.positions), patches.plane_axis, prima.config.patch)


def _sequence(prima: Prima, rows: list[Tensor]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=prima.precision == "bfloat16"):
        embedding = prima.towers.sequence(torch.cat(rows), [len(r) for r in rows], prima.towers.name(["t1"] * len(rows))).embedding
        pooled: Tensor = prima.towers.study(embedding, [len(rows)], prima.towers.description(["mr brain"])).pooled
    return pooled


def _head(x: Tensor, layers: list[Tensor]) -> Tensor:
    for weight in layers:
        x = (x @ weight.T).relu()
    return x
