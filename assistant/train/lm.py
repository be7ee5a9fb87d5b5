"""The small language model: its tokenizer and its training from scratch on made text."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import Lfm2Config, Lfm2ForCausalLM, PreTrainedTokenizerFast

import prompts
from assistant.conditioner import prompt_fields
from assistant.device import fastest, mixed
from assistant.train import text
from assistant.train.schedule import share_done
from prompts import diagnoses

log = logging.getLogger(__name__)

BEGIN, END, PAD, USER, ASSISTANT = "<|begin|>", "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    "<|begin|>{% for message in messages %}<|{{ 'assistant' if message['role'] == 'assistant' else 'user' }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' or loop.nextitem is defined or add_generation_prompt %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Markup that a draft repeats: one token each, so that it costs one step and cannot be misspelt.
MARKUP = (
    "<think>\n", "\n</think>\n",
    '{"differential": [', '], "findings": [', '], "impression": [',
    '{"ranked": [', '], "observations": [', '], "summary": [',
    '"]}', '", "', '"', "]}", " [P:", " [L:", " [S:", "]", " P:", " L:", " S:", " ___ mm", "T1post", "FLAIR", "DWI", "ADC", "SWI", "MRA",
    *(f" [C{number}]" for number in range(1, 10)), *(f"C{number}" for number in range(1, 10)),
)  # fmt: skip


@dataclass(frozen=True)
class LMConfig:
    """Size and schedule of the shipped model."""

    vocabulary: int = 2560
    width: int = 256
    layers: int = 6
    heads: int = 4
    inner: int = 704
    context: int = 2048
    batch: int = 2048  # tokens, padding included
    drilled_first: float = 0.3  # of the time, only drills
    drilled: float = 0.25
    rate: float = 3e-3
    minutes: float = 20.0  # or `steps`, whichever is over first
    steps: int = 6000
    seed: int = 20_000_000


# ---- tokenizer ------------------------------------------------------------------------------------------------------


def build_tokenizer(config: LMConfig) -> PreTrainedTokenizerFast:
    """A byte-level BPE on sample text; taxonomy names, tags, probabilities and JSON markup are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    whole = [*MARKUP, *diagnoses.load(), *(f" {number / 100:.2f}" for number in range(101))]
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in (PAD, BEGIN, END, USER, ASSISTANT)])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in whole])
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary - len(whole) - 5,
        min_frequency=3,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample_text(Random(config.seed + 1)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        chat_template=TEMPLATE,
        model_max_length=config.context,
        clean_up_tokenization_spaces=False,
    )


def _sample_text(rng: Random, studies: int = 4000) -> Iterator[str]:
    """Text of every kind that the model will meet, the table of diagnoses included; markup is cut out, being whole already."""
    for row in diagnoses.load().values():
        for _ in range(20):
            yield from (row.label, text.capital(row.label), row.form, *row.phrases, *row.regions)
    for number in range(studies):
        given, written = text.base_document(rng)
        yield given
        yield written
        scene = text.imagine(rng)
        opinion = text.judge(text.observe(scene, rng), scene.names)
        if number % 4 == 0:
            fields = prompt_fields(opinion.evidence)
            yield prompts.load("differential").render(**fields).text
            yield prompts.load("chat").render(**fields, draft="none", history="none", question="What is it?").text
        yield text.draft(opinion, rng)
        yield text.findings_text(scene, rng)


# ---- text -> tokens -------------------------------------------------------------------------------------------------


IGNORED = -100  # the label of tokens that are not learnt
REPEATS = 0.3  # share of drills that are random tokens said again: the barest form of copying
POOL = 96  # documents that are sorted by length before they are cut into batches


def batches(tokenizer: PreTrainedTokenizerFast, rng: Random, tokens: int, drilled: Callable[[], float]) -> Iterator[Tensor]:
    """Endless batches (2, documents, length) of tokens and labels, about `tokens` tokens each; what is given is not learnt.

    Documents are not packed into one row: each must be answered from itself, not from its neighbours. Like lengths go together, so that
    little is padding. drilled: the share of drills among the documents to come.
    """
    while True:
        documents = sorted((_document(tokenizer, rng, drilled()) for _ in range(POOL)), key=lambda pair: len(pair[0]) + len(pair[1]))
        chunks: list[list[tuple[list[int], list[int]]]] = [[]]
        for pair in documents:
            if chunks[-1] and (len(chunks[-1]) + 1) * (len(pair[0]) + len(pair[1])) > tokens:
                chunks.append([])
            chunks[-1].append(pair)
        rng.shuffle(chunks)
        yield from (_padded(chunk, tokenizer.pad_token_id) for chunk in chunks)


def _document(tokenizer: PreTrainedTokenizerFast, rng: Random, drilled: float) -> tuple[list[int], list[int]]:
    """Token ids of what is given and of what is learnt."""
    drill = rng.random() < drilled
    if drill and rng.random() < REPEATS:
        said = rng.sample(range(5, len(tokenizer)), rng.randint(4, 24))
        return [tokenizer.bos_token_id, *said], [*said, *said, tokenizer.eos_token_id]
    given, written = rng.choice(text.DRILLS)(rng) if drill else text.base_document(rng)
    parts = (f"{BEGIN}{USER}{given}{END}{ASSISTANT}", f"{written}{END}") if given else (BEGIN, f"{written}{END}")
    ids = tokenizer(list(parts), add_special_tokens=False)["input_ids"]
    return ids[0], ids[1]


