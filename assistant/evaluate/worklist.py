"""Does reading by priority bring urgent studies to a reader sooner: a reading room simulated over and over.

The same studies arrive at the same times and take as long to read; only the order differs: first-come, by the predicted priority, by
the true one (the best that could be), and by predictions dealt at random (a model without skill: the control). A reader who has begun
a study finishes it. Times are minutes from Monday 00:00.

Assumptions, all fields of `Room`: arrivals are Poisson, busiest on weekdays by day; fewer people read at night and on weekends; reading
times are lognormal; rural studies are sent in batches, and wait for the batch before anybody can read them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.errors import UsageError
from assistant.evaluate.intervals import LEVEL, Estimate
from assistant.evaluate.metrics import Bools, Floats, Ints
from assistant.rules import LEVELS
from assistant.table import read_table
from encoder.features import Priority

# Most urgent first. A study that was not assessed may be anything: it is never sorted below "low".
ORDER = (Priority.HIGH, Priority.MEDIUM, Priority.NOT_ASSESSED, Priority.LOW, Priority.NONE)
HOUR, DAY, WEEK = 60.0, 24 * 60.0, 7 * 24 * 60.0
HOURS = 7 * 24  # of a week
FIRST_COME, PREDICTED, PERFECT, SHUFFLED = "first-come", "predicted priority", "true priority", "shuffled predictions"
DISCIPLINES = (FIRST_COME, PREDICTED, PERFECT, SHUFFLED)
EVERYONE = "all"
RURAL = "rural"


@dataclass(frozen=True)
class Entry:
    """One study of the worklist. arrival: minutes from Monday 00:00, None = to be drawn. subgroup: None = rural or not, to be drawn."""

    truth: Priority
    predicted: Priority
    arrival: float | None = None
    subgroup: str | None = None


@dataclass(frozen=True)
class Room:
    """The reading room. load: reading time that arrives, as a share of what the readers have, over the week.

    opens, closes: hours of the day on weekdays. night, weekend: arrivals an hour there, as a share of those by day. minutes, spread:
    median reading time, and the standard deviation of its logarithm. batches: hours of the day at which rural studies are sent.
    """

    readers_by_day: int = 3
    readers_at_night: int = 1
    readers_on_weekends: int = 1
    opens: int = 8
    closes: int = 18
    load: float = 0.9
    night: float = 0.3
    weekend: float = 0.35
    minutes: float = 13.0
    spread: float = 0.5
    rural: float = 0.2
    batches: tuple[int, ...] = (12, 18)

    def when(self, minute: float) -> str:
        """weekday, night or weekend."""
        day, hour = int(minute // DAY) % 7, minute % DAY / HOUR
        return "weekend" if day >= 5 else "weekday" if self.opens <= hour < self.closes else "night"

    def staff(self) -> tuple[int, ...]:
        """How many read in each hour of the week, (168,)."""
        readers = {"weekday": self.readers_by_day, "night": self.readers_at_night, "weekend": self.readers_on_weekends}
        return tuple(readers[self.when(hour * HOUR)] for hour in range(HOURS))

    def arrivals(self, weeks: int, rng: np.random.Generator) -> Floats:
        """Poisson arrivals over some weeks, in order: (n,)."""
        busy = {"weekday": 1.0, "night": self.night, "weekend": self.weekend}
        share = np.array([busy[self.when(hour * HOUR)] for hour in range(HOURS)])
        per_week = self.load * sum(self.staff()) * HOUR / (self.minutes * np.exp(self.spread**2 / 2))
        counts = rng.poisson(np.tile(share / share.sum() * per_week, weeks))
        return np.sort(np.repeat(np.arange(len(counts)), counts) * HOUR + rng.uniform(0, HOUR, counts.sum()))

    def sent(self, minute: float) -> float:
        """When a rural study of that time reaches the reading room."""
        times = [np.floor(minute / DAY) * DAY + hour * HOUR for hour in (*self.batches, self.batches[0] + 24)]
        return float(next(time for time in times if time >= minute))


@dataclass(frozen=True)
class Waiting:
    """How long urgent studies of a subgroup waited from acquisition to the start of reading, in minutes.

    studies: urgent ones, a run on average. mean, ninetieth: by discipline. saved: first-come less predicted, in the same runs.
    Intervals hold the middle 95 % of runs: what one such period may bring, labels and predictions redrawn.
    """

    axis: str
    subgroup: str
    studies: float
    mean: Mapping[str, Estimate]
    ninetieth: Mapping[str, Estimate]
    saved: Estimate


@dataclass(frozen=True)
class Simulation:
    """Urgent studies by subgroup, and what the others pay: `others` is the mean wait of studies that are not urgent."""

    runs: int
    weeks: int
    studies: float
    room: Room
    waiting: tuple[Waiting, ...]
    others: Mapping[str, Estimate]
    order: tuple[str, ...] = tuple(level.value for level in ORDER)
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """One period: truth and waits by discipline (minutes), and each study's place on every axis; all (n,)."""

    urgent: Bools
    waits: Mapping[str, Floats]
    places: Mapping[str, NDArray[np.str_]]


