"""The adapter: LoRA weights on a frozen language model, and the conditioner that turns a study's features into a soft prompt."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import prompts
from assistant.conditioner import Conditioner, ConditionerConfig, feature_numbers, prompt_fields
from assistant.device import fastest, mixed
from assistant.draft import parse
from assistant.errors import DraftError, UsageError
from assistant.evidence import Evidence
from assistant.llm import CONDITIONER, LORA, SOFT_PLACE, WEIGHTS, AdapterManifest, LanguageModel, prompt_schema, quiet_peft
from assistant.needs import not_assessed
from assistant.train import text
from assistant.train.schedule import share_done
from encoder.features import Localisation, Score, StudyFeatures
from encoder.study import Context, Side, Weighting
from index.case import Neighbour
from prompts import diagnoses

log = logging.getLogger(__name__)

NAMES = tuple(diagnoses.load())
# What is kept from the prompt, and how often: with scores, cases and locations hidden the soft prompt alone must carry the diagnosis.
HIDING = ((0.5, ()), (0.35, ("scores", "cases", "locations")), (0.15, ("scores", "locations")))
IMAGINED = 0.12  # share of examples without features, from the whole table
CHAT = 0.6
SAVE_EVERY = 90.0  # seconds


@dataclass(frozen=True)
class AdapterConfig:
    """Size and schedule of an adapter's training."""

    rank: int = 32
    alpha: int = 64
    length: int = 8
    batch: int = 4
    rate: float = 2e-3
    noise: float = 0.4  # of the features, in their own standard deviations
    hint: float = 0.1  # weight of the loss that keeps the soft prompt near the names' own embeddings
    warm_up_steps: int = 400
    minutes: float = 25.0  # or `steps`, whichever is over first
    steps: int = 12000
    held_out: float = 0.06
    seed: int = 0


# ---- studies --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureCache:
    """Encoded studies with their truth, row by row.

    `features.safetensors`: embedding (n, d), registers (n, r, d_study), sequences_mean (n, d_seq), score and probability (n, heads;
    NaN = not calibrated), float32. `features.json`: encoder (hash), heads (names of the columns), studies (a dict a row: weightings,
    diagnoses, findings, age, sex, locations, neighbours, similarities).
    """

    encoder: str
    heads: tuple[str, ...]
    arrays: dict[str, NDArray[np.float32]]
    studies: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, folder: Path) -> FeatureCache:
        """Raises UsageError where the two files are missing or disagree."""
        tensors, facts = folder / "features.safetensors", folder / "features.json"
        if not (tensors.is_file() and facts.is_file()):
            raise UsageError(f"Expected features.safetensors and features.json in {folder}. Write them with `prima train encoder`.")
        arrays = load_file(tensors)
        found = json.loads(facts.read_text(encoding="utf-8"))
        rows = {name: len(array) for name, array in arrays.items()}
        if set(rows.values()) != {len(found["studies"])}:
            raise UsageError(f"{folder}: expected {len(found['studies'])} rows in every array, found {rows}.")
        return cls(found["encoder"], tuple(found["heads"]), arrays, tuple(found["studies"]))

    def __len__(self) -> int:
        return len(self.studies)

    def features(self, row: int) -> StudyFeatures:
        """The features of a row, as the encoder would give them (its sequences as their mean)."""
        facts, arrays = self.studies[row], self.arrays
        scores = tuple(
            Score(name, float(score), None if math.isnan(probability) else float(probability))
            for name, score, probability in zip(self.heads, arrays["score"][row], arrays["probability"][row], strict=True)
        )
        locations = tuple(
            Localisation(
                found["diagnosis"], Side(found["side"]), found["region"] or "", "", 0, (0.0, 0.0, 0.0), found.get("confidence", 1.0)
            )
            for found in facts["locations"]
        )
        return StudyFeatures(
            embedding=arrays["embedding"][row],
            registers=arrays["registers"][row],
            sequences=arrays["sequences_mean"][row][None],
            names=("mean",),
            scores=scores,
            referral=(),
            priority=(),
            locations=locations,
            out_of_distribution=None,
            encoder=self.encoder,
        )

    def scene(self, row: int, rng: Random | None = None) -> text.Scene:
        """The truth of a row, main diagnosis first."""
        facts = self.studies[row]
        placed = {found["name"]: found for found in facts["findings"]}
        names = dict.fromkeys([*facts["diagnoses"], *placed])
        lesions = tuple(text.Lesion(name, _side(placed.get(name)), placed.get(name, {}).get("region")) for name in names)
        indication = facts.get("indication") or (text.indication(rng) if rng else None)
        context = Context(age=facts.get("age"), sex=facts.get("sex"), indication=indication)
        return text.Scene(context, tuple(Weighting(weighting) for weighting in facts["weightings"]), lesions)

    def evidence(self, row: int, rng: Random) -> Evidence:
        """What the assistant would have of a row: features, neighbours from the other rows, what is not assessed."""
        study = text.study_of(self.scene(row, rng))
        features = self.features(row)
        facts = self.studies[row]
        pairs = list(zip(facts["neighbours"], facts["similarities"], strict=True))[: rng.choice([4, 4, 3, 2, 0])]
        cases = tuple(
            Neighbour(self._case(other, rng), similarity, rank, "study") for rank, (other, similarity) in enumerate(pairs, start=1)
        )
        return Evidence(study, features, cases, not_assessed(study, features))

    def _case(self, row: int, rng: Random) -> Any:
        case = text.case_of(self.scene(row), f"row-{row}", rng)
        impression = self.studies[row].get("impression")
        return replace(case, report=replace(case.report, impression=impression)) if impression else case

    @cached_property
    def numbers(self) -> Tensor:
        """(n, inputs) what the conditioner takes."""
        return torch.from_numpy(np.stack([feature_numbers(self.features(row)) for row in range(len(self))]))


