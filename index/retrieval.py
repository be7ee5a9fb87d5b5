"""From a query to neighbours: rankings by study, by sequences and by words, fused; then the cut, and diversity."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from encoder.facts import Facts, words_of
from encoder.study import Weighting
from encoder.weighting import weighting_of
from index import keywords, rows
from index.calibration import Calibration
from index.case import Neighbour
from index.errors import IndexStoreError
from index.query import Query, Where
from index.vectors import Vectors, unit

DEPTH = 50  # candidates that each ranking puts forward, or four times k where that is more
RRF = 60  # reciprocal-rank fusion's constant (Cormack, Clarke, Buettcher 2009)
TextTower = Callable[[str], NDArray[np.float32]]  # words -> (d,) in the space of the study embeddings


@dataclass
class Evidence:
    """What speaks for one candidate; None where a ranking did not see it."""

    similarity: float | None = None
    sequences: float | None = None
    best_sequence: str | None = None
    labels: float | None = None
    said: tuple[str, ...] = ()
    text: float | None = None
    score: float = field(default=0.0)


def retrieve(
    db: sqlite3.Connection,
    vectors: Vectors,
    seq_dim: int,
    tower: TextTower | None,
    calibration: Calibration | None,
    query: Query,
    k: int,
    where: Where,
) -> tuple[Neighbour, ...]:
    """At most `k` neighbours, best first; none where nothing is similar enough. Reads only."""
    only, never = selection(db, query, where)
    depth = max(DEPTH, 4 * k)
    found: dict[int, Evidence] = {}
    rankings: list[Mapping[int, float]] = []
    if query.embedding is not None:
        by_study = vectors.search(unit(query.embedding), depth, only, never)
        found |= {row: Evidence(similarity=cosine) for row, cosine in by_study}
        rankings.append(dict(by_study))
        if query.sequence_vectors is not None and len(query.sequence_vectors):
            rankings.append(_by_sequences(db, query, seq_dim, found))
        if query.likely:
            rankings.append(_by_labels(db, query, found))
    if query.text:
        rankings += _by_text(db, vectors, tower, query, depth, only, never, found)
    for row, score in fused(rankings).items():
        found[row].score = score
    kept = sorted((row for row in found if passes(found[row], calibration, query, where)), key=lambda row: (-found[row].score, row))
    embeddings = rows.embeddings(db, kept, vectors.delta.shape[1])
    if query.embedding is not None:  # a case that words alone put forward has a similarity all the same
        for row, cosine in zip(kept, embeddings @ unit(query.embedding), strict=True):
            found[row].similarity = found[row].similarity if found[row].similarity is not None else float(cosine)
    chosen = diverse([found[row].score for row in kept], embeddings, k, query.diversity)
    return tuple(
        Neighbour(rows.case(db, kept[i], seq_dim), found[kept[i]].similarity, rank, why(found[kept[i]], calibration))
        for rank, i in enumerate(chosen, start=1)
    )


def selection(db: sqlite3.Connection, query: Query, where: Where) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """The rows that may be returned (None = any), and the rows that may not."""
    clauses: list[str] = []
    values: list[str] = []
    if where.diagnosis is not None:
        clauses.append("row IN (SELECT row FROM labels WHERE name = ?)")
        values.append(where.diagnosis)
    if where.sequence is not None:
        clauses.append("row IN (SELECT row FROM sequences WHERE instr(lower(name), lower(?)))")
        values.append(where.sequence)
    for column, value in (("age_band", where.age_band), ("sex", where.sex)):
        if value is not None:
            clauses.append(f"{column} = ?")
            values.append(value)
    only = _numbers(db, " AND ".join(clauses), values) if clauses else None
    patients = [who for who in (where.exclude_patient, None if where.same_patient else query.patient) if who is not None]
    never = [_numbers(db, "patient = ?", [who]) for who in patients] + [_numbers(db, "id = ?", [id_]) for id_ in where.exclude_ids]
    return only, np.concatenate([np.zeros(0, np.int64), *never])


def _numbers(db: sqlite3.Connection, condition: str, values: Sequence[str]) -> NDArray[np.int64]:
    return np.array([row for (row,) in db.execute(f"SELECT row FROM cases WHERE {condition}", values)], dtype=np.int64)


def _by_sequences(db: sqlite3.Connection, query: Query, seq_dim: int, found: dict[int, Evidence]) -> dict[int, float]:
    assert query.sequence_vectors is not None
    for row, evidence in found.items():
        names, stored = rows.sequences(db, row, seq_dim)
        evidence.sequences, evidence.best_sequence = late_interaction(query.sequences, query.sequence_vectors, names, stored)
    return {row: evidence.sequences for row, evidence in found.items() if evidence.sequences is not None}


def _by_labels(db: sqlite3.Connection, query: Query, found: dict[int, Evidence]) -> dict[int, float]:
    for row, evidence in found.items():
        evidence.labels = fit(rows.labels(db, row), dict(query.likely))
    return {row: evidence.labels for row, evidence in found.items() if evidence.labels is not None}


def fit(labels: Sequence[str], likely: Mapping[str, float]) -> float | None:
    """How well a case's labels go with a study's scores: their mean; for a case without labels (normal) what the highest leaves over."""
    known = [likely[name] for name in labels if name in likely]
    if labels:
        return float(np.mean(known)) if known else None
    return 1 - max(likely.values(), default=0.0)


def fused(rankings: Iterable[Mapping[int, float]]) -> dict[int, float]:
    """Reciprocal-rank fusion of scores by row; equals share a rank, so that another ranking decides between them."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        best_first = sorted(ranking.values(), reverse=True)
        for row, value in ranking.items():
            scores[row] = scores.get(row, 0.0) + 1 / (RRF + 1 + best_first.index(value))
    return scores


