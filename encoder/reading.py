"""A path to studies: which files belong to which study, what is used of them, and why the rest is not."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from encoder import dicom, nifti
from encoder.archive import Found, opened
from encoder.decoding import Decoder
from encoder.dicom import Outcome, digest
from encoder.errors import StudyError
from encoder.facts import Facts
from encoder.frames import Frame, Image, Patient, UnreadableFile, read_header
from encoder.identity import Pseudonyms, pseudonyms
from encoder.naming import unique, without_identity
from encoder.selection import CONVERTED, LABELS, reason_against
from encoder.study import Context, Excluded, Series, Study

Paths = Path | Sequence[Path]
Headers = list[tuple[Image, tuple[Frame, ...], str | None]]

NO_SERIES = "(no series)"
NIFTI_NAMES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
DATE = re.compile(r"\b\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b|\b(?:19|20)\d{6}\b")
LONGEST_REASON = 200  # characters of why a study was asked for
DICOM_NAMES = (".dcm", ".dicom", ".ima")
# Data sets without the 128-byte preamble begin with a group 0002 or 0008 element, in either byte order.
BARE_DICOM = re.compile(rb"(?s)[\x02\x08]\x00.\x00(?:[A-Z]{2}|..\x00\x00)|\x00[\x02\x08]\x00.(?:[A-Z]{2}|\x00\x00)")


@dataclass(frozen=True)
class Intake:
    """A study and where each of its files went: into series, or out of the study for a reason.

    patient: who it is, for sealed keeping and exports alone; None where the files name nobody.
    """

    study: Study
    outcomes: tuple[Outcome, ...]
    patient: Patient | None = None


def read_study(path: Paths, context: Context | None = None, *, home: Path | None = None) -> Study:
    """The one study behind `path`: a folder, a zip, or image files; `context` stands before what the files say.

    home: where the site key lives (encoder/identity.py). Raises StudyError where there is no usable series or more than one
    study, UnsafeArchive for a dangerous zip.
    """
    studies = [taken.study for taken in intake(path, one=True, home=home)]
    if len(studies) > 1:
        raise StudyError(f"Expected one study; {_shown(path)} holds {len(studies)}. Give one study's folder.")
    return replace(studies[0], context=_over(studies[0].context, context))


def read_studies(path: Paths, context: Context | None = None, *, home: Path | None = None) -> tuple[Study, ...]:
    """All studies behind `path`, in the natural order of their folders; `context` stands before what the files say.

    What a study without any usable series holds is told in `excluded` of the study nearest to it.
    Raises StudyError where no study has a usable series, UnsafeArchive for a dangerous zip.
    """
    return tuple(replace(taken.study, context=_over(taken.study.context, context)) for taken in intake(path, home=home))


def read_series(path: Paths, *, home: Path | None = None) -> tuple[Series, ...]:
    """Every volume behind `path` that geometry allows, whatever its tags and names say: for comparisons, not for reports."""
    with opened(path) as found, Decoder() as decoder:
        headers = [header for file in found.files if _kind(file)[0] == "dicom" and (header := _header(file)[0]) is not None]
        outcomes = list(dicom.read_images(headers, pseudonyms(home), decoder, against=lambda _: None, min_slices=False))
    return tuple(outcome.series for outcome in outcomes if outcome.series is not None)


def intake(path: Paths, *, one: bool = False, home: Path | None = None) -> tuple[Intake, ...]:
    """Studies with the fate of every file. `one`: NIfTI files are taken as one study, whatever folders they lie in."""
    names = pseudonyms(home)
    with opened(path) as found, Decoder() as decoder:
        taken = _take_in(found, one, names, decoder)
    if not any(entry.study.series for entry in taken):
        raise StudyError(_nothing_usable(path, taken))
    return tuple(taken)


@dataclass
class _Gathered:
    """Files of one study while they are being sorted."""

    home: Path
    headers: Headers
    volumes: list[Path]
    outcomes: list[Outcome]


def _take_in(found: Found, one: bool, names: Pseudonyms, decoder: Decoder) -> list[Intake]:
    headers: Headers = []
    volumes: list[Path] = []
    leftover = [Outcome(NO_SERIES, frozenset([file]), reason=reason) for file, reason in found.others]
    for file in found.files:
        kind, reason = _kind(file)
        if kind == "dicom":
            header, reason = _header(file)
            if header is not None and not (header[0].study or header[1]):
                # An index or another object of no study (DICOMDIR): told with whatever study lies nearest.
                reason = reason_against(Facts("", header[0].modality, header[0].sop_class)) or header[2] or ""
            elif header is not None:
                headers.append(header)
                continue
        elif kind == "nifti":
            volumes.append(file)
            continue
        leftover.append(Outcome(NO_SERIES, frozenset([file]), reason=reason))
    groups = _dicom_groups(headers)
    for group in groups:
        group.outcomes += dicom.read_images(group.headers, names, decoder)
    volumes, beside = _beside_dicom(volumes, groups)
    groups += _nifti_groups(volumes, found.root, one)
    groups = groups or [_Gathered(found.root, [], [], [])]
    groups.sort(key=lambda group: (_natural(group.home), group.headers[0][0].study if group.headers else ""))
    owned = {file for volume in volumes + [v for outcome in beside for v in outcome.files] for file in nifti.sidecars_of(volume)}
    for outcome in [*beside, *(outcome for outcome in leftover if not outcome.files <= owned)]:
        _nearest(groups, next(iter(outcome.files))).outcomes.append(outcome)
    return _without_empty_studies([_read(group, names) for group in groups], [group.home for group in groups])


def _kind(file: Path) -> tuple[str, str]:
    """("dicom" | "nifti" | "", reason): told by content, and by name only where the content does not say."""
    name = file.name.lower()
    try:
        with file.open("rb") as stream:
            start = stream.read(352)
    except OSError as error:
        return "", f"cannot be opened ({type(error).__name__})"
    if not start:
        return "", "empty file"
    if start[128:132] == b"DICM":
        return "dicom", ""
    if name.endswith((".img", ".img.gz")) and not _has_header(file):
        return "", "one half of a pair, without its .hdr"
    if name.endswith(NIFTI_NAMES) or start[344:348] in (b"n+1\0", b"ni1\0") or start[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti", ""
    if BARE_DICOM.match(start):
        return "dicom", ""
    if name.endswith(DICOM_NAMES):
        return "", "named like DICOM, but not DICOM inside"
    if start.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        return "", "an archive or compressed file among the files: unpack it first"
    return "", "not an image file"


def _has_header(file: Path) -> bool:
    return any(file.with_name(nifti.stem_of(file) + ending).is_file() for ending in (".hdr", ".hdr.gz"))


def _header(file: Path) -> tuple[tuple[Image, tuple[Frame, ...], str | None] | None, str]:
    with file.open("rb") as stream:
        start = stream.read(1024)
    try:
        return read_header(file, start), ""
    except UnreadableFile as problem:
        return None, str(problem)


def _dicom_groups(headers: Headers) -> list[_Gathered]:
    """Files by StudyInstanceUID; files without one by folder."""
    groups: dict[str, Headers] = defaultdict(list)
    for header in headers:
        groups[header[0].study or str(header[0].path.parent)].append(header)
    gathered = []
    for members in groups.values():
        members.sort(key=lambda header: (header[0].instance, header[0].path))
        home = Path(os.path.commonpath([header[0].path.parent for header in members]))
        gathered.append(_Gathered(home, members, [], []))
    return gathered


def _beside_dicom(volumes: list[Path], groups: list[_Gathered]) -> tuple[list[Path], list[Outcome]]:
    """NIfTI files in the folder of a DICOM study are masks or converted copies of it; the others are studies of their own."""
    homes = [group.home for group in groups if any(outcome.series is not None for outcome in group.outcomes)]
    apart = [volume for volume in volumes if not any(volume.is_relative_to(home) for home in homes)]
    outcomes = []
    for volume in sorted(set(volumes) - set(apart)):
        labels = bool(nifti.LABEL_FOLDERS & {part.lower() for part in volume.parent.parts[-1:]})
        reason = LABELS if labels else CONVERTED
        outcomes.append(Outcome(NO_SERIES, frozenset([volume, *nifti.sidecars_of(volume)]), reason=reason))
    return apart, outcomes


def _nifti_groups(volumes: list[Path], root: Path, one: bool) -> list[_Gathered]:
    # The data half of a pair is read with its header.
    volumes = [volume for volume in volumes if not volume.name.lower().endswith((".img", ".img.gz"))]
    if one:
        return [_Gathered(root, [], volumes, [])] if volumes else []
    return [_Gathered(folder, [], members, []) for folder, members in _nifti_studies(root, volumes)]


def _nifti_studies(folder: Path, volumes: list[Path]) -> list[tuple[Path, list[Path]]]:
    """A study is the highest folder with a NIfTI file in it, a BIDS session, or a folder of folders with one file each."""
    if not volumes:
        return []
    below: dict[str, list[Path]] = defaultdict(list)
    for volume in volumes:
        below[volume.relative_to(folder).parts[0]].append(volume)
    direct = any(volume.parent == folder for volume in volumes)
    session = re.match(r"(sub|ses)-", folder.name) and not any(name.startswith("ses-") for name in below)
    series_folders = len(below) > 1 and all(len(inside) == 1 and inside[0].parent == folder / name for name, inside in below.items())
    if direct or session or series_folders:
        return [(folder, volumes)]
    return [study for name, inside in below.items() for study in _nifti_studies(folder / name, inside)]


def _natural(name: Path | str) -> tuple[tuple[int, str], ...]:
    """Sort key under which study-2 comes before study-10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(name)))