def _side(found: dict[str, Any] | None) -> Side | None:
    return Side(found["side"]) if found and found.get("side") else None


# ---- examples -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A prompt, its reply, and the cache row whose features come with it (None = no soft prompt)."""

    prompt: str
    reply: str
    row: int | None


def example(cache: FeatureCache, rows: Sequence[int], rng: Random) -> Example:
    """A training example of a random study: mostly a draft, sometimes a question."""
    if rng.random() < IMAGINED:
        scene = text.imagine(rng)
        return _example(text.observe(scene, rng), scene, (), None, rng)
    row = rng.choice(rows)
    hide = rng.choices([names for _, names in HIDING], [share for share, _ in HIDING])[0]
    evidence = cache.evidence(row, rng)
    return _example(evidence, cache.scene(row), hide, row, rng)


def _example(evidence: Evidence, scene: text.Scene, hide: Sequence[str], row: int | None, rng: Random) -> Example:
    truth = [name for name in scene.names if name in evidence.scores]
    opinion = text.judge(evidence, truth, hide, text.advise(scene, rng))
    if not hide and rng.random() < CHAT:
        return Example(*text.exchange(opinion, rng), row)
    prompt = prompts.load("differential").render(**prompt_fields(evidence, hide)).text
    return Example(prompt, text.draft(opinion, rng), row)


class Batcher:
    """Examples -> padded input embeddings, attention mask and labels; only the reply is learnt."""

    def __init__(self, language_model: LanguageModel, cache: FeatureCache) -> None:
        self.language_model, self.cache = language_model, cache
        self.tokenizer: PreTrainedTokenizerBase = language_model.tokenizer

    def parts(self, item: Example) -> tuple[list[int], list[int], list[int]]:
        """Token ids before the soft prompt, after it, and of the reply with its end."""
        content = SOFT_PLACE + item.prompt
        before, after = self.language_model.templated([{"role": "user", "content": content}]).split(SOFT_PLACE)
        ids = [self.tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in (before, after, item.reply)]
        return ids[0], ids[1], [*ids[2], self.tokenizer.eos_token_id]

    def batch(self, items: Sequence[Example], soft: Tensor, embedding: torch.nn.Module) -> dict[str, Tensor]:
        """soft: (items, length, d), of which items without features use none."""
        rows, labels = [], []
        for item, own in zip(items, soft, strict=True):
            before, after, reply = (torch.tensor(ids, dtype=torch.long, device=soft.device) for ids in self.parts(item))
            middle = own if item.row is not None else own[:0]
            rows.append(torch.cat([embedding(before), middle, embedding(torch.cat([after, reply]))]))
            silent = torch.full((len(before) + len(middle) + len(after),), -100, device=soft.device)
            labels.append(torch.cat([silent, reply]))
        mask = [torch.ones(len(row), dtype=torch.long, device=soft.device) for row in rows]
        pad = torch.nn.utils.rnn.pad_sequence
        return {"inputs_embeds": pad(rows, True), "attention_mask": pad(mask, True), "labels": pad(labels, True, -100)}


