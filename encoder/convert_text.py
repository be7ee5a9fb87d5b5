"""The released text tower as a sentence-transformers directory: GPT-2, last token, norm, linear, norm, unit length (PRIMA.md 7, 8)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder.checkpoint import Node, StoredTensor
from encoder.errors import WeightsError
from encoder.weights import Entry, write_safetensors

LONGEST = 200  # text tokens in training

GPT2_TABLE = (
    r"(?:wte|wpe)\.weight",
    r"ln_f\.(?:weight|bias)",
    r"h\.\d+\.(?:ln_1|ln_2)\.(?:weight|bias)",
    r"h\.\d+\.attn\.(?:c_attn|c_proj)\.(?:weight|bias)",
    r"h\.\d+\.mlp\.(?:c_fc|c_proj)\.(?:weight|bias)",
)
GPT2_MASKS = r"h\.\d+\.attn\.(?:bias|masked_bias)"  # constants that older versions of transformers stored
GPT2_FACTS = (
    "vocab_size",
    "n_positions",
    "n_embd",
    "n_layer",
    "n_head",
    "n_inner",
    "activation_function",
    "layer_norm_epsilon",
    "bos_token_id",
    "eos_token_id",
)
HEAD_FOLDERS = (("0", "2_LayerNorm", "norm"), ("1", "3_Dense", "linear"), ("2", "4_LayerNorm", "norm"))
MODULES = (
    ("", "Transformer"),
    ("1_Pooling", "Pooling"),
    ("2_LayerNorm", "LayerNorm"),
    ("3_Dense", "Dense"),
    ("4_LayerNorm", "LayerNorm"),
    ("5_Normalize", "Normalize"),
)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


def write_text_tower(tower: Node, tensors: Mapping[str, StoredTensor], tokenizer: Path, out: Path) -> None:
    """Write `out`, which SentenceTransformer(out) opens. tensors: the tower's, by dotted path. tokenizer: a Hugging Face folder.

    Raises WeightsError on unknown tensors, or where the folder holds no tokenizer.
    """
    found = [tokenizer / name for name in TOKENIZER_FILES if (tokenizer / name).is_file()]
    if not any(path.name in ("tokenizer.json", "vocab.json") for path in found):
        raise WeightsError(
            f"{tokenizer}: expected a tokenizer folder (tokenizer.json), found {sorted(p.name for p in found)}; name one with --tokenizer."
        )
    model, head = _sorted(tensors)
    facts = _facts(tower)
    out.mkdir(parents=True)
    _write_json(out / "config.json", {"architectures": ["GPT2Model"], "model_type": "gpt2", **facts})
    write_safetensors(out / "model.safetensors", [_entry(name, tensor) for name, tensor in model.items()])
    _write_json(
        out / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.sentence_transformer.modules.{kind}"}
            for i, (path, kind) in enumerate(MODULES)
        ],
    )
    _write_json(out / "sentence_bert_config.json", {"max_seq_length": min(LONGEST, facts["n_positions"]), "do_lower_case": False})
    (out / "1_Pooling").mkdir()
    _write_json(
        out / "1_Pooling" / "config.json",
        {"word_embedding_dimension": facts["n_embd"], "pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False},
    )
    for place, folder, module in HEAD_FOLDERS:
        _write_head_part(out / folder, module, {kind: head[f"{place}.{kind}"] for kind in ("weight", "bias")})
    (out / "5_Normalize").mkdir()
    _write_json(out / "5_Normalize" / "config.json", {})
    for path in found:
        shutil.copyfile(path, out / path.name)
    _give_padding(out / "tokenizer_config.json")


def _sorted(tensors: Mapping[str, StoredTensor]) -> tuple[dict[str, StoredTensor], dict[str, StoredTensor]]:
    """GPT-2's tensors and the head's, by their names there."""
    model: dict[str, StoredTensor] = {}
    head: dict[str, StoredTensor] = {}
    unknown = []
    for path, tensor in tensors.items():
        part, _, name = path.partition(".")
        if part == "mlp_head" and re.fullmatch(r"[012]\.(weight|bias)", name):
            head[name] = tensor
        elif part == "model" and any(re.fullmatch(known, name) for known in GPT2_TABLE):
            model[name] = tensor
        elif part != "model" or not re.fullmatch(GPT2_MASKS, name):
            unknown.append(path)
    missing = sorted({f"{place}.{kind}" for place in "012" for kind in ("weight", "bias")} - head.keys())
    if unknown or missing:
        raise WeightsError(f"Text tower: unknown tensors {unknown}, missing {missing}; is it a newer release than this version knows?")
    return model, head


def _facts(tower: Node) -> dict[str, Any]:
    """Sizes from the stored GPT-2 configuration; everything else in it belongs to another version of transformers."""
    state = tower.attribute("model").attribute("config").state
    missing = [fact for fact in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head") if not isinstance(state.get(fact), int)]
    if missing:
        raise WeightsError(f"Text tower: expected a GPT-2 configuration with {missing}, found {sorted(state)}.")
    return {fact: state[fact] for fact in GPT2_FACTS if isinstance(state.get(fact), int | float | str)}


def _write_head_part(folder: Path, module: str, tensors: Mapping[str, StoredTensor]) -> None:
    folder.mkdir()
    weight = tensors["weight"]
    if module == "norm":
        _write_json(folder / "config.json", {"dimension": weight.shape[0]})
    else:
        activation = "torch.nn.modules.linear.Identity"
        _write_json(
            folder / "config.json",
            {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": True, "activation_function": activation},
        )
    write_safetensors(folder / "model.safetensors", [_entry(f"{module}.{kind}", tensor) for kind, tensor in tensors.items()])


def _give_padding(path: Path) -> None:
    """GPT-2's tokenizer has no padding token, which batches need; what it is does not matter, for attention never reads it."""
    settings = json.loads(path.read_text()) if path.is_file() else {}
    if not settings.get("pad_token"):
        settings["pad_token"] = settings.get("eos_token") or "<|endoftext|>"
        _write_json(path, settings)


def _entry(name: str, tensor: StoredTensor) -> Entry:
    return Entry(name, tensor.shape, tensor.dtype, tensor.read)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1))
