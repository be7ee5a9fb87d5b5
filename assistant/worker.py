"""The worker: one process that holds the models, takes jobs from the database and writes their events back.

Two lanes, one thread each: `files` reads studies and makes phantoms, `model` drafts and answers; so a picture never waits for a draft.
The page starts it (`assistant.app.supervisor` runs `assistant.commands.worker`), hands it one line of JSON on stdin and keeps stdin open:
when the page goes, stdin ends, and so does the worker, whatever way the page went.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import update

from assistant import jobs, studies
from assistant.database import Database, StudyRow, WorkerRow
from assistant.drafts import restored
from assistant.errors import AssistantError
from assistant.jobs import FILES, MODEL, Job, Kind, State
from assistant.result import Answer, Finished, Reasoning, Retrieved, Stage
from assistant.site import Site
from assistant.volumes import write_volumes
from encoder.errors import EncoderError
from encoder.study import Study
from index.errors import IndexStoreError

if TYPE_CHECKING:
    from assistant.assistant import Assistant
    from assistant.chat import Replied
    from assistant.evidence import Evidence

log = logging.getLogger(__name__)

POLL = 0.15  # seconds between looks into the queue
BEAT = 2.0  # seconds between signs of life
STREAM = 0.1  # seconds of text gathered into one event
ABANDONED = 86_400.0  # seconds after which an upload that was never finished is thrown away
KEPT_STUDIES = 2  # studies held in memory between a draft and its questions
EXPECTED = (AssistantError, EncoderError, IndexStoreError)
UNEXPECTED = "Something unexpected went wrong here; the site's log has the details. Try again, and tell whoever runs this site if it stays."


class Stopped(Exception):
    """Somebody asked the job to end."""


@dataclass
class Models:
    """The models, opened once, in the model lane; every later job uses them."""

    open: Callable[[], Assistant]
    _opened: Assistant | None = None

    def get(self) -> Assistant:
        """The opened assistant."""
        if self._opened is None:
            self._opened = self.open()
        return self._opened


class Simulator(Protocol):
    """What makes phantoms; given to the worker by the command that starts it, for the assistant itself knows none."""

    def write(self, seed: int, diagnosis: str | None, folder: Path) -> None:
        """Writes a phantom study as files."""

    def study(self, source: str) -> Study | None:
        """A cited case's study made again from its `source`, None where that is not possible."""


