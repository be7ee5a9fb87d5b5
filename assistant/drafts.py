"""A kept draft back from its JSON: `restored(result.to_json()) == result`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assistant.result import (
    CaseItem,
    Claim,
    ClaimStatus,
    DifferentialItem,
    FindingItem,
    Left,
    Provenance,
    ReferralItem,
    ReportText,
    Result,
    Spot,
    UsedSeries,
)
from encoder.features import Priority


def restored(kept: Mapping[str, Any]) -> Result:
    """The result whose `to_json` this is, after a way through JSON."""
    return Result(
        study_key=kept["study"]["key"],
        used=_each(UsedSeries, kept["study"]["used"]),
        excluded=_each(Left, kept["study"]["excluded"]),
        out_of_distribution=dict(kept["out_of_distribution"]),
        differential=_each(DifferentialItem, _spotted(kept["differential"])),
        findings=_each(FindingItem, _spotted(kept["findings"])),
        not_assessed=_each(Left, kept["not_assessed"]),
        referral=_each(ReferralItem, kept["referral"]),
        priority=Priority(kept["priority"]),
        priority_reason=kept["priority_reason"],
        cases=_each(CaseItem, kept["cases"]),
        reasoning=tuple(kept["reasoning"]),
        report=ReportText(**kept["report"]),
        claims=_each(Claim, ({**claim, "status": ClaimStatus(claim["status"])} for claim in kept["claims"])),
        provenance=Provenance(**kept["provenance"]),
        notice=kept["notice"],
    )


def _spotted(items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Items with their spots as values; drafts kept by older versions have none."""
    for item in items:
        spot = item.get("spot")
        yield {**item, "spot": Spot(spot["series"], spot["slice"], tuple(spot["mm"])) if spot else None}


def _each(kind: Any, items: Any) -> tuple[Any, ...]:
    """JSON knows no tuples; our values know no lists."""
    return tuple(kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in item.items()}) for item in items)