def late_interaction(
    asked: Sequence[str], asked_vectors: NDArray[np.float32], names: Sequence[str], vectors: NDArray[np.float32]
) -> tuple[float | None, str | None]:
    """Mean over the query's sequences of the best cosine with the case's sequences of the same kind, and the kind that agrees best.

    A sequence whose kind the case lacks is left out; one whose name tells no kind is compared with all. None where nothing can be compared.
    MaxSim of Khattab and Zaharia (ColBERT, 2020), over sequences in place of words.
    """
    if not len(vectors) or not len(asked_vectors):
        return None, None
    cosines = unit(asked_vectors) @ unit(vectors).T
    kinds = [kind(name) for name in names]
    best: list[tuple[float, str]] = []
    for i in range(len(asked_vectors)):
        mine = kind(asked[i]) if i < len(asked) else None
        comparable = [j for j, other in enumerate(kinds) if mine is None or other == mine]
        if comparable:
            best.append((float(cosines[i, comparable].max()), mine or "sequences"))
    if not best:
        return None, None
    return float(np.mean([cosine for cosine, _ in best])), max(best)[1]


@lru_cache(4096)
def kind(name: str) -> str | None:
    """What a sequence shows, as far as its name tells."""
    weighting = weighting_of(Facts(words_of(name)))
    return None if weighting is Weighting.UNKNOWN else str(weighting)


def _by_text(
    db: sqlite3.Connection,
    vectors: Vectors,
    tower: TextTower | None,
    query: Query,
    depth: int,
    only: NDArray[np.int64] | None,
    never: NDArray[np.int64],
    found: dict[int, Evidence],
) -> list[Mapping[int, float]]:
    assert query.text is not None
    allowed = None if only is None else frozenset(only.tolist())
    said = keywords.find(db, keywords.words(query.text), depth, allowed, frozenset(never.tolist()))
    for row, which in said:
        found.setdefault(row, Evidence()).said = which
    rankings: list[Mapping[int, float]] = [{row: -place for place, (row, _) in enumerate(said)}]
    if tower is not None:
        near = vectors.search(unit(_worded(tower, query.text, vectors.delta.shape[1])), depth, only, never)
        for row, cosine in near:
            found.setdefault(row, Evidence()).text = cosine
        rankings.append(dict(near))
    return rankings


def _worded(tower: TextTower, text: str, dim: int) -> NDArray[np.float32]:
    vector = tower(text)
    if vector.shape != (dim,):
        raise IndexStoreError(
            f"The text tower gives vectors of shape {vector.shape}, the index holds ({dim},); use the tower of its encoder."
        )
    return vector


def passes(evidence: Evidence, calibration: Calibration | None, query: Query, where: Where) -> bool:
    """Whether anything about a candidate is similar enough: its study, its words, or its images to the query's words."""
    floor = where.at_least if where.at_least is not None else (calibration.similarity if calibration else -1.0)
    text_floor = calibration.text_similarity if calibration else None
    if text_floor is None:  # words that nobody calibrated decide only where there is no study to compare
        text_floor = -1.0 if query.embedding is None else np.inf
    by_study = evidence.similarity is not None and evidence.similarity >= floor
    by_text = evidence.text is not None and evidence.text >= text_floor
    return by_study or bool(evidence.said) or by_text


def diverse(scores: Sequence[float], embeddings: NDArray[np.float32], k: int, diversity: float) -> list[int]:
    """Positions of `k` candidates by maximal marginal relevance (Carbonell and Goldstein 1998); at 0 in the order of the scores."""
    if diversity <= 0 or not scores:
        return list(range(min(k, len(scores))))
    relevance = np.asarray(scores) / max(scores)
    chosen: list[int] = []
    nearest = np.zeros(len(scores))
    while len(chosen) < min(k, len(scores)):
        value = (1 - diversity) * relevance - diversity * nearest
        value[chosen] = -np.inf
        chosen.append(int(value.argmax()))
        nearest = np.maximum(nearest, embeddings @ embeddings[chosen[-1]])
    return chosen


def why(evidence: Evidence, calibration: Calibration | None) -> str:
    """What matched, in words; a similarity that no calibration stands behind says so."""
    parts: list[str] = []
    if evidence.similarity is not None:
        parts.append(f"study similarity {evidence.similarity:.2f}" + ("" if calibration else " (not calibrated)"))
    if evidence.sequences is not None:
        parts.append(f"sequence by sequence {evidence.sequences:.2f}, {evidence.best_sequence} most alike")
    if evidence.labels is not None:
        parts.append(f"labels fit the study's scores, {evidence.labels:.2f}")
    if evidence.said:
        parts.append("report says " + _listed(evidence.said))
    if evidence.text is not None:
        parts.append(f"images fit the words, {evidence.text:.2f}")
    return "; ".join(parts)


def _listed(said: Iterable[str]) -> str:
    return ", ".join(f"“{word}”" for word in said)
