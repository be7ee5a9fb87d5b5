"""`prima label`: labels of the taxonomy from report text, each with the sentence it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from assistant.report_labels import Agreement, ReportLabels
    from assistant.reported import Reported

Model = Annotated[str | None, typer.Option("--llm", help="Language model (name or folder), or `shipped`; None = rules alone.")]
ANSWER = 400  # tokens that a reply may have


def label(
    manifest: Annotated[Path | None, typer.Argument(metavar="[MANIFEST.csv]", help="CSV: path, report (text or a path to it).")] = None,
    studies: Annotated[Path | None, typer.Option(help="Folder of study folders with report.txt, in place of a list.")] = None,
    phantoms: Annotated[int, typer.Option(min=0, help="With --check: the reports of so many simulated studies.")] = 0,
    first_seed: Annotated[int, typer.Option(min=0, help="Of the simulated studies.")] = 90210,
    out: Annotated[Path | None, typer.Option(help="CSV to write: the list with labels, uncertain and evidence (JSON).")] = None,
    llm: Model = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print every label with the sentence it stands on.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with truth.json, or the list's labels: precision, recall by name.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Labels from report text: rules hear names, negation and doubt; the impression outranks the findings.

    What the report leaves open stands in the column `uncertain`, not among the labels; a language model may be asked about that alone.
    """
    import json

    from assistant.errors import UsageError
    from assistant.report_labels import agreement, labels_of
    from assistant.reported import write

    if out is None and not (explain or check or as_json):
        raise UsageError("Nothing to do: give --out LABELS.csv, --explain, --check or --json.")
    if phantoms and (out or not check):
        raise UsageError("--phantoms: simulated reports can be checked only; give --check and no --out.")
    listed = simulated(first_seed, phantoms) if phantoms else reported(manifest, studies)
    ask = asker(llm)
    found = [labels_of(one.report, ask) for one in listed]
    if out is not None:
        write(out, listed, [_row(labels) for labels in found])
    agreed: tuple[Agreement, ...] = ()
    if check:
        if unknown := next((one.path for one in listed if one.truth is None), None):
            raise UsageError(f"--check: {unknown}: expected truth.json, or a column labels in the list; found none.")
        agreed = agreement(found, [one.truth or frozenset() for one in listed])
    if as_json:
        print(json.dumps(_object(listed, found, agreed)))
    else:
        _tell(listed, found, agreed, explain, out)


def reported(manifest: Path | None, studies: Path | None) -> tuple[Reported, ...]:
    """The studies of a list or of a folder, one of them."""
    from assistant.errors import UsageError
    from assistant.reported import from_folder, from_manifest

    if (manifest is None) == (studies is None):
        raise UsageError("Where are the reports? Give MANIFEST.csv (columns path, report) or --studies FOLDER, one of them.")
    path = manifest or studies
    if path is None or not path.exists():
        raise UsageError(f"{path}: no such file or folder.")
    return from_manifest(path) if manifest else from_folder(path)


def simulated(first_seed: int, phantoms: int) -> tuple[Reported, ...]:
    """Reports of phantoms with their truth; nothing is rendered."""
    import phantom
    from assistant.reported import Reported, visible

    made = []
    for seed in range(first_seed, first_seed + phantoms):
        drawn = phantom.sample(seed)
        truth = visible(phantom.truth(drawn).to_json())
        made.append(Reported(Path(f"phantom/{seed}"), phantom.report.compose(drawn).text(), truth=truth))
    return tuple(made)


def asker(llm: str | None) -> Callable[[str], str] | None:
    """The whole reply of a language model to a prompt, text only; None where none is named."""
    if llm is None:
        return None
    from assistant.llm import LanguageModel

    model = LanguageModel.open(None if llm == "shipped" else llm)
    return lambda prompt: "".join(model.stream(prompt, max_tokens=ANSWER))


def _row(labels: ReportLabels) -> dict[str, str]:
    import json

    return {
        "labels": ";".join(labels.present),
        "uncertain": ";".join(labels.uncertain),
        "evidence": json.dumps(labels.evidence(), ensure_ascii=False),
    }


def _object(listed: Sequence[Reported], found: Sequence[ReportLabels], agreed: Sequence[Agreement]) -> dict[str, Any]:
    from dataclasses import asdict

    said: dict[str, Any] = {
        "studies": [
            {"path": str(one.path), "labels": labels.present, "uncertain": labels.uncertain, "evidence": labels.evidence()}
            for one, labels in zip(listed, found, strict=True)
        ],
        "refused": sum(len(labels.refused) for labels in found),
    }
    if agreed:
        said["check"] = {row.name: {**asdict(row), "precision": row.precision, "recall": row.recall} for row in agreed}
    return said


def _tell(listed: Sequence[Reported], found: Sequence[ReportLabels], agreed: Sequence[Agreement], explain: bool, out: Path | None) -> None:
    if explain:
        for one, labels in zip(listed, found, strict=True):
            print(f"{one.path}: {', '.join(labels.present) or 'none'}")
            for item in labels.labels:
                print(f"  {item.name} ({item.state}, {item.section}): {item.sentence}")
    if agreed:
        rows: list[tuple[str, ...]] = [("NAME", "right", "missed", "invented", "left open", "precision", "recall")]
        rows += [
            (row.name, *map(str, (row.right, row.missed, row.invented, row.uncertain)), *map(_share, (row.precision, row.recall)))
            for row in agreed
        ]
        right, missed, invented = (sum(getattr(row, key) for row in agreed) for key in ("right", "missed", "invented"))
        rows.append(("all", *map(str, (right, missed, invented)), "", _share(_part(right, invented)), _share(_part(right, missed))))
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows))
    empty, left_open = sum(not labels.present for labels in found), sum(bool(labels.uncertain) for labels in found)
    refused = sum(len(labels.refused) for labels in found)
    print(f"{len(found)} reports: {empty} without any label, {left_open} with something left open" + (f"; {out}" if out else "") + ".")
    if refused:
        print(f"{refused} lines of the language model were no answer to the question and not heard.")


def _part(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
