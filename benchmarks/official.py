"""The published procedure in its own order, as far as its time matters: the yardstick of benchmarks/encode.py.

Written from PRIMA.md, not copied: cut token by token, foreground and infill with masks in voxels for each of 102 thresholds, MONAI's
VQVAE in float32 over *every* token, then the filter, attention as one matrix product a sequence, every head as a module in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from encoder.config import EncoderConfig
from encoder.networks import Towers, token_rows
from encoder.volume import Volume

CHUNK = 32
Start = tuple[int, int, int]
Cut = tuple[Tensor, list[Start], dict[int, list[Start]]]


def monai_tokenizer(config: EncoderConfig) -> nn.Module:
    """MONAI's VQVAE at the configured size, random weights."""
    from monai.networks.nets import VQVAE

    sizes = config.tokenizer
    return VQVAE(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        channels=sizes.channels,
        num_res_layers=sizes.residual_layers,
        num_res_channels=sizes.residual_channels,
        downsample_parameters=sizes.downsample,
        upsample_parameters=sizes.upsample,
        num_embeddings=sizes.codebook,
        embedding_dim=sizes.latent,
    ).eval()


def cut_one_by_one(volume: Volume) -> Cut:
    """Tokens, their starts, and for each foreground threshold the starts in its bin and the infilled ones."""
    size = [4 if axis == volume.plane_axis else 32 for axis in range(3)]
    missing = [-n % s for n, s in zip(volume.values.shape, size, strict=True)]
    padded = np.pad(volume.values.astype(np.float32), [(m // 2, m - m // 2) for m in missing])
    mask, scaled = padded > 50, padded / padded.max()
    tokens, starts, foreground = [], [], []
    for z in range(0, padded.shape[0], size[0]):
        for y in range(0, padded.shape[1], size[1]):
            for x in range(0, padded.shape[2], size[2]):
                where = np.s_[z : z + size[0], y : y + size[1], x : x + size[2]]
                tokens.append(scaled[where])
                starts.append((z, y, x))
                foreground.append(float(np.mean(mask[where]) * 100))
    bins = {t: _bin(t, starts, foreground, padded.shape, size) for t in range(102)}
    return torch.from_numpy(np.repeat(np.stack(tokens), 2, axis=1 + volume.plane_axis)), starts, bins


def _bin(threshold: int, starts: list[Start], foreground: list[float], shape: Any, size: list[int]) -> list[Start]:
    """A bin's tokens, and up to threshold 20 the tokens that they enclose, found with a mask of the whole volume."""
    own = [start for start, value in zip(starts, foreground, strict=True) if threshold <= value < threshold + 1]
    if threshold > 20:
        return own
    mask = np.zeros(shape, dtype=bool)
    for z, y, x in own:
        mask[z : z + size[0], y : y + size[1], x : x + size[2]] = True
    filled = ndimage.binary_fill_holes(mask)
    for start in starts:
        z, y, x = start
        if np.average(filled[z : z + size[0], y : y + size[1], x : x + size[2]]) == 1 and start not in own:
            own.append(start)
    return own


@torch.no_grad()
def encode(volumes: list[Volume], cuts: list[Cut], tokenizer: nn.Module, towers: Towers, config: EncoderConfig) -> Tensor:
    """What `cut_one_by_one` made of a study's volumes -> pooled feature: every token encoded, then filtered."""
    rows = []
    for volume, (tokens, starts, bins) in zip(volumes, cuts, strict=True):
        latents = torch.cat([tokenizer.encode(chunk.unsqueeze(1)) for chunk in tokens.split(CHUNK)])  # type: ignore[operator]
        for percentage in range(5, -1, -1):
            kept = [start for threshold in range(percentage, 101) for start in bins[threshold]]
            if len(kept) > 25:
                break
        order = {start: i for i, start in enumerate(starts)}
        rows.append(token_rows(latents[[order[start] for start in kept]], torch.tensor(kept), volume.plane_axis, config.patch))
    sequences = torch.cat([towers.sequence(r, [len(r)], towers.name([f"series_{i}"])).embedding for i, r in enumerate(rows)])
    pooled: Tensor = towers.study(sequences, [len(rows)], towers.description(["mr brain"])).pooled
    return pooled
