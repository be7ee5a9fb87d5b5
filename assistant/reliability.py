"""Reliability diagrams: predicted probability against the share that had it, one panel a head, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from encoder.calibration import HeadCalibration

SIDE, GAP, TOP, COLUMNS = 150, 34, 34, 5
RADIUS = 3


def diagram(heads: Mapping[str, HeadCalibration]) -> str:
    """An SVG with a panel for each calibrated head: points with 95 % intervals about the diagonal, ECE and counts above."""
    shown = {name: head for name, head in heads.items() if head.curve is not None}
    rows = -(-len(shown) // COLUMNS)
    width, height = min(COLUMNS, max(1, len(shown))) * (SIDE + GAP) + GAP, max(1, rows) * (SIDE + GAP + TOP) + GAP
    style = "text{font:10px sans-serif;fill:#222}.frame{fill:none;stroke:#999}.even{stroke:#bbb;stroke-dasharray:3}.bar{stroke:#1f6fb4}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img"><style>{style}</style>']
    parts += [f'<rect width="{width}" height="{height}" fill="white"/>']
    for place, (name, head) in enumerate(shown.items()):
        left, top = GAP + place % COLUMNS * (SIDE + GAP), TOP + place // COLUMNS * (SIDE + GAP + TOP)
        parts += [f'<g transform="translate({left} {top})">', *_panel(name, head), "</g>"]
    if not shown:
        parts.append(f'<text x="{GAP}" y="{TOP}">No head had enough labelled studies.</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(name: str, head: HeadCalibration) -> Iterator[str]:
    yield f'<text x="0" y="-16">{escape(name)}</text>'
    yield f'<text x="0" y="-4">ECE {head.ece or 0:.3f}, {head.positives} of {head.positives + head.negatives}</text>'
    yield f'<rect class="frame" width="{SIDE}" height="{SIDE}"/><line class="even" x1="0" y1="{SIDE}" x2="{SIDE}" y2="0"/>'
    for one in head.bins:
        x, low, high, y = one.predicted * SIDE, *(SIDE * (1 - share) for share in (one.low, one.high, one.observed))
        yield f'<line class="bar" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>'
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="#1f6fb4"><title>{one.count} studies</title></circle>'
    for share in (0, 1):
        yield f'<text x="{share * SIDE - 3}" y="{SIDE + 12}">{share}</text><text x="-9" y="{SIDE * (1 - share) + 4}">{share}</text>'
