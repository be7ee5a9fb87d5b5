"""An index of prior cases: a directory whose SQLite file is the truth and whose FAISS file is derived from it.

index.sqlite   cases, reports, labels, pictures, vectors, words; one transaction a change
vectors.faiss  exact search over the study embeddings of some generation; what came since is searched beside it
index.json     the same facts for a reader without software, and the digest of vectors.faiss

Any number of threads and processes may search while one adds. A search opens its own connection, and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index import rows
from index.calibration import PRECISIONS, Calibration, agree, cut, least_similarity
from index.case import Case, Neighbour
from index.errors import CorruptIndex, EncoderMismatch, IndexStoreError, NotAnIndex
from index.query import Query, Where
from index.retrieval import TextTower, retrieve
from index.vectors import SAMPLED, Accelerator, Vectors, unit

DEMO = Path(__file__).parent / "demo"  # the shipped index of simulated cases
FORMAT = 1
DATABASE, ACCELERATOR, DESCRIPTION = "index.sqlite", "vectors.faiss", "index.json"
PATIENCE = 30.0  # seconds to wait for another process's change
LARGEST_DELTA = 1000  # rows searched beside FAISS before it is built anew, or a tenth of the index where that is more
NEIGHBOURS = 10  # of each case, for calibration: what a search would return
MOST_CALIBRATED = 2000  # cases asked for calibration, evenly spaced where there are more
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Info:
    """What an index says of itself. encoder: sha256 of the weights; build: sha256 over the digests of its cases; created: UTC."""

    format: int
    encoder: str
    dim: int
    seq_dim: int
    metric: str
    command: str
    created: str
    generation: int
    count: int
    build: str
    calibration: Calibration | None


@dataclass(frozen=True)
class Verification:
    """What a full check found; no problem, no entry."""

    cases: int
    generation: int
    checked: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


class CaseIndex:
    """An open index. Safe to share between threads; an instance in each process."""

    def __init__(self, folder: Path, tower: TextTower | None = None) -> None:
        self.folder = folder
        self.tower = tower
        self._lock = threading.Lock()
        self._vectors: Vectors | None = None
        with self._reading() as db:
            meta = dict(db.execute("SELECT name, value FROM meta"))
        self._fixed = Info(
            FORMAT, meta["encoder"], int(meta["dim"]), int(meta["seq_dim"]), "cosine", meta["command"], meta["created"], 0, 0, "", None
        )

    @classmethod
    def create(cls, folder: Path, encoder: str, dim: int, seq_dim: int, command: str = "") -> CaseIndex:
        """Make an empty index. Raises IndexStoreError where the folder holds one already."""
        refuse_existing(folder)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{DATABASE}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        facts = {"format": FORMAT, "encoder": encoder, "dim": dim, "seq_dim": seq_dim, "command": command, "generation": 0}
        db = sqlite3.connect(draft)
        try:
            db.executescript(rows.SCHEMA)
            db.executemany("INSERT INTO meta VALUES (?, ?)", [(name, str(value)) for name, value in facts.items()])
            db.execute("INSERT INTO meta VALUES ('created', ?)", (datetime.now(UTC).isoformat(timespec="seconds"),))
            db.commit()
        finally:
            db.close()
        os.replace(draft, folder / DATABASE)
        made = cls(folder)
        made.compact()
        return made

    @classmethod
    def open(cls, folder: Path, encoder: str | None = None, tower: TextTower | None = None) -> CaseIndex:
        """Open an index.

        encoder: the hash of the encoder that will ask; another than the index's raises EncoderMismatch.
        tower: words -> (dim,) vector in the space of the study embeddings.
        Raises NotAnIndex, CorruptIndex.
        """
        path = folder / DATABASE
        if not path.is_file():
            raise NotAnIndex(f"{folder}: expected a folder with {DATABASE}, found none. Build one with `prima index build`.")
        try:
            with _connected(path) as db:
                stated = dict(db.execute("SELECT name, value FROM meta")).get("format")
        except sqlite3.OperationalError as error:
            raise NotAnIndex(f"{path}: expected a case index, but it cannot be read: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise CorruptIndex(
                f"{path}: expected a SQLite file, found a damaged or foreign one ({error}). Restore it, or build the index anew."
            ) from error
        if stated != str(FORMAT):
            raise NotAnIndex(
                f"{path}: expected index format {FORMAT}, found {stated}. Use the release that made it, or build the index anew."
            )
        opened = cls(folder, tower)
        if encoder is not None and encoder != opened._fixed.encoder:
            raise EncoderMismatch(
                f"{folder}: built by encoder {opened._fixed.encoder[:12]}, asked by encoder {encoder[:12]}; "
                "their vectors cannot be compared. Use the encoder that built it, or build the index anew with this one."
            )
        return opened

    @property
    def info(self) -> Info:
        """The index as it is now."""
        with self._reading() as db:
            count = len(rows.numbers(db))
            return replace(self._fixed, generation=_generation(db), count=count, build=_build(db), calibration=_calibration(db))

    def __len__(self) -> int:
        with self._reading() as db:
            return int(db.execute("SELECT count(*) FROM cases").fetchone()[0])

    def __iter__(self) -> Iterator[Case]:
        """Every case, by id; each read when it is asked for."""
        return (self.get(id_) for id_ in self.ids())

    def __contains__(self, id_: str) -> bool:
        with self._reading() as db:
            return db.execute("SELECT 1 FROM cases WHERE id = ?", (id_,)).fetchone() is not None

    def ids(self) -> tuple[str, ...]:
        """The ids of all cases, sorted."""
        with self._reading() as db:
            return tuple(id_ for (id_,) in db.execute("SELECT id FROM cases ORDER BY id"))

    def facets(self) -> dict[str, dict[str, int]]:
        """What `Where` can ask for, and how many cases have it: diagnosis, age_band, sex, sequence; most frequent first."""
        tables = {
            "diagnosis": ("labels", "name"),
            "age_band": ("cases", "age_band"),
            "sex": ("cases", "sex"),
            "sequence": ("sequences", "name"),
        }
        counted = "SELECT {1}, count(DISTINCT row) AS n FROM {0} WHERE {1} IS NOT NULL GROUP BY {1} ORDER BY n DESC, {1}"
        with self._reading() as db:
            return {facet: dict(db.execute(counted.format(*source)).fetchall()) for facet, source in tables.items()}

    def get(self, id_: str) -> Case:
        """The case of that id. Raises IndexStoreError where there is none."""
        with self._reading() as db:
            return rows.case(db, self._row(db, id_), self._fixed.seq_dim)

    def add(self, cases: Iterable[Case]) -> int:
        """Add all of the cases or, where one cannot be, none; how many were added."""
        ready = list(cases)  # a slow iterable must not hold the write lock
        with self._writing() as db:
            for case in ready:
                rows.insert(db, case, self._fixed.dim, self._fixed.seq_dim)
        self._keep_delta_small()
        return len(ready)

    def remove(self, id_: str) -> None:
        """Take a case out. Raises IndexStoreError where there is none."""
        with self._writing() as db:
            rows.delete(db, self._row(db, id_))

    def search(self, query: Query, k: int = 5, where: Where | None = None) -> tuple[Neighbour, ...]:
        """At most `k` cases like the query, best first; none is an answer. Changes nothing."""
        self._check(query, k)
        with self._reading() as db:
            return retrieve(db, self._current(db), self._fixed.seq_dim, self.tower, _calibration(db), query, k, where or Where())

    def calibrate(self, precision: float | None = None) -> Calibration:
        """Find and store the similarity at which a neighbour (of another patient) shares a label with the stated precision.

        precision: None takes the highest that leaves most cases a neighbour (`index.calibration.cut`).
        With a text tower also the one for words, from each case's impression, where there is one.
        Raises IndexStoreError where no similarity of studies reaches the precision.
        """
        with self._reading() as db:
            numbers = rows.numbers(db)
            sample = numbers[:: max(1, len(numbers) // MOST_CALIBRATED)]
            pairs = self._pairs(db, sample, rows.embeddings(db, sample, self._fixed.dim))
            made = cut(*pairs, PRECISIONS if precision is None else (precision,))
            made = replace(made, text_similarity=self._words_cut(db, sample, made.precision))
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('calibration', ?)", (made.to_json(),))
        self.compact()
        return made

    def _words_cut(self, db: sqlite3.Connection, sample: NDArray[np.int64], precision: float) -> float | None:
        """The least similarity of an impression and another case's images; None without text tower or words, or where none will do."""
        if self.tower is None:
            return None
        worded = [(row, text) for row in sample if (text := _impression(db, row))]
        if not worded:
            return None
        queries = np.stack([unit(self.tower(text)) for _, text in worded])
        cosines, agrees, _ = self._pairs(db, np.array([row for row, _ in worded]), queries)
        try:
            return least_similarity(cosines, agrees, precision)[0]
        except IndexStoreError as error:
            log.warning("Words alone get no cut of their own: %s", error)
            return None

    def _pairs(
        self, db: sqlite3.Connection, asked: NDArray[np.int64], queries: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
        """The cosines of queries with their neighbours of other patients, which of these agree, and each query's nearest cosine."""
        vectors = self._current(db)
        cosines: list[float] = []
        agrees: list[bool] = []
        nearest: list[float] = []
        for row, query in zip(asked.tolist(), queries, strict=True):
            found = vectors.search(query, NEIGHBOURS, never=rows.of_same_patient(db, row))
            cosines += [cosine for _, cosine in found]
            agrees += [agree(rows.labels(db, row), rows.labels(db, other)) for other, _ in found]
            nearest.append(found[0][1] if found else -1.0)
        return np.array(cosines), np.array(agrees, bool), np.array(nearest)

    def compact(self) -> None:
        """Build vectors.faiss and index.json anew from SQLite."""
        with self._writing(changes=False) as db:  # the write lock: one process builds, and nothing changes meanwhile
            numbers = rows.numbers(db)
            Accelerator.over(numbers, rows.embeddings(db, numbers, self._fixed.dim)).write(self.folder / ACCELERATOR)
            facts = asdict(replace(self._fixed, generation=_generation(db), count=len(numbers), calibration=_calibration(db)))
            facts["build"] = _build(db)
            facts["faiss_sha256"] = _sha256(self.folder / ACCELERATOR)
            draft = self.folder / f".{DESCRIPTION}.{os.getpid()}"
            draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            os.replace(draft, self.folder / DESCRIPTION)

    def verify(self) -> Verification:
        """Check every digest, every vector, and that search equals brute force. Changes nothing."""
        from index.verification import problems

        with self._reading() as db:
            generation = _generation(db)
            checked, found = problems(db, self.folder, self._current(db), self._fixed.dim, self._fixed.seq_dim)
            return Verification(len(rows.numbers(db)), generation, checked, found)

    def _current(self, db: sqlite3.Connection) -> Vectors:
        """The vectors of the generation that `db`'s transaction sees."""
        generation = _generation(db)
        with self._lock:
            if self._vectors is None or self._vectors.generation != generation:
                self._vectors = self._load(db, generation)
            return self._vectors

    def _load(self, db: sqlite3.Connection, generation: int) -> Vectors:
        dim = self._fixed.dim
        numbers = rows.numbers(db)
        accelerator = self._vectors.accelerator if self._vectors else Accelerator.read(self.folder / ACCELERATOR, dim)
        if accelerator is None or not _belongs(accelerator, db, numbers, dim):
            log.warning(
                "%s does not fit %s; searching vectors built in memory. The next change writes it anew.",
                self.folder / ACCELERATOR,
                DATABASE,
            )
            accelerator = Accelerator.over(numbers, rows.embeddings(db, numbers, dim))
        fresh = np.setdiff1d(numbers, accelerator.rows)
        if len(fresh) > max(LARGEST_DELTA, len(numbers) // 10):
            accelerator, fresh = Accelerator.over(numbers, rows.embeddings(db, numbers, dim)), fresh[:0]
        return Vectors(generation, accelerator, fresh, rows.embeddings(db, fresh, dim), np.setdiff1d(accelerator.rows, numbers))

    def _keep_delta_small(self) -> None:
        with self._reading() as db:
            numbers = rows.numbers(db)
        file = Accelerator.read(self.folder / ACCELERATOR, self._fixed.dim)
        if file is None or len(np.setdiff1d(numbers, file.rows)) > max(LARGEST_DELTA, len(numbers) // 10):
            self.compact()

    def _row(self, db: sqlite3.Connection, id_: str) -> int:
        found = db.execute("SELECT row FROM cases WHERE id = ?", (id_,)).fetchone()
        if found is None:
            raise IndexStoreError(f"{self.folder}: no case {id_!r}. `prima index search` lists ids.")
        return int(found[0])

    def _check(self, query: Query, k: int) -> None:
        if k < 1:
            raise IndexStoreError(f"Expected k of at least 1, found {k}.")
        if query.embedding is None and not query.text:
            raise IndexStoreError("A query needs a study embedding, words, or both; found neither.")
        if query.embedding is not None and (query.embedding.shape != (self._fixed.dim,) or not np.isfinite(query.embedding).all()):
            raise IndexStoreError(f"Expected a finite query embedding of shape ({self._fixed.dim},), found shape {query.embedding.shape}.")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _connected(self.folder / DATABASE) as db:
            db.execute("BEGIN")  # one snapshot for all that a search reads
            yield db

    @contextmanager
    def _writing(self, changes: bool = True) -> Iterator[sqlite3.Connection]:
        if not os.access(self.folder, os.W_OK):
            raise IndexStoreError(f"{self.folder}: the folder is read-only; copy the index to one that you may write.")
        with _connected(self.folder / DATABASE, write=True) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                if changes:
                    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'")
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise


def refuse_existing(folder: Path) -> None:
    """Raise IndexStoreError where the folder holds an index, or is a file."""
    if (folder / DATABASE).exists():
        raise IndexStoreError(f"{folder}: expected a folder without an index, found {DATABASE}. Add to that index, or name another folder.")
    if folder.exists() and not folder.is_dir():
        raise IndexStoreError(f"{folder}: expected a folder, found a file. Name another.")


@contextmanager
def _connected(path: Path, write: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection of one's own: safe across threads and forks, and nothing to close later.

    The rollback journal, not WAL, so that no -wal or -shm file lies beside a shipped index. A folder one may not write is opened read-only;
    not `immutable`, since somebody else may be writing there.
    """
    mode = "rw" if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK) else "ro"
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        db.execute("PRAGMA foreign_keys = ON")
        if not write:
            db.execute("PRAGMA query_only = ON")
        yield db
    finally:
        db.close()


def _generation(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()[0])


def _build(db: sqlite3.Connection) -> str:
    digests = "".join(digest for (digest,) in db.execute("SELECT digest FROM cases ORDER BY id"))
    return hashlib.sha256(digests.encode()).hexdigest()


def _impression(db: sqlite3.Connection, row: int) -> str:
    return str(db.execute("SELECT impression FROM cases WHERE row = ?", (int(row),)).fetchone()[0])


def _calibration(db: sqlite3.Connection) -> Calibration | None:
    found = db.execute("SELECT value FROM meta WHERE name = 'calibration'").fetchone()
    return Calibration.from_json(found[0]) if found else None


def _belongs(accelerator: Accelerator, db: sqlite3.Connection, numbers: NDArray[np.int64], dim: int) -> bool:
    """Whether a few of the accelerator's vectors are those of SQLite; a file of another index is not."""
    shared = np.intersect1d(accelerator.rows, numbers)
    sample = shared[np.linspace(0, len(shared) - 1, min(SAMPLED, len(shared))).astype(int)]
    return bool(np.array_equal(accelerator.vectors(sample), rows.embeddings(db, sample, dim)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
