"""Studies with known labels, for calibration and evaluation: a list, or a folder of studies with truth.json."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assistant.errors import UsageError
from assistant.table import read_table
from prompts.diagnoses import PRIORITIES, load, taxonomy_name

UNLABELLED = "?"  # a cell that says that nothing is known
Label = Literal["diagnoses", "referral", "priority"]


@dataclass(frozen=True)
class Labelled:
    """A study and what is known of it. None = not stated (an index may know); an empty set = none of them.

    diagnoses: findings and the parents of what is stated among them. main: the first that was stated.
    age (years), sex, vendor, field_strength (tesla): stand before what the files say. site: a subgroup of studies.
    patient: whose study it is, where the list says so. report: its text, or the path to it, where the list says so.
    """

    path: Path
    diagnoses: frozenset[str] | None
    referral: frozenset[str] | None = None
    priority: str | None = None
    main: str | None = None
    age: float | None = None
    sex: str | None = None
    vendor: str | None = None
    field_strength: float | None = None
    site: str | None = None
    patient: str | None = None
    report: str | None = None

    @property
    def normal(self) -> bool:
        """Whether it is known that the study has none of the names."""
        return self.diagnoses is not None and not self.diagnoses


def from_manifest(manifest: Path) -> tuple[Labelled, ...]:
    """Rows of a list: path; labels (or diagnoses: main first) and referral, separated by ;, priority, age, sex, vendor, field_strength
    (tesla), site, patient and report (text or a path) where there are such columns. Paths are relative to the file.

    An empty cell of labels means a study without any of the diagnoses, an empty cell of another column, or `?`, that nothing is known.
    Raises UsageError, naming the line, for what cannot be read.
    """
    table = read_table(manifest)
    if "path" not in table.columns:
        raise UsageError(f"{manifest}: expected a column path (and labels, separated by ;), found {sorted(table.columns)}.")
    return tuple(_row(manifest, f"{manifest}, line {number}", row) for number, row in enumerate(table.rows, start=2))


def from_folder(folder: Path) -> tuple[Labelled, ...]:
    """Every folder below `folder` with a truth.json, as `prima phantom` writes them; without any, its own folders, unlabelled."""
    truths = sorted(folder.rglob("truth.json"))
    if not truths:
        return tuple(Labelled(path, None) for path in sorted(folder.iterdir()) if path.is_dir())
    return tuple(_true(path) for path in truths)


def of_truth(path: Path, said: Mapping[str, Any]) -> Labelled:
    """A study and its truth, as in truth.json; a site may stand in it. Raises UsageError where it says no diagnoses."""
    try:
        stated = list(said["diagnoses"])
        findings = [finding["name"] for finding in said.get("findings", ())]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: expected the truth that `prima phantom` writes, found {type(error).__name__}: {error}.") from error
    referral = frozenset(plain(name) for name in said["referral"]) if "referral" in said else None
    return Labelled(path, diagnoses_of([*stated, *findings]), referral, said.get("priority"), _main(stated), site=said.get("site"))


def require(labelled: Iterable[Labelled], *labels: Label) -> None:
    """Raises UsageError where a study lacks one of these labels or has one nobody knows: better before an hour of encoding than after."""
    for one in labelled:
        for name in labels:
            if getattr(one, name) is None:
                raise UsageError(f"{one.path}: expected its {name}, found none; every study needs them (a column, or truth.json).")
        if "priority" in labels and one.priority not in PRIORITIES:
            raise UsageError(f"{one.path}: expected a priority of {', '.join(PRIORITIES)}, found {one.priority!r}.")
        if unknown := sorted((one.diagnoses or frozenset()) - load().keys()):
            raise UsageError(f"{one.path}: expected names of the taxonomy (prompts/diagnoses.toml), found {', '.join(unknown)}.")


def diagnoses_of(names: Iterable[str]) -> frozenset[str]:
    """Labels as the taxonomy has them; a child makes its parent true."""
    own = {taxonomy_name(name.strip()) for name in names if name.strip()}
    return frozenset(own | {parent for name in own if name in load() and (parent := load()[name].parent)})


def plain(name: str) -> str:
    """A specialty's name as it is compared: lower case, underscores."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _true(path: Path) -> Labelled:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected the truth that `prima phantom` writes, found {error}.") from error
    return of_truth(path.parent, said)


def _row(manifest: Path, where: str, row: Mapping[str, str]) -> Labelled:
    row = {name: cell for name, cell in row.items() if cell != UNLABELLED}
    if not row.get("path"):
        raise UsageError(f"{where}: expected a path, found none.")
    stated = row["labels"].split(";") if "labels" in row else None
    return Labelled(
        manifest.parent / row["path"],
        None if stated is None else diagnoses_of(stated),
        frozenset(plain(name) for name in row["referral"].split(";") if name.strip()) if "referral" in row else None,
        row.get("priority", "").lower() or None,
        _main(stated or ()),
        _number(where, "an age in years", row.get("age")),
        row.get("sex", "").upper()[:1] or None,
        row.get("vendor") or None,
        _number(where, "a field strength in tesla", row.get("field_strength")),
        row.get("site") or None,
        row.get("patient") or None,
        str(report_file(manifest.parent, row.get("report", "")) or row.get("report", "")) or None,
    )


def report_file(home: Path, cell: str) -> Path | None:
    """The file that a cell of a column report names, from `home`; None where the cell is the report itself."""
    named = home / cell
    # os.path: a report in one line is often longer than a name may be, where pathlib raises (Python 3.11).
    return named if "\n" not in cell and os.path.isfile(named) else None


def _main(stated: Iterable[str]) -> str | None:
    return next((taxonomy_name(name.strip()) for name in stated if name.strip()), None)


def _number(where: str, what: str, text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise UsageError(f"{where}: expected {what}, found {text!r}.") from error
