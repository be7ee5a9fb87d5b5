"""A causal language model that reads a prompt and, with an adapter, sees a study's features; it answers as a stream of text."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)
from transformers.utils import logging as transformers_logging

import prompts
from assistant.conditioner import Conditioner, ConditionerConfig, feature_numbers
from assistant.device import fastest
from assistant.errors import AdapterMismatch, UsageError
from encoder.features import StudyFeatures

WEIGHTS = Path(__file__).parent / "weights"
MANIFEST, CONDITIONER, LORA = "prima_adapter.json", "conditioner.safetensors", "adapter_model.safetensors"
SOFT_PLACE = "<|study features|>"  # where the soft prompt goes in the templated text; never reaches the tokenizer
DRAFT_FORMAT = 1  # of the reply; a change makes adapters of before unusable
SMALL = 1_000_000_000  # parameters up to which a CPU computes in float32
SAMPLED = 1 << 30  # bytes of a weight file from which its hash reads only its ends


@dataclass(frozen=True)
class AdapterManifest:
    """prima_adapter.json: what an adapter was made for.

    encoder, base: hashes. prompts: `prompt_schema()`. conditioner: ConditionerConfig's fields.
    """

    encoder: str
    base: str
    prompts: str
    conditioner: Mapping[str, int]

    def save(self, folder: Path) -> None:
        """Write it into an adapter's folder."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> AdapterManifest:
        """Raises UsageError where the folder is no adapter, or its manifest has other keys."""
        absent = [name for name in (MANIFEST, CONDITIONER, LORA, "adapter_config.json") if not (folder / name).is_file()]
        if absent:
            raise UsageError(
                f"Expected an adapter in {folder}, found no {', '.join(absent)}. Name a folder that `prima train adapter` wrote."
            )
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        expected = {field.name for field in fields(cls)}
        if set(found) != expected:
            raise UsageError(f"{folder / MANIFEST}: expected the keys {sorted(expected)}, found {sorted(found)}.")
        return cls(**found)

    def require(self, folder: Path, *, encoder: str | None, base: str) -> None:
        """Raises AdapterMismatch unless encoder (where known), base model and prompts are those the adapter was trained with."""
        pairs = [("base model", self.base, base), ("prompts", self.prompts, prompt_schema())]
        if encoder is not None:
            pairs.insert(0, ("encoder", self.encoder, encoder))
        for what, expected, found in pairs:
            if expected != found:
                raise AdapterMismatch(
                    f"The adapter in {folder} belongs to another {what}: expected {expected[:12]}, found {found[:12]}. "
                    "Use the parts it was trained with, train one with `prima train adapter`, or name a model alone (text only)."
                )


