"""Nearest study embeddings: FAISS over the rows it was built from, numpy over those that came since. The only file that knows FAISS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

SAMPLED = 16  # rows compared on opening: enough to know a file that belongs to another index


def unit(vectors: Floats) -> Floats:
    """(..., d) vectors scaled to length 1: from here on an inner product is a cosine."""
    array = np.asarray(vectors, dtype=np.float32)
    return np.asarray(array / np.maximum(np.linalg.norm(array, axis=-1, keepdims=True), 1e-12), dtype=np.float32)


def _row_numbers(index: Any) -> Rows:
    """Row numbers in the order of the stored vectors.

    In a process that imported SimpleITK before faiss, SWIG hands the vector out under SimpleITK's type, which faiss does not know.
    """
    numbers = index.id_map
    if type(numbers).__name__.endswith("Vector"):
        return np.array(faiss.vector_to_array(numbers), dtype=np.int64)
    return np.array(list(numbers), dtype=np.int64)


class Accelerator:
    """Exact inner-product search over unit vectors, by row number."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.rows: Rows = _row_numbers(index)

    @classmethod
    def over(cls, rows: Rows, embeddings: Floats) -> Accelerator:
        """Build from (n,) row numbers and their (n, d) unit vectors."""
        index = faiss.IndexIDMap2(faiss.IndexFlatIP(embeddings.shape[1]))
        if len(rows):
            index.add_with_ids(np.ascontiguousarray(embeddings, dtype=np.float32), rows)
        return cls(index)

    @classmethod
    def read(cls, path: Path, dim: int) -> Accelerator | None:
        """The file's index, or None where it is missing, unreadable, or not an exact one of `dim` dimensions."""
        try:
            index = faiss.read_index(str(path))
        except RuntimeError:
            return None
        exact = isinstance(index, faiss.IndexIDMap2) and isinstance(faiss.downcast_index(index.index), faiss.IndexFlat)
        return cls(index) if exact and index.d == dim and index.metric_type == faiss.METRIC_INNER_PRODUCT else None

    def write(self, path: Path) -> None:
        """Write beside `path`, then rename: a reader sees the old file or the new one."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        faiss.write_index(self._index, str(draft))
        os.replace(draft, path)

    def vectors(self, rows: Rows) -> Floats:
        """(n, d) stored vectors of rows that it holds."""
        return np.stack([self._index.reconstruct(int(row)) for row in rows]) if len(rows) else np.zeros((0, self._index.d), np.float32)

    def search(self, query: Floats, k: int, only: Rows | None, never: Rows) -> tuple[Rows, Floats]:
        """Rows and cosines of the best `k` among `only` (None = all) and not in `never`."""
        denied = faiss.IDSelectorBatch(never)
        selector = faiss.IDSelectorNot(denied) if only is None else faiss.IDSelectorBatch(np.setdiff1d(only, never))
        parameters: Any = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # faiss adds keywords at import
        cosines, rows = self._index.search(query[None], max(1, min(k, len(self.rows))), params=parameters)
        found = rows[0] >= 0
        return rows[0][found], cosines[0][found]


@dataclass(frozen=True)
class Vectors:
    """All study embeddings of one generation: the accelerator, what came since (`delta`), what has gone since (`gone`)."""

    generation: int
    accelerator: Accelerator
    rows: Rows  # of the delta
    delta: Floats  # (len(rows), d)
    gone: Rows

    def search(self, query: Floats, k: int, only: Rows | None = None, never: Rows | None = None) -> list[tuple[int, float]]:
        """The `k` rows of highest cosine to the unit vector `query`, best first; equal cosines by row number."""
        never = np.zeros(0, np.int64) if never is None else never
        rows, cosines = self.accelerator.search(query, k, only, np.union1d(never, self.gone))
        fresh = ~np.isin(self.rows, never) if only is None else np.isin(self.rows, np.setdiff1d(only, never))
        rows, cosines = np.concatenate([rows, self.rows[fresh]]), np.concatenate([cosines, self.delta[fresh] @ query])
        best = np.lexsort((rows, -cosines))[:k]
        return [(int(rows[i]), float(cosines[i])) for i in best]
