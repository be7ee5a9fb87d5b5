"""The page as people use it: a real Chromium, the real worker and models, phantoms and marked volumes."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import marked
import numpy as np
import pytest
from conftest import Running, eventually, missing
from PIL import Image
from sqlalchemy import select
from test_draft_panel import result

import index
from assistant import jobs, studies
from assistant.app import chat
from assistant.app.page import READING
from assistant.database import Database, JobRow, MessageRow, StudyRow
from assistant.jobs import State

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

Visit = Callable[[], Any]
LOADED = ".viewer[data-loaded]"
# Goes to the mark, and from then on notes which letters the viewer writes, and how far from the left.
LOOK_AT_THE_MARK = """([left, posterior, superior]) => {
    const nv = document.querySelector('#study-viewer .viewer').viewer.nv;
    nv.scene.crosshairPos = nv.mm2frac([-left, -posterior, superior]);
    if (nv.written) return;
    nv.written = [];
    const write = nv.drawText.bind(nv);
    nv.drawText = (place, text, ...more) => { nv.written.push([text, place[0]]); return write(place, text, ...more); };
}"""


CROSSHAIR = """() => {
    const nv = document.querySelector('#study-viewer .viewer').viewer.nv;
    return [...nv.frac2mm(nv.scene.crosshairPos, 0, true)];
}"""
UNDER_THE_CROSSHAIR = """() => {
    const nv = document.querySelector('#study-viewer .viewer').viewer.nv;
    return nv.volumes[0].getValue(...nv.frac2vox(nv.scene.crosshairPos));
}"""


@pytest.fixture
def models() -> None:
    if not (Path(index.__file__).parent / "demo").is_dir():
        missing("the shipped demo index")


def canvas(page: Any, viewer: str = "#study-viewer") -> np.ndarray[Any, Any]:
    """What the viewer shows, grey, rows from the top."""
    return np.asarray(Image.open(io.BytesIO(page.locator(f"{viewer} canvas").screenshot())).convert("L"))


def opened(page: Any, study: str | None = None) -> Any:
    """The page with a study on it: the first, or one under the studies root."""
    if study is None:
        page.wait_for_selector(f"#study-viewer {LOADED}")
        return page
    page.wait_for_selector("#add")
    if not page.locator("#listed").is_visible():
        page.locator("#add button").first.click()
    page.locator("#listed input").fill(study)
    page.keyboard.press("Enter")
    page.locator("#pick").click()
    page.wait_for_selector(f"#study-viewer .viewer[data-state=ready]:has([data-part=title]:text-is('{study}'))")
    page.wait_for_selector(f"#study-viewer {LOADED}")
    return page


def crosshair(page: Any) -> np.ndarray[Any, Any]:
    """Where the viewer's crosshair is, LPS mm."""
    return np.array(page.evaluate(CROSSHAIR)[:3]) * [-1, -1, 1]


def check_sides(page: Any, view: str, which: str) -> None:
    """In this view the mark, and the letters, are where the patient's left, front and top belong."""
    page.evaluate("() => { document.querySelector('#study-viewer .viewer').viewer.nv.written.length = 0 }")

    def shown() -> bool:
        page.evaluate(LOOK_AT_THE_MARK, list(marked.CENTRE))  # again and again: a sequence that is still loading sets the cross back
        page.locator(f"#study-viewer [data-view={view}]").click()
        return bool((canvas(page) > 200).mean() > 0.005)

    eventually(shown)
    picture = canvas(page)
    rows, columns = np.median(np.argwhere(picture > 200), axis=0) / picture.shape
    letters = dict(page.evaluate("() => document.querySelector('#study-viewer .viewer').viewer.nv.written"))
    assert rows < 0.5, f"{which}: anterior, or superior, is up"
    if view == "sagittal":
        assert columns < 0.5, f"{which}: anterior is on the left of a sagittal picture"
        assert letters["A"] < letters["P"], which
    else:
        assert columns > 0.52, f"{which}: left is on the right"
        assert letters["R"] < letters["L"], which


