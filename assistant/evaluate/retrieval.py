"""Does a study find its own report, and studies like it: ranks and neighbours, beside what needs no image for them.

A report among those of the whole cohort is found by the cosine between the study's embedding and the text tower's. Floors put something
else in the image's place: nothing (random order), what is written beside it (age, sex, indication, description: by the same tower, or by
BM25), or noise. A study is found by the cosine of embeddings, leave-one-out, never of the same patient.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from assistant.errors import UsageError
from assistant.evaluate.cohort import NOISE, Cohort, Member
from assistant.evaluate.evaluation import NOTICE
from assistant.evaluate.floor import beside_the_voxels
from assistant.evaluate.intervals import Bootstrap, Estimate, Measure
from assistant.evaluate.metrics import Bools, Floats
from assistant.report_labels import labels_of
from assistant.reported import report_of, statements
from index.calibration import agree
from index.keywords import folded
from index.retrieval import TextTower
from prompts.diagnoses import load

FEWEST_STUDIES = 20
NEIGHBOURS = 5
RECALLS = (1, 5, 10)
MEDIAN = "median rank"
PRECISION = f"precision@{NEIGHBOURS}"
NO_IMAGE, WORDS, BESIDE = "noise images", "context words (BM25)", "context words (text tower)"
VOXELLESS = "everything but the voxels"
EQUAL = 1e-6  # nearer than this is a tie: equal reports have equal vectors
K1, B = 1.2, 0.75  # of BM25, as usual


@dataclass(frozen=True)
class Floor:
    """The same measures with something else in the image's place. above_chance: an interval lies on the better side of chance."""

    studies: int
    figures: Mapping[str, Estimate]
    above_chance: bool


@dataclass(frozen=True)
class Search:
    """One kind of search. chance: of each measure in random order. less_floor: the result less each floor on the same studies, paired."""

    studies: int
    among: int
    chance: Mapping[str, float]
    figures: Mapping[str, Estimate]
    floors: Mapping[str, Floor]
    less_floor: Mapping[str, Mapping[str, Estimate]]

    def __post_init__(self) -> None:
        if NO_IMAGE not in self.floors or len(self.floors) < 2:
            raise UsageError(
                f"A search is told beside its floors only; found {sorted(self.floors)}. Give more studies, or more --controls."
            )


@dataclass(frozen=True)
class Retrieval:
    """What `evaluate` found. reports: study -> own report, None where there is no text tower (and why). studies_alike: study -> studies.

    labels: where the labels that neighbours share come from. distinct: different reports among them. Made by `judge` alone.
    """

    encoder: str
    studies: int
    distinct: int
    labels: str
    studies_alike: Search
    reports: Search | None
    no_reports: str | None
    seed: int
    draws: int
    skipped: tuple[tuple[str, str], ...]
    task: str = "retrieval"
    notice: str = field(default=NOTICE)


def judge(cohort: Cohort, tower: TextTower | None, *, draws: int = 1000, seed: int = 0) -> Retrieval:
    """Both searches with their floors. tower: None = the encoder has none.

    Raises UsageError where there are too few studies, or one has no report where the tower needs it.
    """
    members, noisy = cohort.members, cohort.controls[NOISE]
    if len(members) < FEWEST_STUDIES or not noisy:
        raise UsageError(f"Expected {FEWEST_STUDIES} studies or more to search among, and noise images of some; found {len(members)}.")
    labels, told = _labels(members)
    texts = [spoken(member) for member in members] if tower is not None else []
    bootstrap = Bootstrap(len(members), draws, seed)
    found = None if tower is None else _reports(members, noisy, tower, texts, bootstrap)
    why = "these weights have no text tower: only studies can be searched for" if tower is None else None
    alike = _alike(members, noisy, labels, bootstrap)
    return Retrieval(cohort.encoder, len(members), len(set(texts)), told, alike, found, why, seed, draws, cohort.skipped)


