"""`prima read`: what of a path would be used, and why the rest would not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from encoder.study import Study


def read(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="A folder, a zip, or image files (DICOM or NIfTI).", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a study, one a line.")] = False,
    files: Annotated[bool, typer.Option("--files", help="Tell of every file where it went (file names may name patients).")] = False,
) -> None:
    """Read studies and tell which series are used, which are not, and why."""
    import json

    from encoder.reading import intake

    for number, taken in enumerate(intake(paths)):
        went = sorted((str(file), outcome.reason or f"used: {outcome.name}") for outcome in taken.outcomes for file in outcome.files)
        if as_json:
            told = as_object(taken.study)
            print(json.dumps(told | {"files": [{"path": path, "went": where} for path, where in went]} if files else told))
        else:
            print(("\n" if number else "") + as_table(taken.study))
            if files:
                print("\n".join(["  FILES", *(f"  {path}: {where}" for path, where in went)]))


def as_object(study: Study) -> dict[str, Any]:
    """The study as `--json` prints it."""
    used = [
        {
            "name": series.name,
            "plane": series.plane.value,
            "weighting": series.weighting.value,
            "slices": series.voxels.shape[2],
            "matrix": list(series.voxels.shape[:2]),
            "spacing_mm": [round(float(length), 3) for length in (series.affine[:3, :3] ** 2).sum(axis=0) ** 0.5],
            "notes": list(series.notes),
        }
        for series in study.series
    ]
    excluded = [{"name": entry.series, "reason": entry.reason, "files": entry.files} for entry in study.excluded]
    known = study.context
    context = {"age": known.age, "sex": known.sex, "indication": known.indication, "description": known.description, "prior": known.prior}
    return {"study": {"key": study.key, "used": used, "excluded": excluded}, "context": context}


def as_table(study: Study) -> str:
    """The study as a person reads it."""
    said = as_object(study)
    rows = [("USED", "PLANE", "WEIGHTING", "SLICES", "VOXEL mm")]
    for series in said["study"]["used"]:
        size = " x ".join(f"{length:.3g}" for length in series["spacing_mm"])
        name = series["name"] + "".join(f" ({note})" for note in series["notes"])
        rows.append((name, series["plane"], series["weighting"], str(series["slices"]), size))
    if len(rows) == 1:
        rows.append(("(none)", "", "", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"Study {study.key}" + "".join(f", {field} {value}" for field, value in said["context"].items() if value is not None)]
    lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if study.excluded:
        lines.append("  NOT USED")
        lines += [f"  {entry.series}: {entry.reason} ({entry.files} file{'s' * (entry.files != 1)})" for entry in study.excluded]
    return "\n".join(lines)
