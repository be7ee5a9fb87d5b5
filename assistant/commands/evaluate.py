"""`prima evaluate`: an encoder judged on labelled studies, always beside its controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from assistant.evaluate.cohort import Cohort
    from assistant.evaluate.evaluation import Question
    from assistant.evaluate.labelled import Labelled

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Studies = Annotated[Path | None, typer.Option("--studies", help="Folder of studies, each with truth.json, as `prima phantom` writes.")]
Manifest = Annotated[
    Path | None,
    typer.Option("--from", help="CSV: path, diagnoses (;), and if known referral (;), priority, age, sex, vendor, field_strength, site."),
]
EncoderFolder = Annotated[Path | None, typer.Option("--encoder", help="Encoder folder; the shipped demo weights unless told.")]
CacheFolder = Annotated[Path | None, typer.Option("--cache", help="Folder that keeps what was encoded; a second call reads no image.")]
ControlStudies = Annotated[int, typer.Option("--controls", min=10, help="Studies for each control; there is no result without them.")]
AblationStudies = Annotated[int, typer.Option("--ablations", min=0, help="Studies for each ablation; 0 = none.")]
Draws = Annotated[int, typer.Option(min=100, help="Bootstrap draws, and permutations.")]
Seed = Annotated[int, typer.Option(min=0, help="Of every draw.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def diagnosis(
    studies: Studies = None,
    manifest: Manifest = None,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    controls: ControlStudies = 100,
    ablations: AblationStudies = 50,
    draws: Draws = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How well each diagnosis is told: AUROC, AUPRC, sensitivity, calibration, by subgroup, with controls."""
    from assistant.evaluate.questions import diagnosis as question

    _answer(question(), _cohort(studies, manifest, encoder, cache, controls, ablations, seed), draws, seed, as_json)


@app.command()
def referral(
    studies: Studies = None,
    manifest: Manifest = None,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    controls: ControlStudies = 100,
    ablations: AblationStudies = 50,
    draws: Draws = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How well each specialty to refer to is told."""
    from assistant.evaluate.questions import referral as question

    _answer(question(), _cohort(studies, manifest, encoder, cache, controls, ablations, seed), draws, seed, as_json)


@app.command()
def priority(
    studies: Studies = None,
    manifest: Manifest = None,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    controls: ControlStudies = 100,
    ablations: AblationStudies = 50,
    draws: Draws = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How well urgency is told (head and rules): quadratic-weighted kappa, urgent against the rest, by level."""
    from assistant.evaluate.questions import priority as question

    _answer(question(), _cohort(studies, manifest, encoder, cache, controls, ablations, seed), draws, seed, as_json)


@app.command()
def fairness(
    studies: Studies = None,
    manifest: Manifest = None,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    controls: ControlStudies = 100,
    draws: Draws = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Whether subgroups (age, sex, vendor, field strength, site, pairs of them) are served alike; the largest gap and its interval."""
    from assistant.evaluate.questions import fairness as question

    _answer(question(), _cohort(studies, manifest, encoder, cache, controls, 0, seed), draws, seed, as_json)


@app.command()
def worklist(
    studies: Studies = None,
    manifest: Manifest = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV with true, predicted, and if known arrival and subgroup; then nothing is encoded.")
    ] = None,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    runs: Annotated[int, typer.Option(min=20, help="How often the period is simulated.")] = 100,
    weeks: Annotated[int, typer.Option(min=1, help="Length of the period, where arrivals are drawn.")] = 2,
    load: Annotated[float, typer.Option(min=0.1, max=2.0, help="Reading time that arrives, as a share of what readers have.")] = 0.9,
    rural: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of studies sent in batches, where no subgroup is given.")] = 0.2,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How long urgent studies wait, first-come and by priority; beside it true priorities (the best) and shuffled ones (the control)."""
    import json
    from dataclasses import asdict

    from assistant.errors import UsageError
    from assistant.evaluate.cohort import gather
    from assistant.evaluate.outcomes import predicted
    from assistant.evaluate.telling import told_worklist
    from assistant.evaluate.worklist import Entry, Room, from_table, simulate

    if table is not None:
        if studies or manifest:
            raise UsageError("Both --table and studies given: expected one of them.")
        entries = from_table(table)
    else:
        labelled = _labelled(studies, manifest)
        if any(one.priority is None for one in labelled):
            raise UsageError("Expected a priority for every study (a column `priority`: none, low, medium or high), found none for some.")
        members = gather(labelled, _intake(encoder, cache), controls=0, kinds=(), seed=seed).members
        entries = tuple(Entry(m.labels.priority, predicted(m), subgroup=m.labels.site) for m in members if m.labels.priority)
    result = simulate(entries, Room(load=load, rural=rural), runs=runs, weeks=weeks, seed=seed)
    print(json.dumps(asdict(result), allow_nan=False) if as_json else told_worklist(result))


def _answer(question: Question, cohort: Cohort, draws: int, seed: int, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from assistant.evaluate.evaluation import judge
    from assistant.evaluate.telling import told

    result = judge(question, cohort, draws=draws, seed=seed)
    print(json.dumps(asdict(result), allow_nan=False) if as_json else told(result))


def _cohort(
    studies: Path | None, manifest: Path | None, encoder: Path | None, cache: Path | None, controls: int, ablations: int, seed: int
) -> Cohort:
    from assistant.evaluate.cohort import gather

    return gather(_labelled(studies, manifest), _intake(encoder, cache), controls=controls, ablations=ablations, seed=seed)


def _labelled(studies: Path | None, manifest: Path | None) -> tuple[Labelled, ...]:
    from assistant.errors import UsageError
    from assistant.evaluate.labelled import from_folder, from_manifest

    if (manifest is None) == (studies is None):
        raise UsageError("Where are the studies? Give --studies FOLDER or --from MANIFEST.csv, one of them.")
    path = manifest or studies
    if path is None or not path.exists():
        raise UsageError(f"{path}: no such file or folder.")
    return from_manifest(path) if manifest else from_folder(path)


def _intake(encoder: Path | None, cache: Path | None) -> Any:
    from assistant.evaluate.cache import Cache
    from assistant.evaluate.cohort import Intake
    from encoder.encoder import Encoder
    from encoder.reading import read_study

    weights = Encoder.load(encoder)
    return Intake(weights, read_study, Cache(cache, weights.hash), lambda message: typer.echo(message, err=True))