def place_answers(running: Running, spots: dict[str, dict[str, Any]]) -> None:
    """A draft and an answer about the study `two` as the worker would leave them: both point at the spots."""
    text = "Here it is. " + " ".join(f"[L:{name}]" for name in spots)
    found = [{"name": name, "side": "left", "region": None, "evidence": [f"L:{name}"], "spot": spot} for name, spot in spots.items()]
    with running.database() as database:
        with database.begin() as rows:
            study = rows.scalars(select(StudyRow).where(StudyRow.label == "two")).one()
            whose = {"study": study.id, "visitor": study.visitor}
            drafting, asking = JobRow(kind="draft", state="done", **whose), JobRow(kind="ask", state="done", **whose)
            rows.add_all([drafting, asking, MessageRow(role="user", text="Where is it?", **whose)])
            rows.flush()
            rows.add(MessageRow(role="assistant", text=text, job=asking.id, **whose))
        jobs.emit(database, drafting.id, "finished", result(findings=found))
        jobs.emit(database, asking.id, "replied", {"text": text, "cases": [], "citations": [], "claims": [], "spots": spots})


def drafts_ended(database: Database) -> bool:
    with database.begin() as rows:
        return all(State(state).ended for state in rows.scalars(select(JobRow.state).where(JobRow.kind == "draft")))


def choose_demo(page: Any, number: int) -> None:
    page.wait_for_selector(f"#study-viewer {LOADED}")
    page.locator("#chooser input").click()
    page.get_by_role("option").filter(has_text=f"Demo {number}").click()
    page.wait_for_selector(f"#study-viewer [data-part=title]:text-is('Demo {number}')")
    page.wait_for_selector(f"#study-viewer {LOADED}")


def visitor_of(page: Any) -> str:
    """Who this browser is to the site."""
    token = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"].startswith("prima_"))
    return studies.visitor_id(token)


def answers_kept(page: Any, database: Database) -> list[str]:
    """The answers of the visitor's chat as the database keeps them, letters and digits only."""
    visitor = visitor_of(page)
    told = chat.shown(database, visitor, str(studies.current(database, visitor)))
    return [_letters(message["content"]) for message in told if message["role"] == "assistant"]


def answers_seen(page: Any) -> list[str]:
    """The answers on the page, letters and digits only."""
    return [_letters(text) for text in page.locator("#chat .bot:not(.pending)").all_inner_texts()]


def _letters(text: str) -> str:
    """Without where links lead to and the numbers of lists, which the page makes itself."""
    return re.sub(r"[\W_]", "", re.sub(r"\]\([^)]*\)|^\d+\. ", "", text, flags=re.M))


@contextmanager
def answered(page: Any, running: Running) -> Iterator[None]:
    """What is done inside asks something. Leaves when the job that it brought has ended, and the page shows what the database keeps.

    Not the buttons are waited for: they stand as they should before anything has begun.
    """
    with running.database() as database:

        def asked() -> list[JobRow]:
            with database.begin() as rows:
                return list(rows.scalars(select(JobRow).where(JobRow.kind == "ask", JobRow.visitor == visitor_of(page))))

        before = len(asked())
        yield
        eventually(lambda: len(asked()) == before + 1 and all(State(job.state).ended for job in asked()))
        eventually(lambda: answers_seen(page) == answers_kept(page, database))
    page.wait_for_selector("#stop-chat:disabled")


def ask(page: Any, running: Running, question: str) -> None:
    """Asks and waits for the whole answer."""
    with answered(page, running):
        page.locator("#question textarea, #question input").first.fill(question)
        page.keyboard.press("Enter")
    assert answers_seen(page)[-1]


