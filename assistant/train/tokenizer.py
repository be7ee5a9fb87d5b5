"""Train the VQ-VAE on tokens of cached studies (PRIMA.md section 3)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from assistant.train.studies import as_tokens, load_shard
from encoder.config import EncoderConfig
from encoder.tokenizer import VQVAE


def train_tokenizer(
    shards: list[Path],
    config: EncoderConfig,
    *,
    steps: int,
    batch: int = 96,
    seed: int = 0,
    minutes: float = 10.0,
    device: torch.device = torch.device("cpu"),
) -> VQVAE:
    """Reconstruction + codebook loss, tokens of all planes mixed, until `steps` or `minutes` are spent; returned on the CPU."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = VQVAE(config.tokenizer).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.05)
    began, step = time.monotonic(), 0
    network.train()
    while step < steps and time.monotonic() - began < 60 * minutes:
        shard = load_shard(shards[rng.integers(len(shards))])
        for plane in (0, 1, 2):
            rows = rng.permutation(np.nonzero(shard.planes == plane)[0])[: batch * (12 if plane == 0 else 3)]
            for at in range(0, len(rows) - batch + 1, batch):
                x = as_tokens(torch.from_numpy(shard.values[np.sort(rows[at : at + batch])]).to(device), plane)[:, None]
                if step == 0:
                    _start_codebook(network, x)
                reconstruction, quantisation = network(x)
                loss = F.l1_loss(reconstruction, x) + F.mse_loss(reconstruction, x) + quantisation
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                if step < steps - 1:
                    schedule.step()
                step += 1
                if step % 50 == 0:
                    error = F.mse_loss(reconstruction, x).item() / x.var().item()
                    print(
                        f"tokenizer step {step} loss {loss.item():.4f} unexplained variance {error:.3f} {time.monotonic() - began:.0f}s",
                        flush=True,
                    )
    return network.cpu().eval()


@torch.no_grad()
def _start_codebook(network: VQVAE, x: torch.Tensor) -> None:
    """Begin with latents that occur: codes that no latent is near would never move, and their averages divide by almost nothing."""
    codebook = network.quantizer.quantizer
    flat = network.encode(x).movedim(1, -1).reshape(-1, codebook.ema_w.shape[1])
    chosen = flat[torch.randint(len(flat), (len(codebook.ema_w),), device=flat.device)] + 1e-3 * torch.randn_like(codebook.ema_w)
    codebook.embedding.weight.copy_(chosen)
    codebook.ema_w.copy_(chosen)
    codebook.ema_cluster_size.fill_(1.0)