class Worker:
    """Takes jobs until `close` is set. assistant: opens the models; called once, in the model lane."""

    def __init__(self, site: Site, database: Database, assistant: Callable[[], Assistant], simulator: Simulator) -> None:
        self.site = site
        self.database = database
        self.models = Models(assistant)
        self.simulator = simulator
        self.close = threading.Event()
        self._models_state = "loading"
        self._read: OrderedDict[str, Study] = OrderedDict()
        self._evidence: OrderedDict[str, Evidence] = OrderedDict()  # the model lane's alone
        self._read_lock = threading.Lock()
        self._stops: dict[str, threading.Event] = {}

    def run(self) -> None:
        """Works until closed; the calling thread watches for stops and gives signs of life."""
        jobs.recover(self.database)
        for study in studies.abandoned(self.database, before=time.time() - ABANDONED):
            shutil.rmtree(self.site.uploads(study), ignore_errors=True)
        self._say_alive()
        lanes = [threading.Thread(target=self._files, daemon=True), threading.Thread(target=self._model, daemon=True)]
        for lane in lanes:
            lane.start()
        said = time.monotonic()
        while not self.close.wait(POLL):
            for job in jobs.to_stop(self.database) if self._stops else ():
                if stop := self._stops.get(job):
                    stop.set()
            if time.monotonic() - said > BEAT:
                self._say_alive()
                said = time.monotonic()
        for stop in list(self._stops.values()):
            stop.set()

    def _files(self) -> None:
        while not self.close.is_set():
            if not self._one(FILES):
                self.close.wait(POLL)

    def _model(self) -> None:
        try:
            self.models.get()
            self._models_state = "ready"
        except EXPECTED as error:
            self._models_state = str(error)
        except Exception:
            log.exception("the models could not be opened")
            self._models_state = UNEXPECTED
        self._say_alive()
        while not self.close.is_set():
            if not self._one(MODEL):
                self.close.wait(POLL)

    def _one(self, kinds: tuple[Kind, ...]) -> bool:
        """Takes and does one job; False if none waits."""
        job = jobs.take(self.database, kinds)
        if job is None:
            return False
        stop = self._stops[job.id] = threading.Event()
        try:
            self._do(job, stop)
            jobs.end(self.database, job.id, State.STOPPED if stop.is_set() else State.DONE)
        except Stopped:
            jobs.end(self.database, job.id, State.STOPPED)
        except EXPECTED as error:
            self._fail(job, str(error))
        except MemoryError:
            self._fail(job, "The study is too large for this machine's memory. Send fewer or smaller sequences.")
        except Exception:
            log.exception("job %s (%s) failed", job.id, job.kind)
            self._fail(job, UNEXPECTED)
        finally:
            del self._stops[job.id]
        return True

    def _do(self, job: Job, stop: threading.Event) -> None:
        if job.kind is Kind.READ:
            self._intake(job, stop)
        elif job.kind is Kind.PHANTOM:
            self._phantom(job, stop)
        elif job.kind is Kind.CASE:
            self._case(job)
        elif job.kind is Kind.DRAFT:
            self._draft(job, stop)
        else:
            self._ask(job, stop)

    def _fail(self, job: Job, message: str) -> None:
        jobs.end(self.database, job.id, State.FAILED, message)
        if job.kind in (Kind.READ, Kind.PHANTOM) and job.study:
            with contextlib.suppress(Stopped):
                message = message.replace(self._row(job.study).path, "what was sent")  # where this site keeps it is nobody's business
            self._update(job.study, state="failed", message=message)
            shutil.rmtree(self.site.uploads(job.study), ignore_errors=True)  # nobody can use it; it may hold names

    # The files lane

    def _intake(self, job: Job, stop: threading.Event) -> None:
        """Reads a study row's path; a path that holds several studies makes a row for each."""
        from encoder.reading import read_studies

        row = self._row(job.study)
        self._checked(row)
        found = read_studies(Path(row.path))
        if stop.is_set():
            raise Stopped
        for part, study in enumerate(found):
            id = row.id
            if part:
                label = f"{row.label} ({part + 1} of {len(found)})"
                id = studies.add(self.database, visitor=row.visitor, origin=row.origin, label=label, path=row.path, part=part)
            self._shelve(id, study)

    def _phantom(self, job: Job, stop: threading.Event) -> None:
        """Makes a demo study in its folder, if it is not there yet, then reads it."""
        row = self._row(job.study)
        path = Path(row.path)
        if not path.exists():
            draft = path.with_name(path.name + ".part")
            shutil.rmtree(draft, ignore_errors=True)
            self.simulator.write(job.payload["seed"], job.payload.get("diagnosis"), draft)
            draft.rename(path)
        self._intake(job, stop)

    def _case(self, job: Job) -> None:
        """Makes a cited case's full study again, for the viewer."""
        case = job.payload["case"]
        folder = self.site.cases(case)
        listing = folder / "volumes.json"
        if listing.exists():
            return
        study = self.simulator.study(json.loads((folder / "case.json").read_text())["source"] or "")
        if study is None:
            raise AssistantError("The full study of this case is not available; its key pictures and report are.")
        volumes = write_volumes(study, folder)
        listing.write_text(json.dumps([volume.to_json() for volume in volumes]))

    def _shelve(self, id: str, study: Study) -> None:
        volumes = write_volumes(study, self.site.volumes(id))
        intake = {
            "series": [volume.to_json() for volume in volumes],
            "excluded": [asdict(excluded) for excluded in study.excluded],
            "context": asdict(study.context),
        }
        self._keep(id, study)
        self._update(id, state="ready", key=study.key, intake=intake, message=None)

    # The model lane

    def _draft(self, job: Job, stop: threading.Event) -> None:
        row = self._row(job.study)
        assistant = self.models.get()
        self._emit(job, Stage("reading"))
        study = self._study(row)
        for event in self._emitting(job, assistant.report(study, stop=stop)):
            if isinstance(event, Finished):
                studies.keep_draft(self.database, study=row.id, job=job.id, visitor=job.visitor, result=event.result.to_json())

    def _ask(self, job: Job, stop: threading.Event) -> None:
        row = self._row(job.study)
        said = studies.messages(self.database, str(job.visitor), row.id)
        question, history = _exchange(said, job.id)
        assistant = self.models.get()
        evidence = self._evidence.get(row.id)
        if evidence is None:
            evidence = self._evidence[row.id] = assistant.evidence(self._study(row))
            while len(self._evidence) > KEPT_STUDIES:
                self._evidence.popitem(last=False)
        drafted = studies.newest_draft(self.database, str(job.visitor), row.id)
        result = restored(drafted) if drafted else None
        answering = assistant.ask(evidence, question, history, result, stop=stop)
        for event in self._emitting(job, self._citing(answering)):
            if not isinstance(event, Answer):
                studies.answer(self.database, job.id, event.text)

    def _citing(self, events: Iterator[Answer | Replied]) -> Iterator[Answer | Replied]:
        """Keeps what an answer cites before the page can open it."""
        for event in events:
            if not isinstance(event, Answer):
                self._keep_cases(event.cases)
            yield event

    def _emitting(self, job: Job, events: Iterator[Any]) -> Iterator[Any]:
        """Writes a run's events as rows, text gathered to a few rows a second, and passes them on."""
        gathered: Reasoning | Answer | None = None
        since = time.monotonic()
        for event in events:
            if isinstance(event, Retrieved):
                self._keep_cases(case.id for case in event.cases)
            text = event if isinstance(event, Reasoning | Answer) else None
            if gathered is not None and (type(gathered) is not type(text) or time.monotonic() - since > STREAM):
                self._emit(job, gathered)
                gathered = None
            if text is None:
                self._emit(job, event)
            elif gathered is None:
                gathered, since = text, time.monotonic()
            else:
                gathered = type(text)(gathered.text + text.text)
            yield event
        if gathered is not None:
            self._emit(job, gathered)

    def _emit(self, job: Job, event: Any) -> None:
        body = event.result.to_json() if isinstance(event, Finished) else asdict(event)
        jobs.emit(self.database, job.id, type(event).__name__.lower(), body)

    def _keep_cases(self, ids: Iterable[str]) -> None:
        """Copies what the page shows of a cited case out of the index: text at once, pictures as files."""
        for id in ids:
            folder = self.site.cases(id)
            if (folder / "case.json").exists():
                continue
            case = self.models.get().index.get(id)
            folder.mkdir(parents=True, exist_ok=True)
            captions = []
            for number, (caption, png) in enumerate(case.pictures):
                (folder / f"{number}.png").write_bytes(png)
                captions.append(caption)
            shown = {
                "id": case.id,
                "report": asdict(case.report),
                "diagnoses": case.diagnoses,
                "age_band": case.age_band,
                "sex": case.sex,
                "sequences": case.sequences,
                "source": case.source,
                "pictures": captions,
            }
            (folder / "case.json").write_text(json.dumps(shown))

    # Rows and studies

    def _row(self, id: str | None) -> StudyRow:
        with self.database.begin() as rows:
            row = rows.get(StudyRow, id) if id else None
        if row is None:
            raise Stopped  # removed while it waited
        return row

    def _update(self, id: str, **values: Any) -> None:
        with self.database.begin() as rows:
            rows.execute(update(StudyRow).where(StudyRow.id == id).values(**values))

    def _checked(self, row: StudyRow) -> None:
        """The worker trusts no path of the database: it must lie where its origin says."""
        home = {"upload": self.site.state / "uploads", "demo": self.site.state / "demo", "root": self.site.studies_root}[row.origin]
        if home is None or not Path(row.path).resolve().is_relative_to(home):
            raise AssistantError("That study lies outside the folders of this site. Choose it again.")

    def _study(self, row: StudyRow) -> Study:
        with self._read_lock:
            if row.id in self._read:
                self._read.move_to_end(row.id)
                return self._read[row.id]
        from encoder.reading import read_studies

        self._checked(row)
        study = read_studies(Path(row.path))[row.part]
        self._keep(row.id, study)
        return study

    def _keep(self, id: str, study: Study) -> None:
        with self._read_lock:
            self._read[id] = study
            while len(self._read) > KEPT_STUDIES:
                self._read.popitem(last=False)

    def _say_alive(self) -> None:
        with self.database.begin() as rows:
            rows.merge(WorkerRow(id=1, pid=os.getpid(), beat=time.time(), models=self._models_state))