def _padded(pairs: list[tuple[list[int], list[int]]], pad: int) -> Tensor:
    longest = max(len(given) + len(written) for given, written in pairs)
    batch = torch.stack([torch.full((len(pairs), longest), pad), torch.full((len(pairs), longest), IGNORED)])
    for row, (given, written) in enumerate(pairs):
        whole = len(given) + len(written)
        batch[0, row, :whole] = torch.tensor(given + written)
        batch[1, row, len(given) : whole] = torch.tensor(written)
    return batch


# ---- training -------------------------------------------------------------------------------------------------------


def new_model(config: LMConfig, tokenizer: PreTrainedTokenizerFast) -> Lfm2ForCausalLM:
    """An untrained LFM2 of the given size: attention in every second layer, short convolutions between.

    The convolutions see the tokens before, which is half of copying: a Llama of this size had not learnt to copy after 2.2 million
    tokens, this one begins to after 0.2 million.
    """
    return Lfm2ForCausalLM(
        Lfm2Config(
            vocab_size=math.ceil(len(tokenizer) / 64) * 64,
            hidden_size=config.width,
            intermediate_size=config.inner,
            block_auto_adjust_ff_dim=False,
            layer_types=["conv", "full_attention"] * (config.layers // 2),
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.context,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train_lm(out: Path, config: LMConfig = LMConfig(), *, resume: bool = True) -> dict[str, float]:
    """Train tokenizer and model into `out`, on a GPU where there is one; returns tokens, tokens/s and held-out loss.

    `out`.partial holds a checkpoint every two minutes; training goes on from it.
    """
    partial = out.with_name(f"{out.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    state_file = partial / "state.pt"
    torch.manual_seed(config.seed)
    if resume and state_file.exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(partial)
        state: dict[str, Any] = torch.load(state_file, weights_only=True, map_location="cpu")
    else:
        tokenizer = build_tokenizer(config)
        tokenizer.save_pretrained(partial)
        state = {"spent": 0.0, "tokens": 0, "step": 0}
    model = new_model(config, tokenizer).to(fastest())
    optimisers = _optimisers(model, config)
    if "model" in state:
        model.load_state_dict(state["model"])
        for optimiser, kept in zip(optimisers, state.get("optimisers", ()), strict=False):
            optimiser.load_state_dict(kept)
    held_out = list(islice(batches(tokenizer, Random(7), config.batch, lambda: 0.0), 6))
    progress = share_done(config, state["spent"], state["step"])
    # First only drills: what comes after is learnt by copying.
    source = batches(
        tokenizer, Random(config.seed + 2 + state["step"]), config.batch, lambda: 1.0 if progress < config.drilled_first else config.drilled
    )
    began, spent, tokens, step, saved = time.monotonic(), state["spent"], state["tokens"], state["step"], 0.0
    figures = {"spent": spent, "tokens": tokens, "step": step, "loss": math.nan}
    model.train()
    while (progress := share_done(config, clock := spent + time.monotonic() - began, step)) < 1:
        _set_rate(optimisers, step, progress)
        batch = next(source)
        loss = _loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + batch[0].numel()
        if step % 25 == 0:
            log.info("step %d  %.2f M tokens  %.0f s  loss %.3f", step, tokens / 1e6, clock, loss.item())
        if clock - saved > 120:
            saved = clock
            figures = {"spent": clock, "tokens": tokens, "step": step, "loss": evaluate(model, held_out)}
            log.info("held-out loss %.4f  %.0f tokens/s", figures["loss"], tokens / clock)
            _save(state_file, {**figures, "model": model.state_dict(), "optimisers": [optimiser.state_dict() for optimiser in optimisers]})
    figures = {"spent": clock, "tokens": tokens, "step": step, "tokens_per_s": tokens / clock, "loss": evaluate(model, held_out)}
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config.update(do_sample=False, max_length=None)
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    shutil.rmtree(partial)
    log.info("%s", figures)
    return figures


def _optimisers(model: Lfm2ForCausalLM, config: LMConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings and norms: on small budgets it needs about half the tokens of AdamW alone."""
    inner = [parameter for name, parameter in model.named_parameters() if parameter.ndim == 2 and "embed" not in name]
    outer = [parameter for name, parameter in model.named_parameters() if parameter.ndim != 2 or "embed" in name]
    optimisers = [
        torch.optim.Muon(inner, lr=config.rate, momentum=0.95, weight_decay=0.05, ns_steps=4, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, lr=config.rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def _set_rate(optimisers: list[torch.optim.Optimizer], step: int, progress: float) -> None:
    factor = min(1.0, (step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor


def _loss(model: Lfm2ForCausalLM, batch: Tensor) -> Tensor:
    batch = batch.to(model.device)
    with mixed(model.device):
        loss: Tensor = model(input_ids=batch[0], labels=batch[1]).loss
    return loss


@torch.no_grad()
def evaluate(model: Lfm2ForCausalLM, held_out: Sequence[Tensor]) -> float:
    """Mean loss in nats a token on held-out batches."""
    model.eval()
    loss = float(torch.stack([_loss(model, batch) for batch in held_out]).mean())
    model.train()
    return loss


def _save(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
