"""In which numbers an encoder computes: float32 is exact; bfloat16 is several times as fast where the processor has it."""

from __future__ import annotations

from typing import Literal

import torch

from encoder.errors import WeightsError

Precision = Literal["float32", "bfloat16"]
Asked = Literal["auto", "float32", "bfloat16"]

LARGE = 20_000_000  # parameters from which bfloat16 pays; the published towers have 87 million, the tiny preset 5


def settled(asked: Asked, parameters: int, device: torch.device) -> Precision:
    """What "auto" means for networks of this size on this device. Raises WeightsError on another word.

    Small networks stay in float32: they gain nothing, and their scores are then the same on every machine.
    """
    if asked not in ("auto", "float32", "bfloat16"):
        raise WeightsError(f"Precision: expected auto, float32 or bfloat16, found {asked!r}; check --precision.")
    if asked != "auto":
        return asked
    return "bfloat16" if parameters >= LARGE and has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # absent from older releases: float32 then
    return any("bf16" in name and bool(has) for name, has in known.items())
