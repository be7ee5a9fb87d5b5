"""What a language model is given of a study: the evidence as text, and the features as a soft prompt."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assistant.evidence import Evidence, sequence_keys
from assistant.verify import place
from encoder.features import Score, StudyFeatures
from encoder.study import Context
from index.case import Neighbour

LISTED = 0.05  # scores below it are listed only as pertinent negatives
MOST_SCORES = 8
MOST_LOW = 6
MOST_CASES = 4
MOST_NOT_ASSESSED = 10
CASE_CHARACTERS = 140
CONTEXT_CHARACTERS = 120
# What a reader wants excluded first; only those with a head are listed.
PERTINENT_NEGATIVES = (
    "brain_herniation",
    "midline_shift",
    "mass_effect",
    "intracranial_hemorrhage",
    "large_vessel_stroke",
    "subdural_hematoma",
    "subarachnoid_hemorrahage",
    "ventriculomegaly",
    "high_grade_glioma",
    "brain_metastasis",
    "lacunar_stroke",
    "brain_abscess",
    "multiple_sclerosis",
    "edema",
)


# ---- the text -------------------------------------------------------------------------------------------------------


def probability(score: Score) -> float:
    """What ranks a score: its calibrated probability, or the logistic of its distance from the threshold, which is never shown."""
    return score.probability if score.probability is not None else 1.0 / (1.0 + math.exp(-score.score))


def prompt_fields(evidence: Evidence, hide: Collection[str] | None = None, mention: Collection[str] = ()) -> dict[str, str]:
    """The evidence as the `$name` fields that every prompt shares.

    hide: any of "scores", "locations", "cases": these say "hidden" (evaluation, training); None = what the evidence hides.
    mention: diagnoses listed whatever their score (those a question names).
    """
    hide = evidence.hidden if hide is None else hide
    return {
        "context": _context(evidence.study.context),
        "sequences": ", ".join(f"S:{key}" for key in sequence_keys(evidence.study)) or "none",
        "scores": "hidden" if "scores" in hide else _scores(evidence, mention),
        "locations": "hidden" if "locations" in hide else _locations(evidence),
        "cases": "hidden" if "cases" in hide else _cases(evidence.cases),
        "not_assessed": _not_assessed([left.name for left in evidence.not_assessed], mention),
    }


def shown_cases(evidence: Evidence, hide: Collection[str] | None = None) -> tuple[str, ...]:
    """The ids of the cases whose text is in the prompt, in the order C1, C2, ..."""
    hide = evidence.hidden if hide is None else hide
    return () if "cases" in hide else tuple(neighbour.case.id for neighbour in evidence.cases[:MOST_CASES])


def inert(text: str, limit: int) -> str:
    """Foreign text on one line, at most `limit` characters, without the brackets that tags, markup and JSON are made of."""
    plain = re.sub(r"[\x00-\x20\x7f]+", " ", text).strip().translate(str.maketrans("<>[]{}|`", "()()()/'"))
    return plain if len(plain) <= limit else plain[:limit].rsplit(" ", 1)[0] + " ..."


def _context(context: Context) -> str:
    adult = context.age is None or context.age >= 18
    person = {"F": "woman" if adult else "girl", "M": "man" if adult else "boy"}.get((context.sex or "").upper()[:1], "person")
    who = f"{context.age:.0f}-year-old {person}" if context.age is not None else f"{person}, age unknown"
    indication = inert(context.indication, CONTEXT_CHARACTERS) if context.indication else "not given"
    prior = inert(context.prior, CASE_CHARACTERS) if context.prior else "none"
    return f"{who}; indication: {indication}; prior: {prior}"


@dataclass(frozen=True)
class Shown:
    """The scores that a prompt lists. above: positive, below: not, both likeliest first; low: names of pertinent negatives."""

    above: tuple[Score, ...]
    below: tuple[Score, ...]
    low: tuple[str, ...]


def shown_scores(evidence: Evidence, mention: Collection[str] = ()) -> Shown:
    """What is listed: the positive heads, then those from LISTED up, then pertinent negatives; `mention` adds names."""
    ranked = sorted(evidence.scores.values(), key=lambda score: (-probability(score), -score.score, score.name))
    above = [score for score in ranked if evidence.positive(score.name)][:MOST_SCORES]
    below = [score for score in ranked if not evidence.positive(score.name) and probability(score) >= LISTED][: MOST_SCORES - len(above)]
    above += [score for score in ranked if score.name in mention and evidence.positive(score.name) and score not in above]
    below += [score for score in ranked if score.name in mention and not evidence.positive(score.name) and score not in below]
    listed = {score.name for score in (*above, *below)}
    low = [name for name in PERTINENT_NEGATIVES if name in evidence.scores and name not in listed and not evidence.positive(name)]
    return Shown(tuple(above), tuple(below), tuple(low[:MOST_LOW]))


def _scores(evidence: Evidence, mention: Collection[str]) -> str:
    shown = shown_scores(evidence, mention)
    low = ", ".join(f"P:{name}" for name in shown.low) or "none"
    return f"above threshold {_score_list(shown.above)}; below {_score_list(shown.below)}; low {low}"


def _score_list(scores: Sequence[Score]) -> str:
    """Without calibration the signed distance from the threshold: a model must not take it for a probability either."""
    shown = (f"{score.score:+.2f}" if score.probability is None else f"{score.probability:.2f}" for score in scores)
    return ", ".join(f"P:{score.name} {number}" for score, number in zip(scores, shown, strict=True)) or "none"


def _locations(evidence: Evidence) -> str:
    return ", ".join(f"L:{name} {place(location)}" for name, location in evidence.locations.items()) or "none"


def _cases(cases: Sequence[Neighbour]) -> str:
    lines = []
    for rank, neighbour in enumerate(cases[:MOST_CASES], start=1):
        labels = ", ".join(neighbour.case.diagnoses) or "normal"
        lines.append(f"\nC{rank} {labels}: {inert(neighbour.case.report.impression, CASE_CHARACTERS)}")
    return "".join(lines) or "none"


def _not_assessed(names: Sequence[str], mention: Collection[str]) -> str:
    ordered = [name for name in names if name in mention] + [name for name in names if name not in mention]
    rest = len(ordered) - MOST_NOT_ASSESSED
    return (", ".join(ordered[:MOST_NOT_ASSESSED]) or "none") + (f" and {rest} more" if rest > 0 else "")


# ---- the soft prompt ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConditionerConfig:
    """Sizes: registers x d_register numbers, d_embedding, d_sequence in; `length` vectors of d_llm out."""

    registers: int
    d_register: int
    d_embedding: int
    d_sequence: int
    d_llm: int
    length: int = 8
    hidden: int = 256

    @property
    def inputs(self) -> int:
        """Numbers a study brings."""
        return self.registers * self.d_register + self.d_embedding + self.d_sequence

    def as_json(self) -> dict[str, int]:
        """The fields, for the adapter's json."""
        return asdict(self)


