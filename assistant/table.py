"""The lists that people give: CSV or Parquet, read as text."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import UsageError

ALIASES = {"diagnoses": "labels"}


@dataclass(frozen=True)
class Table:
    """A list and its columns.

    columns: names in lower case, blanks as underscores, `diagnoses` as labels. rows: a cell a column, without blanks around it.
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def read_table(path: Path) -> Table:
    """A CSV file in UTF-8 with a line of column names, or a Parquet file, whose lists become text joined by ;.

    Raises UsageError where it cannot be read.
    """
    names, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    columns = {name: _column(name) for name in names if name is not None}
    return Table(tuple(columns.values()), tuple({column: _cell(row.get(name)) for name, column in columns.items()} for row in rows))


def _csv(path: Path) -> tuple[Iterable[str], list[dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            return table.fieldnames or (), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: expected a CSV file in UTF-8 that can be read: {error}.") from error


def _parquet(path: Path) -> tuple[Iterable[str], list[Mapping[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UsageError(f"{path}: Parquet needs pyarrow, which is not installed; install it, or give a CSV.") from error
    try:
        table = parquet.read_table(path)
    except (OSError, ArrowException) as error:
        raise UsageError(f"{path}: expected a Parquet file that can be read: {error}.") from error
    return table.column_names, table.to_pylist()


def _column(name: str) -> str:
    plain = name.strip().lower().replace(" ", "_")
    return ALIASES.get(plain, plain)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ";".join(map(str, value))
    return "" if value is None else str(value).strip()