def _exchange(said: Sequence[studies.Message], job: str) -> tuple[str, list[tuple[str, str]]]:
    """The question that a job answers, and the exchanges before it."""
    at = next((number for number, message in enumerate(said) if message.job == job), None)
    if not at:
        raise Stopped  # the question was taken back
    earlier = said[: at - 1]
    return said[at - 1].text, [(asked.text, told.text) for asked, told in zip(earlier[::2], earlier[1::2], strict=False)]


def work(simulator: Simulator) -> None:
    """The process: one line of JSON on stdin says which site; the end of stdin ends it."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="worker: %(levelname)s %(name)s: %(message)s")
    said = json.loads(sys.stdin.readline())
    root = said["studies_root"]
    site = Site(Path(said["state"]), said["database"], Path(root) if root else None)
    worker = Worker(site, Database.open(site.database), open_assistant, simulator)
    threading.Thread(target=_until_stdin_ends, args=(worker,), daemon=True).start()
    worker.run()
    # The lanes may sit in a model or a codec; nothing they hold needs a farewell, their jobs are begun again.
    os._exit(0)


def open_assistant() -> Assistant:
    """Opens the models that ship with the package."""
    from assistant.assistant import Assistant

    return Assistant.open()


def _until_stdin_ends(worker: Worker) -> None:
    sys.stdin.read()
    worker.close.set()