class LanguageModel:
    """A causal language model with its tokenizer and, where an adapter is given, a conditioner.

    hash: sha256 of the base model's files. adapter_hash: of the adapter's, or None. conditioning: "soft prompt + text" or "text only".
    One generation at a time; further calls wait.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, base_hash: str) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.hash = base_hash
        self.adapter_hash: str | None = None
        self.conditioner: Conditioner | None = None
        self._turn = threading.Lock()

    @classmethod
    def open(cls, name_or_dir: str | None = None, adapter: Path | None = None, encoder_hash: str | None = None) -> LanguageModel:
        """Load a model: None = the shipped one with its shipped adapter; else a folder, or a Hugging Face name that is on this machine.

        A named model without an adapter is conditioned by text only. Only safetensors are read; nothing is fetched unless HF_HUB_OFFLINE=0.
        Raises UsageError where there is no such model, AdapterMismatch where the adapter belongs to other parts.
        """
        folder = WEIGHTS / "lm" if name_or_dir is None else _folder(name_or_dir)
        if name_or_dir is None and adapter is None and (WEIGHTS / "adapter" / MANIFEST).exists():
            adapter = WEIGHTS / "adapter"
        base_hash = files_hash(folder)
        manifest = None
        if adapter is not None:
            manifest = AdapterManifest.read(adapter)
            manifest.require(adapter, encoder=encoder_hash, base=base_hash)
        language_model = cls(*_load(folder), base_hash)
        if adapter is not None and manifest is not None:
            language_model._attach(adapter, manifest)
        return language_model

    @property
    def conditioning(self) -> str:
        """How this model is told about the images."""
        return "text only" if self.conditioner is None else "soft prompt + text"

    def stream(
        self,
        prompt: str | Sequence[Mapping[str, str]],
        features: StudyFeatures | None = None,
        *,
        seed: int = 0,
        max_tokens: int = 512,
        temperature: float = 0.0,
        stop: threading.Event | None = None,
    ) -> Iterator[str]:
        """Pieces of the reply to a prompt, or to chat messages (role, content); with an adapter, features go in as a soft prompt.

        Temperature 0 takes the likeliest token each time and repeats exactly; above it, `seed` decides. Setting `stop`, or closing the
        generator, ends the computation. Raises UsageError where the prompt does not fit into the model's context.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(message) for message in prompt]
        with self._turn:
            embeds = self.embed(messages, features)
            self._require_room(embeds.shape[1], max_tokens)
            yield from self._run(embeds, seed, max_tokens, temperature, stop or threading.Event())

    @torch.inference_mode()
    def embed(self, messages: Sequence[Mapping[str, str]], features: StudyFeatures | None) -> Tensor:
        """(1, tokens, d) input embeddings of the templated messages, the soft prompt before the last message's text."""
        *earlier, last = messages
        before, after = self.templated([*earlier, {**last, "content": SOFT_PLACE + last["content"].replace(SOFT_PLACE, "")}]).split(
            SOFT_PLACE
        )
        parts = [self._lookup(before), self._lookup(after)]
        if self.conditioner is not None and features is not None:
            numbers = torch.from_numpy(feature_numbers(features))[None].to(self.model.device)
            if numbers.shape[1] != self.conditioner.config.inputs:
                raise AdapterMismatch(
                    f"The adapter expects {self.conditioner.config.inputs} feature numbers, found {numbers.shape[1]}. Use its encoder."
                )
            parts.insert(1, self.conditioner(numbers).to(parts[0].dtype))
        return torch.cat(parts, dim=1)

    def templated(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The messages in the model's chat markup, up to where its reply begins."""
        if self.tokenizer.chat_template is None:
            return (self.tokenizer.bos_token or "") + "\n".join(message["content"] for message in messages) + "\n"
        text: str = self.tokenizer.apply_chat_template(
            [_inert(self.tokenizer, message) for message in messages], tokenize=False, add_generation_prompt=True
        )
        return text

    def _lookup(self, text: str) -> Tensor:
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"].long().to(self.model.device)
        embedded: Tensor = self.model.get_input_embeddings()(ids.view(1, -1))
        return embedded

    def _require_room(self, used: int, wanted: int) -> None:
        room = getattr(self.model.config, "max_position_embeddings", None)
        if room is not None and used + wanted > room:
            raise UsageError(
                f"The prompt has {used} tokens and the reply may have {wanted}; this model has room for {room}. Use another model."
            )

    def _run(self, embeds: Tensor, seed: int, max_tokens: int, temperature: float, stop: threading.Event) -> Iterator[str]:
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=False, skip_special_tokens=True)
        closed, failures = threading.Event(), []
        config = self._generation(max_tokens, temperature)

        def work() -> None:
            try:
                with torch.inference_mode(), torch.random.fork_rng():
                    torch.manual_seed(seed)
                    self.model.generate(
                        inputs_embeds=embeds,
                        attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device),
                        generation_config=config,
                        streamer=streamer,
                        stopping_criteria=StoppingCriteriaList([_Stopped(stop, closed)]),
                    )
            except BaseException as failure:  # carried to the caller's thread
                failures.append(failure)
                streamer.end()

        thread = threading.Thread(target=work, name="generate", daemon=True)
        thread.start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            closed.set()
            thread.join()
        if failures:
            raise failures[0]

    def _generation(self, max_tokens: int, temperature: float) -> GenerationConfig:
        own = self.model.generation_config
        end = own.eos_token_id if own.eos_token_id is not None else self.tokenizer.eos_token_id
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else (end[0] if isinstance(end, list) else end)
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        return GenerationConfig(max_new_tokens=max_tokens, eos_token_id=end, pad_token_id=pad, **sampling)

    def _attach(self, folder: Path, manifest: AdapterManifest) -> None:
        """Merge the LoRA weights into this copy of the base (same sums, faster) and load the conditioner."""
        with quiet_peft():
            self.model = PeftModel.from_pretrained(self.model, str(folder)).merge_and_unload().eval()
        conditioner = Conditioner(ConditionerConfig(**manifest.conditioner))
        conditioner.load_state_dict(load_file(folder / CONDITIONER))
        self.conditioner = conditioner.to(self.model.device).eval()
        self.adapter_hash = files_hash(folder)


