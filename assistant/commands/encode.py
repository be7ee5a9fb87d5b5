"""`prima encode`: what the encoder makes of a study."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from encoder.features import StudyFeatures
    from encoder.precision import Asked


def encode(
    path: Annotated[Path, typer.Argument(help="A study: folder, zip or file.")],
    encoder: Annotated[Path | None, typer.Option(help="Encoder folder; the shipped demo weights unless told.")] = None,
    precision: Annotated[
        str,
        typer.Option(help="float32 (exact), bfloat16 (several times as fast where the processor has it), or auto: the latter if large."),
    ] = "auto",
    description: Annotated[str | None, typer.Option(help="The study's description; the files' own unless told.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.safetensors", help="Write study_pooled, clip_embedding and series_embeddings.")
    ] = None,
) -> None:
    """Encode one study: embedding, registers, sequence embeddings, scores, locations."""
    from encoder.encoder import Encoder
    from encoder.features import spoken
    from encoder.reading import read_study
    from encoder.study import Context

    print("reading and encoding ...", file=sys.stderr)
    features = Encoder.load(encoder, cast("Asked", precision)).encode(read_study(path, Context(description=description)))
    if save is not None:
        _write(features, save)
        print(f"wrote {save}", file=sys.stderr)
    if as_json:
        print(json.dumps(_listed(features), allow_nan=False))
        return
    for name, row in zip(features.names, features.sequences, strict=True):
        print(f"{name}: embedding of {len(row)} numbers")
    verdict = features.out_of_distribution
    if verdict is not None and verdict.flagged:
        print(f"Out of distribution: distance {verdict.score:.2f}, threshold {verdict.threshold:.2f}; the scores below mean nothing.")
    for score in sorted(features.scores, key=lambda item: item.score, reverse=True):
        print(f"{score.name}: {spoken(score.score, score.probability)}")


def _write(features: StudyFeatures, save: Path) -> None:
    """Raises UsageError where the file cannot be written."""
    from safetensors.numpy import save_file

    from assistant.errors import UsageError

    tensors = {
        "study_pooled": features.registers.reshape(-1),
        "clip_embedding": features.embedding,
        "series_embeddings": features.sequences,
    }
    try:
        save_file(tensors, save, metadata={"encoder": features.encoder, "names": json.dumps(features.names)})
    except OSError as error:
        raise UsageError(f"--save: expected a file that can be written, found {save}: {error.strerror}.") from error


def _listed(features: StudyFeatures) -> dict[str, Any]:
    from dataclasses import asdict

    verdict = features.out_of_distribution
    return {
        "names": features.names,
        "study_pooled": features.registers.reshape(-1).tolist(),
        "clip_embedding": features.embedding.tolist(),
        "series_embeddings": features.sequences.tolist(),
        "scores": [asdict(score) for score in features.scores],
        "referral": [asdict(score) for score in features.referral],
        "priority": dict(features.priority),
        "priority_calibrated": features.priority_calibrated,
        "locations": [asdict(location) for location in features.locations],
        "out_of_distribution": None if verdict is None else asdict(verdict),
        "encoder": features.encoder,
        "calibration": features.calibration,
    }