def places(similarity: Floats, own: Sequence[int]) -> Floats:
    """How many reports come before each query's own, and how many tie with it: (q, 2). similarity: (q, n), own: (q,)."""
    mine = similarity[np.arange(len(similarity)), list(own)][:, None]
    before, level = (similarity > mine + EQUAL).sum(1), (np.abs(similarity - mine) <= EQUAL).sum(1) - 1
    return np.stack([before, level], axis=1).astype(np.float64)


def within(found: Floats, k: int) -> Floats:
    """Chance that a query's own report is among the first k, ties broken at random: (q,). found: as `places` tells."""
    before, level = found.T
    chance: Floats = np.clip((k - before) / (level + 1), 0, 1)
    return chance


def shared(similarity: Floats, allowed: Bools, alike: Bools) -> Floats:
    """Share of each query's nearest allowed studies that are alike. All (q, n) -> (q,); NaN where none is allowed."""
    order = np.argsort(np.where(allowed, -similarity, np.inf), axis=1, kind="stable")[:, :NEIGHBOURS]
    open_, hit = np.take_along_axis(allowed, order, 1), np.take_along_axis(alike, order, 1)
    count = open_.sum(1)
    result: Floats = np.divide((hit & open_).sum(1), count, out=np.full(len(count), np.nan), where=count > 0)
    return result


def bm25(queries: Sequence[str], documents: Sequence[str]) -> Floats:
    """Okapi BM25 of every document for every query: (q, n)."""
    counts = [Counter(_tokens(text)) for text in documents]
    length = np.array([sum(count.values()) for count in counts], np.float64)
    held = Counter(word for count in counts for word in count)
    scores = np.zeros((len(queries), len(documents)))
    for row, query in enumerate(queries):
        for word in set(_tokens(query)) & held.keys():
            often = np.array([count[word] for count in counts], np.float64)
            rarity = np.log(1 + (len(documents) - held[word] + 0.5) / (held[word] + 0.5))
            scores[row] += rarity * often * (K1 + 1) / (often + K1 * (1 - B + B * length / length.mean()))
    return scores


def context_words(member: Member) -> str:
    """What is written beside the images: age, sex, indication, description, as a sentence."""
    known = member.study.context
    years = "" if known.age is None else f"{known.age:.0f} year old "
    who = {"F": "woman", "M": "man"}.get(known.sex or "", "patient")
    return ". ".join(filter(None, (f"{years}{who}", known.indication, known.description)))


def spoken(member: Member) -> str:
    """Findings and impression of a member's report, as the shipped text tower was trained to read them: unnumbered sentences."""
    return " ".join(statement.text for statement in statements(report_of(member.labels)))


def _reports(members: Sequence[Member], noisy: Sequence[Member], tower: TextTower, texts: Sequence[str], bootstrap: Bootstrap) -> Search:
    known = {text: tower(text).astype(np.float64) for text in {*texts, *map(context_words, members)}}
    reports = np.stack([known[text] for text in texts])
    context = [context_words(member) for member in members]
    everyone = range(len(members))
    place = {member.files: number for number, member in enumerate(members)}
    images, noise = _embeddings(members), _embeddings(noisy)
    if reports.shape[1] != images.shape[1]:
        raise UsageError(f"The text tower gives {reports.shape[1]} numbers, the encoder {images.shape[1]}: they do not belong together.")
    result = places(images @ reports.T, everyone)
    floors = {
        NO_IMAGE: places(noise @ reports.T, [place[member.files] for member in noisy]),
        BESIDE: places(np.stack([known[words] for words in context]) @ reports.T, everyone),
        WORDS: places(bm25(context, texts), everyone),
    }
    n = len(members)
    chance = {**{f"recall@{k}": k / n for k in RECALLS}, MEDIAN: (n + 1) / 2}
    return _search(n, chance, _of_places, result, floors, bootstrap)


