"""Everything that ships, trained from nothing by one command: phantoms -> tokenizer -> encoder -> index -> language model -> adapter.

Each stage writes into a folder named by the hash of what goes into it (its settings, the code that makes its data, the stage
before), so a killed run resumes and an unchanged stage is not repeated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

import phantom
from assistant.train.calibrate import calibrate
from assistant.train.corpus import load_corpus, tokenise
from assistant.train.encoder import Plan, report_wordings, train_encoder
from assistant.train.studies import make_shards, names
from assistant.train.text_tower import build_text_tower, save_text_tower
from assistant.train.tokenizer import train_tokenizer
from encoder.config import EncoderConfig, preset
from encoder.encoder import Encoder
from encoder.model import Labels, Model
from encoder.tokenizer import VQVAE
from phantom.atlas import REGIONS

STATEMENT = "Simulated studies only (phantom package). No patient data. Not for clinical use."


@dataclass(frozen=True)
class Recipe:
    """Sizes of the demo training; the defaults made the shipped weights on two CPU cores."""

    training_studies: int = 1200  # each with its mirror image
    calibration_studies: int = 500
    first_training_seed: int = 1_000_000
    first_calibration_seed: int = 2_000_000
    tokenizer_steps: int = 1500
    tokenizer_minutes: float = 6.0
    encoder_minutes: float = 35.0


@dataclass(frozen=True)
class Stages:
    """Where each stage of one recipe keeps its results."""

    shards: Path
    tokenizer: Path
    rows: Path
    encoder: Path


def stages(recipe: Recipe, root: Path) -> Stages:
    """Folders named by the hash of everything that goes into a stage."""
    config = preset("tiny")
    data = _key("shards", asdict(config.patch), _source(Path(phantom.__file__).parent))
    tokenizer = _key("tokenizer", data, asdict(config.tokenizer), recipe.tokenizer_steps, recipe.tokenizer_minutes)
    encoder = _key("encoder", tokenizer, asdict(config), asdict(recipe))
    return Stages(root / f"shards-{data}", root / f"tokenizer-{tokenizer}", root / f"rows-{tokenizer}", root / f"encoder-{encoder}")


def train_demo_encoder(recipe: Recipe, root: Path, out: Path) -> Encoder:
    """Run the stages up to a calibrated encoder with its text tower, written to `out` and `out`/text."""
    config, where = preset("tiny"), stages(recipe, root)
    training = make_shards(where.shards, recipe.first_training_seed, recipe.training_studies, config, mirrored=True)
    calibration = make_shards(where.shards, recipe.first_calibration_seed, recipe.calibration_studies, config)
    tokenizer = _tokenizer(where.tokenizer, training, config, recipe)
    tokenise([*training, *calibration], tokenizer, config, where.rows)
    corpus, statistics = load_corpus(training, where.rows)
    labels = Labels(names(), specialties(corpus.studies), REGIONS)
    model = Model(config, labels)
    model.towers.tokenizer.load_state_dict(tokenizer.state_dict())
    reports = report_wordings(corpus.studies)
    tower = build_text_tower((sentence for wordings in reports for w in wordings for sentence in w), config.study.out)
    where.encoder.mkdir(parents=True, exist_ok=True)
    train_encoder(model, tower, corpus, reports, Plan(recipe.encoder_minutes), where.encoder / "checkpoint.safetensors")
    held_out, held_out_statistics = load_corpus(calibration, where.rows)
    half = len(statistics) // 2  # enough rows to measure against, and a small file
    provenance = {"made_by": "prima train demo", "trained_on": STATEMENT, "licence": "MIT", "recipe": asdict(recipe)}
    encoder = calibrate(model, config, held_out, np.concatenate(statistics[:half:2]), held_out_statistics, provenance)
    encoder.save(out)
    save_text_tower(tower, out / "text")
    return encoder


def specialties(studies: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Every specialty that some training study is referred to."""
    return tuple(sorted({s for study in studies for s in study["referral"]}))


def _tokenizer(folder: Path, shards: list[Path], config: EncoderConfig, recipe: Recipe) -> VQVAE:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tokenizer.safetensors"
    if not file.exists():
        network = train_tokenizer(shards, config, steps=recipe.tokenizer_steps, minutes=recipe.tokenizer_minutes)
        save_file(network.state_dict(), file)
    network = VQVAE(config.tokenizer)
    network.load_state_dict(load_file(file))
    return network.eval()


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:12]


def _source(package: Path) -> str:
    """Hash of a package's code and data: a changed phantom makes other studies."""
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
