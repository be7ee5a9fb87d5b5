"""Studies with known answers: a folder of phantoms with their truth, or a manifest."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assistant.errors import UsageError
from encoder.features import Priority
from prompts.diagnoses import load

LEVELS = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
COLUMNS = ("path", "diagnoses", "referral", "priority", "age", "sex", "vendor", "field_strength", "site")


@dataclass(frozen=True)
class Labelled:
    """A study's path and what is known of it.

    diagnoses: main first, as listed. names: those and their parents, and the findings. referral, priority: None where not known.
    The rest goes before what the files say; None = as the files say.
    """

    path: Path
    diagnoses: tuple[str, ...]
    names: frozenset[str]
    referral: frozenset[str] | None = None
    priority: Priority | None = None
    age: float | None = None
    sex: str | None = None
    vendor: str | None = None
    field_strength: float | None = None
    site: str | None = None

    @property
    def main(self) -> str:
        """The main diagnosis, or normal."""
        return self.diagnoses[0] if self.diagnoses else "normal"

    @property
    def normal(self) -> bool:
        """Whether nothing is labelled, no finding either."""
        return not self.names


def from_folder(folder: Path) -> tuple[Labelled, ...]:
    """Every folder below `folder` that holds truth.json, as `prima phantom` writes it (a site may be added to it)."""
    found = sorted(folder.rglob("truth.json"))
    if not found:
        raise UsageError(f"{folder}: expected study folders with truth.json, found none. Is it the folder above the studies?")
    return tuple(_of_file(path) for path in found)


def of_truth(path: Path, truth: Mapping[str, Any]) -> Labelled:
    """A study and its truth.json; a site may stand in it. Raises UsageError where it says no diagnoses, or others than the taxonomy's."""
    try:
        diagnoses = tuple(truth["diagnoses"])
        findings = [finding["name"] for finding in truth.get("findings", ())]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: expected the truth that `prima phantom` writes, found {type(error).__name__}: {error}.") from error
    referral, level = truth.get("referral"), truth.get("priority")
    return Labelled(
        path=path,
        diagnoses=_known(str(path), diagnoses),
        names=_with_parents((*diagnoses, *findings)),
        referral=None if referral is None else frozenset(referral),
        priority=None if level is None else _level(str(path), level),
        site=truth.get("site"),
    )


def from_manifest(manifest: Path) -> tuple[Labelled, ...]:
    """Rows of a CSV; paths are relative to the file.

    Columns: path, diagnoses (names of the taxonomy, separated by ;, main first; empty = normal), and where known referral (;),
    priority, age, sex, vendor, field_strength (tesla), site. Raises UsageError, naming the line, for what cannot be read.
    """
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns = [(name or "").strip().lower().replace(" ", "_") for name in table.fieldnames or ()]
            table.fieldnames = columns
            if {"path", "diagnoses"} - set(columns):
                raise UsageError(f"{manifest}: expected the columns path and diagnoses, found {columns}; others known: {COLUMNS[2:]}.")
            rows = [{key: (value or "").strip() for key, value in row.items() if key and not isinstance(value, list)} for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{manifest}: expected a CSV file in UTF-8 that can be read: {error}.") from error
    if not rows:
        raise UsageError(f"{manifest}: expected a row a study, found none.")
    return tuple(_of_row(manifest, number, row, set(columns)) for number, row in enumerate(rows, start=2))


def require(labelled: Iterable[Labelled], *labels: Literal["referral", "priority"]) -> None:
    """Raises UsageError where a study lacks one of these labels: better before an hour of encoding than after."""
    wanted = {"referral": "empty = referred to nobody", "priority": "none, low, medium or high"}
    for one in labelled:
        for name in labels:
            if getattr(one, name) is None:
                raise UsageError(f"Expected a {name} ({wanted[name]}) for every study, found none for {one.path}. Add a column `{name}`.")


def _of_file(path: Path) -> Labelled:
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected the truth that `prima phantom` writes, found {error}.") from error
    return of_truth(path.parent, truth)


def _of_row(manifest: Path, number: int, row: Mapping[str, str], columns: set[str]) -> Labelled:
    where = f"{manifest}, line {number}"
    if not row["path"]:
        raise UsageError(f"{where}: expected a path, found none.")
    diagnoses = _known(where, _listed(row["diagnoses"]))
    return Labelled(
        path=manifest.parent / row["path"],
        diagnoses=diagnoses,
        names=_with_parents(diagnoses),
        referral=frozenset(_listed(row.get("referral", ""))) if "referral" in columns else None,
        priority=_level(where, row["priority"]) if row.get("priority") else None,
        age=_number(where, "an age in years", row.get("age")),
        sex=(row.get("sex") or "").upper()[:1] or None,
        vendor=row.get("vendor") or None,
        field_strength=_number(where, "a field strength in tesla", row.get("field_strength")),
        site=row.get("site") or None,
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(";") if name.strip())


def _known(where: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [name for name in names if name not in load()]:
        raise UsageError(f"{where}: expected names of the taxonomy (prompts/diagnoses.toml), found {unknown}; empty means normal.")
    return names


def _with_parents(names: Iterable[str]) -> frozenset[str]:
    """A child makes its parent true, as in training."""
    known = [name for name in names if name in load()]
    return frozenset([*known, *(parent for name in known if (parent := load()[name].parent))])


def _level(where: str, text: str) -> Priority:
    known = {level.value: level for level in LEVELS}
    if text.lower() not in known:
        raise UsageError(f"{where}: expected a priority of {', '.join(known)}, found {text!r}.")
    return known[text.lower()]


def _number(where: str, what: str, text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise UsageError(f"{where}: expected {what}, found {text!r}.") from error
