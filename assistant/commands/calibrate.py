"""`prima calibrate`: labelled studies to probabilities that can be read as such, beside an encoder's weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from assistant.calibrate import Observed
    from assistant.labelled import Labelled
    from encoder.calibrated import Calibration
    from encoder.calibration import HeadCalibration, Method
    from encoder.precision import Asked

DIAGRAM = "reliability.svg"


def calibrate(
    encoder: Annotated[Path | None, typer.Option(help="Encoder folder; the shipped demo weights unless told.")] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--from", help="CSV with the column path, and labels, referral (each separated by ;) and priority where known."),
    ] = None,
    studies: Annotated[Path | None, typer.Option(help="Folder of study folders, with truth.json or known to --index.")] = None,
    index: Annotated[Path | None, typer.Option(help="A labelled case index: labels of listed studies that carry none.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for a calibrated copy of the encoder; new or empty.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Write into the encoder's own folder, over an older calibration.")] = False,
    method: Annotated[
        str, typer.Option(help="platt, isotonic, or auto: for each head the one that does better on unseen studies.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="The encoder's numbers: float32, bfloat16 or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit a probability to each head's score, and where the weights lack them the statistics that tell foreign images.

    Studies should come as they do in use (consecutive ones): probabilities hold for their share of each diagnosis. A head with too few
    positives or negatives stays "relative to threshold". The encoder's hash stays: an index or adapter made with it remains valid.
    """
    from assistant.calibrate import fit, observe
    from assistant.errors import UsageError
    from assistant.reliability import diagram
    from encoder.encoder import SHIPPED, Encoder
    from index.store import CaseIndex

    if method not in ("auto", "platt", "isotonic"):
        raise UsageError(f"--method: expected auto, platt or isotonic, found {method!r}.")
    source = encoder or SHIPPED
    _require_target(source, out, in_place)
    listed = _listed(manifest, studies)
    weights = Encoder.load(source, cast("Asked", precision), calibrated=False)
    labels = CaseIndex.open(index) if index else None
    observed = observe(weights, listed, labels, lambda message: print(message, file=sys.stderr, flush=True))
    named = [path.name for path in (manifest, studies, index) if path]
    calibration = fit(weights, observed, f"prima calibrate {' '.join(named)}", cast("Method", method))
    target = _store(calibration, source, out, diagram({**calibration.heads, **calibration.referral}))
    _tell(target, calibration, observed, as_json)


def _require_target(source: Path, out: Path | None, in_place: bool) -> None:
    """Raises UsageError before an hour of encoding, not after it."""
    from assistant.errors import UsageError
    from encoder.encoder import SHIPPED

    if (out is None) != in_place:
        raise UsageError(f"Where to? Give --out DIR for a calibrated copy of {source}, or --in-place to write into it; one of them.")
    if in_place and source.resolve() == SHIPPED.resolve():
        raise UsageError("--in-place: these are the shipped weights, which belong to the installed package; give --out DIR.")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: expected a new or empty folder, found content; name another with --out.")


def _listed(manifest: Path | None, studies: Path | None) -> tuple[Labelled, ...]:
    from assistant.errors import UsageError
    from assistant.labelled import from_folder, from_manifest

    if (manifest is None) == (studies is None):
        raise UsageError("Where are the labelled studies? Give --from MANIFEST.csv or --studies FOLDER, one of them.")
    path = manifest or studies
    if path is None or not path.exists():
        raise UsageError(f"{path}: no such file or folder.")
    return from_manifest(path) if manifest else from_folder(path)


def _store(calibration: Calibration, source: Path, out: Path | None, picture: str) -> Path:
    """Into the source's folder, or into a copy of it that appears whole or not at all."""
    import os
    import shutil
    import tempfile

    from encoder.weights import CALIBRATION, OUTLIERS

    folder = source
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        if out is not None:
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(CALIBRATION, OUTLIERS, DIAGRAM))
            folder.chmod(0o755)
        (folder / DIAGRAM).write_text(picture, encoding="utf-8")
        calibration.save(folder)
        if out is not None:
            os.replace(folder, out)
    except BaseException:
        if out is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return out or source


def _tell(target: Path, calibration: Calibration, observed: Observed, as_json: bool) -> None:
    from assistant.calibrate import unknown_labels

    heads = {**calibration.heads, **calibration.referral}
    unknown = unknown_labels(observed)
    if as_json:
        said = {
            "encoder": str(target),
            "sha256": calibration.encoder,
            "studies": calibration.studies,
            "skipped": observed.skipped,
            "heads": {name: _line(head) for name, head in calibration.heads.items()},
            "referral": {name: _line(head) for name, head in calibration.referral.items()},
            "relative_to_threshold": [name for name, head in heads.items() if head.curve is None],
            "priority_temperature": calibration.priority_temperature,
            "outlier_threshold": calibration.outliers.threshold if calibration.outliers else None,
            "unknown_labels": unknown,
            "diagram": str(target / DIAGRAM),
        }
        print(json.dumps(said, allow_nan=False))
        return
    print(f"{target}: calibrated on {calibration.studies} studies, {len(observed.skipped)} skipped; encoder {calibration.encoder[:12]}.")
    for name, head in heads.items():
        if head.curve is not None:
            print(f"  {name}: {_kind(head)}, ECE {head.ece:.3f} on unseen studies, {head.positives} of {head.positives + head.negatives}")
    rest = [f"{name} ({head.positives} of {head.positives + head.negatives})" for name, head in heads.items() if head.curve is None]
    if rest:
        print(f"Relative to threshold still, for want of positives or negatives: {', '.join(rest)}.")
    print("Priority: " + ("not calibrated." if calibration.priority_temperature is None else "calibrated."))
    print("Out of distribution: " + _outliers(calibration))
    if unknown:
        print(f"Labels that are no diagnosis of the taxonomy, counted for nothing: {', '.join(unknown)}.", file=sys.stderr)
    print(f"Reliability diagram: {target / DIAGRAM}")


def _line(head: HeadCalibration) -> dict[str, Any]:
    from dataclasses import asdict

    kind = None if head.curve is None else _kind(head)
    return {
        "method": kind,
        "positives": head.positives,
        "negatives": head.negatives,
        "ece": head.ece,
        "bins": [asdict(b) for b in head.bins],
    }


def _kind(head: HeadCalibration) -> str:
    return type(head.curve).__name__.lower()


def _outliers(calibration: Calibration) -> str:
    if calibration.outliers is not None:
        return f"threshold {calibration.outliers.threshold:.2f}, from these studies."
    return "as the weights have it, or too few studies to fit it."
