"""`prima evaluate`: an encoder judged on labelled studies, always beside its controls."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from assistant.evaluate.cache import Cache
    from assistant.evaluate.cohort import Cohort, Intake
    from assistant.evaluate.evaluation import Evaluation
    from assistant.labelled import Labelled
    from encoder.study import Study

FEWEST_A_PROCESS = 20  # simulated studies: for fewer, starting a process costs more than it saves

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Studies = Annotated[Path | None, typer.Option("--studies", help="Folder of studies, each with truth.json, as `prima phantom` writes.")]
Manifest = Annotated[
    Path | None,
    typer.Option("--from", help="CSV: path, labels (;), and if known referral (;), priority, age, sex, vendor, field_strength, site."),
]
Phantoms = Annotated[int, typer.Option("--phantoms", min=0, help="Simulate so many studies in memory, in place of --studies.")]
FirstSeed = Annotated[int, typer.Option("--first-seed", min=0, help="Of the simulated studies; the next has the next seed.")]
EncoderFolder = Annotated[Path | None, typer.Option("--encoder", help="Encoder folder; the shipped demo weights unless told.")]
CacheFolder = Annotated[Path | None, typer.Option("--cache", help="Folder that keeps what was encoded; a second call reads no image.")]
Seed = Annotated[int, typer.Option(min=0, help="Of every draw.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Draws = Annotated[int, typer.Option(min=100, help="Bootstrap draws, and permutations.")]
Processes = Annotated[
    int | None, typer.Option(min=1, help="That read and encode; unless told as many as cores for simulated studies, else one.")
]


QUESTIONS = {
    "diagnosis": "How well each diagnosis is told: AUROC, AUPRC, sensitivity, calibration, by name and by subgroup.",
    "referral": "How well it is told to which specialties a study is to be referred.",
    "priority": "How well urgency is told (head and rules): quadratic-weighted kappa, urgent against the rest, by level.",
    "fairness": "Whether subgroups (age, sex, vendor, field strength, site, pairs of them) are served alike; the largest gap.",
}


def _command(question: str) -> Callable[..., None]:
    """The four questions take the same options."""

    def ask(
        studies: Studies = None,
        manifest: Manifest = None,
        phantoms: Phantoms = 0,
        first_seed: FirstSeed = 90210,
        encoder: EncoderFolder = None,
        cache: CacheFolder = None,
        controls: Annotated[int, typer.Option(min=30, help="Studies for each control; there is no result without them.")] = 100,
        ablations: Annotated[int, typer.Option(min=0, help="Studies for each ablation; 0 = none.")] = 50,
        beside: Annotated[
            Path | None, typer.Option(metavar="DIR2", help="Another encoder, on the same studies: paired differences.")
        ] = None,
        processes: Processes = None,
        draws: Draws = 1000,
        seed: Seed = 0,
        diagram: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw reliability there, a panel a name.")] = None,
        as_json: AsJson = False,
    ) -> None:
        import json
        from dataclasses import asdict

        from assistant.evaluate import questions
        from assistant.evaluate.evaluation import judge
        from assistant.evaluate.telling import told
        from assistant.labelled import require

        source, asked = Source(studies, manifest, phantoms, first_seed, processes), getattr(questions, question)()
        labelled = source.labelled(cache)
        require(labelled, *asked.labels)
        if beside:
            source.intake(beside, cache)  # weights that are none are found before an hour of encoding with the others
        cohort = source.cohort(labelled, encoder, cache, controls=controls, ablations=ablations, seed=seed)
        other = source.cohort(labelled, beside, cache, controls=0, kinds=(), seed=seed) if beside else None
        result = judge(asked, cohort, draws=draws, seed=seed, beside=other)
        if diagram is not None:
            _draw(result, diagram)
        print(json.dumps(asdict(result), allow_nan=False) if as_json else told(result))

    return ask


for _name, _help in QUESTIONS.items():
    app.command(_name, help=f"{_help} Always beside its controls.")(_command(_name))


@app.command()
def retrieval(
    studies: Studies = None,
    manifest: Manifest = None,
    phantoms: Phantoms = 0,
    first_seed: FirstSeed = 90210,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    controls: Annotated[int, typer.Option(min=30, help="Studies shown as noise; there is no result without them.")] = 100,
    processes: Processes = None,
    draws: Draws = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How well a study finds its own report among all, and studies with its diagnosis. Always beside its floors.

    Reports: report.txt beside the images, or a column report of the list (text or a path). Labels not listed are taken from the reports.
    """
    import json
    from dataclasses import asdict

    from assistant.commands.index import text_tower
    from assistant.evaluate.cohort import NOISE
    from assistant.evaluate.retrieval import judge
    from assistant.evaluate.telling import told_retrieval
    from assistant.reported import report_of

    source = Source(studies, manifest, phantoms, first_seed, processes)
    labelled, tower = source.labelled(cache), text_tower(encoder)
    for one in labelled:
        if tower is not None or one.diagnoses is None:
            report_of(one)  # one that is missing is found before an hour of encoding
    cohort = source.cohort(labelled, encoder, cache, controls=controls, kinds=(NOISE,), seed=seed)
    result = judge(cohort, tower, draws=draws, seed=seed)
    print(json.dumps(asdict(result), allow_nan=False) if as_json else told_retrieval(result))


