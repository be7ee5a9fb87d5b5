"""What a hospital gives: a table with a row a study."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import UsageError
from assistant.labelled import UNLABELLED, diagnoses_of, plain
from assistant.reported import text_of
from assistant.table import read_table
from prompts.diagnoses import PRIORITIES, load

SPLITS = ("", "training", "validation")
SHOWN = 5  # faults in one message


@dataclass(frozen=True)
class Entry:
    """One study of the manifest. None = not stated; an empty set of labels = none of the diagnoses.

    patient: whose studies never stand on both sides of the split. split: "training", "validation", or "" = drawn.
    """

    path: Path
    report: str
    labels: frozenset[str] | None = None
    referral: frozenset[str] | None = None
    priority: str | None = None
    patient: str | None = None
    split: str = ""


def read_manifest(manifest: Path, *, reports: bool = False) -> tuple[Entry, ...]:
    """Rows of a CSV or Parquet file: path; report (text or a path), labels, referral, priority, patient, split where there are any.

    labels and referral are separated by ;. An empty cell of labels means none of the diagnoses, `?` that nothing is known.
    Raises UsageError, naming lines, for missing studies, unknown labels, empty reports; with `reports` a report is a must.
    """
    table = read_table(manifest)
    rows = table.rows
    for needed in ("path", "report") if reports else ("path",):
        if not rows or needed not in table.columns:
            raise UsageError(f"{manifest}: expected a column {needed} and at least one row, found columns {sorted(table.columns)}.")
    faults = [f"line {line}: {fault}" for line, row in enumerate(rows, start=2) for fault in _faults(manifest.parent, row)]
    times = Counter(row["path"] for row in rows if row["path"])
    faults += [f"expected each study once, found {path} {count} times" for path, count in times.items() if count > 1]
    if faults:
        more = f" ... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UsageError(f"{manifest}: {'; '.join(faults[:SHOWN])}{more}. Correct these rows, or take them out.")
    return tuple(_entry(manifest.parent, row) for row in rows)


def _faults(home: Path, row: Mapping[str, str]) -> Iterable[str]:
    if not row["path"]:
        yield "expected a path, found none"
    elif not os.path.exists(home / row["path"]):  # pathlib raises for a name that is too long
        yield f"expected a study at {row['path']}, found nothing"
    try:
        if "report" in row and not _report(home, row):
            yield "expected a report, found nothing"
    except UsageError as error:
        yield str(error)
    if unknown := sorted((_labels(row.get("labels")) or frozenset()) - load().keys()):
        yield f"expected names of the taxonomy (prompts/diagnoses.toml), found {', '.join(unknown)}"
    if row.get("priority", "").lower() not in ("", UNLABELLED, *PRIORITIES):
        yield f"expected a priority of {', '.join(PRIORITIES)}, found {row['priority']!r}"
    if row.get("split", "") not in SPLITS:
        yield f"expected a split of training or validation, found {row['split']!r}"


def _entry(home: Path, row: Mapping[str, str]) -> Entry:
    referral = row.get("referral", UNLABELLED)
    priority = row.get("priority", "").lower()
    return Entry(
        path=home / row["path"],
        report=_report(home, row),
        labels=_labels(row.get("labels")),
        referral=None if referral == UNLABELLED else frozenset(plain(name) for name in referral.split(";") if name.strip()),
        priority=priority if priority in PRIORITIES else None,
        patient=row.get("patient") or None,
        split=row.get("split", ""),
    )


def _report(home: Path, row: Mapping[str, str]) -> str:
    return text_of(home, row.get("report", ""), row["path"]).strip()


def _labels(cell: str | None) -> frozenset[str] | None:
    return None if cell in (None, UNLABELLED) else diagnoses_of(cell.split(";"))
