"""Studies with their reports, as a list or a folder gives them, and the statements of a report."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from assistant.errors import UsageError
from assistant.labelled import Labelled, diagnoses_of, report_file
from assistant.table import read_table
from index.sections import HEADING, split

# Lines of a text without headings that speak of the request, the protocol or the comparison, not of the images.
_ASIDE = re.compile(
    r"^(?:(?:clinical )?(?:history|indication|information|details|question)|reason for (?:the )?(?:exam\w*|study)|technique|protocol|"
    r"comparison|exam(?:ination)?|procedure|(?:we )?recommend(?:ation)?)\b|"
    r"\b(?:sequences?|images?|series|contrast|gadolinium) (?:were|was) (?:acquired|obtained|performed|given|administered)\b",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"^(?:as )?(?:in )?compar(?:ed|ison) (?:to|with) [^,]*, *", re.IGNORECASE)  # what follows is seen
_HEADING = re.compile(r"(?<=[.!?]) +(?=[A-Z]{4,}[A-Z ]*:)")  # a heading in the middle of a line
_ITEM = re.compile(r"^\s*(?:\(?\d{1,2}[.)]|[-*•])\s+", re.MULTILINE)
# A full stop ends a sentence before a capital, but not behind "No." or "approx." or a figure's own point.
_END = re.compile(r"(?<=[.!?])(?<!\bNo\.)(?<!\bapprox\.)\s+(?=[A-Z0-9(\"'])")


@dataclass(frozen=True)
class Statement:
    """One sentence of a report. section: "findings" or "impression"; no other section speaks of what is seen."""

    section: str
    text: str


@dataclass(frozen=True)
class Reported:
    """A study and its report. row: the list's own columns, empty for a folder. truth: names known to be there; None = not stated."""

    path: Path
    report: str
    row: Mapping[str, str] = field(default_factory=dict)
    truth: frozenset[str] | None = None


def statements(report: str) -> tuple[Statement, ...]:
    """The sentences of findings, then of impression; numbering is dropped, and so is what speaks of request, protocol or comparison."""
    text = _HEADING.sub("\n", report)
    sections = split(text)
    told = {"findings": sections.findings or _preface(text), "impression": sections.impression}
    return tuple(Statement(name, sentence) for name, said in told.items() for sentence in _sentences(said) if not _ASIDE.search(sentence))


def from_manifest(manifest: Path) -> tuple[Reported, ...]:
    """Rows of a list: path, and report (text, or a path to it); a column labels becomes the truth. Paths are relative to the file.

    Raises UsageError, naming the line, for what cannot be read.
    """
    table = read_table(manifest)
    if missing := {"path", "report"} - set(table.columns):
        raise UsageError(f"{manifest}: expected the columns path and report, found {sorted(table.columns)}; {sorted(missing)} missing.")
    return tuple(_listed(manifest, number, row) for number, row in enumerate(table.rows, start=2))


def from_folder(folder: Path) -> tuple[Reported, ...]:
    """Every folder below `folder` with a report.txt; truth.json beside it is the truth. Raises UsageError where there is none."""
    found = sorted(folder.rglob("report.txt"))
    if not found:
        raise UsageError(f"{folder}: expected study folders with report.txt, found none. Is it the folder above the studies?")
    return tuple(Reported(path.parent, _read(path, str(path)), truth=_stated(path.with_name("truth.json"))) for path in found)


def report_of(study: Labelled) -> str:
    """The report that the list names, or report.txt in the study's folder. Raises UsageError where there is none."""
    where = f"{study.path} (a column report in the list, or report.txt)"
    return _read(study.path / "report.txt", where) if study.report is None else text_of(Path(), study.report, where)


def text_of(home: Path, cell: str, where: str) -> str:
    """The report that a cell of a column report holds or names, from `home`. Raises UsageError, saying where, unless it is text."""
    file = report_file(home, cell)
    return cell if file is None else _read(file, where)


def visible(truth: Mapping[str, object]) -> frozenset[str]:
    """The names of a phantom's truth that its report can know of: what no acquired series shows is left out; children make parents true."""
    findings, diagnoses = truth.get("findings", ()), truth["diagnoses"]
    if not isinstance(findings, list | tuple) or not isinstance(diagnoses, list | tuple):
        raise TypeError("findings and diagnoses are lists")
    hidden = {finding["name"] for finding in findings if not finding["visible_on"]} - {
        finding["name"] for finding in findings if finding["visible_on"]
    }
    return diagnoses_of({*diagnoses, *(finding["name"] for finding in findings)} - hidden)


def write(out: Path, listed: Sequence[Reported], added: Sequence[Mapping[str, str]]) -> None:
    """The list again, as CSV, with columns added or replaced and paths relative to `out`. Raises UsageError where it cannot be written."""
    rows = [{**one.row, **_relative(one, out), **new} for one, new in zip(listed, added, strict=True)]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["path"]
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, names, restval="")
            table.writeheader()
            table.writerows(rows)
        os.replace(part, out)
    except OSError as error:
        raise UsageError(f"--out: expected a file that can be written, found {out}: {error.strerror}.") from error


def _preface(text: str) -> str:
    """What stands before the first heading: the findings, where no section is called so."""
    return "\n".join(takewhile(lambda line: not HEADING.match(line), text.replace("\r", "").split("\n")))


def _sentences(text: str) -> Iterable[str]:
    for block in re.split(r"\n\s*\n|(?=^\s*(?:\(?\d{1,2}[.)]|[-*•])\s)", text, flags=re.MULTILINE):
        line = " ".join(_ITEM.sub("", block).split())
        for sentence in _END.split(line):
            seen = _COMPARED.sub("", sentence.strip())
            if re.search(r"[A-Za-z]{2}", seen):
                yield seen[0].upper() + seen[1:]


def _listed(manifest: Path, number: int, row: dict[str, str]) -> Reported:
    report = row["report"].strip()
    if not row["path"].strip() or not report:
        raise UsageError(f"{manifest}, line {number}: expected a path and a report, found {row['path']!r} and {report[:40]!r}.")
    if file := report_file(manifest.parent, report):
        row, report = {**row, "report": str(file)}, _read(file, f"{manifest}, line {number}")
    truth = diagnoses_of(row["labels"].split(";")) if "labels" in row else None
    return Reported(manifest.parent / row["path"].strip(), report, row, truth)


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: expected its report as text in UTF-8, found {path}: {error}.") from error


def _stated(truth: Path) -> frozenset[str] | None:
    if not truth.exists():
        return None
    try:
        return visible(json.loads(truth.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{truth}: expected the truth that `prima phantom` writes, found {type(error).__name__}: {error}.") from error


def _relative(one: Reported, out: Path) -> dict[str, str]:
    """Paths as the new list has to say them."""

    def said(path: Path) -> str:
        return os.path.relpath(path, out.parent)

    row = {"path": said(one.path), "report": one.row.get("report", "")}
    if not one.row:
        row["report"] = said(one.path / "report.txt")
    elif row["report"] != one.report and (file := report_file(Path(), row["report"])):
        row["report"] = said(file)
    return row
