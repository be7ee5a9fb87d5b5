"""A run's metrics as curves: one panel a figure, training and validation in it, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

WIDTH, HEIGHT, GAP, TOP, COLUMNS = 220, 130, 56, 30, 3
COLOURS = {"training": "#b0651f", "validation": "#1f6fb4", "": "#555"}

History = Sequence[dict[str, float]]


def curves(history: History) -> str:
    """history: a row a validation, with `step`; columns `training_x` and `validation_x` share the panel x."""
    columns = [name for name in dict.fromkeys(name for row in history for name in row) if name != "step"]
    panels = list(dict.fromkeys(_panel_of(column)[1] for column in columns))
    rows = -(-len(panels) // COLUMNS)
    width, height = min(COLUMNS, max(1, len(panels))) * (WIDTH + GAP) + GAP, rows * (HEIGHT + TOP + GAP) + TOP
    style = "text{font:10px sans-serif;fill:#222}.frame{fill:none;stroke:#999}polyline{fill:none;stroke-width:1.5}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img"><style>{style}</style>']
    parts.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for place, panel in enumerate(panels):
        left, top = GAP + place % COLUMNS * (WIDTH + GAP), TOP + place // COLUMNS * (HEIGHT + TOP + GAP)
        own = [column for column in columns if _panel_of(column)[1] == panel]
        parts += [f'<g transform="translate({left} {top})">', *_panel(panel, own, history), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _panel_of(column: str) -> tuple[str, str]:
    """(side, figure) of a column's name."""
    side, _, name = column.partition("_")
    return (side, name) if side in COLOURS and name else ("", column)


def _panel(name: str, columns: Sequence[str], history: History) -> Iterator[str]:
    points = {column: [(row["step"], row[column]) for row in history if column in row] for column in columns}
    steps, values = zip(*(point for line in points.values() for point in line), strict=True)
    (first, last), (low, high) = (min(steps), max(steps)), (min(values), max(values))
    yield f'<text x="0" y="-6">{escape(name)}</text><rect class="frame" width="{WIDTH}" height="{HEIGHT}"/>'
    for column, line in points.items():
        places = " ".join(
            f"{WIDTH * (step - first) / max(last - first, 1):.1f},{HEIGHT * (1 - (value - low) / ((high - low) or 1)):.1f}"
            for step, value in line
        )
        yield f'<polyline points="{places}" stroke="{COLOURS[_panel_of(column)[0]]}"><title>{escape(column)}</title></polyline>'
    for value, y in ((high, 8), (low, HEIGHT)):
        yield f'<text x="-4" y="{y}" text-anchor="end">{value:.3g}</text>'
    yield f'<text x="0" y="{HEIGHT + 14}">step {first:.0f}</text><text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end">{last:.0f}</text>'
    for place, side in enumerate(dict.fromkeys(_panel_of(column)[0] for column in columns)):
        yield f'<text x="{60 + 60 * place}" y="{HEIGHT + 14}" style="fill:{COLOURS[side]}">{side}</text>'