class Conditioner(nn.Module):
    """StudyFeatures -> soft prompt. Inputs are standardised with the training studies' mean and deviation (buffers)."""

    mean: Tensor
    deviation: Tensor
    scale: Tensor

    def __init__(self, config: ConditionerConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.inputs))
        self.register_buffer("deviation", torch.ones(config.inputs))
        self.register_buffer("scale", torch.ones(()))  # of the language model's token embeddings, so that soft tokens have their size
        self.body = nn.Sequential(
            nn.Linear(config.inputs, config.hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(config.hidden, config.length * config.d_llm)
        )
        self.norm = nn.RMSNorm(config.d_llm)

    def forward(self, numbers: Tensor) -> Tensor:
        """(b, inputs) from `feature_numbers` -> (b, length, d_llm)."""
        hidden = self.body((numbers - self.mean) / self.deviation)
        soft: Tensor = self.norm(hidden.view(len(numbers), self.config.length, self.config.d_llm)) * self.scale
        return soft

    def fit_inputs(self, numbers: Tensor) -> None:
        """Take mean and deviation of (n, inputs) training studies."""
        self.mean.copy_(numbers.mean(0))
        self.deviation.copy_(numbers.std(0).clamp_min(1e-3))


def feature_numbers(features: StudyFeatures) -> NDArray[np.float32]:
    """(inputs,) float32: registers flattened, embedding, mean over sequences."""
    return np.concatenate([features.registers.ravel(), features.embedding, features.sequences.mean(axis=0)]).astype(np.float32)
