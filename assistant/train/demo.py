"""Everything that ships, trained from nothing by one command: phantoms -> tokenizer -> encoder -> index -> language model -> adapter.

Each stage writes into a folder named by the hash of what goes into it (its settings, the code that makes its data, the stage
before), so a killed run resumes and an unchanged stage is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import phantom
from assistant.device import fastest
from assistant.train.adapter import AdapterConfig, train_adapter
from assistant.train.calibrate import calibrate, diagnoses_of, head_outputs
from assistant.train.card import card_text
from assistant.train.cases import build_demo_index
from assistant.train.corpus import load_corpus, tokenise
from assistant.train.encoder import Plan, train_encoder
from assistant.train.features import export_features
from assistant.train.lm import LMConfig, train_lm
from assistant.train.reports import Wordings, report_wordings
from assistant.train.site.card import README
from assistant.train.studies import Emphasis, make_shards, names
from assistant.train.team import team
from assistant.train.text_tower import build_text_tower, load_text_tower, save_text_tower
from assistant.train.tokenizer import train_tokenizer
from encoder.config import EncoderConfig, preset
from encoder.encoder import Encoder
from encoder.errors import WeightsError
from encoder.model import Labels, Model
from encoder.tokenizer import VQVAE
from index.text import TextTower
from phantom.atlas import REGIONS

STATEMENT = "Simulated studies only (phantom package). No patient data. Not for clinical use."
SIMILARITY_CUT = 0.5  # of the neighbours that the adapter is trained with
MEASURED = 350  # studies whose statistics stand for the training distribution: enough to measure by, in a small file


# What was told worst, and what the priority hangs on: small bleeds, plaques, lacunes, vessels.
OFTEN = Emphasis(
    (
        "arteriovenous_malformation",
        "brain_metastasis",
        "cavernoma",
        "cerebral_aneurysm",
        "chiari_malformation",
        "diffuse_axonal_injury",
        "heterotopia",
        "intracranial_hemorrhage",
        "lacunar_stroke",
        "multiple_sclerosis",
        "neurosarcoid",
        "subarachnoid_hemorrahage",
    ),
    others=0.3,
    redress=2.0,
)


@dataclass(frozen=True)
class Recipe:
    """Sizes of the demo training; those of the shipped weights stand in their card. Steps or minutes, whichever is over first."""

    training_studies: int = 6000  # drawn; `emphasis` keeps about half of them, each with its mirror image
    emphasis: Emphasis = OFTEN
    calibration_studies: int = 800  # of which at least eight are positive for each diagnosis
    indexed_studies: int = 304
    first_training_seed: int = 1_000_000
    first_calibration_seed: int = 2_000_000
    first_indexed_seed: int = 3_000_000
    tokenizer_steps: int = 1600
    tokenizer_minutes: float = 7.0
    encoder_steps: int = 8000
    encoder_minutes: float = 78.0


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


def stages(recipe: Recipe, root: Path, start: Path | None = None, language: LMConfig = LMConfig()) -> Stages:
    """Folders named by the hash of everything that goes into a stage. start: encoder to begin with."""
    config, house = preset("tiny"), Path(phantom.__file__).parents[1]
    cutting = [_source(house / name) for name in ("assistant/train/studies.py", "encoder/patches.py", "encoder/volume.py")]
    data = _key("shards", asdict(config.patch), _source(house / "phantom", _WORDS), names(), cutting)
    begun = _source(start) if start else None
    tokenizer = _key(data, asdict(config.tokenizer), begun or (recipe.training_studies, asdict(recipe.emphasis), recipe.tokenizer_steps))
    taught = ("assistant/train/encoder.py", "assistant/train/text_tower.py", "encoder/model.py", "encoder/networks.py")
    learning = [_source(house / name) for name in taught]
    encoder = _key(tokenizer, asdict(config), asdict(recipe), learning, begun)
    lm = _key("lm", asdict(language), _source(house / "prompts"))
    keys = {"shards": data, "tokenizer": tokenizer, "rows": tokenizer, "encoder": encoder, "lm": lm}
    return Stages(**{name: root / f"{name}-{key}" for name, key in keys.items()})


def train_demo(
    recipe: Recipe,
    root: Path,
    out: Path | None,
    start: Path | None = None,
    language: LMConfig = LMConfig(),
    adapter: AdapterConfig = AdapterConfig(),
) -> None:
    """Run every stage that has no result yet, and put the parts where they ship. A killed run resumes when called again.

    start: an encoder of the same sizes and labels to begin with, tokenizer and text tower included; None = from nothing.
    """
    where, packages = stages(recipe, root, start, language), Packages.below(out)
    encoder = train_demo_encoder(recipe, where, packages.encoder, start)
    indexed = range(recipe.first_indexed_seed, recipe.first_indexed_seed + recipe.indexed_studies)
    build_demo_index(encoder, TextTower(packages.encoder / "text"), packages.index, indexed)
    if not (where.lm / "model.safetensors").exists():
        train_lm(where.lm, language)
    _replace(where.lm, packages.lm)
    train_adapter(packages.adapter, where.encoder / "features", adapter, base=str(packages.lm))


def train_demo_encoder(recipe: Recipe, where: Stages, out: Path, start: Path | None = None) -> Encoder:
    """Run the stages up to a calibrated encoder with its text tower, written to `out` and `out`/text; features beside the checkpoint."""
    config = preset("tiny")
    first, drawn = recipe.first_training_seed, recipe.training_studies
    training = make_shards(where.shards, first, drawn, config, mirrored=True, emphasis=recipe.emphasis)
    calibration = make_shards(where.shards, recipe.first_calibration_seed, recipe.calibration_studies, config)
    begun = Encoder.read(start) if start else None
    tokenizer = begun.towers.tokenizer if begun else trained_tokenizer(where.tokenizer, training, config, recipe)
    device = fastest()
    tokenise([*training, *calibration], tokenizer.to(device), config, where.rows)
    corpus, statistics = load_corpus(training, where.rows, device)
    torch.manual_seed(0)
    model = Model(config, Labels(names(), specialties(corpus.studies), tuple(REGIONS)))
    model.towers.tokenizer.load_state_dict(tokenizer.state_dict())
    reports = _reports(where.encoder / "reports.json", corpus.studies)
    if begun and start:
        _begin_with(begun, model)
        tower = load_text_tower(start / "text")
    else:
        tower = build_text_tower((sentence for wordings in reports for w in wordings for sentence in w), config.study.out)
    plan, checkpoint = Plan(recipe.encoder_minutes, recipe.encoder_steps), where.encoder / "checkpoint.safetensors"
    chances = recipe.emphasis.chances(corpus.studies)
    with team(1 if device.type == "cuda" else min(2, os.cpu_count() or 1)) as us:
        train_encoder(model, tower, corpus, reports, plan, checkpoint, begun=begun is not None, team=us, chances=chances)
    held_out, held_out_statistics = load_corpus(calibration, where.rows, device)
    provenance = {"made_by": "prima train demo", "trained_on": STATEMENT, "licence": "MIT", "recipe": asdict(recipe)}
    if begun:
        provenance["began_with"] = {"hash": begun.hash, **begun.card.provenance}
    some = statistics[:: 2 * max(1, len(statistics) // (2 * MEASURED))]  # every second is a mirror image
    outputs = head_outputs(model, held_out)
    encoder = calibrate(model, config, held_out, outputs, np.concatenate(some), held_out_statistics, provenance)
    shutil.rmtree(out, ignore_errors=True)
    encoder.save(out)
    card = card_text(encoder.hash, provenance, names(), outputs.scores, diagnoses_of(held_out))
    (out / README).write_text(card, encoding="utf-8")
    save_text_tower(tower.cpu(), out / "text")
    features = where.encoder / "features"
    export_features(encoder, [*calibration, *training[::3]], where.rows, features, cut=SIMILARITY_CUT, device=device)
    return encoder


def _replace(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pt", "*.partial"))


def specialties(studies: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Every specialty that some training study is referred to."""
    return tuple(sorted({s for study in studies for s in study["referral"]}))


