"""Everything that ships, trained from nothing by one command: phantoms -> tokenizer -> encoder -> index -> language model -> adapter.

Each stage writes into a folder named by the hash of what goes into it (its settings, the code that makes its data, the stage
before), so a killed run resumes and an unchanged stage is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import phantom
import prompts
from assistant.train.adapter import train_adapter
from assistant.train.calibrate import calibrate
from assistant.train.cases import build_demo_index
from assistant.train.corpus import load_corpus, tokenise
from assistant.train.encoder import Plan, report_wordings, train_encoder
from assistant.train.features import export_features
from assistant.train.lm import LMConfig, train_lm
from assistant.train.studies import make_shards, names
from assistant.train.text_tower import build_text_tower, save_text_tower
from assistant.train.tokenizer import train_tokenizer
from encoder.config import EncoderConfig, preset
from encoder.encoder import Encoder
from encoder.model import Labels, Model
from encoder.tokenizer import VQVAE
from phantom.atlas import REGIONS

STATEMENT = "Simulated studies only (phantom package). No patient data. Not for clinical use."
SIMILARITY_CUT = 0.5  # of the neighbours that the adapter is trained with


@dataclass(frozen=True)
class Recipe:
    """Sizes of the demo training; the defaults made the shipped weights on two CPU cores."""

    training_studies: int = 700  # each with its mirror image
    calibration_studies: int = 340
    indexed_studies: int = 304
    first_training_seed: int = 1_000_000
    first_calibration_seed: int = 2_000_000
    first_indexed_seed: int = 3_000_000
    tokenizer_steps: int = 1600
    tokenizer_minutes: float = 7.0
    encoder_minutes: float = 24.0


@dataclass(frozen=True)
class Packages:
    """Where the shipped parts lie inside the packages, or below one folder."""

    encoder: Path
    index: Path
    lm: Path
    adapter: Path

    @staticmethod
    def below(folder: Path | None) -> Packages:
        """None = inside the installed packages."""
        if folder is None:
            house = Path(__file__).parents[2]
            weights = house / "assistant" / "weights"
            return Packages(house / "encoder" / "weights" / "tiny", house / "index" / "demo", weights / "lm", weights / "adapter")
        return Packages(folder / "encoder", folder / "index", folder / "lm", folder / "adapter")


@dataclass(frozen=True)
class Stages:
    """Where each stage of one recipe keeps its results."""

    shards: Path
    tokenizer: Path
    rows: Path
    encoder: Path
    lm: Path


def stages(recipe: Recipe, root: Path) -> Stages:
    """Folders named by the hash of everything that goes into a stage."""
    config = preset("tiny")
    data = _key("shards", asdict(config.patch), _source(Path(phantom.__file__).parent))
    tokenizer = _key("tokenizer", data, asdict(config.tokenizer), asdict(recipe))
    encoder = _key("encoder", tokenizer, asdict(config))
    lm = _key("lm", asdict(LMConfig()), _source(Path(prompts.__file__).parent))
    keys = {"shards": data, "tokenizer": tokenizer, "rows": tokenizer, "encoder": encoder, "lm": lm}
    return Stages(**{name: root / f"{name}-{key}" for name, key in keys.items()})


def train_demo(recipe: Recipe, root: Path, out: Path | None) -> None:
    """Run every stage that has no result yet, and put the parts where they ship. A killed run resumes when called again."""
    where, packages = stages(recipe, root), Packages.below(out)
    encoder = train_demo_encoder(recipe, where, packages.encoder)
    indexed = range(recipe.first_indexed_seed, recipe.first_indexed_seed + recipe.indexed_studies)
    build_demo_index(encoder, packages.index, indexed)
    if not (where.lm / "model.safetensors").exists():
        train_lm(where.lm)
    _replace(where.lm, packages.lm)
    train_adapter(packages.adapter, where.encoder / "features", base=str(packages.lm))


def train_demo_encoder(recipe: Recipe, where: Stages, out: Path) -> Encoder:
    """Run the stages up to a calibrated encoder with its text tower, written to `out` and `out`/text; features beside the checkpoint."""
    config = preset("tiny")
    training = make_shards(where.shards, recipe.first_training_seed, recipe.training_studies, config, mirrored=True)
    calibration = make_shards(where.shards, recipe.first_calibration_seed, recipe.calibration_studies, config)
    tokenizer = _tokenizer(where.tokenizer, training, config, recipe)
    tokenise([*training, *calibration], tokenizer, config, where.rows)
    corpus, statistics = load_corpus(training, where.rows)
    torch.manual_seed(0)
    model = Model(config, Labels(names(), specialties(corpus.studies), tuple(REGIONS)))
    model.towers.tokenizer.load_state_dict(tokenizer.state_dict())
    reports = report_wordings(corpus.studies)
    tower = build_text_tower((sentence for wordings in reports for w in wordings for sentence in w), config.study.out)
    where.encoder.mkdir(parents=True, exist_ok=True)
    train_encoder(model, tower, corpus, reports, Plan(recipe.encoder_minutes), where.encoder / "checkpoint.safetensors")
    held_out, held_out_statistics = load_corpus(calibration, where.rows)
    provenance = {"made_by": "prima train demo", "trained_on": STATEMENT, "licence": "MIT", "recipe": asdict(recipe)}
    unmirrored = statistics[::4]  # every second is a mirror image; half of the rest measure well enough, in a smaller file
    encoder = calibrate(model, config, held_out, np.concatenate(unmirrored), held_out_statistics, provenance)
    shutil.rmtree(out, ignore_errors=True)
    encoder.save(out)
    save_text_tower(tower, out / "text")
    export_features(encoder, [*calibration, *training], where.rows, where.encoder / "features", cut=SIMILARITY_CUT)
    return encoder


def _replace(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pt", "*.partial"))


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
