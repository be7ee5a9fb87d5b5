"""A small folder of converted weights, random, as `prima convert` would leave it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from made_checkpoint import SMALL

from encoder.heads import HeadGroup
from encoder.networks import Towers
from encoder.released import HEADS, TOWERS, save_released
from encoder.weights import Entry

DIAGNOSES, REFERRAL = ("cyst_arachnoid_cyst", "tumor_adult_meningioma", "tumor_adult_glioma"), ("neuro_oncology",)
LEVELS = ("none", "low", "medium", "high")
HIDDEN = (6,)


def write_released(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    width = SMALL.study.registers * SMALL.study.width
    towers = dict(Towers(SMALL).state_dict())
    heads = {}
    for group, names in (("diagnosis", DIAGNOSES), ("referral", REFERRAL)):
        for name in names:
            for i, (a, b) in enumerate(pairwise((width, *HIDDEN, 1))):
                heads |= {f"{group}.{name}.{i}.weight": torch.randn(b, a), f"{group}.{name}.{i}.bias": torch.randn(b)}
    for i, (a, b) in enumerate(pairwise((width, *HIDDEN, len(LEVELS)))):
        towers |= {f"heads.priority.layers.{i}.weight": torch.randn(b, a), f"heads.priority.layers.{i}.bias": torch.randn(b)}
    groups = {
        "diagnosis": HeadGroup(DIAGNOSES, (0.0,) * len(DIAGNOSES), HIDDEN, separate=True),
        "referral": HeadGroup(REFERRAL, (0.0,), HIDDEN, separate=True),
        "priority": HeadGroup(LEVELS, (0.0,) * 4, HIDDEN, separate=False),
    }
    save_released(folder, SMALL, {TOWERS: _entries(towers), HEADS: _entries(heads)}, groups, {"made_by": "a test"})
    return folder


def _entries(tensors: dict[str, torch.Tensor]) -> list[Entry]:
    return [Entry(name, tuple(tensor.shape), tensor.dtype, lambda tensor=tensor: tensor) for name, tensor in tensors.items()]
