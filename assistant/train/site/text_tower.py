"""The text tower: small and new, of GPT-2's size and new, or from a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer
from tokenizers import ByteLevelBPETokenizer
from torch import nn
from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast
from transformers.utils import logging

from assistant.errors import UsageError
from assistant.train.site.config import TextTraining
from assistant.train.text_tower import build_text_tower, save_text_tower

END = "<|endoftext|>"


def begin_text_tower(folder: Path, config: TextTraining, reports: Iterable[str], width: int, source: Path | None) -> None:
    """Write the untrained tower to `folder`, unless it is there: every process, and a resumed run, begin with this one.

    source: a sentence-transformers folder, or a Hugging Face model, which gets the published head (last token, norm, linear, norm);
    None = new, with a vocabulary learned from `reports`. Raises UsageError where the source does not fit.
    """
    if folder.exists():
        return
    _quiet()
    tower = _from_folder(source, width, config.length) if source else _new(config, reports, width)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_text_tower(tower, part)
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def open_text_tower(folder: Path) -> SentenceTransformer:
    """A tower that was saved as a sentence-transformers folder."""
    _quiet()
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def _quiet() -> None:
    """The library draws a bar for each file and lists a pooler that no tower uses; the command has a bar of its own."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _from_folder(source: Path, width: int, length: int) -> SentenceTransformer:
    if not (source / "config.json").is_file():
        raise UsageError(f"--text-tower: expected a model folder with config.json, found {source}.")
    if not (source / "modules.json").is_file():
        return _with_head(source, width, length)
    tower = open_text_tower(source)
    found = tower.get_embedding_dimension()
    if found != width:
        raise UsageError(f"--text-tower: expected embeddings of {width} numbers as the encoder's, found {found} in {source}.")
    return tower


def _new(config: TextTraining, reports: Iterable[str], width: int) -> SentenceTransformer:
    if config.kind == "bert":
        return build_text_tower(reports, width, vocabulary=config.vocabulary)
    words = ByteLevelBPETokenizer()
    words.train_from_iterator(reports, vocab_size=config.vocabulary, special_tokens=[END], show_progress=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, bos_token=END, eos_token=END, pad_token=END, unk_token=END, model_max_length=config.length
    )
    end = fast.convert_tokens_to_ids(END)
    with tempfile.TemporaryDirectory() as folder:
        GPT2Model(GPT2Config(vocab_size=len(fast), bos_token_id=end, eos_token_id=end)).save_pretrained(folder)
        fast.save_pretrained(folder)
        return _with_head(Path(folder), width, config.length)


def _with_head(folder: Path, width: int, length: int) -> SentenceTransformer:
    """The published head on a model's last token (PRIMA.md 7)."""
    words = Transformer(str(folder), max_seq_length=length)
    if words.tokenizer.pad_token is None:
        words.tokenizer.pad_token = words.tokenizer.eos_token
    hidden = words.get_embedding_dimension()
    return SentenceTransformer(
        modules=[
            words,
            Pooling(hidden, "lasttoken"),
            LayerNorm(hidden),
            Dense(hidden, width, activation_function=nn.Identity()),
            LayerNorm(width),
            Normalize(),
        ],
        device="cpu",
    )
