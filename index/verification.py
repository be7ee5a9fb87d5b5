"""The full check of an index: every digest, every vector, and search against brute force."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np

from index import rows
from index.vectors import Accelerator, Vectors

ASKED = 64  # brute-force queries
K = 10


def problems(db: sqlite3.Connection, folder: Path, vectors: Vectors, dim: int, seq_dim: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What was checked, and what was wrong. Changes nothing."""
    checks: dict[str, Callable[[], list[str]]] = {
        "SQLite pages": lambda: _pages(db),
        "case digests": lambda: _digests(db, seq_dim),
        "keyword table": lambda: _words(db),
        "FAISS digest": lambda: _file(folder),
        "FAISS vectors": lambda: _vectors(db, folder, dim),
        "brute force": lambda: _brute_force(db, vectors, dim),
    }
    found: list[str] = []
    for name, check in checks.items():
        try:
            found += [f"{name}: {problem}" for problem in check()]
        except (sqlite3.DatabaseError, ValueError) as error:
            found.append(f"{name}: {error}")
    return tuple(checks), tuple(found)


def _pages(db: sqlite3.Connection) -> list[str]:
    return [line for (line,) in db.execute("PRAGMA integrity_check") if line != "ok"]


def _digests(db: sqlite3.Connection, seq_dim: int) -> list[str]:
    wrong = []
    for row, id_, stated in db.execute("SELECT row, id, digest FROM cases").fetchall():
        case = rows.case(db, row, seq_dim)
        if rows.digest(case, case.embedding) != stated:
            wrong.append(f"case {id_} is not what was added")
    return wrong


def _words(db: sqlite3.Connection) -> list[str]:
    missing = db.execute("SELECT id FROM cases WHERE row NOT IN (SELECT rowid FROM words)").fetchall()
    return [f"case {id_} cannot be found by words" for (id_,) in missing]


def _file(folder: Path) -> list[str]:
    try:
        stated = json.loads((folder / "index.json").read_text(encoding="utf-8"))["faiss_sha256"]
        found = hashlib.sha256((folder / "vectors.faiss").read_bytes()).hexdigest()
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        return [f"index.json or vectors.faiss cannot be read ({error!r})"]
    return [] if stated == found else ["vectors.faiss is not the file that index.json names"]


def _vectors(db: sqlite3.Connection, folder: Path, dim: int) -> list[str]:
    file = Accelerator.read(folder / "vectors.faiss", dim)
    if file is None:
        return [f"expected an exact inner-product index of {dim} dimensions in vectors.faiss, found none"]
    shared = np.intersect1d(file.rows, rows.numbers(db))
    differ = (file.vectors(shared) != rows.embeddings(db, shared, dim)).any(axis=1)
    return [f"row {row} differs from SQLite" for row in shared[differ][:10]]


def _brute_force(db: sqlite3.Connection, vectors: Vectors, dim: int) -> list[str]:
    numbers = rows.numbers(db)
    truth = rows.embeddings(db, numbers, dim)
    wrong = []
    for i in np.linspace(0, len(numbers) - 1, min(ASKED, len(numbers))).astype(int):
        expected = np.sort(truth @ truth[i])[::-1][:K]
        found = dict(vectors.search(truth[i], K))
        cosines = truth[np.searchsorted(numbers, list(found))] @ truth[i]
        if len(found) != len(expected) or not np.allclose(np.sort(cosines)[::-1], expected, atol=1e-5):
            wrong.append(f"the neighbours of row {numbers[i]} are not the nearest")
    return wrong
