"""The text tower is a SentenceTransformer directory, opened late and never trusted with code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_cases import DIM, ENCODER, SEQ_DIM, make

from index.errors import IndexStoreError
from index.query import Query
from index.store import CaseIndex
from index.text import TextTower

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "appearances",
    "of",
    "meningioma",
    "multiple",
    "sclerosis",
    "hydro",
    "##cephalus",
    ".",
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of a few thousand weights with a WordPiece vocabulary, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("toy")
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=32).save_pretrained(
        folder / "bert"
    )
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert"), max_seq_length=32), Pooling(16, "mean"), Dense(16, DIM), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "tower"), create_model_card=False)
    return folder / "tower"


def test_a_tower_gives_unit_vectors_as_wide_as_the_studies(toy: Path) -> None:
    tower = TextTower(toy)
    first, again, other = tower("meningioma"), tower("meningioma"), tower("multiple sclerosis")
    assert first.shape == (DIM,)
    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_words_find_the_study_whose_embedding_they_meet(toy: Path, tmp_path: Path) -> None:
    tower = TextTower(toy)
    index = CaseIndex.create(tmp_path / "i", ENCODER, DIM, SEQ_DIM)
    index.add([make(1), make(2, patient="b", embedding=tower("hydrocephalus"))])
    index.tower = tower
    assert index.search(Query(text="hydrocephalus"), 2)[0].case.id == "case-2"


def test_a_tower_of_another_width_is_refused(toy: Path, tmp_path: Path) -> None:
    index = CaseIndex.create(tmp_path / "i", ENCODER, DIM + 1, SEQ_DIM)
    index.tower = TextTower(toy)
    with pytest.raises(IndexStoreError, match="text tower"):
        index.search(Query(text="hydrocephalus"), 2)


@pytest.mark.parametrize("harm", ["pickle", "code", "foreign module", "none"])
def test_a_folder_that_could_run_something_is_refused(toy: Path, tmp_path: Path, harm: str) -> None:
    folder = Path(shutil.copytree(toy, tmp_path / "tower"))
    if harm == "pickle":
        (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    elif harm == "code":
        (folder / "modeling.py").write_text("print('run')")
    elif harm == "foreign module":
        modules = json.loads((folder / "modules.json").read_text())
        modules[0]["type"] = "os.system"
        (folder / "modules.json").write_text(json.dumps(modules))
    else:
        (folder / "modules.json").unlink()
    with pytest.raises(IndexStoreError):
        TextTower(folder)


def test_search_without_words_never_imports_the_library() -> None:
    code = "import sys, index.store, index.text, index.retrieval; print('sentence_transformers' in sys.modules, 'torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert printed.stdout.split() == ["False", "False"]
