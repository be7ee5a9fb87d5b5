"""`prima explain`: which tokens of a study a score stands on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from encoder.explain import Explanation

_METHODS = ("gradient", "occlusion", "lime")


def explain(
    path: Annotated[Path, typer.Argument(help="A study: folder, zip or file.")],
    diagnosis: Annotated[str, typer.Option(metavar="NAME", help="The diagnosis whose score is explained, such as meningioma.")],
    method: Annotated[
        str, typer.Option(metavar="|".join(_METHODS), help="gradient: fast. occlusion: each token left out. lime: as the Prima paper does.")
    ] = _METHODS[0],
    encoder: Annotated[Path | None, typer.Option(help="Encoder folder; the shipped demo weights unless told.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the overlays: one NIfTI a sequence, on the scan's own grid.")] = None,
    top: Annotated[int, typer.Option(help="Tokens listed.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Seed of LIME's random masks.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say where in the study a diagnosis' score comes from. Relevance explains the score, not the disease."""
    from assistant.errors import UsageError
    from encoder.encoder import Encoder
    from encoder.explain import Method
    from encoder.explain import explain as explained
    from encoder.overlay import write_overlays
    from encoder.reading import read_study

    if method not in _METHODS:
        raise UsageError(f"--method: expected one of {', '.join(_METHODS)}, found {method!r}.")
    weights = Encoder.load(encoder, "float32", calibrated=False)  # the score relative to its threshold, exactly
    print(f"reading, encoding and explaining ({method}) ...", file=sys.stderr)
    explanation = explained(weights, read_study(path), diagnosis, Method(method), seed)
    overlays = _overlays(explanation, out, write_overlays) if out is not None else ()
    if as_json:
        print(json.dumps(_listed(explanation, top, overlays), allow_nan=False))
    else:
        _tell(explanation, top)
    for file in overlays:
        print(f"wrote {file}", file=sys.stderr)


def _overlays(explanation: Explanation, out: Path, write: Any) -> tuple[Path, ...]:
    """Raises UsageError where the folder cannot be written."""
    from assistant.errors import UsageError

    try:
        written: tuple[Path, ...] = write(explanation, out)
    except OSError as error:
        raise UsageError(f"--out: expected a folder that can be written, found {out}: {error.strerror}.") from error
    return written


def _tell(explanation: Explanation, top: int) -> None:
    verdict = explanation.tokens.out_of_distribution
    if verdict is not None and verdict.flagged:
        print(f"Out of distribution: distance {verdict.score:.2f}, threshold {verdict.threshold:.2f}; the score below means nothing.")
    print(
        f"{explanation.diagnosis}: score {explanation.score:+.2f} relative to its threshold; relevance ({explanation.method}) in its units"
    )
    for rank, token in enumerate(explanation.ranked(top), start=1):
        x, y, z = token.mm
        place = f"{token.side.value} {token.region}" if token.region else token.side.value
        print(f"{rank:3d}. {token.relevance:+.3f}  {token.sequence} slice {token.slice}  ({x:.0f}, {y:.0f}, {z:.0f}) mm LPS  {place}")


def _listed(explanation: Explanation, top: int, overlays: tuple[Path, ...]) -> dict[str, Any]:
    from dataclasses import asdict

    verdict = explanation.tokens.out_of_distribution
    return {
        "diagnosis": explanation.diagnosis,
        "method": explanation.method,
        "score": explanation.score,
        "tokens": [asdict(token) for token in explanation.ranked(top)],
        "tokens_in_study": len(explanation.relevance),
        "overlays": [str(path) for path in overlays],
        "out_of_distribution": None if verdict is None else asdict(verdict),
        "encoder": explanation.encoder,
    }