def waits(ready: Floats, reading: Floats, rank: Ints, staff: Sequence[int]) -> Floats:
    """Minutes from `ready` to the start of reading, lowest rank first, then first-come; a begun study is finished.

    ready, reading, rank: (n,). staff: readers in each hour of the week, (168,).
    """
    arrivals = np.argsort(ready, kind="stable")
    queue: list[tuple[int, float, int]] = []
    busy: list[float] = []
    begun = np.full(len(ready), np.nan)
    now, coming = 0.0, 0
    while coming < len(arrivals) or queue:
        while coming < len(arrivals) and ready[arrivals[coming]] <= now:
            study = int(arrivals[coming])
            heapq.heappush(queue, (int(rank[study]), float(ready[study]), study))
            coming += 1
        while busy and busy[0] <= now:
            heapq.heappop(busy)
        while queue and len(busy) < staff[int(now // HOUR) % HOURS]:
            _, _, study = heapq.heappop(queue)
            begun[study] = now
            heapq.heappush(busy, now + float(reading[study]))
        changes = [float(ready[arrivals[coming]])] if coming < len(arrivals) else []
        changes += busy[:1]
        if queue:
            changes.append((now // HOUR + 1) * HOUR)  # the shift may change
        if not changes:
            break
        now = min(changes)
    return begun - ready


def simulate(entries: Sequence[Entry], room: Room | None = None, *, runs: int = 100, weeks: int = 2, seed: int = 0) -> Simulation:
    """The worklist read in every order, `runs` times.

    Where every entry has an arrival, these studies come as they came, and only reading times (and the control) differ from run to run.
    Raises UsageError where there is nothing urgent to wait for.
    """
    room = room or Room()
    if not any(entry.truth is Priority.HIGH for entry in entries):
        raise UsageError(f"Expected urgent studies (priority high) on the worklist, found none among {len(entries)}.")
    made = [_run(entries, room, weeks, np.random.default_rng([seed, number])) for number in range(runs)]
    places = sorted({(axis, place) for run in made for axis, names in run.places.items() for place in np.unique(names).tolist()})
    waiting = [_waiting(made, axis, place) for axis, place in ((EVERYONE, EVERYONE), *places)]
    others = {name: _over_runs([_mean(run.waits[name][~run.urgent]) for run in made]) for name in DISCIPLINES}
    return Simulation(
        runs, weeks, float(np.mean([len(run.urgent) for run in made])), room, tuple(w for w in waiting if w), others, seed=seed
    )


def from_table(path: Path) -> tuple[Entry, ...]:
    """Rows of a list: true and predicted (none, low, medium, high; predicted also "not assessed"), and where known arrival, subgroup.

    arrival: minutes from Monday 00:00, or a date and time (2026-03-02T08:15). Raises UsageError, naming the line.
    """
    table = read_table(path)
    if not table.rows or not {"true", "predicted"} <= set(table.columns):
        found = sorted(table.columns) if table.rows else "none"
        raise UsageError(f"{path}: expected rows with the columns true and predicted, found {found}.")
    given = [_entry(f"{path}, line {number}", row) for number, row in enumerate(table.rows, start=2)]
    known = [entry.arrival for entry in given if entry.arrival is not None]
    if known and len(known) < len(given):
        raise UsageError(f"{path}: expected an arrival in every row or in none, found {len(known)} of {len(given)}.")
    first = np.floor(min(known, default=0.0) / WEEK) * WEEK
    return tuple(Entry(e.truth, e.predicted, None if e.arrival is None else e.arrival - float(first), e.subgroup) for e in given)


def _run(entries: Sequence[Entry], room: Room, weeks: int, rng: np.random.Generator) -> Run:
    recorded = all(entry.arrival is not None for entry in entries)
    if recorded:
        chosen = list(entries)
        acquired = np.array([entry.arrival for entry in entries], np.float64)
    else:
        acquired = room.arrivals(weeks, rng)
        chosen = [entries[k] for k in rng.integers(len(entries), size=len(acquired))]
    reading = room.minutes * np.exp(room.spread * rng.standard_normal(len(chosen)))
    distant = rng.random(len(chosen)) < room.rural
    known = [entry.subgroup for entry in chosen]
    groups = [name or ("urban", RURAL)[int(far)] for name, far in zip(known, distant, strict=True)]
    # Recorded arrivals are arrivals in the reading room; a study's transfer lies behind it.
    late = [not recorded and name == RURAL for name in groups]
    ready = np.array([room.sent(time) if delayed else time for time, delayed in zip(acquired, late, strict=True)])
    predicted = np.array([ORDER.index(entry.predicted) for entry in chosen])
    truth = np.array([ORDER.index(entry.truth) for entry in chosen])
    staff = room.staff()
    ranks = {FIRST_COME: np.zeros_like(truth), PREDICTED: predicted, PERFECT: truth, SHUFFLED: rng.permutation(predicted)}
    waited = {name: waits(ready, reading, rank, staff) + (ready - acquired) for name, rank in ranks.items()}
    places = {"subgroup": np.array(groups), "acquired": np.array([room.when(time) for time in acquired])}
    return Run(truth == ORDER.index(Priority.HIGH), waited, places)


def _waiting(runs: Sequence[Run], axis: str, place: str) -> Waiting | None:
    chosen = [run.urgent & (run.places[axis] == place if axis != EVERYONE else True) for run in runs]
    pairs = [(run, who) for run, who in zip(runs, chosen, strict=True) if who.any()]
    if not pairs:
        return None
    mean = {name: [_mean(run.waits[name][who]) for run, who in pairs] for name in DISCIPLINES}
    ninetieth = {name: [float(np.quantile(run.waits[name][who], 0.9)) for run, who in pairs] for name in DISCIPLINES}
    saved = np.subtract(mean[FIRST_COME], mean[PREDICTED]).tolist()
    return Waiting(
        axis,
        place,
        float(np.mean([who.sum() for who in chosen])),
        {name: _over_runs(values) for name, values in mean.items()},
        {name: _over_runs(values) for name, values in ninetieth.items()},
        _over_runs(saved),
    )


def _over_runs(values: Sequence[float]) -> Estimate:
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(np.nanmean(values)), float(low), float(high), len(values))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _entry(where: str, row: Mapping[str, str]) -> Entry:
    levels = {level.value: level for level in (*LEVELS, Priority.NOT_ASSESSED)}
    truth, predicted = levels.get(row["true"].lower()), levels.get(row["predicted"].lower())
    if truth is None or truth is Priority.NOT_ASSESSED or predicted is None:
        raise UsageError(f"{where}: expected priorities of {', '.join(levels)}, found {row['true']!r} and {row['predicted']!r}.")
    return Entry(truth, predicted, _arrival(where, row.get("arrival", "")), row.get("subgroup") or None)


def _arrival(where: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        try:
            at = datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError as error:
            raise UsageError(f"{where}: expected minutes from Monday 00:00 or a date and time, found {text!r}.") from error
        return (at - datetime(2001, 1, 1)).total_seconds() / 60  # a Monday
