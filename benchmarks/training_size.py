"""How much an encoder gains from more training studies: the curve from results of `prima evaluate diagnosis --json`.

    prima evaluate diagnosis --phantoms 400 --encoder runs/2000/encoder --json > 2000.json      (and so on, on the same studies)
    python benchmarks/training_size.py 2000=2000.json 8000=8000.json --out docs/pictures/training-size.svg

Draws only what stands in the files; each point is told with its noise control, and the floor of everything but the voxels.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

Figure = dict[str, Any]


def read(said: str) -> tuple[int, Figure]:
    """STUDIES=FILE.json. Raises SystemExit where it is something else."""
    studies, _, path = said.partition("=")
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return int(studies), {"result": found["headline"], **{name: found["controls"][name]["figures"] for name in ("noise", "floor")}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{said}: expected STUDIES=FILE.json, a result of `prima evaluate diagnosis --json`; {type(error).__name__}: {error}")


def points(results: list[tuple[int, Figure]], arm: str, measure: str) -> list[tuple[int, float, float, float]]:
    """(studies, value, low, high), by rising number of studies; results without the figure are left out."""
    said = [(studies, found[arm].get(measure) or {}) for studies, found in sorted(results, key=lambda pair: pair[0])]
    return [(studies, each["value"], each["low"], each["high"]) for studies, each in said if each.get("value") is not None]


def draw(results: list[tuple[int, Figure]], measure: str, out: Path) -> None:
    """The curve with its intervals, as SVG; the same results give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "training size"
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(figsize=(6, 4))
    arms = (("result", "encoder", "#1f5fa8"), ("floor", "everything but the voxels", "#777777"), ("noise", "noise images", "#bbbbbb"))
    for arm, title, colour in arms:
        found = points(results, arm, measure)
        if not found:
            continue
        studies, value, low, high = zip(*found, strict=True)
        below, above = ([abs(v - b) for v, b in zip(value, bound, strict=True)] for bound in (low, high))
        axes.errorbar(studies, value, yerr=[below, above], label=title, color=colour, marker="o", capsize=3)
    axes.axhline(0.5, color="#dddddd", zorder=0)
    axes.set_xscale("log")
    ticks = sorted({studies for studies, _ in results})
    axes.set_xticks(ticks, [f"{number:,}" for number in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training studies")
    axes.set_ylabel(measure)
    axes.legend(frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(canvas)


def main() -> None:
    """Read, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="STUDIES=FILE.json")
    parser.add_argument("--measure", default="mean AUROC")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/training-size.svg"))
    given = parser.parse_args()
    results = [read(said) for said in given.results]
    if not points(results, "result", given.measure):
        sys.exit(f"--measure: expected one of {', '.join(sorted(results[0][1]['result']))}, found {given.measure!r}, in none of the files.")
    draw(results, given.measure, given.out)
    print(given.out)


if __name__ == "__main__":
    main()