def test_the_patients_left_is_on_the_right_of_the_screen(visit: Visit) -> None:
    """A block on the patient's left, in every plane of DICOM and two orders of NIfTI axes: where it lies, and which letters stand where."""
    page = visit()
    for study, count in (("dicom", len(marked.PLANES)), ("nifti", len(marked.ORIENTATIONS))):
        opened(page, study)
        assert page.locator("#study-viewer [data-series]").count() == count
        for sequence in page.locator("#study-viewer [data-series]").all():
            url = sequence.get_attribute("data-series")
            sequence.click()
            page.wait_for_selector(f"#study-viewer .viewer[data-loaded='{url}']")
            page.evaluate(LOOK_AT_THE_MARK, list(marked.CENTRE))
            for view in ("axial", "coronal", "sagittal"):
                check_sides(page, view, f"{study}, {sequence.inner_text()}, {view}")


def test_a_location_chip_leads_to_its_place_on_its_side(visit: Visit, running: Running) -> None:
    """A draft and an answer point at the mark, in one sequence and in another that is tilted; the viewer goes there, left staying left."""
    page = opened(visit(), "two")
    shown = page.locator("#study-viewer [data-series][aria-pressed=true]")
    assert shown.inner_text() == "FLAIR"
    point = {"slice": 3, "mm": [float(x) for x in marked.CENTRE]}
    place_answers(running, {"edema": {"series": "T1", **point}, "lymphoma": {"series": "FLAIR", **point}})
    page.reload()
    page.wait_for_selector(f"#study-viewer {LOADED}")
    page.wait_for_selector("#chat .bot a")
    for chip, series in (("#draft ul button.tag:has-text('edema')", "T1"), ("#chat a[href^='#place-']", "FLAIR")):
        page.locator(chip).last.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#study-viewer [data-series][aria-pressed=true]:text-is('{series}')")
        page.wait_for_selector(f"#study-viewer .viewer[data-loaded='{shown.get_attribute('data-series')}']")
        eventually(lambda: float(np.linalg.norm(crosshair(page) - marked.CENTRE)) < 5.0)
        assert page.evaluate(UNDER_THE_CROSSHAIR) == marked.MARK, series
        assert page.locator("#study-viewer [data-part=place]").inner_text() == page.locator(chip).last.inner_text()


def test_a_zip_is_uploaded_read_and_shown(visit: Visit, tmp_path: Path) -> None:
    """Also when it is chosen before the panel's script has come."""
    page = visit()
    held: list[Any] = []
    page.route("**/upload.js*", lambda route: held.append(route))
    marked.write_dicom("axial", tmp_path / "one")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for file in (tmp_path / "one").iterdir():
            archive.write(file, file.name)
    page.locator("#add button").first.click()
    page.locator("#upload input").nth(1).set_input_files(tmp_path / "study.zip")
    for route in held:
        route.continue_()
    page.unroute("**/upload.js*")
    page.wait_for_selector("#study-viewer [data-part=title]:has-text('Upload of')")
    page.wait_for_selector(f"#study-viewer {LOADED}")
    assert "1 sequence used" in page.locator("#intake").inner_text()


def test_what_cannot_be_read_is_a_sentence_that_says_what_to_do(visit: Visit, running: Running, tmp_path: Path) -> None:
    page = opened(visit(), "nifti")
    kept = set(running.state.joinpath("uploads").iterdir())
    files, folder = page.locator("#upload input").nth(1), page.locator("#upload input").nth(0)
    said = page.locator("#upload [data-part=message]")
    big = tmp_path / "big.zip"
    with big.open("wb") as file:
        file.truncate(5 * 1024**3)
    files.set_input_files(big)
    eventually(lambda: "5.0 GB; the limit is 2 GB" in said.inner_text())
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 and then nothing")
    photos = tmp_path / "holiday"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (200, 120, 40 * number)).save(photos / f"IMG_{number}.jpg")
    shown = page.locator("#study-viewer [data-part=message]")
    told = {"", READING}
    for given, field in ((broken, files), (photos, folder)):
        field.set_input_files(given)
        eventually(lambda: shown.inner_text() not in told and page.locator("#study-viewer .viewer[data-state=failed]").count() == 1)
        told.add(shown.inner_text())
        assert any(word in shown.inner_text() for word in ("Send", "Give", "Export", "Choose", "again")), "it says what to do"
        assert "Traceback" not in page.locator("body").inner_text()
    page.locator("#listed input").fill("../../etc")
    page.keyboard.press("Enter")
    page.locator("#pick").click()
    eventually(lambda: "outside the studies folder" in page.locator("#trouble").inner_text())
    eventually(lambda: set(running.state.joinpath("uploads").iterdir()) == kept)


