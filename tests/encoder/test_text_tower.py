"""The released text tower, opened by sentence-transformers, embeds texts as GPT-2 and the stored head do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from encoder.checkpoint import read_checkpoint, stored_tensors
from encoder.convert import convert
from encoder.errors import WeightsError

FIXTURES = os.environ.get("PRIMA_TEST_FIXTURES")
pytestmark = [
    pytest.mark.skipif(not FIXTURES, reason="PRIMA_TEST_FIXTURES is not set: no released text tower"),
    pytest.mark.filterwarnings("default"),  # sentence-transformers and transformers warn of their own matters
]
TEXTS = ["1. enlarged ventricles", "1. left frontal meningioma 2. no infarct", "normal"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer folder of 95 printable characters, one a token: the fixture's GPT-2 has a vocabulary of 96."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tokenizer")
    vocabulary = {chr(32 + i): i for i in range(95)} | {"<|endoftext|>": 95}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenization.py").write_text("raise SystemExit('code in a tokenizer folder is never copied')")
    return folder


@pytest.fixture(scope="module")
def released(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert FIXTURES
    source, out = Path(FIXTURES) / "prima_reference", tmp_path_factory.mktemp("text") / "prima"
    convert(source / "full_model.pt", source / "vqvae.pth", source / "tokenizer_config.json", out, text_tokenizer=words)
    return out / "text"


@pytest.mark.slow
def test_texts_get_the_released_towers_embeddings(released: Path) -> None:
    """Computed again from the stored tensors: GPT-2, the last token's output, LayerNorm, Linear, LayerNorm, unit length."""
    from sentence_transformers import SentenceTransformer

    found = torch.from_numpy(SentenceTransformer(str(released), device="cpu").encode(TEXTS))
    wanted = torch.cat([_by_hand(text) for text in TEXTS])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_no_code_travels_with_the_tokenizer(released: Path) -> None:
    assert not list(released.rglob("*.py"))


def test_a_folder_without_a_tokenizer_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    assert FIXTURES
    source = Path(FIXTURES) / "prima_reference"
    with pytest.raises(WeightsError, match="tokenizer folder"):
        convert(source / "full_model.pt", source / "vqvae.pth", source / "tokenizer_config.json", tmp_path / "out", text_tokenizer=tmp_path)
    assert not (tmp_path / "out").exists()


def _by_hand(text: str) -> torch.Tensor:
    from transformers import GPT2Config, GPT2Model

    assert FIXTURES
    full = read_checkpoint(Path(FIXTURES) / "prima_reference" / "full_model.pt")
    tower = full.attribute("clipmodel").attribute("text_model")
    state = {name: tensor.read() for name, tensor in stored_tensors(tower)}
    model = GPT2Model(GPT2Config(vocab_size=96, n_positions=64, n_embd=32, n_layer=1, n_head=2)).eval()
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")})
    with torch.no_grad():
        last = model(torch.tensor([[ord(c) - 32 for c in text][:64]])).last_hidden_state[:, -1]
        normed = torch.nn.functional.layer_norm(last, (32,), state["mlp_head.0.weight"], state["mlp_head.0.bias"])
        projected = torch.nn.functional.linear(normed, state["mlp_head.1.weight"], state["mlp_head.1.bias"])
        out = torch.nn.functional.layer_norm(projected, (24,), state["mlp_head.2.weight"], state["mlp_head.2.bias"])
    return torch.nn.functional.normalize(out, dim=1)
