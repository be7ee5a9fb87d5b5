"""The house's walls: who may import whom, and which library has which single home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"assistant", "encoder", "index", "phantom", "prompts"}
MAY_IMPORT = {
    "prompts": {"prompts"},
    "phantom": {"phantom", "prompts"},
    "encoder": {"encoder", "prompts"},
    "index": {"index", "encoder", "prompts"},
    "assistant": {"assistant", "index", "encoder", "prompts"},
}
# Only the demo and the training commands may know that phantoms exist.
PHANTOM_GUESTS = ("assistant/commands/", "assistant/train/", "assistant/app/demo")
HOMES = {
    "pydicom": ("encoder/", "phantom/", "assistant/export/"),
    "nibabel": ("encoder/", "phantom/", "assistant/app/", "assistant/commands/", "assistant/volumes"),
    "faiss": ("index/",),
    "sentence_transformers": ("encoder/", "index/", "assistant/train/"),
    "transformers": ("assistant/llm.py", "assistant/conditioner.py", "assistant/train/", "encoder/convert", "encoder/text"),
    "peft": ("assistant/llm.py", "assistant/train/"),
    "gradio": ("assistant/app/",),
    "langchain_core": ("index/retriever.py", "assistant/chat_model.py", "assistant/chat.py"),
}


def modules() -> list[Path]:
    return sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_its_package_may(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    package = where.split("/")[0]
    allowed = MAY_IMPORT[package] | ({"phantom"} if where.startswith(PHANTOM_GUESTS) or where == "assistant/cli.py" else set())
    assert imported(path) & OURS <= allowed, f"{where} reaches across a wall"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_library_is_imported_only_in_its_home(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    strays = {name for name in imported(path) & HOMES.keys() if not where.startswith(HOMES[name])}
    assert not strays, f"{where} imports {strays}; homes: { {name: HOMES[name] for name in strays} }"


def test_faiss_lives_in_one_file() -> None:
    assert len([path for path in modules() if "faiss" in imported(path)]) <= 1


def test_no_folder_of_odds_and_ends() -> None:
    forbidden = {"utils", "common", "helpers", "core"}
    assert not [path for path in modules() if forbidden & {path.stem, *path.parent.parts}]
