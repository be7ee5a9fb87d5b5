"""`prima doctor`: versions, devices, weights, and what is missing."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated

import typer

LIBRARIES = ("torch", "transformers", "peft", "sentence-transformers", "langchain-core", "pydicom", "nibabel", "gradio", "sqlalchemy")
# What a transfer syntax needs beyond pydicom itself: the module that decodes it.
CODECS = {"JPEG-LS": "jpeg_ls", "JPEG 2000 and lossless JPEG": "gdcm", "JPEG": "PIL"}


@dataclass(frozen=True)
class Finding:
    """One line of the examination. ok: whether `prima report` can do with it; fix: what to do if not."""

    name: str
    found: str
    ok: bool = True
    fix: str | None = None


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Tell versions, devices and weights, and what is missing; exit code 1 if something is."""
    findings = [*_versions(), _faiss(), *_codecs(), _device(), *_parts()]
    healthy = all(finding.ok for finding in findings)
    if as_json:
        print(json.dumps({"ok": healthy, "findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{'ok     ' if finding.ok else 'MISSING'} {finding.name}: {finding.found}{f'. {finding.fix}' if finding.fix else ''}")
    raise typer.Exit(0 if healthy else 1)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versions() -> Iterator[Finding]:
    yield Finding("prima-assistant", _installed("prima-assistant") or "a source tree, not installed")
    yield Finding("python", platform.python_version())
    for package in LIBRARIES:
        found = _installed(package)
        yield Finding(package, found or "not installed", found is not None, None if found else f"pip install {package}")


def _faiss() -> Finding:
    """faiss-cpu and faiss-gpu install the same module: together, either may win."""
    found = {package: _installed(package) for package in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12")}
    present = [f"{package} {number}" for package, number in found.items() if number]
    if not present:
        return Finding("faiss", "not installed", False, "pip install 'prima-assistant[cpu]' or '[gpu]', never both")
    if len(present) > 1:
        return Finding("faiss", " and ".join(present), False, "both install the module faiss: uninstall both, then install one")
    return Finding("faiss", present[0])


def _codecs() -> Iterator[Finding]:
    for syntax, module in CODECS.items():
        there = find_spec(module) is not None
        yield Finding(f"codec {syntax}", module if there else "none", there, None if there else "such files cannot be read; reinstall")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", f"{torch.cuda.get_device_name(0)}, {torch.cuda.get_device_properties(0).total_memory >> 30} GiB")
    return Finding("device", f"CPU, {torch.get_num_threads()} threads")


def _parts() -> Iterator[Finding]:
    """The shipped weights, each opened as a report would open it."""
    import logging

    logging.getLogger("transformers").setLevel(logging.ERROR)
    hashes: dict[str, str] = {}

    def encoder() -> str:
        from encoder.encoder import Encoder

        opened = Encoder.load()
        hashes["encoder"] = opened.hash
        return f"{opened.hash[:12]}, {len(opened.trained_heads)} heads"

    def cases() -> str:
        from index.store import DEMO, CaseIndex

        info = CaseIndex.open(DEMO, encoder=hashes.get("encoder")).info
        return f"{info.build[:12]}, {info.count} cases"

    def language_model() -> str:
        from assistant.errors import UsageError
        from assistant.llm import LanguageModel

        opened = LanguageModel.open(None, None, hashes.get("encoder"))
        if opened.adapter_hash is None:
            raise UsageError(f"{opened.hash[:12]} without an adapter, which it needs to write drafts")
        return f"{opened.hash[:12]}, adapter {opened.adapter_hash[:12]}, {opened.conditioning}"

    for name, look in (("encoder weights", encoder), ("demo index", cases), ("language model", language_model)):
        yield _part(name, look)


def _part(name: str, look: Callable[[], str]) -> Finding:
    from assistant.errors import AssistantError
    from encoder.errors import EncoderError
    from index.errors import IndexStoreError

    try:
        return Finding(name, look())
    except (AssistantError, EncoderError, IndexStoreError) as error:
        return Finding(name, str(error).rstrip("."), False, "make demo-weights makes them anew")
