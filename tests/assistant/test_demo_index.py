"""The demo index's cut: the highest precision that still leaves most studies a case."""

from __future__ import annotations

from typing import cast

from assistant.train.cases import LEAST_COVERAGE, PRECISIONS, _calibrate
from index.calibration import Calibration
from index.errors import IndexStoreError
from index.store import CaseIndex


class Asked:
    """An index that reaches each precision with the coverage it is told, and remembers the last that it was calibrated to."""

    def __init__(self, coverage: dict[float, float]) -> None:
        self.coverage = coverage
        self.last: float | None = None

    def calibrate(self, precision: float) -> Calibration:
        if precision not in self.coverage:
            raise IndexStoreError("no cut reaches it")
        self.last = precision
        return Calibration(precision, 0.9, self.coverage[precision], 40)


def test_a_high_cut_that_nearly_every_study_fails_is_passed_over() -> None:
    index = Asked({PRECISIONS[0]: 0.07, PRECISIONS[2]: LEAST_COVERAGE, PRECISIONS[3]: 1.0})
    _calibrate(cast(CaseIndex, index))
    assert index.last == PRECISIONS[2]


def test_weak_weights_keep_the_last_cut_or_none() -> None:
    few, none = Asked({PRECISIONS[-1]: 0.1}), Asked({})
    _calibrate(cast(CaseIndex, few))
    _calibrate(cast(CaseIndex, none))
    assert few.last == PRECISIONS[-1]
    assert none.last is None
