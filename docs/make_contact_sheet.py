"""Makes docs/pictures/contact-sheet.jpg: `python docs/make_contact_sheet.py` draws every diagnosis of the phantom on seven sequences.

A row a diagnosis, the slice through its largest section; phantoms only. Needs matplotlib's fonts and Pillow; some minutes on one core.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import phantom
from phantom.scanner import Rendered
from phantom.signal import Weighting
from phantom.style import SeriesPlan, Style, draw_sequence, draw_style

PICTURE = Path(__file__).parent / "pictures" / "contact-sheet.jpg"
SEQUENCES = {
    "T1": Weighting.T1,
    "T2": Weighting.T2,
    "FLAIR": Weighting.FLAIR,
    "DWI": Weighting.DWI,
    "ADC": Weighting.ADC,
    "SWI": Weighting.SWI,
    "T1 post": Weighting.T1_POST,
}
TILE, LABEL, HEAD, COLUMNS = 100, 112, 16, 2  # pixels; COLUMNS: diagnoses side by side
LARGEST = 1_500_000  # bytes
WHITE = 1.9  # times the middle of the head's signal that is shown as white
MARGIN = 0.07  # share of the field of view cut off on each side
ADC_TOP = 3000.0  # 10^-6 mm2/s shown as white


def main() -> None:
    """Draw all diagnoses and save the picture below its largest size."""
    style = acquisition()
    names = phantom.DIAGNOSES
    lines = -(-len(names) // COLUMNS)
    width = LABEL + TILE * len(SEQUENCES)
    sheet = Image.new("L", (COLUMNS * width, HEAD + lines * TILE), 0)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 11)
    for number, name in enumerate(names):
        left, top = number // lines * width, HEAD + number % lines * TILE
        pen.multiline_text((left + 4, top + 8), name.replace("_", "\n"), fill=255, font=font)
        for column, tile in enumerate(tiles(name, style)):
            sheet.paste(tile, (left + LABEL + column * TILE, top))
        print(f"{number + 1}/{len(names)} {name}")
    for block in range(COLUMNS):
        for column, title in enumerate(SEQUENCES):
            pen.text((block * width + LABEL + column * TILE + 4, 2), title, fill=255, font=font)
    save(sheet)


def acquisition() -> Style:
    """A quiet 3 T acquisition of the seven contrasts, head straight."""
    rng = np.random.default_rng(7)
    plans = tuple(SeriesPlan(title, draw_sequence(rng, weighting), "axial", 0.02) for title, weighting in SEQUENCES.items())
    return replace(draw_style(rng), tesla=3.0, matrix=192, tilt=(0.0, 0.0, 0.0), series=plans)


def tiles(name: str, style: Style) -> list[Image.Image]:
    """One picture a sequence, of the slice in which the diagnosis's mask is largest."""
    drawn = phantom.sample(1, name, style=style)
    series = phantom.render(drawn)
    i, j, k = series[0].voxels.shape
    masks = phantom.labels(drawn, series[0].affine, (i, j, k)).lesions
    section = masks[name].sum((0, 1)) if name in masks else np.arange(k) == k // 2
    return [tile(one, int(np.argmax(section))) for one in series]


def tile(series: Rendered, k: int) -> Image.Image:
    """A slice as seen from below (the patient's right on the left), windowed by its own volume."""
    head = series.voxels[series.voxels > series.voxels.mean()]
    top = ADC_TOP if series.weighting is Weighting.ADC else WHITE * float(np.median(head))
    edge = round(MARGIN * series.voxels.shape[0])
    grey: NDArray[np.uint8] = (np.clip(series.voxels[edge:-edge, edge:-edge, k].T / max(top, 1.0), 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(grey).resize((TILE, TILE), Image.Resampling.LANCZOS)


def save(sheet: Image.Image) -> None:
    """As JPEG, at the best quality that fits."""
    PICTURE.parent.mkdir(exist_ok=True)
    for quality in range(90, 20, -5):
        sheet.save(PICTURE, quality=quality, optimize=True)
        if PICTURE.stat().st_size <= LARGEST:
            break
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e6:.2f} MB, {sheet.width} x {sheet.height}")


if __name__ == "__main__":
    main()
