"""Does `prima evaluate fairness` find a planted bias, and none where there is none? On phantoms, through the shipped encoder.

    python benchmarks/fairness.py --studies 200 --seed 90210 --out benchmarks/results/fairness.json

Every fourth study comes from the site "south". As planted, its noise is tripled and it acquires no diffusion; else it is like the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import phantom
from assistant.evaluate.cache import Cache
from assistant.evaluate.cohort import Intake, gather
from assistant.evaluate.evaluation import judge
from assistant.evaluate.questions import fairness
from assistant.evaluate.telling import told
from assistant.labelled import Labelled, of_truth
from assistant.train.studies import as_study
from encoder.encoder import Encoder
from encoder.study import Study
from phantom import Weighting

NOISE = 3.0


def is_south(seed: int) -> bool:
    """The site of a seed; it tells nothing of the disease."""
    return seed % 4 == 0


def drawn(path: Path) -> phantom.Phantom:
    """The phantom that `<arm>/<seed>` stands for."""
    seed = int(path.name)
    plain = phantom.sample(seed)
    if path.parent.name == "fair" or not is_south(seed):
        return plain
    noisy = replace(plain.style, series=tuple(replace(plan, noise=NOISE * plan.noise) for plan in plain.style.series))
    return phantom.sample(seed, style=noisy, drop=(Weighting.DWI, Weighting.ADC))


def labelled(arm: str, seed: int) -> Labelled:
    """Truth, scanner and site."""
    plain = phantom.sample(seed)
    labels = of_truth(Path(arm) / str(seed), phantom.truth(plain).to_json())
    return replace(labels, vendor=plain.style.vendor, field_strength=plain.style.tesla, site="south" if is_south(seed) else "north")


def read(path: Path) -> Study:
    """As the reader would give it."""
    return as_study(drawn(path))


def main() -> None:
    """Both arms; the summary as JSON, the tables on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--controls", type=int, default=60)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    encoder = Encoder.load(asked.encoder)
    summary: dict[str, Any] = {"encoder": encoder.hash, "studies": asked.studies, "seed": asked.seed}
    for arm in ("planted", "fair"):
        # The sites of "north" are the same studies in both arms: encoded once.
        intake = Intake(
            encoder,
            read,
            Cache(asked.cache, encoder.hash),
            lambda message: print(message, file=sys.stderr),
            lambda path: f"{path.name}-{path.parent.name if is_south(int(path.name)) else 'fair'}",
        )
        studies = [labelled(arm, seed) for seed in range(asked.seed, asked.seed + asked.studies)]
        result = judge(fairness(), gather(studies, intake, controls=asked.controls), draws=asked.draws)
        print(told(result), file=sys.stderr)
        summary[arm] = {
            "flagged": [asdict(gap) for gap in result.subgroups.gaps if gap.flagged],
            "largest": asdict(result.subgroups.largest) if result.subgroups.largest else None,
            "compared": len(result.subgroups.gaps),
            "south": [asdict(gap) for gap in result.subgroups.gaps if (gap.axis, gap.group) == ("site", "south")],
        }
    text = json.dumps(summary, indent=1)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
