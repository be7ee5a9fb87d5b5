"""How long a simulated study takes on one core, and its memory: `python benchmarks/phantoms.py --out benchmarks/results/phantoms.json`

Studies of seven 2-D series, and of seven with one 3-D series among them, sampled, rendered and saved as DICOM with report, truth and
masks, in a process of one thread. Memory: its peak after the first half of the studies and after all of them: that of the largest, not
of the number.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from itertools import count, islice
from pathlib import Path

import numpy as np

from assistant.cores import one_thread_each

SERIES = 7
KINDS = {"seven 2-D series": 0, "seven series, one of them 3-D": 1}  # name: 3-D series


def measure(three_d: int, studies: int, seed: int) -> dict[str, float | int]:
    """Seconds a study, and GiB at most after half and after all."""
    import phantom

    drawn = (phantom.sample(each) for each in count(seed))
    wanted = (p for p in drawn if len(p.style.series) == SERIES and sum(plan.voxel is not None for plan in p.style.series) == three_d)
    seconds, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for chosen in islice(wanted, studies):
            start = time.perf_counter()
            phantom.write(phantom.sample(chosen.seed), Path(folder))
            seconds.append(time.perf_counter() - start)
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    told = {"seconds_first": seconds[0], "seconds_median": float(np.median(seconds)), "seconds_most": max(seconds[1:])}
    return {"studies": studies, **told, "gib_after_half": peaks[studies // 2 - 1], "gib_after_all": peaks[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.kind:
        print(json.dumps(measure(KINDS[asked.kind], asked.studies, asked.seed)))
        return
    found: dict[str, object] = {"seed": asked.seed, "machine": f"{platform.machine()}, one thread"}
    for kind in KINDS:
        command = [sys.executable, __file__, "--kind", kind, "--studies", str(asked.studies), "--seed", str(asked.seed)]
        with one_thread_each():
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
        found[kind] = json.loads(ran.stdout)
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
