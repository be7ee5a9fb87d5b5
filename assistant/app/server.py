"""The page's process: FastAPI with the Gradio page mounted, uploads, and viewer files for those who may see them. No torch here."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read by Gradio when it is imported

import gradio as gr
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant import jobs, studies
from assistant.app.assets import FOLDER, address
from assistant.app.page import build_page
from assistant.app.supervisor import Supervisor
from assistant.database import Database, StudyRow, new_id
from assistant.jobs import Kind
from assistant.site import GIGABYTE, Site

log = logging.getLogger(__name__)

VOLUME = re.compile(r"\d{1,4}\.nii")
CASE_FILE = re.compile(r"\d{1,4}\.(nii|png)")
CASE = re.compile(r"[A-Za-z0-9-]{1,80}")
HEADERS = {
    # Gradio builds functions from strings and the viewer starts workers from blobs; nothing may come from, or go, anywhere else.
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Declared(BaseModel):
    """What a browser says it will send."""

    bytes: int
    files: int


def create_app(site: Site, port: int, host: str = "127.0.0.1") -> FastAPI:
    """The whole page for one site; its lifespan keeps the worker."""
    database = Database.open(site.database)
    cookie = f"prima_{port}"  # cookies know no ports: two sites on one machine must not overwrite each other's
    supervisor = Supervisor(site)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        supervisor.start()
        yield
        await supervisor.close()
        database.close()

    app = FastAPI(title="Prima", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.supervisor = supervisor

    def visitor(request: Request) -> str:
        id = studies.visitor_id(request.cookies.get(cookie, ""))
        if not studies.known(database, id):
            raise HTTPException(401, "Open the page first; it lets your browser in.")
        return id

    app.mount("/site/static", StaticFiles(directory=FOLDER))

    @app.get("/site/volumes/{study}/{file}")
    def volume(study: str, file: str, asking: str = Depends(visitor)) -> FileResponse:
        if studies.see(database, asking, study) is None or not VOLUME.fullmatch(file):
            raise HTTPException(404, "There is no such sequence.")
        return _file(site.volumes(study) / file)

    @app.get("/site/cases/{case}/{file}", dependencies=[Depends(visitor)])
    def case_file(case: str, file: str) -> FileResponse:
        if not CASE.fullmatch(case) or not CASE_FILE.fullmatch(file):
            raise HTTPException(404, "There is no such case.")
        return _file(site.cases(case) / file)

    @app.post("/site/uploads")
    def begin_upload(declared: Declared, asking: str = Depends(visitor)) -> dict[str, str]:
        limits = site.limits
        if declared.bytes > limits.bytes:
            size, limit = declared.bytes / GIGABYTE, limits.bytes / GIGABYTE
            raise HTTPException(413, f"This is {size:.1f} GB; the limit is {limit:g} GB. Send one study at a time, without other files.")
        if declared.files > limits.files:
            raise HTTPException(413, f"These are {declared.files} files; the limit is {limits.files}. Send one study at a time.")
        if shutil.disk_usage(site.state).free < 3 * declared.bytes:
            raise HTTPException(507, "This site's disk is too full for this study. Tell whoever runs it.")
        id = new_id()
        studies.add(database, visitor=asking, origin="upload", label="", path=str(site.uploads(id)), id=id, state="uploading")
        site.uploads(id).mkdir()
        return {"id": id}

    @app.put("/site/uploads/{id}/file")
    async def one_file(id: str, name: str, request: Request, asking: str = Depends(visitor)) -> dict[str, bool]:
        own(id, asking)
        folder = site.uploads(id)
        path = folder.joinpath(*safe_parts(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        left = site.limits.bytes - received(id)
        taken = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                taken += len(chunk)
                if taken > left:
                    limit = site.limits.bytes / GIGABYTE
                    raise HTTPException(413, f"The study is over the limit of {limit:g} GB. Send one study at a time.")
                file.write(chunk)
        add_received(id, taken)
        return {"ok": True}

    @app.post("/site/uploads/{id}/done")
    def end_upload(id: str, asking: str = Depends(visitor)) -> dict[str, str]:
        own(id, asking)
        sent = [path for path in site.uploads(id).rglob("*") if path.is_file()]
        lone_archive = len(sent) == 1 and sent[0].suffix.lower() == ".zip"  # the reader opens an archive, not a folder of archives
        studies.uploaded(database, id, str(sent[0] if lone_archive else site.uploads(id)))
        jobs.enqueue(database, Kind.READ, study=id, visitor=asking)
        studies.note(database, asking, "upload", id)
        return {"id": id}

    @app.delete("/site/uploads/{id}")
    def cancel_upload(id: str, asking: str = Depends(visitor)) -> dict[str, bool]:
        own(id, asking)
        studies.remove(database, asking, id)
        shutil.rmtree(site.uploads(id), ignore_errors=True)
        return {"ok": True}

    def own(id: str, asking: str) -> None:
        with database.begin() as rows:
            row = rows.get(StudyRow, id)
        if row is None or row.visitor != asking or row.state != "uploading":
            raise HTTPException(404, "This upload is not open any more. Begin it again.")

    def received(id: str) -> int:
        with database.begin() as rows:
            row = rows.get(StudyRow, id)
            return int(row.intake.get("bytes", 0)) if row else 0

    def add_received(id: str, taken: int) -> None:
        with database.begin() as rows:
            if row := rows.get(StudyRow, id):
                row.intake = {"bytes": int(row.intake.get("bytes", 0)) + taken, "files": int(row.intake.get("files", 0)) + 1}
                if row.intake["files"] > site.limits.files:
                    raise HTTPException(413, f"These are more than {site.limits.files} files. Send one study at a time.")

    page, look = build_page(site, database, cookie)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        max_file_size="1mb",  # files come through our own routes only
        theme=look,
        css_paths=FOLDER / "page.css",
        head=f'<link rel="modulepreload" href="{address("viewer.js")}"><link rel="modulepreload" href="{address("niivue/index.js")}">',
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    app.add_middleware(Doorman, database=database, cookie=cookie)
    if host in ("127.0.0.1", "localhost", "::1"):
        # A foreign page must not reach this one by pointing its own name at this machine.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    return app


class Doorman:
    """Gives a new browser its cookie with the page, and every answer its headers."""

    def __init__(self, app: ASGIApp, database: Database, cookie: str) -> None:
        self._app = app
        self._database = database
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        token = self._new_token(scope) if scope["path"] == "/" and scope["method"] == "GET" else None

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if token:
                    headers.append("Set-Cookie", f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000")
            await send(message)

        await self._app(scope, receive, with_headers)

    def _new_token(self, scope: Scope) -> str | None:
        """A cookie for a browser that has none of ours."""
        sent = SimpleCookie(dict(scope["headers"]).get(b"cookie", b"").decode("latin-1"))
        if self._cookie in sent and studies.known(self._database, studies.visitor_id(sent[self._cookie].value)):
            return None
        token = studies.new_token()
        studies.welcome(self._database, studies.visitor_id(token))
        return token


def safe_parts(name: str) -> list[str]:
    """A sent file's relative path, harmless: no '..', no absolute path, no control characters, at most 8 short parts."""
    parts = [re.sub(r"[\x00-\x1f\x7f]", "", part)[-100:] for part in re.split(r"[/\\]", name)]
    kept = [part for part in parts if part not in ("", ".", "..")]
    return kept[-8:] or ["file"]


def _file(path: Path) -> FileResponse:
    if not path.is_file():
        raise HTTPException(404, "This picture is not ready. Reload the page.")
    return FileResponse(path, headers={"Cache-Control": "private, max-age=3600"})