class _Stopped(StoppingCriteria):  # type: ignore[misc]
    """Ends a generation when any of the events is set."""

    def __init__(self, *events: threading.Event) -> None:
        self.events = events

    def __call__(self, input_ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        return torch.full((len(input_ids),), any(event.is_set() for event in self.events), dtype=torch.bool, device=input_ids.device)


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without the one deprecation that peft 0.21 trips over in transformers 5.23; it concerns neither."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def prompt_schema() -> str:
    """sha256 of the prompts and the reply's format: what an adapter has learnt to read and write."""
    schema = [DRAFT_FORMAT, *(prompts.load(name).hash for name in ("differential", "chat"))]
    return hashlib.sha256(json.dumps(schema).encode()).hexdigest()


def files_hash(folder: Path) -> str:
    """sha256 over a model's or adapter's files: weights, configs, tokenizer. Of a weight file above 1 GiB: its size, first and last MiB."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            if size < SAMPLED:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            else:
                digest.update(file.read(1 << 20))
                file.seek(-(1 << 20), os.SEEK_END)
                digest.update(file.read())
    return digest.hexdigest()


def _folder(name: str) -> Path:
    """The folder of a model: itself, or the local copy of a Hugging Face name."""
    if Path(name).is_dir():
        return Path(name)
    offline = os.environ.get("HF_HUB_OFFLINE", "1").lower() not in ("0", "false", "no")
    try:
        return Path(
            snapshot_download(name, local_files_only=offline, ignore_patterns=["*.bin", "*.pt", "*.pth", "*.py", "*.gguf", "*.onnx"])
        )
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise UsageError(
            f"Expected a folder, or a Hugging Face name that is on this machine; '{name}' is neither. Fetch it: hf download {name}"
        ) from error


def _load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not any(folder.glob("*.safetensors")):
        raise UsageError(f"Expected a causal language model in {folder}, found no .safetensors file. Other formats are not read.")
    transformers_logging.disable_progress_bar()  # progress belongs to the command line
    transformers_logging.set_verbosity_error()  # its warnings speak of kernels that a small model does not need
    device = fastest()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, dtype="auto"
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"Expected a causal language model in {folder}: {error}") from error
    if device.type == "cpu" and model.num_parameters() <= SMALL:
        model = model.float()
    return model.to(device), tokenizer


def _inert(tokenizer: PreTrainedTokenizerBase, message: Mapping[str, str]) -> dict[str, str]:
    """A message whose content cannot open or close a turn: the tokenizer's special tokens are broken up."""
    content = message["content"]
    for token in tokenizer.all_special_tokens:
        content = content.replace(token, " ".join(token))
    return {"role": message["role"], "content": content}
