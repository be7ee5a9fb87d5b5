"""The worker against a small stand-in for the assistant: streams, stops, fails and restarts through rows alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from assistant import jobs, studies
from assistant.database import Database
from assistant.errors import DraftError
from assistant.jobs import Kind, State
from assistant.result import Answer, Event, Reasoning, Stage
from assistant.site import Site
from assistant.worker import UNEXPECTED, Worker


class Double:
    """Writes one word a moment until stopped; goes wrong when told to."""

    def __init__(self, words: int = 3, error: Exception | None = None) -> None:
        self.words, self.error = words, error

    def report(self, _study: Any, *, stop: threading.Event) -> Iterator[Event]:
        yield Stage("writing")
        yield Reasoning("because ")
        for number in range(self.words):
            if stop.is_set():
                return
            yield Answer(f"word{number} ")
            time.sleep(0.01)
        if self.error:
            raise self.error


class NoPhantoms:
    def write(self, *_: Any) -> None:
        raise AssertionError

    def study(self, _: str) -> None:
        return None


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Site, Database, str]:
    """A site with one readable study on its shelf."""
    monkeypatch.setenv("PRIMA_HOME", str(tmp_path / "home"))
    root = tmp_path / "root"
    (root / "one").mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 400, (64, 64, 12), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([3.5, 3.5, 6.0, 1.0])), root / "one" / "FLAIR.nii.gz")
    site = Site.at(tmp_path / "state", studies_root=root)
    database = Database.open(site.database)
    studies.welcome(database, "v")
    return site, database, studies.add(database, visitor="v", origin="root", label="one", path=str(root / "one"))


def worked(place: tuple[Site, Database, str], double: Callable[[], Any], job: str, act: Callable[[], None] = lambda: None) -> None:
    """Lets a worker run until the job has ended."""
    site, database, _ = place
    worker = Worker(site, database, double, NoPhantoms())
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not jobs.look(database, job)[0].state.ended:
            act()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        worker.close.set()
        thread.join()


def test_reading_leaves_an_intake_and_volumes(place: tuple[Site, Database, str]) -> None:
    site, database, study = place
    job = jobs.enqueue(database, Kind.READ, study=study, visitor="v")
    worked(place, Double, job)
    seen = studies.see(database, "v", study)
    assert seen is not None
    assert (seen.state, seen.message) == ("ready", None)
    assert [series["weighting"] for series in seen.intake["series"]] == ["FLAIR"]
    assert (site.volumes(study) / seen.intake["series"][0]["file"]).is_file()


def test_a_draft_is_streamed_in_order(place: tuple[Site, Database, str]) -> None:
    _, database, study = place
    job = jobs.enqueue(database, Kind.DRAFT, study=study, visitor="v")
    worked(place, Double, job)
    looked, events = jobs.look(database, job)
    assert looked.state is State.DONE
    assert [event.kind for event in events[:3]] == ["stage", "stage", "reasoning"]
    assert "".join(event.body["text"] for event in events if event.kind == "answer") == "word0 word1 word2 "


def test_stop_ends_the_work_and_not_only_the_stream(place: tuple[Site, Database, str]) -> None:
    _, database, study = place
    job = jobs.enqueue(database, Kind.DRAFT, study=study, visitor="v")

    def stop_once_it_writes() -> None:
        if any(event.kind == "answer" for event in jobs.look(database, job)[1]):
            jobs.stop(database, job)

    worked(place, lambda: Double(words=5000), job, stop_once_it_writes)
    assert jobs.look(database, job)[0].state is State.STOPPED


@pytest.mark.parametrize(("error", "said"), [(DraftError("It could not be read."), "could not be read"), (ZeroDivisionError(), UNEXPECTED)])
def test_what_goes_wrong_is_one_sentence(place: tuple[Site, Database, str], error: Exception, said: str) -> None:
    _, database, study = place
    job = jobs.enqueue(database, Kind.DRAFT, study=study, visitor="v")
    worked(place, lambda: Double(error=error), job)
    looked, _ = jobs.look(database, job)
    assert looked.state is State.FAILED
    assert said in (looked.message or "")


def test_models_that_cannot_be_opened_do_not_keep_studies_from_being_looked_at(place: tuple[Site, Database, str]) -> None:
    _, database, study = place

    def broken() -> Any:
        raise DraftError("No weights here. Run `prima doctor`.")

    job = jobs.enqueue(database, Kind.READ, study=study, visitor="v")
    worked(place, broken, job)
    assert jobs.look(database, job)[0].state is State.DONE
    sign = studies.worker_sign(database)
    assert sign is not None
    assert "No weights here" in sign.models


def test_a_path_outside_the_sites_folders_is_not_read(place: tuple[Site, Database, str], tmp_path: Path) -> None:
    _, database, _ = place
    outside = studies.add(database, visitor="v", origin="root", label="x", path=str(tmp_path))
    job = jobs.enqueue(database, Kind.READ, study=outside, visitor="v")
    worked(place, Double, job)
    seen = studies.see(database, "v", outside)
    assert seen is not None
    assert seen.state == "failed"
    assert "outside the folders" in (seen.message or "")
