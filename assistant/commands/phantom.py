"""`prima phantom`: simulated studies with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder that gets one folder a study.", show_default=False)],
    studies: Annotated[int, typer.Option(min=1, help="How many studies.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first study; the next has the next seed.")] = 0,
    diagnosis: Annotated[str | None, typer.Option(help="A diagnosis of the taxonomy, or normal; drawn where not given.")] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Write the anatomical mirror images of these seeds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a study, one a line.")] = False,
) -> None:
    """Make simulated studies (DICOM, report, truth, masks)."""
    import json
    import sys

    from phantom import sample, truth
    from phantom.files import write

    for number in range(seed, seed + studies):
        drawn = sample(number, diagnosis, mirror=mirror)
        folder = write(drawn, out)
        if as_json:
            print(json.dumps({"study": str(folder), "seed": number, **truth(drawn).to_json()}), flush=True)
        else:
            print(f"{folder}  {', '.join(drawn.names) or 'normal'}", flush=True)
        print(f"{number - seed + 1}/{studies}", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)
