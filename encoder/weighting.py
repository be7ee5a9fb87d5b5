"""What a sequence shows: one table, read from the top; the first rule that holds decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from encoder.facts import Facts
from encoder.study import Weighting


@dataclass(frozen=True)
class Rule:
    """`weighting` holds where a whole word matches `words`, or ImageType or AcquisitionContrast holds one of `flavours`,
    or `tags` says so; and never where a word matches `unless`."""

    weighting: Weighting
    words: str = "(?!)"
    flavours: frozenset[str] = frozenset()
    tags: Callable[[Facts], bool] = lambda facts: False
    unless: str = "(?!)"

    def holds(self, facts: Facts) -> bool:
        if _says(self.unless, facts):
            return False
        return _says(self.words, facts) or bool(self.flavours & (facts.image_type | {facts.contrast})) or self.tags(facts)


def weighting_of(facts: Facts) -> Weighting:
    """Weighting of one volume; UNKNOWN where no rule holds."""
    return next((rule.weighting for rule in RULES if rule.holds(facts)), Weighting.UNKNOWN)


def _says(words: str, facts: Facts) -> bool:
    return re.search(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", facts.words) is not None


def _times(facts: Facts) -> tuple[float, float, float]:
    """TR, TE, TI in ms, -1 where unknown."""
    known = facts.acquisition
    return (
        -1.0 if known.tr is None else known.tr,
        -1.0 if known.te is None else known.te,
        -1.0 if known.ti is None else known.ti,
    )


def _weighted_diffusion(facts: Facts) -> bool:
    return facts.diffusion and (facts.acquisition.b_value or 0) > 0


def _unweighted_diffusion(facts: Facts) -> bool:
    return facts.diffusion and facts.acquisition.b_value == 0


def _given_contrast(facts: Facts) -> bool:
    return facts.acquisition.contrast_agent is True and _t1_times(facts)


def _fluid_nulled(facts: Facts) -> bool:
    tr, te, ti = _times(facts)
    return 1400 <= ti <= 3000 and te >= 70 and tr >= 3500


def _t1_times(facts: Facts) -> bool:
    tr, te, _ = _times(facts)
    if "EP" in facts.sequence or not 0 < te <= 30:
        return False
    if "GR" in facts.sequence:
        return te <= 8 and 0 < tr <= 3000
    return 0 < tr <= 1200 or ("IR" in facts.sequence and tr <= 3500)


def _t2_times(facts: Facts) -> bool:
    tr, te, _ = _times(facts)
    return tr >= 1500 and te >= 60 and "SE" in facts.sequence and "IR" not in facts.sequence and "EP" not in facts.sequence


def _density_times(facts: Facts) -> bool:
    tr, te, _ = _times(facts)
    return tr >= 1500 and 0 < te <= 40 and "SE" in facts.sequence and "IR" not in facts.sequence and "EP" not in facts.sequence


T1_WORDS = r"t1|t1w|t1 ?se|t1c|t1ce|t1gd|t1\w*|mprage|mp2rage|mp rage|bravo|f?spgr|tfl ?3d\w*|t1tfe|vibe|flash ?3d|\w*mprage\w*|se2d\w*"
AFTER_CONTRAST = r"post|gad|gd|gado\w*|contrast|kontrast|km|ce|c|t1c|t1ce|t1gd|\w*\+ ?(?:c|gd|gad|km)|\+|\w*\+|postcontrast|t1post|mdc|plus c"
NOT_AFTER = r"pre|precontrast|native|nativ|without|non ?contrast|no contrast|wo|ohne|w o"

# Diffusion comes before T2 (its b = 0 image is a T2-weighted one), contrast before plain T1, special sequences before both.
RULES: tuple[Rule, ...] = (
    Rule(Weighting.ADC, r"adc|dadc|eadc|apparent diffusion\w*|adc map", frozenset({"ADC", "ADC_UNSPECIFIED"})),
    Rule(Weighting.PERFUSION, r"perf\w*|p?c?asl|3dp?c?asl|pasl|dsc|dce|\w*perfusion\w*", frozenset({"PERFUSION", "ASL"})),
    Rule(Weighting.MRA, r"tof|\w*tof\w*|mra|mrv|angio\w*|venogra\w*|pca", frozenset({"ANGIO", "ANGIO_TIME", "TIME_OF_FLIGHT", "PHASE_CONTRAST"})),
    Rule(Weighting.SWI, r"swi\w*|swan|susc\w*|t2 ?\*\w*|t2 ?star\w*|hemo\w*|haemo\w*|venobold|swip|gre t2|ffe t2|t2 ?gre|t2 ?ffe", frozenset({"SWI", "T2_STAR"})),
    Rule(Weighting.T2, tags=_unweighted_diffusion),
    Rule(
        Weighting.DWI,
        r"dwi\w*|dti\w*|diff\w*|tracew?|\w*diff|b ?[1-9]\d{2,3}|hardi|dsi",
        frozenset({"TRACEW", "TRACE", "DIFFUSION"}),
        _weighted_diffusion,
        unless="b ?0",
    ),
    Rule(Weighting.FLAIR, r"\w*flair\w*|tirm|dark ?fluid|da ?fl|tir2d\w*|fla", frozenset({"FLUID_ATTENUATED", "FLAIR"}), _fluid_nulled),
    Rule(Weighting.T1_POST, rf"(?:.* )?(?:{T1_WORDS}) (?:.* )?(?:{AFTER_CONTRAST})|(?:{AFTER_CONTRAST}) (?:.* )?(?:{T1_WORDS})|t1c|t1ce|t1gd|t1post\w*|t1\+\w*",
         tags=_given_contrast, unless=NOT_AFTER),
    Rule(Weighting.T1, T1_WORDS, frozenset({"T1"})),
    Rule(Weighting.PD, r"pd|pdw|proton ?density|pd\w*", frozenset({"PROTON_DENSITY"})),
    Rule(Weighting.T2, r"t2\w*|haste|ciss|fiesta\w*|bssfp|stir|tse2d\w*", frozenset({"T2"})),
    Rule(Weighting.T1, tags=_t1_times),
    Rule(Weighting.T2, tags=_t2_times),
    Rule(Weighting.PD, tags=_density_times),
)
