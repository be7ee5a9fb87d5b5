"""What a sequence shows: one table, read from the top; the first rule that holds decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from encoder.facts import Facts
from encoder.study import Weighting

NEVER = r"(?!)"


@dataclass(frozen=True)
class Rule:
    """`weighting` holds where the names, the image type or the acquisition say so, and `also` and `unless` do not object.

    words, unless: regular expressions for whole words of the names. flavours: values of ImageType or AcquisitionContrast.
    times: of the acquisition. also: must hold as well, whatever spoke for the rule.
    """

    weighting: Weighting
    words: str = NEVER
    flavours: str = ""
    times: Callable[[Facts], bool] | None = None
    also: Callable[[Facts], bool] | None = None
    unless: str = NEVER

    def holds(self, facts: Facts) -> bool:
        spoken = (
            says(self.words, facts)
            or bool(set(self.flavours.split()) & {*facts.image_type, facts.contrast})
            or (self.times is not None and self.times(facts))
        )
        return spoken and not says(self.unless, facts) and (self.also is None or self.also(facts))


def weighting_of(facts: Facts) -> Weighting:
    """Weighting of one volume; UNKNOWN where no rule holds."""
    return next((rule.weighting for rule in RULES if rule.holds(facts)), Weighting.UNKNOWN)


def says(words: str, facts: Facts) -> bool:
    """Whether `words` matches whole words of the names."""
    return re.search(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", facts.words) is not None


def _times(facts: Facts) -> tuple[float, float, float]:
    """TR, TE, TI in ms, 0 where unknown."""
    known = facts.acquisition
    return known.tr or 0.0, known.te or 0.0, known.ti or 0.0


def _strong_diffusion(facts: Facts) -> bool:
    return facts.diffusion and (facts.acquisition.b_value or 0) > 0


def _no_diffusion(facts: Facts) -> bool:
    return facts.diffusion and facts.acquisition.b_value == 0


def _fluid_nulled(facts: Facts) -> bool:
    tr, te, ti = _times(facts)
    return 1400 <= ti <= 3000 and te >= 70 and tr >= 3500


def _after_contrast(facts: Facts) -> bool:
    return facts.acquisition.contrast_agent is True or says(AFTER_CONTRAST, facts)


def _t1_times(facts: Facts) -> bool:
    tr, te, _ = _times(facts)
    if "EP" in facts.sequence or not (tr and te):
        return False
    if "GR" in facts.sequence:
        return te <= 8 and tr <= 3000
    return te <= 30 and (tr <= 1200 or ("IR" in facts.sequence and tr <= 3500))


def _t2_star_times(facts: Facts) -> bool:
    return "GR" in facts.sequence and "EP" not in facts.sequence and (facts.acquisition.te or 0) >= 12


def _t2_times(facts: Facts) -> bool:
    tr, te, _ = _times(facts)
    return _plain_spin_echo(facts) and tr >= 1500 and te >= 60


def _density_times(facts: Facts) -> bool:
    tr, te, _ = _times(facts)
    return _plain_spin_echo(facts) and tr >= 1500 and 0 < te <= 40


def _plain_spin_echo(facts: Facts) -> bool:
    return "SE" in facts.sequence and not {"IR", "EP", "GR"} & facts.sequence


T1_WORDS = r"s?t1\w*|mp ?rage|\w*mprage\w*|mp2rage|bravo|f?spgr|tfl ?3d\w*|vibe|flash ?3d|se2d\w*"
AFTER_CONTRAST = r"post\w*|\w*post|gad\w*|gd|plus ?(?:c|gd|gad)|contrast|kontrast\w*|km|ce|mdc|t1 ?c|t1ce|t1gd|\w*\+ ?(?:c|gd|gad|km|ce)"
T2_STAR_WORDS = r"swi\w*|swan|susc\w*|fsbb|venobold|ha?emo\w*|t2 ?\*\w*|t2 ?star\w*|(?:gre|ffe) t2\w?|t2\w? ?(?:gre|ffe)"
BEFORE_CONTRAST = r"pre\w*|native?|without|non ?contrast|no contrast|wo|w o|ohne"

# Diffusion comes before T2 (its image without diffusion weighting is a T2-weighted one), contrast before plain T1.
RULES: tuple[Rule, ...] = (
    Rule(Weighting.ADC, r"[de]?adc\w*|apparent diffusion\w*", "ADC ADC_UNSPECIFIED"),
    Rule(Weighting.PERFUSION, r"perf\w*|\w*perfusion\w*|\w*asl|dsc\w*|dce\w*", "PERFUSION ASL"),
    Rule(Weighting.MRA, r"\w*tof\w*|mr[av]|angio\w*|venogra\w*|pca", "ANGIO ANGIO_TIME TIME_OF_FLIGHT PHASE_CONTRAST"),
    Rule(Weighting.SWI, T2_STAR_WORDS, "SWI T2_STAR"),
    Rule(Weighting.T2, times=_no_diffusion),
    Rule(Weighting.DWI, times=_strong_diffusion),
    Rule(Weighting.T2, r"(?:dwi|dti|diff\w*) (?:.* )?b ?0", unless=r"b ?[1-9]\d{2,3}"),
    Rule(Weighting.DWI, r"s?dwi\w*|dti\w*|\w*diff\w*|tracew?|b ?[1-9]\d{2,3}|hardi|dsi", "TRACEW TRACE DIFFUSION"),
    Rule(
        Weighting.FLAIR,
        r"\w*flair\w*|tirm|da(?:rk)? ?fl(?:uid)?|tir2d\w*|fla",
        "FLUID_ATTENUATED FLAIR",
        _fluid_nulled,
        unless=r"t1 ?flair",
    ),
    Rule(Weighting.T1_POST, T1_WORDS, "T1", _t1_times, also=_after_contrast, unless=rf"{BEFORE_CONTRAST}|t2\w*"),
    Rule(Weighting.PD, r"pd\w?|proton ?density", "PROTON_DENSITY", unless=r"t2\w*"),
    Rule(Weighting.T2, r"t2\w*|haste|ciss|fiesta\w*|bssfp|stir|tse2d\w*", "T2"),
    Rule(Weighting.T1, T1_WORDS, "T1", _t1_times),
    Rule(Weighting.SWI, times=_t2_star_times),
    Rule(Weighting.T2, times=_t2_times),
    Rule(Weighting.PD, times=_density_times),
)
