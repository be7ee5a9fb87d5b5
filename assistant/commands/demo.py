"""`prima demo`: the page with phantom studies, ready to try."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from assistant.database import Database
    from assistant.site import Site

# Seeds the models never saw, and the main diagnosis; the study list does not tell it.
STUDIES = (  # chosen for a full protocol and a patient of the usual age, not by what the models make of them
    (910_002, "high_grade_glioma"),
    (910_003, "large_vessel_stroke"),
    (910_004, "normal"),
    (910_011, "multiple_sclerosis"),
    (910_013, "meningioma"),
    (910_021, "dandy_walker_malformation"),
)


def demo(
    port: Annotated[int, typer.Option(help="Port to listen on (127.0.0.1 only).", min=1, max=65535)] = 7860,
    state: Annotated[Path | None, typer.Option(help="Folder for the demo's studies and database.")] = None,
) -> None:
    """Start the page with simulated studies, until Ctrl-C."""
    from assistant.app.run import run
    from assistant.database import Database
    from assistant.site import Site, default_state

    site = Site.at(state or default_state().with_name("demo"), demo=True)
    database, began = Database.open(site.database), time.time()
    shelve(site, database)
    run(site, host="127.0.0.1", port=port, ready=lambda: ready(database, began))
    database.close()


def ready(database: Database, since: float) -> bool:
    """Whether the worker that was started `since` then has its models open, and the first study can be looked at."""
    from assistant import studies

    sign = studies.worker_sign(database)
    first, *_ = studies.everyones(database)
    return sign is not None and sign.beat >= since and sign.models != "loading" and first.state in ("ready", "failed")


def shelve(site: Site, database: Database) -> None:
    """Puts the demo studies on everyone's shelf, once; the worker makes them."""
    from assistant import jobs, studies
    from assistant.jobs import Kind

    known = {each.path: each for each in studies.everyones(database)}
    for number, (seed, diagnosis) in enumerate(STUDIES, 1):
        path = str(site.state / "demo" / str(seed))
        if path not in known:
            id = studies.add(database, visitor=None, origin="demo", label=f"Demo {number}", path=path)
        elif known[path].state == "failed":
            id = known[path].id
            studies.wait_again(database, id)
        else:
            continue
        jobs.enqueue(database, Kind.PHANTOM, study=id, visitor=None, payload={"seed": seed, "diagnosis": diagnosis})
