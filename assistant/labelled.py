"""Studies with known labels, for calibration: a CSV, or a folder of studies with truth.json; labels may come from a case index."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import UsageError
from prompts.diagnoses import load, taxonomy_name


@dataclass(frozen=True)
class Labelled:
    """A study and what is known of it. None = not stated (an index may know); an empty set = none of them."""

    path: Path
    diagnoses: frozenset[str] | None
    referral: frozenset[str] | None = None
    priority: str | None = None


def from_manifest(manifest: Path) -> tuple[Labelled, ...]:
    """Rows of a CSV: path; labels, referral (separated by ;) and priority where there are such columns. Paths are relative to the file.

    An empty cell of labels means a study without any of the diagnoses, an empty cell of priority that nothing is known.
    """
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        columns = set(table.fieldnames or ())
        if "path" not in columns:
            raise UsageError(f"{manifest}: expected a column path (and labels, separated by ;), found {sorted(columns)}.")
        rows = [{name: (value or "").strip() for name, value in row.items() if isinstance(name, str)} for row in table]
    for number, row in enumerate(rows, start=2):
        if not row["path"]:
            raise UsageError(f"{manifest}, line {number}: expected a path, found none.")
    return tuple(
        Labelled(
            manifest.parent / row["path"],
            diagnoses_of(row["labels"].split(";")) if "labels" in columns else None,
            frozenset(plain(name) for name in row["referral"].split(";") if name.strip()) if "referral" in columns else None,
            row.get("priority") or None,
        )
        for row in rows
    )


def from_folder(folder: Path) -> tuple[Labelled, ...]:
    """Every folder below `folder` with a truth.json, as `prima phantom` writes them; without any, its own folders, unlabelled."""
    truths = sorted(folder.rglob("truth.json"))
    if not truths:
        return tuple(Labelled(path, None) for path in sorted(folder.iterdir()) if path.is_dir())
    return tuple(_true(path) for path in truths)


def _true(path: Path) -> Labelled:
    said = json.loads(path.read_text(encoding="utf-8"))
    names = [*said["diagnoses"], *(finding["name"] for finding in said.get("findings", ()))]
    referral = frozenset(plain(name) for name in said["referral"]) if "referral" in said else None
    return Labelled(path.parent, diagnoses_of(names), referral, said.get("priority"))


def diagnoses_of(names: Iterable[str]) -> frozenset[str]:
    """Labels as the taxonomy has them; a child makes its parent true."""
    own = {taxonomy_name(name.strip()) for name in names if name.strip()}
    return frozenset(own | {parent for name in own if name in load() and (parent := load()[name].parent)})


def plain(name: str) -> str:
    """A specialty's name as it is compared: lower case, underscores."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")