def _nearest(groups: list[_Gathered], file: Path) -> _Gathered:
    return max(groups, key=lambda group: len(Path(os.path.commonpath([group.home, file.parent])).parts))


def _read(group: _Gathered, names: Pseudonyms) -> Intake:
    volumes = [outcome for volume in group.volumes for outcome in nifti.read_nifti(volume)]
    # Renamed files keep their order: by the name the study knows them by, then by content.
    volumes.sort(key=lambda outcome: (_natural(outcome.name), _content(outcome), sorted(outcome.files)))
    outcomes = _named_once(_once(group.outcomes + volumes))
    series = tuple(outcome.series for outcome in outcomes if outcome.series is not None)
    patient = group.headers[0][0].patient if group.headers else None
    uid = group.headers[0][0].study if group.headers else ""
    study = Study(
        key=names.of("study", uid) if uid else names.of("content", *sorted(digest(volume.voxels) for volume in series)),
        patient=_patient_key(patient, names) if patient is not None else None,
        series=series,
        excluded=_excluded(outcomes),
        context=_context(patient) if patient is not None else Context(),
    )
    return Intake(study, tuple(outcomes), patient)


def _content(outcome: Outcome) -> str:
    return digest(outcome.series.voxels) if outcome.series is not None else ""


def _once(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Outcomes with volumes that are equal, voxel by voxel and in place, used once."""
    kept: list[Outcome] = []
    for outcome in outcomes:
        twin = next((other for other in kept if _same_image(outcome.series, other.series)), None)
        if twin is not None:
            outcome = Outcome(outcome.name, outcome.files, reason=f"same image as {twin.name}")
        kept.append(outcome)
    return kept


def _same_image(one: Series | None, other: Series | None) -> bool:
    if one is None or other is None or one.voxels.shape != other.voxels.shape:
        return False
    return bool(np.allclose(one.affine, other.affine, atol=0.01) and np.array_equal(one.voxels, other.voxels))


def _named_once(outcomes: list[Outcome]) -> list[Outcome]:
    used = [outcome.series.name for outcome in outcomes if outcome.series is not None]
    names = iter(unique(used))
    return [o if o.series is None else replace(o, name=(name := next(names)), series=replace(o.series, name=name)) for o in outcomes]


def _excluded(outcomes: Iterable[Outcome]) -> tuple[Excluded, ...]:
    files: dict[tuple[str, str], set[Path]] = defaultdict(set)
    for outcome in outcomes:
        if outcome.reason is not None:
            files[outcome.name, outcome.reason] |= outcome.files
    return tuple(Excluded(name, reason, len(members)) for (name, reason), members in sorted(files.items()))


def _without_empty_studies(taken: list[Intake], homes: list[Path]) -> list[Intake]:
    """What holds no usable series (masks, another modality) is no study: it is told with the study nearest to it."""
    images = [n for n, entry in enumerate(taken) if entry.study.series]
    if not images:
        return taken
    outcomes = {n: list(taken[n].outcomes) for n in images}
    for n in set(range(len(taken))) - set(images):
        host = max(images, key=lambda m: len(Path(os.path.commonpath([homes[m], homes[n]])).parts))
        outcomes[host] += taken[n].outcomes
    return [replace(taken[n], study=replace(taken[n].study, excluded=_excluded(outcomes[n])), outcomes=tuple(outcomes[n])) for n in images]


def _patient_key(patient: Patient, names: Pseudonyms) -> str | None:
    if patient.number:
        return names.of("patient", patient.number, patient.issuer)
    return names.of("patient", patient.name, patient.birth) if patient.name else None


def _context(patient: Patient) -> Context:
    description, reason = (without_identity(text, patient.identifiers) for text in (patient.description, patient.reason))
    return Context(
        age=_age(patient),
        sex=patient.sex.upper()[:1] if patient.sex.upper()[:1] in ("M", "F", "O") else None,
        indication=DATE.sub("___", reason)[:LONGEST_REASON] if re.search("[A-Za-z]", reason) else None,
        description=description if re.search("[A-Za-z]", description) else None,
    )


def _age(patient: Patient) -> float | None:
    """Age in years at the study, from PatientAge (045Y, 006M, 003W, 010D) or the two dates."""
    if stated := re.fullmatch(r"(\d{1,3})([YMWD])", patient.age.upper()):
        if int(stated[1]) == 0 and stated[2] == "Y":
            return None  # what de-identification leaves; infants' ages are stated in months or days
        age = int(stated[1]) / {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}[stated[2]]
    else:
        try:
            born, seen = (datetime.strptime(date[:8], "%Y%m%d") for date in (patient.birth, patient.study_date))
        except ValueError:
            return None
        if born == seen:
            return None  # what de-identification leaves when it sets all dates to one
        age = float(int((seen - born).days / 365.2425))
    return round(age, 2) if 0 <= age <= 120 else None


def _over(known: Context, given: Context | None) -> Context:
    """What files say, overridden by whatever was given."""
    if given is None:
        return known
    return replace(known, **{field: value for field, value in given.__dict__.items() if value is not None})


def _nothing_usable(path: Paths, taken: list[Intake]) -> str:
    files: Counter[str] = Counter()
    for entry in taken:
        for excluded in entry.study.excluded:
            files[excluded.reason] += excluded.files
    reasons = "; ".join(f"{count} file(s): {reason}" for reason, count in files.most_common(6))
    return f"Expected at least one usable MR series; found none in {_shown(path)}. {reasons}. Give a folder with MR images."


def _shown(path: Paths) -> str:
    return str(path) if isinstance(path, str | os.PathLike) else ", ".join(str(p) for p in list(path)[:3])