# ---- training -------------------------------------------------------------------------------------------------------


def train_adapter(
    out: Path, features: Path, config: AdapterConfig = AdapterConfig(), *, base: str | None = None, start: Path | None = None
) -> dict[str, float]:
    """Train LoRA and conditioner on cached features, on a GPU where there is one; `out` is rewritten whole as it goes. Returns figures.

    base: the language model, None = the shipped one. start: an adapter of that model to go on from. Raises UsageError for bad features.
    """
    torch.manual_seed(config.seed)
    device = fastest()
    rng = Random(config.seed)
    cache = FeatureCache.read(features)
    language_model = LanguageModel.open(base or str(WEIGHTS / "lm"))
    model = language_model.model
    model.requires_grad_(False).to(device)
    train_rows, held_rows = split(cache, config)
    conditioner = _new_conditioner(cache, train_rows, model, config).to(device)
    numbers = cache.numbers.to(device)
    names, targets, mains = (tensor.to(device) for tensor in (_name_embeddings(language_model), *_truth(cache)))
    _warm_up(conditioner, numbers, train_rows, names, targets, mains, config)
    with quiet_peft():
        lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        tuned = get_peft_model(model, lora)
    if start is not None:
        set_peft_model_state_dict(tuned, load_tensors(start / LORA))
    manifest = AdapterManifest(cache.encoder, language_model.hash, prompt_schema(), conditioner.config.as_json())
    groups = [
        {"params": [p for p in tuned.parameters() if p.requires_grad], "lr": config.rate, "peak": config.rate, "weight_decay": 0.0},
        {"params": list(conditioner.parameters()), "lr": config.rate / 4, "peak": config.rate / 4, "weight_decay": 0.05},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    batcher = Batcher(language_model, cache)
    embedding = model.get_input_embeddings()
    began, saved, step, tokens, running = time.monotonic(), time.monotonic(), 0, 0, 0.0
    for items in _batches(cache, train_rows, rng, config):
        spent = time.monotonic() - began
        if (progress := share_done(config, spent, step)) >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        tuned.train()
        conditioner.train()
        picked = torch.tensor([item.row if item.row is not None else 0 for item in items])
        soft = conditioner(_noisy(numbers[picked], conditioner, config))
        batch = batcher.batch(items, soft, embedding)
        with mixed(model.device):
            loss = tuned(**batch).loss
        loss = loss + config.hint * _hint(soft, names, targets[picked], mains[picked])
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*tuned.parameters(), *conditioner.parameters()], 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + int(batch["attention_mask"].sum())
        running = loss.item() if step == 1 else 0.95 * running + 0.05 * loss.item()
        if step % 20 == 0:
            log.info("step %d  %.2f M tokens  %.0f s  loss %.4f", step, tokens / 1e6, spent, running)
        if time.monotonic() - saved > SAVE_EVERY:
            saved = time.monotonic()
            save(out, tuned, conditioner, manifest)
    save(out, tuned, conditioner, manifest)
    return {"steps": step, "tokens": tokens, "loss": running, "held_out": len(held_rows), "trained_on": len(train_rows)}


def split(cache: FeatureCache, config: AdapterConfig) -> tuple[list[int], list[int]]:
    """(training rows, held-out rows); a study and its mirror image fall on the same side."""
    seeds = sorted({facts.get("seed", row) for row, facts in enumerate(cache.studies)})
    Random(config.seed + 1).shuffle(seeds)
    held = set(seeds[: max(1, round(config.held_out * len(seeds)))])
    rows = range(len(cache))
    kept = [row for row in rows if cache.studies[row].get("seed", row) not in held]
    return kept, [row for row in rows if cache.studies[row].get("seed", row) in held]