def trained_tokenizer(folder: Path, shards: list[Path], config: EncoderConfig, recipe: Recipe) -> VQVAE:
    """The tokenizer that `folder` keeps, trained on these shards where it has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tokenizer.safetensors"
    if not file.exists():
        network = train_tokenizer(shards, config, steps=recipe.tokenizer_steps, minutes=recipe.tokenizer_minutes, device=fastest())
        save_file(network.state_dict(), file)
    network = VQVAE(config.tokenizer)
    network.load_state_dict(load_file(file))
    return network.eval()


def _begin_with(begun: Encoder, model: Model) -> None:
    """Raises WeightsError where sizes or a column of labels differ."""
    if begun.card.labels != model.labels or begun.card.config != preset("tiny"):
        raise WeightsError("--encoder: expected an encoder of the tiny preset with the labels of this phantom; found another.")
    model.towers.load_state_dict(begun.towers.state_dict())
    model.readout.load_state_dict(begun.readout.state_dict())


def _reports(file: Path, studies: Sequence[dict[str, Any]]) -> list[Wordings]:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(report_wordings(studies, processes=os.cpu_count() or 1)), encoding="utf-8")
        part.replace(file)
    return [tuple(tuple(sentences) for sentences in wordings) for wordings in json.loads(file.read_text(encoding="utf-8"))]


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:12]


_WORDS = frozenset({"report.py", "wordings", "files.py", "build_atlas.py"})  # of the phantom, what makes no image


def _source(path: Path, but: frozenset[str] = frozenset()) -> str:
    """Hash of a file, or of a package's code and data: a changed phantom makes other studies."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    digest = hashlib.sha256()
    for file in files:
        if path.is_file() or but.isdisjoint(file.relative_to(path).parts):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