@pytest.mark.usefixtures("models")
@pytest.mark.skipif("PRIMA_TEST_DATA" not in os.environ, reason="PRIMA_TEST_DATA names no folder of real studies")
def test_a_real_study_is_shown_and_clearly_not_diagnosed(visit: Visit) -> None:
    page = opened(visit(), "real")
    assert "4 sequences used" in page.locator("#intake").inner_text()
    page.locator("#write-draft").click()
    page.wait_for_selector("#draft .badges")
    text = page.locator("#draft").inner_text()
    assert "Not diagnosed." in text
    assert "Priority: not assessed" in text
    assert page.locator("#draft table").count() == 0
    assert "Traceback" not in page.locator("body").inner_text()


def test_slices_windows_and_views_answer_to_wheel_and_keys(visit: Visit) -> None:
    page = opened(visit())
    first, readout = canvas(page), page.locator("#study-viewer [data-part=slice]")
    shown = readout.inner_text()
    assert first.max() > 100
    page.locator("#study-viewer canvas").hover()
    page.mouse.wheel(0, 120)
    eventually(lambda: readout.inner_text() != shown)
    eventually(lambda: bool((canvas(page) != first).mean() > 0.01))
    page.locator("#study-viewer canvas").focus()
    window = page.locator("#study-viewer [data-part=window]").inner_text()
    page.keyboard.press("]")
    assert page.locator("#study-viewer [data-part=window]").inner_text() != window
    page.keyboard.press("4")
    assert page.locator("#study-viewer [data-view=all]").get_attribute("aria-pressed") == "true"
    opened_first = page.locator("#study-viewer [data-series][aria-pressed=true]").inner_text()
    assert re.search("flair|dark.?fluid", opened_first, re.IGNORECASE)  # as each vendor calls it
    page.keyboard.press("n")
    eventually(lambda: page.locator("#study-viewer [data-series][aria-pressed=true]").inner_text() != opened_first)


def test_hurried_choices_end_on_the_last(visit: Visit) -> None:
    page = opened(visit())
    for number in (2, 1) * 6:
        page.locator("#chooser input").click()
        page.get_by_role("option").filter(has_text=f"Demo {number}").click()
    choose_demo(page, 2)
    page.wait_for_timeout(1500)  # whatever overtaken choices had still to say
    assert page.locator("#study-viewer [data-part=title]").inner_text() == "Demo 2"
    assert page.locator(f"#study-viewer {LOADED}").is_visible()


@pytest.mark.usefixtures("models")
def test_stop_stops_the_draft(visit: Visit) -> None:
    page = opened(visit())
    choose_demo(page, 2)
    page.locator("#write-draft").click()
    page.wait_for_selector("#stop-draft:enabled")
    page.locator("#stop-draft").click()
    page.wait_for_selector("#draft .banner")
    assert "Stopped" in page.locator("#draft").inner_text()
    page.wait_for_selector("#write-draft:enabled")


