"""What code writes and the model never does: technique, comparison, recommendation, limits, and the forms a result is read in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from textwrap import fill

from assistant.evidence import Evidence, sequence_keys
from assistant.needs import NO_HEAD
from assistant.result import Claim, ClaimStatus, Left, ReportText, Result, UsedSeries
from encoder.features import OutOfDistribution, spoken
from encoder.study import Series, Study, Weighting
from prompts.diagnoses import load

NOTICE = (
    "AI-generated draft. Research use only. Not a medical device. Must be reviewed by a qualified clinician. Trained on simulated data."
)
NONE_AVAILABLE = "None available."
NOT_GIVEN = "Not given."
NO_REFERRAL = "No referral follows from what was assessed."
WIDTH = 110
_MOST_PRIOR = 400  # characters of a prior's text that the comparison repeats


# ---- intake ---------------------------------------------------------------------------------------------------------


def used(study: Study, names: Iterable[str] | None = None) -> tuple[UsedSeries, ...]:
    """The series that were read; with `names`, only those that were encoded."""
    kept = None if names is None else set(names)
    return tuple(_used(series) for series in study.series if kept is None or series.name in kept)


def excluded(study: Study, names: Iterable[str] | None = None) -> tuple[Left, ...]:
    """What was found and not used, with reasons; with `names`, also the series that gave nothing to encode."""
    left = [Left(item.series, item.reason + (f" ({item.files} files)" if item.files > 1 else "")) for item in study.excluded]
    if names is not None:
        kept = set(names)
        left += [Left(series.name, "no foreground, or too large for these weights") for series in study.series if series.name not in kept]
    return tuple(left)


def exam(study: Study) -> str:
    """The examination in one line."""
    contrast = any(series.weighting is Weighting.T1_POST for series in study.series)
    return f"MRI of the brain with{'' if contrast else 'out'} contrast."


def technique(study: Study) -> str:
    """Planes, weightings, field strength and contrast, as the files state them."""
    kinds = [f"{series.plane.value} {_weighting(series)}" for series in study.series]
    listed = ", ".join(f"{kind} (x{len(list(same))})" if kinds.count(kind) > 1 else kind for kind, same in groupby(sorted(kinds)))
    fields = sorted({series.acquisition.field_strength for series in study.series if series.acquisition.field_strength})
    sentences = [f"Series used: {listed}."]
    if fields:
        sentences.append(f"Field strength {', '.join(f'{field:g}' for field in fields)} T.")
    contrast = any(series.weighting is Weighting.T1_POST or series.acquisition.contrast_agent for series in study.series)
    sentences.append("Contrast agent was given." if contrast else "No post-contrast series.")
    if study.excluded:
        sentences.append(f"{len(study.excluded)} series or groups of files were not used; see the intake.")
    return " ".join(sentences)


def comparison(study: Study) -> str:
    """The prior as given, or that there is none."""
    prior = " ".join((study.context.prior or "").split())
    if not prior:
        return NONE_AVAILABLE
    return f"Prior, as given and not compared by image: {prior[:_MOST_PRIOR]}{'...' if len(prior) > _MOST_PRIOR else ''}"


def indication(study: Study) -> str:
    """The request as given."""
    return " ".join((study.context.indication or "").split()) or NOT_GIVEN


def _used(series: Series) -> UsedSeries:
    return UsedSeries(series.name, series.plane.value, series.weighting.value, int(series.voxels.shape[2]))


def _weighting(series: Series) -> str:
    return "of unknown weighting" if series.weighting is Weighting.UNKNOWN else series.weighting.value


# ---- limits ---------------------------------------------------------------------------------------------------------


def limits(not_assessed: Iterable[Left], limited: Iterable[Left]) -> tuple[str, ...]:
    """What this draft cannot say, one sentence a reason."""
    barred = list(not_assessed)
    unheaded = sum(left.reason == NO_HEAD for left in barred)
    sentences = [f"Not assessed: {unheaded} of {len(load())} names have {NO_HEAD}."] if unheaded else []
    sentences += [f"Not assessed: {names} ({reason})." for names, reason in _by_reason(left for left in barred if left.reason != NO_HEAD)]
    sentences += [f"Assessed with limits: {names} ({reason})." for names, reason in _by_reason(limited)]
    return tuple(sentences)


def _by_reason(left: Iterable[Left]) -> Iterator[tuple[str, str]]:
    for reason, same in groupby(sorted(left, key=lambda item: item.reason), key=lambda item: item.reason):
        yield ", ".join(load()[item.name].label for item in same), reason


def outside(verdict: OutOfDistribution) -> str:
    """Why nothing was diagnosed in a study unlike the training data."""
    return (
        f"The images lie outside what these weights were trained on (distance {verdict.score:.2f}, threshold {verdict.threshold:.2f}): "
        "nothing was diagnosed, and nothing here is a sign of health or disease."
    )


# ---- the report -----------------------------------------------------------------------------------------------------


def report(evidence: Evidence, findings: str, impression: str, recommendation: str) -> ReportText:
    """The sections, those from intake and prior rendered here."""
    study = evidence.study
    return ReportText(exam(study), indication(study), technique(study), comparison(study), findings, impression, recommendation)


def claims(text: ReportText, study: Study, added: Iterable[tuple[str, str]]) -> tuple[Claim, ...]:
    """The sentences that code wrote, as claims; added: (section, sentence) beyond technique, comparison."""
    series = tuple(f"S:{key}" for key in sequence_keys(study))
    rendered = [
        ("technique", text.technique, series),
        ("comparison", text.comparison, ()),
        *((section, line, ()) for section, line in added),
    ]
    return tuple(Claim(section, line, ClaimStatus.RENDERED, (), tags) for section, line, tags in rendered)


# ---- the human form -------------------------------------------------------------------------------------------------


def human(result: Result) -> Iterator[str]:
    """The result as paragraphs of plain text, the notice first and last."""
    yield result.notice
    yield from intake(result.used, result.excluded)
    text = result.report
    for title in ("exam", "indication", "technique", "comparison", "findings", "impression", "recommendation"):
        if section := getattr(text, title):
            yield f"{title.upper()}\n{fill(section, WIDTH)}"
    yield from _lists(result)
    made = result.provenance
    yield fill(
        f"Made by encoder {made.encoder[:12]}, calibration {(made.calibration or 'as shipped')[:12]}, "
        f"index {made.index[:12]}, language model {made.llm[:12]}, "
        f"adapter {(made.adapter or 'none')[:12]}, prompt {made.prompt[:12]}, seed {made.seed}; conditioning: {made.conditioning}.",
        WIDTH,
    )
    yield result.notice


def intake(series: Iterable[UsedSeries], left: Iterable[Left]) -> Iterator[str]:
    """The series used and not used."""
    yield _block("SERIES USED", (f"{one.name}: {one.plane} {one.weighting}, {one.slices} slices" for one in series))
    yield _block("NOT USED", (f"{one.name}: {one.reason}" for one in left))


def _lists(result: Result) -> Iterator[str]:
    differential = (
        f"{rank}. {load()[item.diagnosis].label}{_chance(item.probability, item.score)} [{'] ['.join(item.evidence)}]"
        + (f" ({item.note})" if item.note else "")
        for rank, item in enumerate(result.differential, start=1)
    )
    yield _block("DIFFERENTIAL", differential)
    yield f"PRIORITY\n{fill(f'{result.priority.value}: {result.priority_reason}', WIDTH)}"
    yield _block("REFERRAL", (f"{item.specialty}, {item.urgency}: {item.reason} [rule {item.rule}]" for item in result.referral))
    yield _block(
        "SIMILAR CASES", (_case(rank, case.id, case.similarity, case.diagnoses) for rank, case in enumerate(result.cases, start=1))
    )
    flagged = [claim for claim in result.claims if claim.status in (ClaimStatus.UNSUPPORTED, ClaimStatus.CONTRADICTED)]
    yield _block("FLAGGED SENTENCES", (f"{claim.status.value} ({claim.section}): {claim.text} -- {claim.reason}" for claim in flagged))


def _case(rank: int, name: str, similarity: float | None, diagnoses: tuple[str, ...]) -> str:
    alike = "by words" if similarity is None else f"similarity {similarity:.2f}"
    return f"C{rank} {name}, {alike}: {', '.join(diagnoses) or 'normal'}"


def _chance(probability: float | None, score: float | None) -> str:
    return "" if score is None else f", {spoken(score, probability)}"


def _block(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines)
    return f"{title}\n{body or '  none'}"
