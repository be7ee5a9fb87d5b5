"""`prima report`: studies in, checked and cited drafts out."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from assistant.assistant import Assistant
    from assistant.result import Result
    from encoder.precision import Asked
    from encoder.study import Study

_LONGEST_PRIOR = 20_000  # characters of a prior report's text that are read


def report(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Studies: folders, zips or files; a folder may hold several.")],
    encoder: Annotated[Path | None, typer.Option(help="Encoder folder; the shipped demo weights unless told.")] = None,
    precision: Annotated[
        str, typer.Option(help="The encoder's numbers: float32 (exact), bfloat16 (faster where the processor has it), or auto.")
    ] = "auto",
    index: Annotated[Path | None, typer.Option(help="Index of prior cases; the shipped demo index unless told.")] = None,
    llm: Annotated[str | None, typer.Option(metavar="NAME_OR_DIR", help="Causal language model; the shipped one unless told.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Adapter folder that belongs to the encoder and the model.")] = None,
    indication: Annotated[str | None, typer.Option(help="Why the study was asked for.")] = None,
    prior: Annotated[
        str | None, typer.Option(metavar="PATH_OR_CASE", help="Prior report: a text file, a folder with report.txt, or a case id.")
    ] = None,
    age: Annotated[float | None, typer.Option(help="Age in years; replaces what the files say.", min=0, max=120)] = None,
    sex: Annotated[str | None, typer.Option(help="F, M or O; replaces what the files say.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of any sampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a study, one a line.")] = False,
    hide: Annotated[
        str, typer.Option(help="For evaluation: keep scores, cases from the model, or bypass the gate (comma-separated).")
    ] = "",
) -> None:
    """Draft a report for each study. Research use only; every draft must be reviewed by a qualified clinician."""
    from assistant.errors import AssistantError, UsageError
    from assistant.evidence import HIDEABLE
    from encoder.errors import EncoderError
    from encoder.reading import read_studies
    from encoder.study import Context

    hidden = frozenset(part.strip() for part in hide.split(",") if part.strip())
    if hidden - HIDEABLE:
        raise UsageError(f"--hide: expected some of {', '.join(sorted(HIDEABLE))}, found {', '.join(sorted(hidden - HIDEABLE))}.")
    if sex is not None and sex.upper() not in ("F", "M", "O"):
        raise UsageError(f"--sex: expected F, M or O, found {sex!r}.")
    given = Context(age=age, sex=sex.upper() if sex else None, indication=indication)
    assistant: Assistant | None = None
    failed = False
    for path in paths:
        _progress(f"reading {path}")
        try:
            studies = read_studies(path, given)
        except EncoderError as error:
            failed = _tell(error)
            continue
        for study in studies:
            assistant = assistant or _opened(
                encoder, index, llm, adapter, precision
            )  # parts that do not fit end the command: no study would go
            try:
                _draft(assistant, _with_prior(study, prior, assistant), seed, hidden, as_json)
            except (AssistantError, EncoderError) as error:
                failed = _tell(error)
    if failed:
        raise typer.Exit(2)


def _opened(encoder: Path | None, index: Path | None, llm: str | None, adapter: Path | None, precision: str) -> Assistant:
    from assistant.assistant import Assistant

    _progress("opening the models")
    return Assistant.open(encoder, index, llm, adapter, cast("Asked", precision))


def _with_prior(study: Study, prior: str | None, assistant: Assistant) -> Study:
    """The study with its prior's text. Raises UsageError where the name is neither a readable file or folder nor a case."""
    if prior is None:
        return study
    from dataclasses import replace

    from assistant.errors import UsageError

    path = Path(prior)
    text = path / "report.txt" if path.is_dir() else path
    if text.is_file():
        said = text.read_text(encoding="utf-8", errors="replace")[:_LONGEST_PRIOR]
    elif prior in assistant.index:
        past = assistant.index.get(prior).report
        said = " ".join(part for part in (past.findings, past.impression) if part)
    else:
        raise UsageError(f"--prior: expected a text file, a folder with report.txt or a case id of the index, found {prior!r}.")
    return replace(study, context=replace(study.context, prior=said))


def _draft(assistant: Assistant, study: Study, seed: int, hidden: frozenset[str], as_json: bool) -> None:
    from assistant.result import Finished, Reasoning, Stage

    thinking = False
    for event in assistant.report(study, seed=seed, hide=hidden):
        if isinstance(event, Stage):
            _progress(event.name)
        elif isinstance(event, Reasoning) and not as_json:
            if not thinking:
                print("REASONING, as it is written; what the check finds stands at the end")
                thinking = True
            print(event.text, end="", flush=True)
        elif isinstance(event, Finished):
            _print(event.result, as_json, after_thinking=thinking)


def _print(result: Result, as_json: bool, *, after_thinking: bool) -> None:
    from assistant.rendering import human

    if as_json:
        print(json.dumps(result.to_json(), allow_nan=False, ensure_ascii=False), flush=True)
        return
    if after_thinking:
        print("\n")
    print("\n\n".join(human(result)), end="\n\n", flush=True)


def _progress(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


def _tell(error: Exception) -> bool:
    print(textwrap.shorten(f"prima: {error}", 2000), file=sys.stderr, flush=True)
    return True