def _alike(members: Sequence[Member], noisy: Sequence[Member], labels: Sequence[frozenset[str]], bootstrap: Bootstrap) -> Search:
    patients = np.array([member.patient for member in members])
    place = {member.files: number for number, member in enumerate(members)}
    rows = [place[member.files] for member in noisy]
    allowed = patients[:, None] != patients[None]
    alike = np.array([[agree(tuple(a), tuple(b)) for b in labels] for a in labels])
    images, noise, beside = _embeddings(members), _embeddings(noisy), _unit(_standardised(beside_the_voxels(members)))
    result = shared(images @ images.T, allowed, alike)
    if not np.isfinite(result).all():
        raise UsageError("Expected studies of several patients; for some there is no study of another one.")
    floors = {
        NO_IMAGE: shared(noise @ images.T, allowed[rows], alike[rows]),
        VOXELLESS: shared(beside @ beside.T, allowed, alike),
    }
    by_chance = float(((alike & allowed).sum(1) / allowed.sum(1)).mean())
    return _search(len(members), {PRECISION: by_chance}, _of_shares, result, floors, bootstrap)


def _search(
    among: int,
    chance: Mapping[str, float],
    measures: Callable[[Floats], Mapping[str, Measure]],
    result: Floats,
    floors: Mapping[str, Floats],
    bootstrap: Bootstrap,
) -> Search:
    mine, made, less = measures(result), {}, {}
    for name, values in floors.items():
        theirs = measures(values)
        draw = Bootstrap(len(values), bootstrap.draws, bootstrap.seed)
        figures = {title: draw(measure) for title, measure in theirs.items()}
        made[name] = Floor(len(values), figures, any(_better(title, figure, chance[title]) for title, figure in figures.items()))
        if len(values) == len(result):
            less[name] = {t: bootstrap(lambda w, t=t, m=theirs: mine[t](w) - m[t](w)) for t in mine}  # type: ignore[misc]
    return Search(len(result), among, chance, {title: bootstrap(measure) for title, measure in mine.items()}, made, less)


def _of_places(found: Floats) -> Mapping[str, Measure]:
    values = 1 + found[:, 0] + found[:, 1] / 2
    order = np.argsort(values, kind="stable")

    def median(w: Floats) -> Floats:
        passed = w[:, order].cumsum(1)
        result: Floats = values[order][(passed >= passed[:, -1:] / 2).argmax(1)]
        return result

    return {**{f"recall@{k}": _mean(within(found, k)) for k in RECALLS}, MEDIAN: median}


def _of_shares(values: Floats) -> Mapping[str, Measure]:
    return {PRECISION: _mean(values)}


def _mean(values: Floats) -> Measure:
    return lambda w: np.asarray(w @ values / w.sum(1))


def _better(title: str, figure: Estimate, chance: float) -> bool:
    if figure.low is None or figure.high is None:
        return False
    return figure.high < chance - EQUAL if title == MEDIAN else figure.low > chance + EQUAL


def _labels(members: Sequence[Member]) -> tuple[list[frozenset[str]], str]:
    """Diagnoses alone: sharing an oedema makes no two studies alike. Where the list has none, those of the reports."""
    stated = [member.labels.diagnoses for member in members]
    told = "as listed"
    if any(names is None for names in stated):
        stated, told = [frozenset(labels_of(report_of(member.labels)).present) for member in members], "from the reports (prima label)"
    return [_diagnoses(names or frozenset()) for names in stated], told


def _diagnoses(names: frozenset[str]) -> frozenset[str]:
    """Without findings and post-operative states, and without a parent whose child is there."""
    rows = load()
    return frozenset(name for name in names if name in rows and rows[name].in_differential and not names & set(rows[name].children))


def _embeddings(members: Sequence[Member]) -> Floats:
    return _unit(np.stack([member.features.embedding for member in members]).astype(np.float64))


def _unit(vectors: Floats) -> Floats:
    result: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result


def _standardised(columns: Floats) -> Floats:
    spread = columns.std(0)
    result: Floats = (columns - columns.mean(0)) / np.where(spread > 0, spread, np.inf)
    return result


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", folded(text))
