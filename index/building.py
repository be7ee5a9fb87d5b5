"""From studies with reports to an index: what is known of each study becomes a case."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from encoder.errors import StudyError
from encoder.features import StudyFeatures
from encoder.identity import pseudonyms
from encoder.study import Study
from index.case import Case, ReportSections
from index.errors import IndexStoreError
from index.pictures import key_pictures
from index.query import patient_of
from index.sections import split
from index.store import CaseIndex, refuse_existing

BATCH = 32  # cases a transaction: what a kill can cost


@dataclass(frozen=True)
class Listed:
    """A study to be indexed, before it is read: where it lies, its report, its labels, and what the list says of the patient."""

    path: Path
    report: str
    diagnoses: tuple[str, ...] = ()
    age: float | None = None
    sex: str | None = None
    patient: str | None = None


@dataclass(frozen=True)
class Built:
    """What building did. skipped: (path, reason) of studies that could not be read; known: how many were in the index already."""

    added: int
    known: int
    skipped: tuple[tuple[str, str], ...]


def case_of(
    study: Study,
    features: StudyFeatures,
    report: ReportSections,
    diagnoses: tuple[str, ...],
    *,
    id: str | None = None,
    source: str | None = None,
    marked: Iterable[tuple[str, int]] | None = None,
) -> Case:
    """The case that a study makes.

    marked: (series name, slice index) worth a key picture; None = where the encoder located a diagnosis.
    """
    negative = {score.name for score in features.scores if not score.positive}
    located = [(place.series, place.slice) for place in features.locations if place.diagnosis not in negative]
    return Case(
        id=id or case_id(study),
        patient=patient_of(study),
        report=report,
        diagnoses=diagnoses,
        age_band=age_band(study.context.age),
        sex=study.context.sex,
        sequences=features.names,
        source=source,
        pictures=key_pictures(study, located if marked is None else marked),
        embedding=features.embedding,
        sequence_vectors=features.sequences,
    )


def case_id(study: Study) -> str:
    """A short id that stays with the study and says nothing of the patient."""
    return "".join(letter for letter in study.key if letter.isalnum())[:12]


def age_band(age: float | None) -> str | None:
    """Decade of an age in years; from 90 on one band, since so few people reach it."""
    if age is None:
        return None
    decade = int(age) // 10 * 10
    return "90+" if decade >= 90 else f"{decade}-{decade + 9}"


def from_folder(folder: Path) -> Iterator[Listed]:
    """Every study folder below `folder`: one that holds report.txt, with its labels from truth.json where there is one."""
    reports = sorted(folder.rglob("report.txt"))
    if not reports:
        raise IndexStoreError(f"{folder}: expected study folders with report.txt, found none. Is it the folder above the studies?")
    for path in reports:
        truth = path.with_name("truth.json")
        diagnoses = json.loads(truth.read_text(encoding="utf-8"))["diagnoses"] if truth.exists() else ()
        yield Listed(path.parent, path.read_text(encoding="utf-8"), tuple(diagnoses))


def from_manifest(manifest: Path) -> Iterator[Listed]:
    """Rows of a CSV: path, report (text, or a path to it); where given labels (separated by ;), age, sex, patient.

    Paths are relative to the file.
    """
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        missing = {"path", "report"} - set(table.fieldnames or ())
        if missing:
            raise IndexStoreError(f"{manifest}: expected the columns path and report, found {table.fieldnames}; {sorted(missing)} missing.")
        for number, row in enumerate(table, start=2):
            yield _listed(
                manifest, number, {name: (value or "").strip() for name, value in row.items() if isinstance(value, str) or value is None}
            )


def _listed(manifest: Path, number: int, row: dict[str, str]) -> Listed:
    report, age = row["report"], row.get("age", "")
    if not row["path"] or not report:
        raise IndexStoreError(f"{manifest}, line {number}: expected a path and a report, found {row['path']!r} and {report[:40]!r}.")
    try:
        years = float(age) if age else None
    except ValueError as error:
        raise IndexStoreError(f"{manifest}, line {number}: expected an age in years, found {age!r}.") from error
    if "\n" not in report and len(report) < 500 and (manifest.parent / report).is_file():
        report = (manifest.parent / report).read_text(encoding="utf-8")
    labels = tuple(name.strip() for name in row.get("labels", "").split(";") if name.strip())
    return Listed(manifest.parent / row["path"], report, labels, years, row.get("sex") or None, row.get("patient") or None)


@dataclass
class Intake:
    """Turns listed studies into cases, one at a time; counts what it passes over.

    read, encode: path -> study -> features. seen: ids of cases that are not to be made again. progress: told of each study.
    A study that cannot be read is skipped and named in `skipped`, (path, reason).
    """

    read: Callable[[Path], Study]
    encode: Callable[[Study], StudyFeatures]
    progress: Callable[[str], None] = lambda _: None
    seen: set[str] = field(default_factory=set)
    known: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def cases(self, listed: Iterable[Listed]) -> Iterator[Case]:
        """The cases, each read and encoded when it is asked for."""
        for entry in listed:
            try:
                study = self.read(entry.path)
                if case_id(study) in self.seen:
                    self.known += 1
                    self.progress(f"{entry.path}: there already")
                    continue
                made = _case(entry, study, self.encode(study))
            except StudyError as error:
                self.skipped.append((str(entry.path), str(error)))
                self.progress(f"{entry.path}: skipped: {error}")
                continue
            self.seen.add(made.id)
            self.progress(f"{entry.path}: encoded as {made.id}")
            yield made


def build(folder: Path, listed: Iterable[Listed], intake: Intake, encoder: str, command: str) -> tuple[CaseIndex, Built]:
    """Make an index of the listed studies; encoder: the hash of the weights behind `intake.encode`.

    A kill leaves an index of what was done so far, to which `extend` adds the rest. Raises IndexStoreError where the folder holds
    an index or no study could be read; nothing is written then.
    """
    refuse_existing(folder)
    cases = intake.cases(listed)
    first = next(cases, None)
    if first is None:
        raise IndexStoreError(
            f"Expected studies to index, could read none. {' '.join(f'{path}: {reason}' for path, reason in intake.skipped[:3])}"
        )
    index = CaseIndex.create(folder, encoder, first.embedding.shape[0], first.sequence_vectors.shape[1], command)
    return index, _pour(chain([first], cases), index, intake)


def extend(index: CaseIndex, listed: Iterable[Listed], intake: Intake) -> Built:
    """Add the listed studies that the index does not hold yet. The index must have been opened with the hash of `intake`'s encoder."""
    intake.seen |= set(index.ids())
    return _pour(intake.cases(listed), index, intake)


def _pour(cases: Iterator[Case], index: CaseIndex, intake: Intake) -> Built:
    added = 0
    while batch := list(islice(cases, BATCH)):
        added += index.add(batch)
    index.compact()
    return Built(added, intake.known, tuple(intake.skipped))


def _case(entry: Listed, study: Study, features: StudyFeatures) -> Case:
    context = study.context
    stated = replace(context, age=context.age if entry.age is None else entry.age, sex=entry.sex or context.sex)
    patient = pseudonyms().of("patient", entry.patient) if entry.patient else study.patient
    study = replace(study, context=stated, patient=patient)
    return case_of(study, features, split(entry.report), entry.diagnoses)
