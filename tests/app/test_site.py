"""What a site lets in: paths below its root, uploads below its limits, visitors with their own cookie."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.errors import UsageError
from assistant.site import Limits, Site

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Gradio and the test client leave their event loops open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "root"
    (root / "study").mkdir(parents=True)
    (root / "study.zip").touch()
    (root / "notes.txt").touch()
    (tmp_path / "secret").mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    return Site.at(tmp_path / "state", studies_root=root)


@pytest.mark.parametrize("asked", ["../secret", "/etc", "link", "study/../../secret", "nothing-here"])
def test_paths_that_lead_outside_the_root_are_refused(site: Site, asked: str) -> None:
    with pytest.raises(UsageError):
        site.inside_root(asked)


def test_the_list_offers_folders_and_archives_but_no_links_outside(site: Site) -> None:
    assert site.root_entries() == ("study", "study.zip")
    assert site.inside_root("study").name == "study"


def test_the_page_process_imports_no_torch() -> None:
    code = "import sys, assistant.app.run; print([m for m in ('torch', 'transformers', 'faiss', 'phantom') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


class Visitor:
    """A browser that keeps its cookie, without the browser."""

    def __init__(self, app: object) -> None:
        from starlette.testclient import TestClient

        self.http = TestClient(app, base_url="http://127.0.0.1")  # type: ignore[arg-type]
        self.http.get("/")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def app(state: Path) -> Iterator[object]:
    """A page with small limits; Gradio leaves the event loops that it made, which are closed here."""
    from assistant.app.server import create_app

    made = Site.at(state)
    yield create_app(Site(made.state, made.database, limits=Limits(bytes=1000, files=3)), port=7860)
    for each in gc.get_objects():
        if issubclass(type(each), asyncio.BaseEventLoop) and not each.is_running():  # isinstance would wake lazy objects of torch
            each.close()
    asyncio.set_event_loop(None)


def begin(visitor: Visitor, size: int, files: int = 1) -> object:
    return visitor.http.post("/site/uploads", json={"bytes": size, "files": files})


def test_without_the_cookie_nothing_is_given(app: object) -> None:
    from starlette.testclient import TestClient

    stranger = TestClient(app, base_url="http://127.0.0.1")  # type: ignore[arg-type]
    assert stranger.get("/site/volumes/x/0.nii").status_code == 401
    assert stranger.post("/site/uploads", json={"bytes": 1, "files": 1}).status_code == 401


def test_a_page_under_a_foreign_name_is_refused(app: object) -> None:
    from starlette.testclient import TestClient

    assert TestClient(app, base_url="http://evil.example").get("/").status_code == 400  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "files", "said"), [(5 * 1024**3, 1, "5.0 GB; the limit"), (10, 4, "4 files; the limit")])
def test_too_much_is_refused_before_a_byte_is_sent(app: object, size: int, files: int, said: str) -> None:
    answer = begin(Visitor(app), size, files)
    assert answer.status_code == 413  # type: ignore[attr-defined]
    assert said in answer.json()["detail"]  # type: ignore[attr-defined]


def test_more_than_was_declared_is_cut_off(app: object) -> None:
    visitor = Visitor(app)
    id = begin(visitor, 10).json()["id"]  # type: ignore[attr-defined]
    assert visitor.http.put(f"/site/uploads/{id}/file", params={"name": "a"}, content=b"x" * 1001).status_code == 413


def test_an_upload_is_the_visitors_own_and_can_be_cancelled(app: object, state: Path) -> None:
    mine, other = Visitor(app), Visitor(app)
    id = begin(mine, 10).json()["id"]  # type: ignore[attr-defined]
    put = {"params": {"name": "../../a/b.dcm"}, "content": b"x"}
    assert other.http.put(f"/site/uploads/{id}/file", **put).status_code == 404  # type: ignore[arg-type]
    assert mine.http.put(f"/site/uploads/{id}/file", **put).status_code == 200  # type: ignore[arg-type]
    assert (state / "uploads" / id / "a" / "b.dcm").is_file()
    assert other.http.delete(f"/site/uploads/{id}").status_code == 404
    assert mine.http.delete(f"/site/uploads/{id}").status_code == 200
    assert not (state / "uploads" / id).exists()


def test_answers_forbid_the_browser_to_ask_elsewhere(app: object) -> None:
    policy = Visitor(app).http.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http:" not in policy
