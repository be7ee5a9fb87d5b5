"""The text tower of the tiny preset: a small BERT as a SentenceTransformer, trained from scratch beside the encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

LENGTH = 160
PLAIN = {"attn_implementation": "eager"}  # the fused attention kernel is slow backwards on a CPU in bfloat16
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def build_text_tower(texts: Iterable[str], width: int, *, vocabulary: int = 2000) -> SentenceTransformer:
    """A new tower whose sentence embeddings are unit vectors of `width`; its WordPiece vocabulary is learned from `texts`."""
    tokenizer = _word_pieces(list(texts), vocabulary)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=LENGTH,
    )
    config = BertConfig(
        vocab_size=fast.vocab_size,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        fast.save_pretrained(folder)
        words = Transformer(folder, max_seq_length=LENGTH, model_kwargs=PLAIN)
    size = 128
    return SentenceTransformer(
        modules=[words, Pooling(size, "mean"), Dense(size, width, activation_function=nn.Identity()), Normalize()], device="cpu"
    )


def _word_pieces(texts: list[str], vocabulary: int) -> Tokenizer:
    """WordPiece learned from the texts, the same at every call.

    The trainer numbers what begins with `##` as it meets it, in an order that differs from run to run, and breaks ties by number: a killed
    training would go on with other words. So these are numbered beforehand.
    """
    normal = normalizers.BertNormalizer(lowercase=True)
    within = [f"##{character}" for character in sorted(set("".join(map(normal.normalize_str, texts)))) if not character.isspace()]
    learned = _wordpiece({}, normal)
    learned.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=[*SPECIAL, *within], show_progress=False)
    )
    tokenizer = _wordpiece(learned.get_vocab(), normal)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def _wordpiece(vocabulary: dict[str, int], normal: normalizers.Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normal
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def load_text_tower(folder: Path) -> SentenceTransformer:
    """What `save_text_tower` wrote, to be trained on."""
    return SentenceTransformer(str(folder), device="cpu", model_kwargs=PLAIN)


def save_text_tower(tower: SentenceTransformer, folder: Path) -> None:
    """Write the tower as a SentenceTransformer directory (safetensors); the same files whether it has been used or not."""
    tokenizer = tower.tokenizer.backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tower.save(str(folder), create_model_card=False, safe_serialization=True)