def save(out: Path, tuned: PeftModel, conditioner: Conditioner, manifest: AdapterManifest) -> None:
    """Write the adapter's folder whole, replacing what is there."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for adapter in tuned.peft_config.values():
        adapter.base_model_name_or_path = ""
    tuned.save_pretrained(part)
    (part / "README.md").unlink(missing_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in conditioner.state_dict().items()}, part / CONDITIONER)
    manifest.save(part)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)


def _batches(cache: FeatureCache, rows: Sequence[int], rng: Random, config: AdapterConfig) -> Iterator[list[Example]]:
    """Endless batches of examples of like length, so that little is padding."""
    while True:
        items = sorted((example(cache, rows, rng) for _ in range(12 * config.batch)), key=lambda item: len(item.prompt) + len(item.reply))
        chunks = [items[at : at + config.batch] for at in range(0, len(items), config.batch)]
        rng.shuffle(chunks)
        yield from chunks


def _new_conditioner(cache: FeatureCache, rows: Sequence[int], model: PreTrainedModel, config: AdapterConfig) -> Conditioner:
    arrays, embeddings = cache.arrays, model.get_input_embeddings().weight
    conditioner = Conditioner(
        ConditionerConfig(
            registers=arrays["registers"].shape[1],
            d_register=arrays["registers"].shape[2],
            d_embedding=arrays["embedding"].shape[1],
            d_sequence=arrays["sequences_mean"].shape[1],
            d_llm=embeddings.shape[1],
            length=config.length,
        )
    )
    conditioner.fit_inputs(cache.numbers[list(rows)])
    conditioner.scale.copy_(embeddings.float().pow(2).mean().sqrt().cpu())
    return conditioner


def _noisy(numbers: Tensor, conditioner: Conditioner, config: AdapterConfig) -> Tensor:
    return numbers + config.noise * conditioner.deviation * torch.randn_like(numbers)


# The soft prompt is first brought near the embeddings of the names that are true of a study, which the frozen model can already read.


def _name_embeddings(language_model: LanguageModel) -> Tensor:
    """(names + 1, d) unit vectors: mean token embedding of each name, and of "none"."""
    table = language_model.model.get_input_embeddings().weight.detach().float()
    ids = [language_model.tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in (*NAMES, "none")]
    return functional.normalize(torch.stack([table[own].mean(0) for own in ids]), dim=-1)


def _truth(cache: FeatureCache) -> tuple[Tensor, Tensor]:
    """(n, names) presence, and (n,) the main diagnosis's number (last = none)."""
    presence, mains = torch.zeros(len(cache), len(NAMES)), torch.full((len(cache),), len(NAMES))
    for row in range(len(cache)):
        names = cache.scene(row).names
        presence[row, [NAMES.index(name) for name in names]] = 1.0
        if cache.studies[row]["diagnoses"]:
            mains[row] = NAMES.index(cache.studies[row]["diagnoses"][0])
    return presence, mains


def _hint(soft: Tensor, names: Tensor, presence: Tensor, mains: Tensor) -> Tensor:
    """The first soft token points at the main diagnosis, the mean of the others at everything present."""
    directions = functional.normalize(soft, dim=-1) @ names.T
    first = functional.cross_entropy(12 * directions[:, 0], mains)
    others = functional.binary_cross_entropy_with_logits(12 * directions[:, 1:, :-1].mean(1) - 3, presence)
    return first + others


def _warm_up(
    conditioner: Conditioner,
    numbers: Tensor,
    rows: Sequence[int],
    names: Tensor,
    presence: Tensor,
    mains: Tensor,
    config: AdapterConfig,
) -> None:
    optimiser = torch.optim.AdamW(conditioner.parameters(), lr=1e-3, weight_decay=0.05)
    pool = torch.tensor(list(rows))
    conditioner.train()
    for step in range(config.warm_up_steps):
        picked = pool[torch.randint(len(pool), (64,))]
        loss = _hint(conditioner(_noisy(numbers[picked], conditioner, config)), names, presence[picked], mains[picked])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 200 == 199:
            log.info("warm-up %d  loss %.3f", step + 1, loss.item())


# ---- figures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """Shares over held-out studies. valid: drafts that can be read; first: whose first name is the main diagnosis (none = normal)."""

    studies: int
    valid: float
    first: float
    seconds: float


def measure(language_model: LanguageModel, cache: FeatureCache, rows: Sequence[int], hide: Sequence[str] = ()) -> Figures:
    """Draft each row and compare with its truth; one study's text is computed as in use."""
    valid = first = 0
    began = time.monotonic()
    for row in rows:
        evidence = cache.evidence(row, Random(row))
        prompt = prompts.load("differential").render(**prompt_fields(evidence, hide)).text
        written = "".join(language_model.stream(prompt, evidence.features))
        try:
            named = parse(written).differential
        except DraftError:
            continue
        valid += 1
        first += (named[:1] or ("normal",))[0] == (cache.studies[row]["diagnoses"][:1] or ["normal"])[0]
    return Figures(len(rows), valid / len(rows), first / len(rows), (time.monotonic() - began) / len(rows))
