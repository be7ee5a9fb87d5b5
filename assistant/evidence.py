"""Everything a draft may stand on, and the tags by which sentences name it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from assistant.result import Left
from encoder.features import Localisation, Score, StudyFeatures, spoken
from encoder.study import Series, Side, Study, Weighting
from index.case import Neighbour
from prompts.diagnoses import Kind, load, taxonomy_name

HIDEABLE = frozenset({"scores", "cases", "gate"})  # what an evaluation may keep from the draft


@dataclass(frozen=True)
class Evidence:
    """One study's evidence.

    Tags: `P:<diagnosis>` a head's score, `L:<diagnosis>` a location, `C<n>` the n-th retrieved case (1-based rank),
    `S:<key>` a sequence, where key is its weighting without blanks ("T1", "T1post", "FLAIR"), with "-2", "-3" for repeats.
    cases: what retrieval returned after its cut, may be empty. not_assessed: names nothing here can judge, with reasons.
    hidden: what an evaluation keeps from the draft, of HIDEABLE; empty in use.
    """

    study: Study
    features: StudyFeatures
    cases: tuple[Neighbour, ...]
    not_assessed: tuple[Left, ...]
    hidden: frozenset[str] = frozenset()

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The heads' scores by name, of the names that can be assessed here."""
        barred = {left.name for left in self.not_assessed}
        return {score.name: score for score in self.features.scores if score.name not in barred}

    @cached_property
    def locations(self) -> dict[str, Localisation]:
        """Locations by diagnosis, as far as the table of diagnoses bears them out."""
        found = (_borne_out(location) for location in self.features.locations)
        return {location.diagnosis: location for location in found if location is not None}

    @cached_property
    def sequences(self) -> dict[str, Series]:
        """The study's series by tag key, in the study's order."""
        return dict(zip(sequence_keys(self.study), self.study.series, strict=True))

    def positive(self, name: str) -> bool:
        """Whether the head of `name` is assessed and positive."""
        return name in self.scores and self.scores[name].positive

    def possible(self, name: str) -> bool:
        """Whether the head of `name` leaves room for it."""
        return name in self.scores and self.scores[name].possible

    @property
    def positives(self) -> tuple[str, ...]:
        """The positive names, likeliest first."""
        return tuple(sorted((name for name in self.scores if self.positive(name)), key=self.likelihood, reverse=True))

    def likelihood(self, name: str) -> tuple[float, float]:
        """A sort key: calibrated probability where it exists, then score; names without a head come last."""
        score = self.scores.get(name)
        if score is None:
            return (-1.0, float("-inf"))
        return (score.probability if score.probability is not None else 0.0, score.score)


def _borne_out(location: Localisation) -> Localisation | None:
    """The location as anatomy allows it; None where it has none to tell.

    What the table has in the midline only lies there, to whichever side of it the encoder saw most. Of what it has on both sides only, one
    side would tell half, and a finding of the whole brain (atrophy, wide ventricles) has no place.
    """
    row = load().get(location.diagnosis)
    if row and row.sides == (Side.MIDLINE,):
        return replace(location, side=Side.MIDLINE)
    if row and row.sides == (Side.BILATERAL,) and (row.kind is Kind.FINDING or location.side is not Side.BILATERAL):
        return None
    return location


def sequence_key(weighting: Weighting) -> str:
    """The tag key of a weighting: "T1post" for post-contrast T1, else the weighting itself."""
    return "T1post" if weighting is Weighting.T1_POST else weighting.value


def sequence_keys(study: Study) -> tuple[str, ...]:
    """One tag key a series, in the study's order: "FLAIR", and "FLAIR-2" for the next of its kind."""
    seen: dict[str, int] = {}
    keys = []
    for series in study.series:
        key = sequence_key(series.weighting)
        seen[key] = seen.get(key, 0) + 1
        keys.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return tuple(keys)


def evidence_text(score: Score) -> str:
    """How a score reads in a sentence: its probability, or that it is uncalibrated."""
    return spoken(score.score, score.probability)


def in_taxonomy(features: StudyFeatures) -> StudyFeatures:
    """The features with diagnoses named as the table names them: released weights put the group in front."""
    return replace(
        features,
        scores=tuple(replace(score, name=taxonomy_name(score.name)) for score in features.scores),
        locations=tuple(replace(place, diagnosis=taxonomy_name(place.diagnosis)) for place in features.locations),
    )
