"""Where models compute, and in which numbers they learn."""

from __future__ import annotations

import torch

from encoder.precision import has_bfloat16


def fastest() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed(device: torch.device) -> torch.autocast:
    """The forward pass of a training: in bfloat16 where the device multiplies it itself, else in float32, since emulation is slower."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))
