"""What a report run yields: events while it runs, one Result at its end. `Result.to_json` is the `--json` object."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from encoder.features import Localisation, Priority


@dataclass(frozen=True)
class UsedSeries:
    """A series that was read and encoded."""

    name: str
    plane: str
    weighting: str
    slices: int


@dataclass(frozen=True)
class Left:
    """Something that was not used or not assessed, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Spot:
    """The point in the images that a location stands on.

    series: its sequence's name. slice: index k in it (0-based, Series.voxels axis 2). mm: LPS.
    """

    series: str
    slice: int
    mm: tuple[float, float, float]

    @classmethod
    def of(cls, location: Localisation) -> Spot:
        """The encoder's location without its words."""
        return cls(location.series, location.slice, location.mm)


@dataclass(frozen=True)
class DifferentialItem:
    """A ranked diagnosis; probability is None where no calibration exists.

    evidence: tags such as 'P:glioma', 'L:glioma', 'C3', 'S:FLAIR'. note: what a reader should know of its place here.
    spot: where its `L:` tag points, None without one.
    """

    diagnosis: str
    probability: float | None
    score: float | None
    evidence: tuple[str, ...]
    note: str | None = None
    spot: Spot | None = None


@dataclass(frozen=True)
class FindingItem:
    """A statement about the image; side, region and spot only where a location supports them.

    possible: its score lies below its threshold, but does not rule it out.
    """

    name: str
    side: str | None
    region: str | None
    evidence: tuple[str, ...]
    spot: Spot | None = None
    possible: bool = False


@dataclass(frozen=True)
class ReferralItem:
    """Specialty, urgency ("immediate call", "same day", "within two weeks", "routine"), why, and the rule's id."""

    specialty: str
    urgency: str
    reason: str
    rule: str


@dataclass(frozen=True)
class CaseItem:
    """A retrieved case as the result shows it."""

    id: str
    similarity: float | None
    diagnoses: tuple[str, ...]


class ClaimStatus(StrEnum):
    """What the check found for a sentence."""

    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"
    CONTRADICTED = "contradicted"
    RENDERED = "rendered"  # written by code from intake or rules, not by the model


@dataclass(frozen=True)
class Claim:
    """One sentence of the report and what stands under it. citations: case ids; evidence: tags; reason: why it was flagged."""

    section: str
    text: str
    status: ClaimStatus
    citations: tuple[str, ...]
    evidence: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True)
class ReportText:
    """The draft by section, plain text."""

    exam: str
    indication: str
    technique: str
    comparison: str
    findings: str
    impression: str
    recommendation: str


@dataclass(frozen=True)
class Provenance:
    """What made the draft: hashes and settings. conditioning: 'soft prompt + text' or 'text only'.

    calibration: of the encoder, None = what its weights came with, if anything.
    """

    encoder: str
    index: str
    llm: str
    adapter: str | None
    prompt: str
    seed: int
    conditioning: str
    calibration: str | None = None


@dataclass(frozen=True)
class Result:
    """The checked draft of one study with everything it stands on."""

    study_key: str
    used: tuple[UsedSeries, ...]
    excluded: tuple[Left, ...]
    out_of_distribution: dict[str, Any]  # score, threshold, flagged
    differential: tuple[DifferentialItem, ...]
    findings: tuple[FindingItem, ...]
    not_assessed: tuple[Left, ...]
    referral: tuple[ReferralItem, ...]
    priority: Priority
    priority_reason: str
    cases: tuple[CaseItem, ...]
    reasoning: tuple[str, ...]
    report: ReportText
    claims: tuple[Claim, ...]
    provenance: Provenance
    notice: str

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints; keys as in the README."""
        whole = asdict(self)
        study = {"key": whole.pop("study_key"), "used": whole.pop("used"), "excluded": whole.pop("excluded")}
        return {"study": study, **whole}


@dataclass(frozen=True)
class Stage:
    """A step began: reading, encoding, retrieving, writing, checking."""

    name: str


@dataclass(frozen=True)
class Intake:
    """What was read, before anything is computed."""

    study_key: str
    used: tuple[UsedSeries, ...]
    excluded: tuple[Left, ...]


@dataclass(frozen=True)
class Retrieved:
    """The cases that the draft may cite."""

    cases: tuple[CaseItem, ...]


@dataclass(frozen=True)
class Reasoning:
    """A piece of streamed reasoning text."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A piece of streamed answer text."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The run ended; the result is whole and checked."""

    result: Result


Event = Stage | Intake | Retrieved | Reasoning | Answer | Finished
