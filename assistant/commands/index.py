"""`prima index`: build an index of prior reports, add to it, search it, verify it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from encoder.encoder import StudyEncoder
    from index.building import Built, Intake, Listed
    from index.case import Neighbour
    from index.query import Query, Where
    from index.store import CaseIndex

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Manifest = Annotated[
    Path | None, typer.Option("--from", help="CSV with columns path, report (text or file), and if known labels (;), age, sex, patient.")
]
Studies = Annotated[
    Path | None, typer.Option("--studies", help="Folder of study folders, each with report.txt (and truth.json with labels).")
]
EncoderFolder = Annotated[Path | None, typer.Option("--encoder", help="Encoder folder; the shipped demo weights unless told.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make, without an index as yet.")],
    manifest: Manifest = None,
    studies: Studies = None,
    encoder: EncoderFolder = None,
    precision: Annotated[
        float | None,
        typer.Option(
            help="Share of similar cases that must agree in a label; unless told, the highest that leaves most one.", min=0.05, max=1.0
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build an index: read and encode every study, keep its report, find the similarity worth calling similar."""
    from encoder.encoder import Encoder
    from index import building
    from index.errors import IndexStoreError
    from index.store import refuse_existing

    refuse_existing(folder)
    listed = _listed(manifest, studies)
    weights = Encoder.load(encoder)
    command = f"prima index build {'--from' if manifest else '--studies'} {(manifest or studies or folder).name}"
    made, outcome = building.build(folder, listed, _intake(weights, len(listed)), weights.hash, command)
    made.tower = text_tower(encoder)
    try:
        made.calibrate(precision)
    except IndexStoreError as error:
        typer.echo(f"Not calibrated, so a search returns its k cases however unlike: {error}", err=True)
    _tell(made, outcome, as_json)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="The index to add to.")],
    manifest: Manifest = None,
    studies: Studies = None,
    encoder: EncoderFolder = None,
    as_json: AsJson = False,
) -> None:
    """Add studies to an index; those it holds already are passed over, so an interrupted run can be repeated."""
    from encoder.encoder import Encoder
    from index import building
    from index.store import CaseIndex

    listed = _listed(manifest, studies)
    weights = Encoder.load(encoder)
    opened = CaseIndex.open(folder, weights.hash)
    _tell(opened, building.extend(opened, listed, _intake(weights, len(listed))), as_json)


@app.command()
def search(
    folder: Annotated[Path | None, typer.Argument(metavar="[INDEX]", help="The index; the shipped demo index unless told.")] = None,
    study: Annotated[Path | None, typer.Option(help="Find cases like this study (folder, zip or file).")] = None,
    text: Annotated[str | None, typer.Option(help="Find cases whose report says this, or whose images fit it.")] = None,
    case: Annotated[str | None, typer.Option(metavar="ID", help="Find cases like this one of the index.")] = None,
    k: Annotated[int, typer.Option("-k", help="Cases at most.", min=1)] = 5,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="diagnosis, age_band, sex, sequence, or at_least (similarity); repeatable."),
    ] = None,
    same_patient: Annotated[bool, typer.Option("--same-patient", help="Also cases of the study's own patient.")] = False,
    diversity: Annotated[float, typer.Option(help="0 = the most alike, towards 1 = unlike each other.", min=0.0, max=1.0)] = 0.0,
    encoder: EncoderFolder = None,
    as_json: AsJson = False,
) -> None:
    """Search an index for similar cases; none is a possible answer."""
    import json
    from dataclasses import replace

    from assistant.errors import UsageError
    from index.store import DEMO, CaseIndex

    if not (study or text or case):
        raise UsageError("Nothing to search for: give --study PATH, --text WORDS or --case ID.")
    if study and case:
        raise UsageError("Both --study and --case given: expected one of them (--text may go with either).")
    opened = CaseIndex.open(folder or DEMO)
    if text:
        opened.tower = _tower_of(opened, encoder)
    filters = replace(_where(where or [], opened), same_patient=same_patient)
    neighbours = opened.search(_query(opened, study, text, case, diversity, encoder), k, filters)
    if as_json:
        print(json.dumps(_as_object(opened, neighbours, filters)))
        return
    for hit in neighbours:
        names = ", ".join(hit.case.diagnoses) or "no diagnosis"
        print(f"{hit.rank}. {hit.case.id}  {names}  ({hit.case.age_band or 'age unknown'}, {hit.case.sex or 'sex unknown'})\n   {hit.why}")
        print(f"   {' '.join(hit.case.report.impression.split())}")
    if not neighbours:
        print("Nothing similar in this index.")