@pytest.mark.usefixtures("models")
def test_a_draft_survives_a_reload_and_a_look_elsewhere_and_its_citation_opens_the_case(visit: Visit, running: Running) -> None:
    page = opened(visit())
    page.wait_for_selector("#write-draft:enabled")
    page.locator("#write-draft").click()
    page.wait_for_selector("#draft .stages, #draft .empty[role=status]")
    with running.database() as database:
        assert not drafts_ended(database), "the page is reloaded in the middle"
        page.reload()
        page.wait_for_selector("#draft .stages, #draft .badges, #draft .empty[role=status]")
        choose_demo(page, 2)
        page.wait_for_selector("#draft .empty:has-text('No draft of this study yet')")
        eventually(lambda: drafts_ended(database))
    assert "No draft of this study yet" in page.locator("#draft").inner_text()
    choose_demo(page, 1)
    page.wait_for_selector("#draft .badges")
    text = page.locator("#draft").inner_text()
    for part in ("Priority:", "FINDINGS", "IMPRESSION", "RECOMMENDATION", "Not assessed"):
        assert part.lower() in text.lower()
    assert page.locator("#draft .sentence .mark").count() > 2
    assert not page.locator("#draft-reasoning ol").is_visible()
    page.locator("#draft-reasoning summary").click()
    assert page.locator("#draft-reasoning ol").is_visible()
    page.locator("#draft ul a[href^='#case-']").first.click()
    page.wait_for_selector("#case-viewer .pictures img")
    page.wait_for_selector(f"#case-viewer {LOADED}")
    assert canvas(page, "#case-viewer").max() > 100
    page.locator("#case-viewer [data-part=close]").click()
    page.wait_for_selector("#case-viewer .viewer", state="hidden")


@pytest.mark.usefixtures("models")
def test_a_question_can_be_asked_again_or_differently(visit: Visit, running: Running) -> None:
    page = opened(visit())
    ask(page, running, "What is the main finding?")
    with answered(page, running):
        page.locator("#chat").get_by_label("Retry").last.click()
    assert len(answers_seen(page)) == 1
    with answered(page, running):
        edit(page, "Is there mass effect?")
    assert page.locator("#chat .user").all_inner_texts() == ["Is there mass effect?"]
    assert len(answers_seen(page)) == 1
    page.locator("#chat").get_by_label("Clear").click()
    nothing_is_said(page, running)


@pytest.mark.usefixtures("models")
def test_what_was_cleared_does_not_come_back(visit: Visit, running: Running) -> None:
    """Clear pressed at once after an edit: whichever the server sees first in its threads, the chat stays empty."""
    page = opened(visit())
    ask(page, running, "Is there mass effect?")
    edit(page, "What is the main finding?")
    page.locator("#chat").get_by_label("Clear").click()
    nothing_is_said(page, running)


def edit(page: Any, question: str) -> None:
    """Puts the last question differently."""
    page.locator("#chat").get_by_label("Edit").last.click()
    page.locator("#chat textarea").fill(question)
    page.locator("#chat").get_by_label("Submit").last.click()


def nothing_is_said(page: Any, running: Running) -> None:
    """The chat becomes empty, here and in the database, and stays so."""
    with running.database() as database:
        eventually(lambda: answers_kept(page, database) == answers_seen(page) == [])
        eventually(lambda: chat.running(database, visitor_of(page), str(studies.current(database, visitor_of(page)))) is None)
        page.reload()
        page.wait_for_selector(f"#study-viewer {LOADED}")
        page.wait_for_selector("#write-draft:enabled")
        assert answers_kept(page, database) == answers_seen(page) == []


@pytest.mark.usefixtures("models")
def test_two_people_never_see_each_others_text(visit: Visit, running: Running) -> None:
    one, two = opened(visit()), visit()
    choose_demo(two, 2)
    mine, other = "Is there haemorrhage in mine?", "Is there mass effect in the other?"
    ask(one, running, mine)
    ask(two, running, other)
    ask(one, running, "Which similar cases support this?")
    ask(one, running, "What did he have for breakfast?")
    assert one.locator("#chat .bot").count() == 3
    for page in (one, two):
        page.reload()
        page.wait_for_selector("#chat .bot")
    assert mine in one.locator("#chat").inner_text()
    assert mine not in two.locator("body").inner_text()
    assert other not in one.locator("body").inner_text()
