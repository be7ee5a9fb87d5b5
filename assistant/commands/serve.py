"""`prima serve`: the page for a site's own studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    studies_root: Annotated[Path, typer.Option(help="Folder of studies; the page reads by path only below it.")],
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 7860,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is reachable from this machine alone.")] = "127.0.0.1",
    database: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the database; SQLite in the state folder by default.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for uploads, pictures and the database.")] = None,
) -> None:
    """Serve the page on your own studies, until Ctrl-C."""
    from assistant.app.run import run
    from assistant.site import Site, default_state

    run(Site.at(state or default_state(), database=database, studies_root=studies_root), host=host, port=port)
