"""Text as data: prompts and the reviewed table of diagnoses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template


class PromptError(Exception):
    """A prompt that does not exist, or was given other fields than it names."""


@dataclass(frozen=True)
class Rendered:
    """A filled prompt; cases: the ids of the cases whose reports are in it, in the order C1, C2, ..."""

    text: str
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt file: text with `$name` fields."""

    name: str
    template: str

    @property
    def fields(self) -> frozenset[str]:
        """The names that `render` needs, all of them."""
        return frozenset(Template(self.template).get_identifiers())

    @property
    def hash(self) -> str:
        """sha256 of the file's text; goes into every report's provenance."""
        return hashlib.sha256(self.template.encode()).hexdigest()

    def render(self, *, case_ids: Sequence[str] = (), **fields: str) -> Rendered:
        """Fill every field once; values are never read again, so `$`, `{` or instructions inside them stay text.

        Raises PromptError where a field is missing or unknown.
        """
        missing, unused = sorted(self.fields - fields.keys()), sorted(fields.keys() - self.fields)
        if missing or unused:
            raise PromptError(f"prompts/{self.name}.md: expected the fields {sorted(self.fields)}; missing {missing}, unused {unused}.")
        return Rendered(Template(self.template).substitute(fields), tuple(case_ids))


def load(name: str) -> Prompt:
    """The prompt in prompts/<name>.md. Raises PromptError where there is none."""
    path = files(__package__).joinpath(f"{name}.md")
    if not path.is_file():
        known = sorted(entry.name.removesuffix(".md") for entry in files(__package__).iterdir() if entry.name.endswith(".md"))
        raise PromptError(f"No prompt named '{name}'; there are {known}.")
    return Prompt(name, path.read_text(encoding="utf-8"))
