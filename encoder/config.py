"""Sizes and switches of the encoder: one architecture, two presets (PRIMA.md; DESIGN.md decision 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from encoder.errors import WeightsError

Preset = Literal["tiny", "prima"]
POSITION_WIDTH = 30  # ten numbers for each of the three axes
PLANE_WIDTH = 3  # one-hot of the thin array axis

T = TypeVar("T")


@dataclass(frozen=True)
class PatchSpec:
    """How a volume becomes tokens (PRIMA.md 1 and 2). Defaults are the published rules; each switch says why one would mend it.

    matrix: in-plane size after resampling. patch, thin: token edge in-plane and through-plane, in voxels (thin is doubled later).
    min_foreground, infill_to, min_kept: the background filter: start percentage p, last bin that is filled, count
    under which p falls.
    max_total: a series with more tokens before filtering is refused; 0 = no limit.
    """

    matrix: int = 256
    patch: int = 32
    thin: int = 4
    min_foreground: int = 5
    infill_to: int = 20
    min_kept: int = 25
    max_total: int = 5000

    # SimpleITK writes its pixel-type id where the last row and column fall outside the source; a bright line that is no tissue.
    pixel_type_fill: bool = True
    # Linear resampling skips pixels when a matrix of 512 shrinks to 128; averaging over the pixel's area does not.
    antialias: bool = False
    # Dividing by the maximum lets one bright vessel set the scale of the whole brain.
    intensity: Literal["maximum", "percentile"] = "maximum"
    # "raw" counts voxels above 50 in scanner units, which mean nothing across vendors; "relative" counts those above a tenth of the scale.
    foreground: Literal["raw", "relative"] = "raw"
    # Infill can name a token twice, which then counts twice in attention.
    keep_doubles: bool = True
    # 3-D series of 200 thin slices would give thousands of tokens: average to about this spacing first (mm; 0 = off).
    through_plane_mm: float = 0.0
    # ... but only series with more slices than this.
    through_plane_slices: int = 48
    # Most foreground first; bounds the time of one series whatever its matrix and slice count (0 = off).
    max_kept: int = 0


@dataclass(frozen=True)
class TokenizerConfig:
    """The VQ-VAE (PRIMA.md 3). downsample: (stride, kernel, dilation, padding); upsample: the same and output padding; in order of use."""

    channels: tuple[int, ...] = (256, 256)
    residual_channels: tuple[int, ...] = (256, 256)
    residual_layers: int = 2
    downsample: tuple[tuple[int, int, int, int], ...] = ((2, 4, 1, 1), (2, 2, 1, 0))
    upsample: tuple[tuple[int, int, int, int, int], ...] = ((2, 4, 1, 1, 0), (2, 2, 1, 0, 0))
    codebook: int = 8192
    latent: int = 2


@dataclass(frozen=True)
class TransformerConfig:
    """One stack of blocks. registers: learned tokens in front (0 = none); out: width of the projection that follows."""

    width: int
    depth: int
    heads: int
    head_width: int
    mlp: int
    registers: int
    out: int


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that fixes the encoder's shapes."""

    patch: PatchSpec = field(default_factory=PatchSpec)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    name: TransformerConfig = TransformerConfig(256, 3, 4, 64, 300, 0, 289)
    sequence: TransformerConfig = TransformerConfig(289, 15, 16, 64, 1024, 20, 1024)
    description: TransformerConfig = TransformerConfig(256, 3, 4, 64, 300, 0, 1024)
    study: TransformerConfig = TransformerConfig(1024, 4, 8, 64, 1024, 10, 128)

    def __post_init__(self) -> None:
        thin, wide = 2 * self.patch.thin, self.patch.patch
        stride = 1
        for step, *_ in self.tokenizer.downsample:
            stride *= step
        latent = self.tokenizer.latent * (thin // stride) * (wide // stride) ** 2
        expected = latent + POSITION_WIDTH + PLANE_WIDTH
        for what, found, wanted in (
            ("sequence.width", self.sequence.width, expected),
            ("name.out", self.name.out, self.sequence.width),
            ("study.width", self.study.width, self.sequence.out),
            ("description.out", self.description.out, self.study.width),
        ):
            if found != wanted:
                raise WeightsError(f"Encoder configuration: expected {what} = {wanted}, found {found}; correct the configuration.")

    def to_json(self) -> str:
        """The configuration as json text; `from_json` restores it exactly."""
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> EncoderConfig:
        """Read what `to_json` wrote. Raises WeightsError on unknown or missing keys, at any depth."""
        return from_mapping(EncoderConfig, json.loads(text))


def from_mapping(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a frozen config dataclass from json values, strictly: raises WeightsError on unknown or missing keys."""
    assert is_dataclass(kind)
    names = [f.name for f in fields(kind)]
    unknown, missing = sorted(set(values) - set(names)), sorted(set(names) - set(values))
    if unknown or missing:
        raise WeightsError(
            f"{kind.__name__}: expected the keys {names}, found unknown {unknown}, missing {missing}; was it written by another version?"
        )
    hints = get_type_hints(kind)
    return kind(**{name: from_mapping(hints[name], values[name]) if is_dataclass(hints[name]) else _tuples(values[name]) for name in names})


def _tuples(value: Any) -> Any:
    """Json has lists where the frozen configs have tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def preset(name: Preset) -> EncoderConfig:
    """`prima`: the published network, number for number; `tiny`: the same code at a size that two CPU cores train."""
    return {"prima": EncoderConfig, "tiny": _tiny}[name]()


def _tiny() -> EncoderConfig:
    return EncoderConfig(
        patch=PatchSpec(
            matrix=128,
            patch=16,
            thin=4,
            max_total=0,
            pixel_type_fill=False,
            antialias=True,
            intensity="percentile",
            foreground="relative",
            keep_doubles=False,
            through_plane_mm=5.0,
            max_kept=256,
        ),
        tokenizer=TokenizerConfig(channels=(16, 32), residual_channels=(16, 32), residual_layers=1, codebook=512, latent=8),
        name=TransformerConfig(256, 1, 4, 64, 300, 0, 289),
        sequence=TransformerConfig(289, 4, 6, 32, 384, 8, 256),
        description=TransformerConfig(256, 1, 4, 64, 300, 0, 256),
        study=TransformerConfig(256, 2, 4, 32, 384, 4, 64),
    )