@app.command()
def worklist(
    studies: Studies = None,
    manifest: Manifest = None,
    phantoms: Phantoms = 0,
    first_seed: FirstSeed = 90210,
    table: Annotated[
        Path | None, typer.Option(help="CSV with true, predicted, and if known arrival and subgroup; then nothing is encoded.")
    ] = None,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    processes: Processes = None,
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
    from assistant.evaluate.outcomes import predicted
    from assistant.evaluate.telling import told_worklist
    from assistant.evaluate.worklist import Entry, Room, from_table, simulate
    from assistant.labelled import require
    from encoder.features import Priority

    if table is not None:
        if studies or manifest or phantoms:
            raise UsageError("Both --table and studies given: expected one of them.")
        entries = from_table(table)
    else:
        source = Source(studies, manifest, phantoms, first_seed, processes)
        labelled = source.labelled(cache)
        require(labelled, "diagnoses", "priority")
        members = source.cohort(labelled, encoder, cache, controls=0, kinds=(), seed=seed).members
        entries = tuple(Entry(Priority(m.labels.priority or ""), predicted(m), subgroup=m.labels.site) for m in members)
    result = simulate(entries, Room(load=load, rural=rural), runs=runs, weeks=weeks, seed=seed)
    print(json.dumps(asdict(result), allow_nan=False) if as_json else told_worklist(result))


def _draw(result: Evaluation, file: Path) -> None:
    """Reliability of the probabilities as they are; raises UsageError where there are none, or the file cannot be written."""
    from assistant.errors import UsageError
    from assistant.reliability import diagram
    from encoder.calibration import HeadCalibration, Isotonic

    as_they_are = Isotonic((0.0, 1.0), (0.0, 1.0))
    heads = {}
    for name, bins in result.details.get("reliability", {}).items():
        ece = result.by_name[name]["ECE"]
        heads[name] = HeadCalibration(ece.positives or 0, ece.studies - (ece.positives or 0), as_they_are, ece.value, bins)
    if not heads:
        raise UsageError("--diagram: expected calibrated probabilities to draw, found none for this question (see `prima calibrate`).")
    try:
        file.write_text(diagram(heads), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--diagram: expected a file that can be written, found {file}: {error.strerror}.") from error


class Source(NamedTuple):
    """Where the studies come from: one of a folder, a manifest, and seeds. processes: None = what suits the source."""

    studies: Path | None
    manifest: Path | None
    phantoms: int
    first_seed: int
    processes: int | None = 1

    @property
    def workers(self) -> int:
        """How many processes do the work: what real studies need of memory is not known, so there it has to be asked for."""
        import os

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.processes or (min(cores, self.phantoms // FEWEST_A_PROCESS) if self.phantoms else 1) or 1

    def labelled(self, cache: Path | None) -> tuple[Labelled, ...]:
        """The studies and what is known of them. Raises UsageError unless there is one source."""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        from assistant.cores import one_thread_each
        from assistant.errors import UsageError
        from assistant.evaluate.cache import Cache
        from assistant.labelled import from_folder, from_manifest

        if sum(map(bool, self[:3])) != 1:
            raise UsageError("Where are the studies? Give --studies FOLDER, --from MANIFEST.csv or --phantoms N, one of them.")
        if self.phantoms:
            seeds, known = range(self.first_seed, self.first_seed + self.phantoms), functools.partial(_simulated, kept=Cache(cache, ""))
            if self.workers == 1:
                return tuple(map(known, seeds))
            with one_thread_each(), ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn")) as pool:
                return tuple(pool.map(known, seeds, chunksize=8))
        path = self.manifest or self.studies
        if path is None or not path.exists():
            raise UsageError(f"{path}: no such file or folder.")
        return from_manifest(path) if self.manifest else from_folder(path)

    def cohort(
        self, labelled: Sequence[Labelled], encoder: Path | None, cache: Path | None, *, vectors: bool = False, **how: Any
    ) -> Cohort:
        """What the encoder makes of the studies. how: as `gather` has it."""
        from assistant.evaluate.cohort import gather
        from assistant.evaluate.workers import several

        with several(functools.partial(Source.intake, self, encoder, cache, vectors), self.workers) as each:
            return gather(labelled, self.intake(encoder, cache, vectors), each=each, **how)

    def intake(self, encoder: Path | None, cache: Path | None, vectors: bool = False) -> Intake:
        """Reader and encoder, with the cache."""
        from assistant.evaluate.cache import Cache
        from assistant.evaluate.cohort import Intake
        from encoder.calibrated import Calibrated
        from encoder.encoder import Encoder
        from encoder.reading import read_study

        weights = Encoder.load(encoder)
        kept = Cache(cache, weights.hash, weights.digest if isinstance(weights, Calibrated) else "")
        if not self.phantoms:
            return Intake(weights, read_study, kept, _tell, vectors=vectors)
        return Intake(weights, _drawn, kept, _tell, _files_of_phantom, vectors)


def _tell(message: str) -> None:
    typer.echo(message, err=True)


def _drawn(path: Path) -> Study:
    """The phantom of a seed, as the reader would give it."""
    from assistant.train.studies import as_study
    from phantom import sample

    return as_study(sample(int(path.name)))


def _files_of_phantom(path: Path) -> str:
    return f"{path.name}-{_edition()}"


def _simulated(seed: int, kept: Cache) -> Labelled:
    """The truth of a phantom; nothing is rendered."""
    from assistant.labelled import of_truth
    from phantom import report, sample, truth

    def made() -> dict[str, Any]:
        drawn = sample(seed)
        told = report.compose(drawn).text()
        return {"truth": truth(drawn).to_json(), "vendor": drawn.style.vendor, "tesla": drawn.style.tesla, "report": told}

    said = kept.said(f"known-{seed}-{_edition()}", made)
    labels = of_truth(Path(f"phantom/{seed}"), said["truth"])
    return replace(labels, vendor=said["vendor"], field_strength=said["tesla"], report=said["report"])


@functools.cache
def _edition() -> str:
    """A hash of the phantom's code: another edition makes other studies of the same seeds."""
    import hashlib

    import phantom

    package = Path(phantom.__file__).parent
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(package.rglob("*.py")))).hexdigest()
