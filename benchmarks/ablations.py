"""What an encoder loses without names, description or sequences, and with tokens of another size: drawn from evaluation results.

    prima evaluate diagnosis --phantoms 400 --ablations 400 --json > whole.json
    prima evaluate diagnosis --phantoms 400 --beside runs/coarse/encoder --json > coarse.json
    python benchmarks/ablations.py whole.json "tokens twice as large=coarse.json" --out docs/pictures/ablations.svg

A plain file gives its ablations; TITLE=FILE gives the other encoder that it was compared with (`--beside`). Both are paired differences.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

Row = tuple[str, int, float, float, float]  # what was done, studies, difference, low, high


def rows_of(said: str, measure: str) -> list[Row]:
    """The differences in a file. Raises SystemExit where there are none."""
    title, _, path = said.rpartition("=")
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        given = {title: found["beside"]} if title else found["ablations"]
        rows = [(name, each["studies"], each["difference"].get(measure) or {}) for name, each in given.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"{said}: expected a result of `prima evaluate diagnosis --json` ({'--beside' if title else '--ablations'}): {error}")
    return [(name, studies, less["value"], less["low"], less["high"]) for name, studies, less in rows if less.get("value") is not None]


def draw(rows: list[Row], measure: str, out: Path) -> None:
    """One line a difference, with its interval, as SVG; the same results give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "ablations"
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(figsize=(7, 0.4 * len(rows) + 1.2))
    places = range(len(rows), 0, -1)
    values: list[Any] = [row[2] for row in rows]
    bounds = [[abs(row[2] - row[side]) for row in rows] for side in (3, 4)]
    axes.errorbar(values, list(places), xerr=bounds, fmt="o", color="#1f5fa8", capsize=3)
    axes.axvline(0, color="#bbbbbb", zorder=0)
    axes.set_yticks(list(places), [f"{name} (n = {studies})" for name, studies, *_ in rows])
    axes.set_xlabel(f"{measure}: difference on the same studies, with 95 % interval")
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(canvas)


def main() -> None:
    """Read, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="FILE.json or TITLE=FILE.json")
    parser.add_argument("--measure", default="pooled AUROC")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/ablations.svg"))
    given = parser.parse_args()
    rows = [row for said in given.results for row in rows_of(said, given.measure)]
    if not rows:
        sys.exit(f"Expected differences in {given.measure}, found none in {', '.join(given.results)}.")
    draw(rows, given.measure, given.out)
    print(given.out)


if __name__ == "__main__":
    main()
