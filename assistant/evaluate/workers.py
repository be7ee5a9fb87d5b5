"""The work of an evaluation in several processes, each with its own encoder."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

from assistant.cores import one_thread_each
from assistant.errors import UsageError
from assistant.evaluate.cohort import Each, Intake

CHUNK = 4  # studies that a process takes at a time; the next study's images are often those it needs
_intake: Intake | None = None


@contextmanager
def several(make: Callable[[], Intake], processes: int) -> Iterator[Each | None]:
    """`gather`'s `each` in so many processes, started anew (spawn); None for one process. make: can be pickled; called in each of them.

    Raises UsageError where one of them ends before its work does.
    """
    if processes <= 1:
        yield None
        return
    # An executor, not a Pool: a Pool whose processes cannot begin starts new ones for ever.
    try:
        with one_thread_each(), ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (make,)) as pool:
            yield lambda work, items: pool.map(partial(_work, work), items, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise UsageError(f"A process that encodes was ended, for want of memory perhaps; lower --processes from {processes}.") from error


def _begin(make: Callable[[], Intake]) -> None:
    global _intake
    _intake = make()


def _work(work: Callable[[Intake, Any], Any], item: Any) -> Any:
    assert _intake is not None
    return work(_intake, item)
