"""Cases as rows of SQLite: the schema, and the way in and out."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.case import Case, ReportSections
from index.errors import IndexStoreError
from index.keywords import searchable
from index.vectors import unit

# A row number is never used twice (AUTOINCREMENT) and a row never changes: so a FAISS file of any age is right about the rows it holds.
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cases (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, patient TEXT NOT NULL, age_band TEXT, sex TEXT, source TEXT,
    technique TEXT NOT NULL, comparison TEXT NOT NULL, findings TEXT NOT NULL, impression TEXT NOT NULL,
    embedding BLOB NOT NULL, sequence_vectors BLOB NOT NULL, digest TEXT NOT NULL);
CREATE INDEX cases_patient ON cases (patient);
CREATE TABLE labels (
    row INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, position INTEGER, name TEXT NOT NULL, PRIMARY KEY (row, position));
CREATE INDEX labels_name ON labels (name);
CREATE TABLE sequences (
    row INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, position INTEGER, name TEXT NOT NULL, PRIMARY KEY (row, position));
CREATE TABLE pictures (
    row INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE, position INTEGER, caption TEXT NOT NULL, png BLOB NOT NULL,
    PRIMARY KEY (row, position));
CREATE VIRTUAL TABLE words USING fts5 (findings, impression, labels, tokenize = 'porter unicode61');
"""
COLUMNS = "id, patient, age_band, sex, source, technique, comparison, findings, impression, embedding, sequence_vectors, digest"
ID = re.compile(r"[A-Za-z0-9-]{1,64}")


def insert(db: sqlite3.Connection, case: Case, dim: int, seq_dim: int) -> None:
    """Add a case. Raises IndexStoreError where it cannot be stored as it is."""
    _check(case, dim, seq_dim)
    embedding = unit(case.embedding)
    values = (*_facts(case), _blob(embedding), _blob(case.sequence_vectors), digest(case, embedding))
    try:
        row = db.execute(f"INSERT INTO cases ({COLUMNS}) VALUES ({', '.join('?' * len(values))})", values).lastrowid
    except sqlite3.IntegrityError as error:
        raise IndexStoreError(f"Case {case.id!r} is in the index already; remove it first, or give the new one another id.") from error
    db.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(row, i, name) for i, name in enumerate(case.diagnoses)])
    db.executemany("INSERT INTO sequences VALUES (?, ?, ?)", [(row, i, name) for i, name in enumerate(case.sequences)])
    db.executemany("INSERT INTO pictures VALUES (?, ?, ?, ?)", [(row, i, caption, png) for i, (caption, png) in enumerate(case.pictures)])
    found = searchable(case.report.findings, case.report.impression, case.diagnoses)
    db.execute("INSERT INTO words (rowid, findings, impression, labels) VALUES (?, ?, ?, ?)", (row, *found))


def delete(db: sqlite3.Connection, row: int) -> None:
    """Take a case out, with all that hangs on it."""
    db.execute("DELETE FROM words WHERE rowid = ?", (row,))
    db.execute("DELETE FROM cases WHERE row = ?", (row,))


def case(db: sqlite3.Connection, row: int, seq_dim: int) -> Case:
    """The case of a row, as it was added (its embedding at unit length)."""
    found = db.execute(f"SELECT {COLUMNS} FROM cases WHERE row = ?", (row,)).fetchone()
    id_, patient, age_band, sex, source, technique, comparison, findings, impression, embedding, vectors, _ = found
    return Case(
        id=id_,
        patient=patient,
        report=ReportSections(technique, comparison, findings, impression),
        diagnoses=labels(db, row),
        age_band=age_band,
        sex=sex,
        sequences=tuple(name for (name,) in db.execute("SELECT name FROM sequences WHERE row = ? ORDER BY position", (row,))),
        source=source,
        pictures=tuple(db.execute("SELECT caption, png FROM pictures WHERE row = ? ORDER BY position", (row,))),
        embedding=np.frombuffer(embedding, np.float32),
        sequence_vectors=np.frombuffer(vectors, np.float32).reshape(-1, seq_dim),
    )


def labels(db: sqlite3.Connection, row: int) -> tuple[str, ...]:
    """A row's diagnoses, main first."""
    return tuple(name for (name,) in db.execute("SELECT name FROM labels WHERE row = ? ORDER BY position", (row,)))


def of_same_patient(db: sqlite3.Connection, row: int) -> NDArray[np.int64]:
    """The rows of the patient that a row is of, itself among them."""
    found = db.execute("SELECT row FROM cases WHERE patient = (SELECT patient FROM cases WHERE row = ?)", (row,))
    return np.array([number for (number,) in found], dtype=np.int64)


def numbers(db: sqlite3.Connection) -> NDArray[np.int64]:
    """Every row number, rising."""
    return np.array([row for (row,) in db.execute("SELECT row FROM cases ORDER BY row")], dtype=np.int64)


def embeddings(db: sqlite3.Connection, rows: Sequence[int] | NDArray[np.int64], dim: int) -> NDArray[np.float32]:
    """(n, dim) unit embeddings of the rows, in their order."""
    found = db.execute(
        "SELECT embedding FROM json_each(?) JOIN cases ON row = json_each.value ORDER BY json_each.key",
        (json.dumps([int(row) for row in rows]),),
    )
    return np.frombuffer(b"".join(embedding for (embedding,) in found), np.float32).reshape(len(rows), dim)


def sequences(db: sqlite3.Connection, row: int, seq_dim: int) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The names of a row's sequences and their (s, seq_dim) vectors."""
    (blob,) = db.execute("SELECT sequence_vectors FROM cases WHERE row = ?", (row,)).fetchone()
    names = tuple(name for (name,) in db.execute("SELECT name FROM sequences WHERE row = ? ORDER BY position", (row,)))
    return names, np.frombuffer(blob, np.float32).reshape(-1, seq_dim)


def digest(case: Case, embedding: NDArray[np.float32]) -> str:
    """sha256 over everything that a case holds."""
    whole = hashlib.sha256(repr((_facts(case), case.diagnoses, case.sequences)).encode())
    whole.update(_blob(embedding) + _blob(case.sequence_vectors))
    for caption, png in case.pictures:
        whole.update(repr((caption, hashlib.sha256(png).hexdigest())).encode())
    return whole.hexdigest()


def _facts(case: Case) -> tuple[str | None, ...]:
    report = case.report
    text = report.technique, report.comparison, report.findings, report.impression
    return case.id, case.patient, case.age_band, case.sex, case.source, *text


def _blob(array: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(array, dtype="<f4").tobytes()


def _check(case: Case, dim: int, seq_dim: int) -> None:
    if not ID.fullmatch(case.id):
        raise IndexStoreError(f"Case id {case.id!r}: expected 1 to 64 letters, digits or '-', so that a report can cite it.")
    if case.embedding.shape != (dim,) or not np.isfinite(case.embedding).all() or not np.any(case.embedding):
        raise IndexStoreError(
            f"Case {case.id}: expected a finite embedding of shape ({dim},), not all zero; found shape {case.embedding.shape}."
        )
    if case.sequence_vectors.shape != (len(case.sequences), seq_dim) or not np.isfinite(case.sequence_vectors).all():
        expected = (len(case.sequences), seq_dim)
        raise IndexStoreError(
            f"Case {case.id}: expected finite sequence vectors of shape {expected}, one a sequence; found {case.sequence_vectors.shape}."
        )
