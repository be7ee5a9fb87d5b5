"""How a report says one disease: a `Wording` is phrasings as data.

Fields: {place} = side and region, {side}, {on} = "on the left" (or right, or both sides), {region}, {size} = "24 mm", {foci}, {stage};
capitalised where a sentence begins.
A phrasing under `signs` is used only where all its sequences were acquired and the lesion has the property it names.
"""

from __future__ import annotations

from dataclasses import dataclass

from phantom.signal import Weighting

W = Weighting
T1, T2, FLAIR, DWI, ADC, SWI, POST = W.T1, W.T2, W.FLAIR, W.DWI, W.ADC, W.SWI, W.T1_POST


@dataclass(frozen=True)
class Wording:
    """found: the finding itself. signs: (weightings that must all be there, property or "", phrasings). impression: the conclusion.

    A property is a value of the lesion's enhancement or stage. several, several_impression: for more than one focus.
    undated: conclusions where the series `dated_by` is missing: diffusion dates what is acute, T1 all blood.
    """

    found: tuple[str, ...]
    impression: tuple[str, ...]
    signs: tuple[tuple[tuple[Weighting, ...], str, tuple[str, ...]], ...] = ()
    several: tuple[str, ...] = ()
    several_impression: tuple[str, ...] = ()
    undated: tuple[str, ...] = ()
    dated_by: Weighting = DWI
