"""Released Prima checkpoints -> our weights directory, tensor by tensor, through one explicit table (PRIMA.md 7)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from encoder.checkpoint import Node, StoredTensor, read_checkpoint, stored_tensors
from encoder.config import EncoderConfig, PatchSpec, TokenizerConfig, TransformerConfig
from encoder.convert_text import write_text_tower
from encoder.errors import WeightsError
from encoder.features import Priority
from encoder.heads import HeadGroup
from encoder.networks import Towers
from encoder.released import HEADS, TOWERS, save_released
from encoder.weights import Entry, check_names, sha256

LICENCE = "Official code: MIT (MLNeurosurg/Prima). Weights: under the terms they were obtained on; conversion changes none of them."

# Official name -> ours; None = left behind on purpose. A name that no line matches is an error.
_BLOCK = r"transformer\.layers\.(\d+)\."
BLOCK_TABLE = (
    (_BLOCK + r"0\.norm\.(weight|bias)", r"transformer.blocks.\1.attention.norm.\2"),
    (_BLOCK + r"0\.fn\.to_qkv\.weight", r"transformer.blocks.\1.attention.qkv.weight"),
    (_BLOCK + r"0\.fn\.to_out\.0\.(weight|bias)", r"transformer.blocks.\1.attention.out.\2"),
    (_BLOCK + r"1\.norm\.(weight|bias)", r"transformer.blocks.\1.feed_forward.norm.\2"),
    (_BLOCK + r"1\.fn\.net\.0\.(weight|bias)", r"transformer.blocks.\1.feed_forward.widen.\2"),
    (_BLOCK + r"1\.fn\.net\.3\.(weight|bias)", r"transformer.blocks.\1.feed_forward.narrow.\2"),
)
VIT_TABLE = (
    *BLOCK_TABLE,
    (r"cls_token", "registers"),
    (r"layernorm\.(weight|bias)", r"norm.\1"),
)
SEQUENCE_TABLE = (*VIT_TABLE, (r"mlp_head\.0\.(weight|bias)", r"project.\1"))
STUDY_TABLE = (*VIT_TABLE, (r"mlp_head\.0\.(weight|bias)", r"clip.\1"))
CHARACTERS_TABLE = (*BLOCK_TABLE, (r"embed\.weight", "embed.weight"), (r"p_enc", None))  # p_enc: a sine table, recomputed
NAME_TABLE = (*CHARACTERS_TABLE, (r"linear\.(weight|bias)", r"project.\1"))
TWO_STEP_NAME_TABLE = (
    *((rf"0\.{official}", ours) for official, ours in CHARACTERS_TABLE),
    (r"0\.linear\.(weight|bias)", None),  # dead: `prelinear` skips it
    (r"1\.(weight|bias)", r"project.\1"),
)
REST_TABLE = (
    r"(clipmodel\.)?(temperature|patdistemperature)",  # of training losses
    r"(clipmodel\.)?patchifier\.p_enc",  # a sine table, recomputed (some checkpoints hold it cut short)
    r"(clipmodel\.)?(visual_model\.)?dummy_param",
    r"(clipmodel\.)?(visual_model\.)?patdisnet\.\d\.(weight|bias)",  # an auxiliary loss
    r"(clipmodel\.)?criterion\.weight",
)


@dataclass(frozen=True)
class Head:
    """One official head: its network and which of its outputs counts (None = all)."""

    network: Node
    column: int | None
    threshold: float


@dataclass(frozen=True)
class Parts:
    """The parts of a released model, wherever they came from."""

    clip: Node
    visual: Node
    diagnosis: Mapping[str, Head]
    referral: Mapping[str, Head]
    priority: Node
    files: tuple[Path, ...]
    rest: Any  # everything, to be walked for tensors that no part claimed


def convert(
    source: Path, tokenizer: Path, tokenizer_config: Path, out: Path, text_tokenizer: Path | None = None, half_heads: bool = False
) -> str:
    """Convert a released model and write `out`; returns the digest of the new weights.

    source: the pickled full model, or the official json that names separate component files (CLIP, heads, priority).
    text_tokenizer: a Hugging Face tokenizer folder; with it the text tower is written too, to `out/text`.
    half_heads: store separate heads as float16, half the size, scores right to about 1e-3.
    Memory stays near the largest tensor. Raises WeightsError, with nothing written, on hostile, damaged, unknown or incomplete input.
    """
    release = _from_components(source) if source.suffix == ".json" else _from_full_model(source)
    sizes = _tokenizer_sizes(tokenizer_config)
    config = _config(release.visual, sizes)
    seen: set[int] = set()
    towers = [*_tokenizer_entries(tokenizer), *_tower_entries(release.visual, seen)]
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in Towers(config).state_dict().items()}
    check_names(expected, {entry.name: entry.shape for entry in towers}, source)
    groups, shared, separate = _heads(release, config.study.registers * config.study.width, half_heads, seen)
    text = dict(stored_tensors(release.clip.attribute("text_model"), seen=seen))
    _refuse_leftovers(release, seen)

    def write_text(folder: Path) -> None:
        if text_tokenizer is not None:
            write_text_tower(release.clip.attribute("text_model"), text, text_tokenizer, folder / "text")

    return save_released(
        out,
        config,
        {TOWERS: [*towers, *shared], HEADS: separate},
        groups,
        provenance={
            "made_by": "prima convert",
            "architecture": "Prima (arXiv 2509.18638)",
            "sources": {path.name: sha256(path) for path in (*release.files, tokenizer, tokenizer_config)},
            "licence": LICENCE,
            "heads": "float16" if half_heads else "as released",
        },
        also=write_text,
    )


def _from_full_model(path: Path) -> Parts:
    full = _unwrapped(_node(read_checkpoint(path), path))
    clip = _node(full.attribute("clipmodel"), path)
    visual = _node(clip.attribute("visual_model"), path)
    if full.attribute("clipvisualmodel") is not visual:
        raise WeightsError(
            f"{path}: expected clipvisualmodel to be clipmodel's visual_model, found another object; this is no released form."
        )
    heads = {
        group: {name: _head(pair, path) for name, pair in full.attribute(group).items()} for group in ("diagnosisheads", "referralheads")
    }
    return Parts(clip, visual, heads["diagnosisheads"], heads["referralheads"], full.attribute("priorityhead"), (path,), full)


def _from_components(path: Path) -> Parts:
    """The official component form: a json with clip_ckpt, diagnosis_heads_json, referral_heads_json, priority_head_ckpt."""
    named = _json(path)
    files = [path]

    def member(relative: str) -> Path:
        files.append(path.parent / relative)
        return files[-1]

    try:
        clip_path = member(named["clip_ckpt"])
        clip = _unwrapped(_node(read_checkpoint(clip_path), clip_path))
        heads: list[dict[str, Head]] = []
        for key in ("diagnosis_heads_json", "referral_heads_json"):
            table = _json(member(named[key]))
            heads.append({})
            for name, (_, (best, *_)) in table.items():
                file, column, threshold = best
                at = member(file)
                heads[-1][name] = Head(_unwrapped(_node(read_checkpoint(at), at)), int(column), float(threshold))
        priority_path = member(named["priority_head_ckpt"])
        priority = _unwrapped(_node(read_checkpoint(priority_path), priority_path))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected the official component table, found {type(error).__name__} at {error}; compare it with the official sample."
        ) from error
    rest = [clip, *(head.network for group in heads for head in group.values()), priority]
    return Parts(clip, _node(clip.attribute("visual_model"), clip_path), heads[0], heads[1], priority, tuple(dict.fromkeys(files)), rest)


def _head(pair: Any, path: Path) -> Head:
    network = _node(pair[0], path)
    return Head(network, int(pair[1]), float(network.attribute("thresh")))


def _tower_entries(visual: Node, seen: set[int]) -> Iterator[Entry]:
    two_step = _node(visual.attribute("serieencoder")).kind == "Sequential"
    parts = (
        ("sequence", "innerViT", SEQUENCE_TABLE),
        ("study", "outerViT", STUDY_TABLE),
        ("name", "serieencoder", TWO_STEP_NAME_TABLE if two_step else NAME_TABLE),
        ("description", "studyencoder", NAME_TABLE),
    )
    for ours, official, table in parts:
        for path, tensor in stored_tensors(visual.attribute(official), seen=seen):
            if (name := _renamed(path, table, official)) is not None:
                yield _entry(f"{ours}.{name}", tensor, drop_first=name == "registers")


def _renamed(path: str, table: tuple[tuple[str, str | None], ...], where: str) -> str | None:
    for official, ours in table:
        if match := re.fullmatch(official, path):
            return None if ours is None else match.expand(ours)
    raise WeightsError(f"Checkpoint: unknown tensor {where}.{path}; nothing was written. Is it a newer release than this version knows?")


def _entry(name: str, tensor: StoredTensor, drop_first: bool = False, dtype: torch.dtype | None = None) -> Entry:
    """drop_first: registers are stored with a batch axis of one."""
    shape = tensor.shape[1:] if drop_first else tensor.shape
    return Entry(name, shape, dtype or torch.float32, lambda: tensor.read().reshape(shape))


def _tokenizer_entries(path: Path) -> Iterator[Entry]:
    state = read_checkpoint(path)
    for name, tensor in stored_tensors(state):
        yield _entry(f"tokenizer.{name}", tensor)


def _heads(release: Parts, width: int, half: bool, seen: set[int]) -> tuple[dict[str, HeadGroup], list[Entry], list[Entry]]:
    """The head groups; entries of the shared priority head; entries of the separate heads, one column each."""
    groups: dict[str, HeadGroup] = {}
    separate: list[Entry] = []
    for group, heads in (("diagnosis", release.diagnosis), ("referral", release.referral)):
        hidden: set[tuple[int, ...]] = set()
        for name, head in heads.items():
            layers = _layers(head.network, width, f"{group} head {name}", seen)
            hidden.add(tuple(weight.shape[0] for weight, _ in layers[:-1]))
            assert head.column is not None
            layers[-1] = (layers[-1][0].row(head.column), layers[-1][1].row(head.column))
            for i, (weight, bias) in enumerate(layers):
                dtype = torch.float16 if half else weight.dtype
                separate += [_entry(f"{group}.{name}.{i}.weight", weight, dtype=dtype), _entry(f"{group}.{name}.{i}.bias", bias)]
        if len(hidden) != 1:
            raise WeightsError(f"Checkpoint: expected {group} heads of one size, found {sorted(hidden)}.")
        groups[group] = HeadGroup(tuple(heads), tuple(head.threshold for head in heads.values()), hidden.pop(), separate=True)
    layers = _layers(release.priority, width, "priority head", seen)
    levels = _priority_levels(layers[-1][0].shape[0])
    groups["priority"] = HeadGroup(levels, (0.0,) * len(levels), tuple(weight.shape[0] for weight, _ in layers[:-1]), separate=False)
    shared = [
        _entry(f"heads.priority.layers.{i}.{kind}", tensor)
        for i, pair in enumerate(layers)
        for kind, tensor in zip(("weight", "bias"), pair, strict=True)
    ]
    return groups, shared, separate


def _layers(network: Node, width: int, what: str, seen: set[int]) -> list[tuple[StoredTensor, StoredTensor]]:
    """The linear layers of a head, checked to be Linear and ReLU in turn (dropout does nothing in use)."""
    kinds = [child.kind for child in network.children().values() if child.kind not in ("Dropout", "Identity")]
    if len(kinds) % 2 == 0 or set(kinds[::2]) != {"Linear"} or set(kinds[1::2]) - {"ReLU"}:
        raise WeightsError(f"Checkpoint: expected the {what} to be linear layers with ReLU between, found {kinds}.")
    tensors = dict(stored_tensors(network, seen=seen))
    seen.add(id(network))
    layers = [(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i, child in network.children().items() if child.kind == "Linear"]
    if layers[0][0].shape[1] != width:
        raise WeightsError(
            f"Checkpoint: expected the {what} to read {width} numbers, found {layers[0][0].shape[1]}; it belongs to another model."
        )
    return layers


def _priority_levels(count: int) -> tuple[str, ...]:
    """Weights before 2026-02-19 know no medium."""
    four = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
    levels = {3: tuple(level for level in four if level is not Priority.MEDIUM), 4: four}.get(count)
    if levels is None:
        raise WeightsError(f"Checkpoint: expected 3 or 4 priority classes, found {count}.")
    return tuple(level.value for level in levels)


def _refuse_leftovers(release: Parts, seen: set[int]) -> None:
    """Every tensor must have been taken, or be of a kind that is left behind on purpose."""
    left = [path for path, _ in stored_tensors(release.rest, seen=seen)]
    unknown = [path for path in left if not any(re.fullmatch(rf"(\d+\.)?{known}", path) for known in REST_TABLE)]
    if unknown:
        raise WeightsError(f"Checkpoint: {len(unknown)} unknown tensors: {', '.join(unknown)}; nothing was written. Is it a newer release?")


def _config(visual: Node, tokenizer: TokenizerConfig) -> EncoderConfig:
    """Sizes from the tensors' shapes and the attention modules' head counts; the stored `config` names stray paths and is not needed."""
    names = visual.attribute("serieencoder")
    name = names.children()["0"] if names.kind == "Sequential" else names
    name_out = names.children()["1"] if names.kind == "Sequential" else names.attribute("linear")
    description = visual.attribute("studyencoder")
    inner, outer = visual.attribute("innerViT"), visual.attribute("outerViT")
    return EncoderConfig(
        patch=PatchSpec(),
        tokenizer=tokenizer,
        name=_stack(name, 0, name_out),
        sequence=_stack(inner, _parameter(inner, "cls_token").shape[1], inner.attribute("mlp_head").children()["0"]),
        description=_stack(description, 0, description.attribute("linear")),
        study=_stack(outer, _parameter(outer, "cls_token").shape[1], outer.attribute("mlp_head").children()["0"]),
    )


def _stack(node: Node, registers: int, projection: Node) -> TransformerConfig:
    blocks = list(node.attribute("transformer").attribute("layers").children().values())
    attention, feed_forward = (part.attribute("fn") for part in blocks[0].children().values())
    hidden, width = _parameter(feed_forward.attribute("net").children()["0"], "weight").shape
    heads, head_width = int(attention.attribute("heads")), int(attention.attribute("dim_head"))
    return TransformerConfig(width, len(blocks), heads, head_width, hidden, registers, _parameter(projection, "weight").shape[0])


def _tokenizer_sizes(path: Path) -> TokenizerConfig:
    """The official tokenizer json (`num_channels`, as released) or MONAI's own names (`channels`)."""
    named = _json(path)
    sizes = named.get("vqvae_config", named)
    try:
        if (sizes["spatial_dims"], sizes["in_channels"], sizes["out_channels"]) != (3, 1, 1):
            raise WeightsError(f"{path}: expected three dimensions and one channel, found {sizes}; this is no tokenizer of Prima.")
        return TokenizerConfig(
            channels=tuple(sizes["num_channels" if "num_channels" in sizes else "channels"]),
            residual_channels=tuple(sizes["num_res_channels"]),
            residual_layers=sizes["num_res_layers"],
            downsample=tuple((a, b, c, d) for a, b, c, d in sizes["downsample_parameters"]),
            upsample=tuple((a, b, c, d, e) for a, b, c, d, e in sizes["upsample_parameters"]),
            codebook=sizes["num_embeddings"],
            latent=sizes["embedding_dim"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: expected the official tokenizer configuration, found {type(error).__name__}: {error}.") from error


def _parameter(node: Node, name: str) -> StoredTensor:
    tensor = node.state.get("_parameters", {}).get(name)
    if not isinstance(tensor, StoredTensor):
        raise WeightsError(
            f"Checkpoint: expected {node.symbol} to hold the tensor '{name}', found {sorted(node.state.get('_parameters', {}))}."
        )
    return tensor


def _unwrapped(node: Node) -> Node:
    return _node(node.attribute("module")) if node.kind in ("DataParallel", "DistributedDataParallel") else node


def _node(value: Any, path: Path | None = None) -> Node:
    if not isinstance(value, Node):
        raise WeightsError(
            f"{path or 'Checkpoint'}: expected a pickled module, found {type(value).__name__}; name the full model (or its json) first."
        )
    return value


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: expected a json file, found none that can be read ({error}).") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: expected a json object, found {type(value).__name__}.")
    return value
