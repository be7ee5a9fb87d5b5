"""The language model's output, read as a draft or refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from assistant.errors import DraftError

_KEYS = ("differential", "findings", "impression")
_TAG = re.compile(r"\[([^\[\]]{1,120})\]")
_STEP = re.compile(r"^\s*(?:\d+[.)]|[-*])\s*", re.MULTILINE)
_BOUNDARY = re.compile(r"(?<=[.!?\]])\s+(?=[A-Z\"_])")
_NUMBER = re.compile(r"(?<!\S)\d{1,2}[.)]\s+(?=[A-Z])")  # of an item in a list
_TRAILING_COMMA = re.compile(r",(?=\s*[\]}])")


@dataclass(frozen=True)
class Sentence:
    """One sentence and the tags it ends in ("P:glioma", "C2"); text is without them."""

    text: str
    tags: tuple[str, ...]

    @property
    def tagged(self) -> str:
        """The sentence as the model writes it, tags last."""
        return " ".join([self.text, *(f"[{tag}]" for tag in self.tags)])


@dataclass(frozen=True)
class Draft:
    """What the model wrote, by part; nothing in it is checked yet."""

    reasoning: tuple[Sentence, ...]
    differential: tuple[str, ...]
    findings: tuple[Sentence, ...]
    impression: tuple[Sentence, ...]


def parse(text: str) -> Draft:
    """Reads `<think>` steps and the JSON object that follows; blanks, code fences and text after the object do not matter.

    Raises DraftError where no such object is found: an unreadable output is never an empty report.
    """
    thought, found, answer = text.rpartition("</think>")
    if not found:
        thought, brace, rest = text.partition("{")
        answer = brace + rest
    fields = _object(answer)
    if missing := [key for key in _KEYS if key not in fields]:
        raise DraftError(f"The model's answer lacks {missing}; expected a JSON object with {list(_KEYS)}. Try another seed or model.")
    lists = {key: _strings(key, fields[key]) for key in _KEYS}
    return Draft(
        reasoning=_steps(thought),
        differential=lists["differential"],
        findings=tuple(sentence for entry in lists["findings"] for sentence in sentences(entry)),
        impression=tuple(sentence for entry in lists["impression"] for sentence in sentences(entry)),
    )


def sentences(text: str) -> tuple[Sentence, ...]:
    """Splits a text after full stops and tags; list numbers and sentences without words are dropped."""
    return tuple(
        sentence
        for part in _BOUNDARY.split(_NUMBER.sub("", text).strip())
        if re.search(r"\w", (sentence := _sentence(part)).text) or sentence.tags
    )


def _sentence(text: str) -> Sentence:
    tags = [tag.strip() for group in _TAG.findall(text) for tag in re.split(r"[,;]", group)]
    bare = re.sub(r"\s+([.,;])", r"\1", " ".join(_TAG.sub(" ", text).split()))
    if bare and bare[-1] not in ".!?":
        bare += "."
    return Sentence(bare, tuple(dict.fromkeys(tag for tag in tags if tag)))


def _steps(thought: str) -> tuple[Sentence, ...]:
    body = thought.rpartition("<think>")[2]
    parts = (" ".join(part.split()) for part in _STEP.split(body))
    return tuple(sentence for part in parts if part.strip("`") for sentence in sentences(part))


def _object(answer: str) -> dict[str, Any]:
    start = answer.find("{")
    if start < 0:
        raise DraftError(f"The model wrote no JSON object; it ends in {answer[-80:]!r}. Try another seed or model.")
    decoder = json.JSONDecoder(strict=False)  # a line break inside a sentence is no reason to refuse it
    for candidate in (answer[start:], _TRAILING_COMMA.sub("", answer[start:])):
        try:
            found, _ = decoder.raw_decode(candidate)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            return found
    raise DraftError(f"The model's JSON object cannot be read; it ends in {answer[-80:]!r}. Try another seed or model.")


def _strings(key: str, value: Any) -> tuple[str, ...]:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise DraftError(f"The model's {key!r} is no list of texts; found {type(value).__name__}. Try another seed or model.")
    return tuple(entry.strip() for entry in entries if entry.strip())
