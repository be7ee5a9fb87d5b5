"""The reading room: what must hold of any queue, and what priority can and cannot do for the urgent."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import UsageError
from assistant.evaluate import worklist
from assistant.evaluate.worklist import FIRST_COME, PERFECT, PREDICTED, SHUFFLED, Entry, Room, Simulation, from_table, simulate, waits
from assistant.rules import LEVELS
from encoder.features import Priority

MIXED = tuple(Entry(level, level) for level, count in zip(LEVELS, (5, 7, 5, 3), strict=True) for _ in range(count))
SMALL = {"room": Room(readers_by_day=1), "runs": 20, "weeks": 1}
ONE_READER = (1,) * 168


@pytest.fixture(scope="module")
def mixed() -> Simulation:
    return simulate(MIXED, **SMALL)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30), st.integers(0, 3)), min_size=1, max_size=25), st.integers(1, 3))
def test_every_study_is_read_once_by_no_more_readers_than_there_are(rows: list[tuple[int, int, int]], readers: int) -> None:
    ready, reading, rank = (np.array(column, float) for column in zip(*rows, strict=True))
    waited = waits(ready, reading, rank.astype(int), (readers,) * 168)
    assert np.isfinite(waited).all()
    assert (waited >= 0).all()
    starts = ready + waited
    for at in starts:
        assert ((starts <= at) & (at < starts + reading)).sum() <= readers


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3)), min_size=1, max_size=25))
def test_order_changes_who_waits_and_not_how_much_waiting_there_is(rows: list[tuple[int, int]]) -> None:
    """With one reader and equal reading times, total waiting is conserved, and the urgent never wait longer than first-come."""
    ready, rank = (np.array(column, float) for column in zip(*rows, strict=True))
    reading = np.full(len(rows), 10.0)
    first_come = waits(ready, reading, np.zeros(len(rows), int), ONE_READER)
    by_rank = waits(ready, reading, rank.astype(int), ONE_READER)
    assert by_rank.sum() == pytest.approx(first_come.sum())
    top = rank == rank.min()
    assert by_rank[top].sum() <= first_come[top].sum() + 1e-9


def test_a_begun_study_is_finished_and_nobody_reads_when_nobody_is_there() -> None:
    assert waits(np.array([0.0, 1.0]), np.array([30.0, 5.0]), np.array([4, 0]), ONE_READER).tolist() == [0, 29]
    assert waits(np.array([5.0]), np.array([5.0]), np.array([0]), (0, 0) + (1,) * 166).tolist() == [115]


def test_arrivals_fill_the_readers_as_much_as_the_load_says() -> None:
    room = Room(load=0.8)
    arrivals = room.arrivals(20, np.random.default_rng(0))
    work = len(arrivals) / 20 * room.minutes * np.exp(room.spread**2 / 2)
    capacity = sum(room.staff()) * 60
    assert work / capacity == pytest.approx(0.8, rel=0.03)
    assert (np.diff(arrivals) >= 0).all()
    assert room.when(10 * 60) == "weekday"
    assert room.when(3 * 60) == "night"
    assert room.when(5 * 24 * 60 + 600) == "weekend"
    assert room.sent(9 * 60) == 12 * 60
    assert room.sent(20 * 60) == 36 * 60


def test_perfect_priorities_never_make_urgent_studies_wait_longer_than_first_come(mixed: Simulation) -> None:
    for row in mixed.waiting:
        assert row.mean[PERFECT].value <= row.mean[FIRST_COME].value + 1e-9
        assert row.mean[PREDICTED] == row.mean[PERFECT]  # the predictions are the truth here
        assert row.saved.low <= row.saved.value <= row.saved.high
    assert {row.subgroup for row in mixed.waiting} == {"all", "urban", "rural", "weekday", "night", "weekend"}


def test_shuffled_predictions_save_nothing_and_others_pay_for_what_is_saved(mixed: Simulation) -> None:
    everyone = mixed.waiting[0]
    assert everyone.mean[SHUFFLED].value == pytest.approx(everyone.mean[FIRST_COME].value, rel=0.35)
    assert everyone.mean[PERFECT].value < everyone.mean[SHUFFLED].value
    assert mixed.others[PERFECT].value > mixed.others[FIRST_COME].value


def test_priority_cannot_shorten_the_wait_for_a_batch(mixed: Simulation) -> None:
    rows = {row.subgroup: row for row in mixed.waiting}
    assert rows["rural"].mean[PERFECT].value > 60 > rows["urban"].mean[PERFECT].value


def test_a_study_that_was_not_assessed_is_never_sorted_below_low() -> None:
    order = list(worklist.ORDER)
    assert order.index(Priority.NOT_ASSESSED) < order.index(Priority.LOW) < order.index(Priority.NONE)
    assert set(order) == set(Priority)
    blind = tuple(Entry(entry.truth, Priority.NOT_ASSESSED if entry.truth is Priority.HIGH else entry.truth) for entry in MIXED)
    low = tuple(Entry(entry.truth, Priority.LOW if entry.truth is Priority.HIGH else entry.truth) for entry in MIXED)
    assert simulate(blind, **SMALL).waiting[0].mean[PREDICTED].value <= simulate(low, **SMALL).waiting[0].mean[PREDICTED].value


def test_one_seed_one_answer(mixed: Simulation) -> None:
    again, other = (simulate(MIXED, **SMALL, seed=seed) for seed in (0, 4))
    assert again == mixed
    assert other.waiting != mixed.waiting


def test_a_table_is_read_with_its_own_arrivals_and_subgroups(tmp_path: Path) -> None:
    levels = itertools.cycle(["high", "none", "low", "not assessed"])
    rows = [f"{'high' if k % 3 == 0 else 'low'},{next(levels)},2026-03-03T09:{k:02d},{'east' if k % 2 else 'west'}" for k in range(40)]
    table = tmp_path / "queue.csv"
    table.write_text("true,predicted,arrival,subgroup\n" + "\n".join(rows))
    entries = from_table(table)
    assert entries[0].arrival == 24 * 60 + 9 * 60  # a Tuesday
    result = simulate(entries, **SMALL)
    assert result.studies == 40
    assert {row.subgroup for row in result.waiting} == {"all", "east", "west", "weekday"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "columns true and predicted"),
        ("true,predicted\nurgent,low\n", "line 2"),
        ("true,predicted\nnot assessed,low\n", "line 2"),
        ("true,predicted,arrival\nhigh,low,yesterday\n", "a date and time"),
        ("true,predicted,arrival\nhigh,low,5\nhigh,low,\n", "in every row or in none"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "queue.csv").write_text(text)
    with pytest.raises(UsageError, match=told):
        from_table(tmp_path / "queue.csv")


def test_a_worklist_without_urgent_studies_is_refused() -> None:
    with pytest.raises(UsageError, match="urgent"):
        simulate([Entry(Priority.LOW, Priority.LOW)])