@app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(metavar="[INDEX]", help="The index; the shipped demo index unless told.")] = None,
    repair: Annotated[bool, typer.Option(help="Write vectors.faiss anew from SQLite first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every digest and every vector of an index, and its search against brute force; exit code 2 where something is wrong."""
    import json
    from dataclasses import asdict

    from index.errors import CorruptIndex
    from index.store import DEMO, CaseIndex

    opened = CaseIndex.open(folder or DEMO)
    if repair:
        opened.compact()
    result = opened.verify()
    if as_json:
        print(json.dumps({"index": str(opened.folder), "ok": result.ok, **asdict(result), "info": asdict(opened.info)}))
    elif result.ok:
        info = opened.info
        print(f"{opened.folder}: {info.count} cases, build {info.build[:12]}, encoder {info.encoder[:12]}: sound.")
    if not result.ok:
        raise CorruptIndex(
            f"{opened.folder}: {'; '.join(result.problems)}. Restore index.sqlite, or where only FAISS is named, use --repair."
        )


def _listed(manifest: Path | None, studies: Path | None) -> list[Listed]:
    from assistant.errors import UsageError
    from index.building import from_folder, from_manifest

    if (manifest is None) == (studies is None):
        raise UsageError("Where are the studies? Give --from MANIFEST.csv or --studies FOLDER, one of them.")
    path = manifest or studies
    if path is None or not path.exists():
        raise UsageError(f"{path}: no such file or folder.")
    return list(from_manifest(path) if manifest else from_folder(path))  # a fault in line 900 is found before an hour of encoding


def _intake(weights: StudyEncoder, total: int) -> Intake:
    from encoder.reading import read_study
    from index.building import Intake

    done = itertools.count(1)
    return Intake(read_study, weights.encode, lambda message: typer.echo(f"[{next(done)}/{total}] {message}", err=True))


def _tell(index: CaseIndex, outcome: Built, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    info = index.info
    if as_json:
        print(json.dumps({"index": str(index.folder), **asdict(outcome), "info": asdict(info)}))
        return
    print(f"{index.folder}: {outcome.added} added, {outcome.known} there already, {len(outcome.skipped)} skipped; {info.count} cases.")
    if made := info.calibration:
        print(f"Similar means {made.similarity:.3f} or more: {made.precision:.0%} of such pairs share a label.")
        print(f"{made.coverage:.0%} of the cases have a similar one.")


def text_tower(encoder: Path | None) -> Any:
    """The text tower beside the encoder's weights, or None where there is none: keyword search goes on without."""
    from encoder.encoder import SHIPPED
    from index.text import TextTower

    folder = (encoder or SHIPPED) / "text"
    return TextTower(folder) if folder.is_dir() else None


def _tower_of(index: CaseIndex, encoder: Path | None) -> Any:
    """The tower, where it belongs to the index's encoder: another's words lie in another space."""
    from encoder.encoder import Encoder
    from index.errors import EncoderMismatch

    tower = text_tower(encoder)
    if tower is None or Encoder.load(encoder).hash == index.info.encoder:
        return tower
    if encoder is not None:
        raise EncoderMismatch(
            f"{encoder}: not the encoder that built {index.folder}; give its own with --encoder, or none for keywords alone."
        )
    typer.echo("Searching keywords only: the shipped text tower is not of this index's encoder (--encoder names its own).", err=True)
    return None


def _query(index: CaseIndex, study: Path | None, text: str | None, case: str | None, diversity: float, encoder: Path | None) -> Query:
    from encoder.encoder import Encoder
    from encoder.reading import read_study
    from index.errors import EncoderMismatch
    from index.query import Query, patient_of

    if case is not None:
        known = index.get(case)
        return Query(known.embedding, known.sequence_vectors, known.sequences, text=text, patient=known.patient, diversity=diversity)
    if study is None:
        return Query(text=text, diversity=diversity)
    weights = Encoder.load(encoder)
    if weights.hash != index.info.encoder:
        raise EncoderMismatch(
            f"{index.folder}: built by encoder {index.info.encoder[:12]}, asked by {weights.hash[:12]}; give its own with --encoder."
        )
    read = read_study(study)
    return Query.of(weights.encode(read), patient_of(read), text, diversity)


def _where(pairs: list[str], index: CaseIndex) -> Where:
    from assistant.errors import UsageError
    from index.query import Where

    filters: dict[str, Any] = {}
    facets = index.facets()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in (*facets, "at_least"):
            raise UsageError(f"--where {pair}: expected NAME=VALUE with NAME one of {', '.join((*facets, 'at_least'))}.")
        if name == "at_least":
            try:
                filters[name] = float(value)
            except ValueError as error:
                raise UsageError(f"--where {pair}: expected a similarity from -1 to 1.") from error
        else:
            if name != "sequence" and value not in facets[name]:
                raise UsageError(f"--where {pair}: this index has no such {name}; it has {', '.join(facets[name])}.")
            filters[name] = value
    return Where(**filters)


def _as_object(index: CaseIndex, neighbours: tuple[Neighbour, ...], where: Where) -> dict[str, Any]:
    info = index.info
    calibrated = info.calibration.similarity if info.calibration else None
    return {
        "index": str(index.folder),
        "build": info.build,
        "at_least": calibrated if where.at_least is None else where.at_least,
        "cases": [
            {
                "id": hit.case.id,
                "rank": hit.rank,
                "similarity": hit.similarity,
                "diagnoses": hit.case.diagnoses,
                "why": hit.why,
                "age_band": hit.case.age_band,
                "sex": hit.case.sex,
                "sequences": hit.case.sequences,
                "findings": hit.case.report.findings,
                "impression": hit.case.report.impression,
                "source": hit.case.source,
            }
            for hit in neighbours
        ],
    }
