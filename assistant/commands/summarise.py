"""`prima summarise`: each report as the numbered list of its findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assistant.commands.label import Model


def summarise(
    manifest: Annotated[Path | None, typer.Argument(metavar="[MANIFEST.csv]", help="CSV: path, report (text or a path to it).")] = None,
    studies: Annotated[Path | None, typer.Option(help="Folder of study folders with report.txt, in place of a list.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV to write: the list with summary and summary_by; None = print.")] = None,
    llm: Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reports shortened to what they find, for training and for reading: each finding once, nothing normal unless nothing else is said."""
    import json
    from dataclasses import asdict

    from assistant import summary
    from assistant.commands.label import asker, reported
    from assistant.reported import write

    listed, ask = reported(manifest, studies), asker(llm)
    made = [summary.summarise(one.report, ask) for one in listed]
    if out is not None:
        write(out, listed, [{"summary": one.text(), "summary_by": one.by} for one in made])
    if as_json:
        print(json.dumps([{"path": str(one.path), **asdict(said)} for one, said in zip(listed, made, strict=True)]))
        return
    if out is None:
        print("\n\n".join(f"{one.path}:\n{said.text()}" for one, said in zip(listed, made, strict=True)))
        return
    refused = sum(said.refused is not None for said in made)
    print(f"{out}: {len(made)} reports, {sum(said.by == 'model' for said in made)} by the language model, {refused} of its lists refused.")
