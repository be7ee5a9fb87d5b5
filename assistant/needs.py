"""What a study lets nobody judge: names without a trained head, and names whose sequences are missing."""

from __future__ import annotations

from assistant.evidence import sequence_key
from assistant.result import Left
from encoder.features import StudyFeatures
from encoder.study import Plane, Study
from prompts.diagnoses import SAGITTAL, Need, Without, load

NO_HEAD = "no trained head in these weights"
_SPOKEN = {
    "T1post": "a post-contrast T1",
    "DWI": "diffusion (DWI)",
    "SWI": "a susceptibility (SWI or T2*)",
    "MRA": "an angiographic (MRA)",
    SAGITTAL: "a sagittal or 3-D",
}


def not_assessed(study: Study, features: StudyFeatures) -> tuple[Left, ...]:
    """The names of the taxonomy that this study and these weights cannot judge, in the table's order, with reasons."""
    heads = {score.name for score in features.scores}
    have = _available(study)
    left = []
    for name, diagnosis in load().items():
        missing = _missing(diagnosis.needs, have, Without.NOT_ASSESSED)
        if name not in heads:
            left.append(Left(name, NO_HEAD))
        elif missing:
            left.append(Left(name, missing))
    return tuple(left)


def limited(study: Study, features: StudyFeatures) -> tuple[Left, ...]:
    """The assessed names that lack a sequence they are better judged on, with reasons."""
    heads = {score.name for score in features.scores}
    barred = {left.name for left in not_assessed(study, features)}
    have = _available(study)
    found = ((name, _missing(row.needs, have, Without.LIMITED)) for name, row in load().items() if name in heads - barred)
    return tuple(Left(name, reason) for name, reason in found if reason)


def _available(study: Study) -> frozenset[str]:
    keys = {sequence_key(series.weighting) for series in study.series}
    sagittal = any(series.plane is Plane.SAGITTAL or series.acquisition.three_d for series in study.series)
    return frozenset(keys | ({SAGITTAL} if sagittal else set()))


def _missing(needs: tuple[Need, ...], have: frozenset[str], without: Without) -> str | None:
    lacking = [need for need in needs if need.without is without and not have & set(need.any)]
    if not lacking:
        return None
    wanted = " and ".join(" or ".join(_SPOKEN.get(key, f"a {key}") for key in need.any) for need in lacking)
    return f"needs {wanted} sequence, which this study lacks"
