"""`prima phantom`: simulated studies with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from phantom import Phantom


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder that gets one folder a study.", show_default=False)],
    studies: Annotated[int, typer.Option(min=1, help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first patient; the next has the next seed.")] = 0,
    diagnosis: Annotated[str | None, typer.Option(help="A diagnosis of the taxonomy, or normal; drawn where not given.")] = None,
    visits: Annotated[int, typer.Option(min=1, help="How many dated studies of each patient.")] = 1,
    mirror: Annotated[bool, typer.Option("--mirror", help="Write the anatomical mirror images of these seeds.")] = False,
    report_noise: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of report sentences that the image does not bear out; truth.json lists them.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a study, one a line.")] = False,
) -> None:
    """Make simulated studies (DICOM, report, truth, masks)."""
    import json
    import sys

    from phantom import truth
    from phantom.files import write

    for number in range(seed, seed + studies):
        for drawn in _of_one_patient(number, diagnosis, mirror, visits):
            folder = write(drawn, out, report_noise)
            if as_json:
                print(json.dumps({"study": str(folder), "seed": number, **truth(drawn).to_json()}), flush=True)
            else:
                print(f"{folder}  {', '.join(drawn.names) or 'normal'}", flush=True)
        print(f"{number - seed + 1}/{studies}", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)


def _of_one_patient(seed: int, diagnosis: str | None, mirror: bool, visits: int) -> Iterator[Phantom]:
    """The patient's studies by date; months between them and courses are drawn among those that the disease can take."""
    from dataclasses import replace

    import numpy as np

    from phantom import courses, follow_up, sample

    drawn = sample(seed, diagnosis, mirror=mirror)
    if visits == 1:
        yield drawn
        return
    drawn = replace(drawn, visit=1)
    yield drawn
    rng = np.random.default_rng([seed, 8])
    for _ in range(visits - 1):
        months = int(rng.integers(1, 25))
        months = months if courses(drawn, months) else 0
        possible = courses(drawn, months)
        drawn = follow_up(drawn, months, possible[int(rng.integers(len(possible)))])
        yield drawn
