"""Everything a draft may stand on, and the tags by which sentences name it."""

from __future__ import annotations

from dataclasses import dataclass

from assistant.result import Left
from encoder.features import StudyFeatures
from encoder.study import Study
from index.case import Neighbour


@dataclass(frozen=True)
class Evidence:
    """One study's evidence.

    Tags: `P:<diagnosis>` a head's score, `L:<diagnosis>` a location, `C<n>` the n-th retrieved case (1-based rank),
    `S:<key>` a sequence, where key is its weighting without blanks ("T1", "T1post", "FLAIR"), with "-2", "-3" for repeats.
    cases: what retrieval returned after its cut, may be empty. not_assessed: names nothing here can judge, with reasons.
    """

    study: Study
    features: StudyFeatures
    cases: tuple[Neighbour, ...]
    not_assessed: tuple[Left, ...]
