"""The VQ-VAE that turns a token's voxels into 256 numbers (PRIMA.md 3).

Module names follow generative MONAI's `VQVAE`, so that released state dicts load strictly.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoder.config import TokenizerConfig
from encoder.patches import Patches

COMMITMENT = 0.25
DECAY = 0.5
EPSILON = 1e-5
CHUNK = 64  # tokens through the network at once: bounds memory, does not change the result


class Convolution(nn.Module):
    """One 3-D convolution, then ReLU unless it is the last of its half."""

    def __init__(self, conv: nn.Conv3d | nn.ConvTranspose3d, activate: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return F.relu(y) if self.activate else y


class ResidualUnit(nn.Module):
    """Two 3 x 3 x 3 convolutions around a skip connection."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = Convolution(nn.Conv3d(channels, hidden, 3, padding=1))
        self.conv2 = Convolution(nn.Conv3d(hidden, channels, 3, padding=1), activate=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(self.conv1(x)))


class Blocks(nn.Module):
    """A stack of blocks run in order, named as the released weights name it."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Codebook(nn.Module):
    """Nearest code for each latent vector; codes follow their latents by exponential moving averages while training."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, width)
        self.embedding.weight.requires_grad = False
        self.register_buffer("ema_cluster_size", torch.zeros(codes))
        self.register_buffer("ema_w", self.embedding.weight.detach().clone())
        self.ema_cluster_size: Tensor
        self.ema_w: Tensor

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(n, ch, a, b, c) -> the same, quantised with straight-through gradients, and the commitment loss."""
        nearest = self.nearest(latents)
        quantised = self.embedding(nearest).reshape(latents.movedim(1, -1).shape).movedim(-1, 1)
        if self.training:  # after the latents were told in the codes that they chose
            self._follow(_flat(latents).detach(), nearest)
        loss = COMMITMENT * F.mse_loss(latents.float(), quantised.detach())
        return latents + (quantised - latents).detach(), loss

    def nearest(self, latents: Tensor) -> Tensor:
        """(n, ch, a, b, c) -> the code of each latent vector, (n * a * b * c,)."""
        codes = self.embedding.weight
        with torch.autocast(codes.device.type, enabled=False):  # neighbouring codes differ by less than bfloat16 can say
            return (codes.square().sum(1) - 2 * _flat(latents) @ codes.T).argmin(1)

    @torch.no_grad()
    def settle(self) -> None:
        """Codes become what their moving averages say."""
        total = self.ema_cluster_size.sum()
        smoothed = (self.ema_cluster_size + EPSILON) / (total + len(self.ema_w) * EPSILON) * total
        self.embedding.weight.copy_(self.ema_w / smoothed.unsqueeze(1))

    @torch.no_grad()
    def _follow(self, flat: Tensor, nearest: Tensor) -> None:
        counts = torch.bincount(nearest, minlength=len(self.ema_w)).to(flat)
        sums = torch.zeros_like(self.ema_w).index_add_(0, nearest, flat)
        self.ema_cluster_size.mul_(DECAY).add_(counts, alpha=1 - DECAY)
        self.ema_w.mul_(DECAY).add_(sums, alpha=1 - DECAY)
        self.settle()


def _flat(latents: Tensor) -> Tensor:
    return latents.float().movedim(1, -1).reshape(-1, latents.shape[1])


class Quantizer(nn.Module):
    """Holds the codebook under the name that released weights use."""

    def __init__(self, codebook: Codebook) -> None:
        super().__init__()
        self.quantizer = codebook

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        quantised, loss = self.quantizer(latents)
        return quantised, loss


class VQVAE(nn.Module):
    """Vector-quantised autoencoder over tokens (n, 1, a, b, c), intensities scaled. The rest of the house uses `encode` alone."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.encoder = Blocks(_encoder_blocks(config))
        self.decoder = Blocks(_decoder_blocks(config))
        self.quantizer = Quantizer(Codebook(config.codebook, config.latent))

    def encode(self, x: Tensor) -> Tensor:
        """(n, 1, a, b, c) -> latents (n, ch, a', b', c') before quantisation."""
        latents: Tensor = self.encoder(x)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """(n, ch, a', b', c') -> (n, 1, a, b, c)."""
        x: Tensor = self.decoder(latents)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and commitment loss; in training mode the codebook moves."""
        quantised, loss = self.quantizer(self.encode(x))
        return self.decode(quantised), loss


@torch.inference_mode()
def encode_patches(tokenizer: VQVAE, patches: Sequence[Patches]) -> list[Tensor]:
    """Latents (n, ch, a', b', c'), float32, of each series' tokens. Series of one plane share batches; a doubled token is encoded once.

    Runs in the tokenizer's own number type and on its device.
    """
    weight = next(tokenizer.parameters())
    latents: dict[int, Tensor] = {}
    for axis in sorted({p.plane_axis for p in patches}):
        members = [i for i, p in enumerate(patches) if p.plane_axis == axis]
        firsts = {i: np.unique(patches[i].ids, return_index=True, return_inverse=True)[1:] for i in members}
        values = np.concatenate([patches[i].values[firsts[i][0]] for i in members])
        turned = _turned(tokenizer.encoder, axis)
        parts = (torch.from_numpy(values[at : at + CHUNK]).unsqueeze(1).transpose(2, 2 + axis) for at in range(0, len(values), CHUNK))
        encoded = torch.cat([turned(part.to(weight)).float() for part in parts]).transpose(2, 2 + axis)
        for i, own in zip(members, torch.split(encoded, [len(firsts[i][0]) for i in members]), strict=True):
            latents[i] = own[torch.from_numpy(firsts[i][1]).to(own.device)]
    return [latents[i] for i in range(len(patches))]


def _turned(encoder: Blocks, axis: int) -> Blocks:
    """The same network for tokens whose spatial axis `axis` has changed places with the first, its kernels turned alike.

    The numbers stay (all kernels and strides are cubic), the time does not: with the thin axis last, where kernels vectorise, tokens
    take a quarter longer.
    """
    if axis == 0:
        return encoder
    turned = copy.deepcopy(encoder)
    for module in turned.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.transpose(2, 2 + axis).contiguous(memory_format=torch.channels_last_3d)
    return turned


def _encoder_blocks(config: TokenizerConfig) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    previous = 1
    for channels, hidden, (stride, kernel, dilation, padding) in zip(
        config.channels, config.residual_channels, config.downsample, strict=True
    ):
        blocks.append(Convolution(nn.Conv3d(previous, channels, kernel, stride, padding, dilation)))
        blocks += [ResidualUnit(channels, hidden) for _ in range(config.residual_layers)]
        previous = channels
    return [*blocks, Convolution(nn.Conv3d(previous, config.latent, 3, padding=1), activate=False)]


def _decoder_blocks(config: TokenizerConfig) -> list[nn.Module]:
    channels, hidden = config.channels[::-1], config.residual_channels[::-1]
    blocks: list[nn.Module] = [Convolution(nn.Conv3d(config.latent, channels[0], 3, padding=1), activate=False)]
    for level, (stride, kernel, dilation, padding, extra) in enumerate(config.upsample):
        blocks += [ResidualUnit(channels[level], hidden[level]) for _ in range(config.residual_layers)]
        last = level == len(channels) - 1
        up = nn.ConvTranspose3d(channels[level], 1 if last else channels[level + 1], kernel, stride, padding, extra, dilation=dilation)
        blocks.append(Convolution(up, activate=not last))
    return blocks
