"""Acquisitions for tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from phantom.signal import Weighting
from phantom.style import SeriesPlan, Style, draw_sequence, draw_style

KEYS = {
    "T1": Weighting.T1,
    "T2": Weighting.T2,
    "FLAIR": Weighting.FLAIR,
    "DWI": Weighting.DWI,
    "ADC": Weighting.ADC,
    "SWI": Weighting.SWI,
    "T1post": Weighting.T1_POST,
}


def every_sequence(seed: int, matrix: int = 96) -> Style:
    """A 3 T acquisition of all seven contrasts on a coarse grid, head straight."""
    rng = np.random.default_rng(seed)
    plans = tuple(SeriesPlan(str(weighting), draw_sequence(rng, weighting), "axial", 0.02) for weighting in KEYS.values())
    return replace(draw_style(rng), matrix=matrix, tesla=3.0, tilt=(0.0, 0.0, 0.0), series=plans)
