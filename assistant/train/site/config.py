"""Sizes and schedules of a training, as one json file; `tiny` and `prima` ship (assistant/train/configs)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from assistant.errors import UsageError
from encoder.config import EncoderConfig, from_mapping
from encoder.errors import WeightsError

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and in what portions; a step is one change of the weights.

    batch: items that one process takes through the network at once; accumulate: how many such portions a process puts into a step.
    rate: highest learning rate, reached after `warm_up` steps; with `anneal` it then falls to zero along a cosine.
    validate_every: steps; patience: validations without a lower loss after which training ends (0 = never).
    clip_norm: longest gradient (0 = as it comes).
    """

    steps: int
    batch: int
    accumulate: int
    rate: float
    warm_up: int
    anneal: bool
    optimiser: Literal["adam", "adamw", "rmsprop"]
    weight_decay: float
    clip_norm: float
    validate_every: int
    patience: int

    def __post_init__(self) -> None:
        if self.optimiser not in ("adam", "adamw", "rmsprop"):
            raise WeightsError(f"optimiser: expected adam, adamw or rmsprop, found {self.optimiser!r}; correct the configuration.")
        if min(self.batch, self.accumulate, self.validate_every) < 1:
            raise WeightsError("Expected batch, accumulate and validate_every of at least 1; correct the configuration.")


@dataclass(frozen=True)
class TokenizerTraining:
    """The VQ-VAE. tokens_a_study: how many are kept of each study. permute_axes: turn each token's axes at random (PRIMA.md 3)."""

    schedule: Schedule
    tokens_a_study: int
    permute_axes: bool


@dataclass(frozen=True)
class NamesTraining:
    """Pre-training of the name encoder against sequences; no steps = it starts from random weights."""

    schedule: Schedule


@dataclass(frozen=True)
class ClipTraining:
    """Towers against reports (PRIMA.md 8). abnormal: how many times as often a study with a diagnosis is drawn as one without.

    most_tokens: of a series in one step, drawn at random (0 = all): bounds memory.
    """

    schedule: Schedule
    series_dropout: float
    token_dropout: float
    name_dropout: float
    shuffle_findings: bool
    abnormal: float
    patient_weight: float
    patient_temperature: float
    most_tokens: int

    def __post_init__(self) -> None:
        shares = (self.series_dropout, self.token_dropout, self.name_dropout)
        if min(self.abnormal, self.patient_temperature) <= 0 or not all(0 <= share <= 1 for share in shares):
            raise WeightsError(
                "clip: expected abnormal and patient_temperature above 0, dropouts between 0 and 1; "
                f"found {self.abnormal}, {self.patient_temperature}, {shares}; correct the configuration."
            )


@dataclass(frozen=True)
class TextTraining:
    """The text tower. kind: "bert" is the small one of the tiny preset, "gpt2" has GPT-2's size; both start from random weights."""

    kind: Literal["bert", "gpt2"]
    vocabulary: int
    length: int

    def __post_init__(self) -> None:
        if self.kind not in ("bert", "gpt2"):
            raise WeightsError(f"text.kind: expected bert or gpt2, found {self.kind!r}; correct the configuration.")


@dataclass(frozen=True)
class HeadsTraining:
    """Heads on frozen features. noise: multiplicative, a share of each feature. fewest: positives that a name needs in training.

    half: store heads in half precision.
    """

    schedule: Schedule
    hidden: tuple[int, ...]
    noise: float
    fewest: int
    half: bool


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run is told. validation: share of patients kept out of training. save_minutes: between checkpoints."""

    network: EncoderConfig
    tokenizer: TokenizerTraining
    names: NamesTraining
    clip: ClipTraining
    text: TextTraining
    heads: HeadsTraining
    validation: float
    seed: int
    save_minutes: float

    def __post_init__(self) -> None:
        steps = [part.schedule.steps for part in (self.tokenizer, self.clip, self.heads)]
        if min(steps) < 1 or not 0 < self.validation < 1:
            raise WeightsError(
                "Expected at least 1 step of tokenizer, clip and heads, and a share for validation between 0 and 1; "
                f"found {steps} and {self.validation}; correct the configuration."
            )

    def to_json(self) -> str:
        """Text of the json file."""
        return json.dumps(asdict(self), indent=1) + "\n"


def load_config(name: str) -> TrainConfig:
    """`tiny`, `prima`, or the path of a json file. Raises UsageError without such a file, WeightsError on unknown or missing keys."""
    path = Path(name) if name.endswith(".json") else CONFIGS / f"{name}.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--config: expected tiny, prima or a json file, found {name!r} ({error}).") from error
    return from_mapping(TrainConfig, values)
