"""Where a site keeps its state, and what it lets in.

state/
├── prima.db            the database, unless --database names another
├── uploads/<study>/    what visitors sent
├── demo/<seed>/        phantoms
├── volumes/<study>/    NIfTI volumes for the viewer
└── cases/<case>/       a cited case's key pictures, text and (once asked for) volumes

The site key lies beside it, where `encoder.identity` keeps it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from assistant.errors import UsageError
from encoder.identity import data_home

GIGABYTE = 1024**3


@dataclass(frozen=True)
class Limits:
    """What an upload may hold: bytes in all, files in all."""

    bytes: int = 2 * GIGABYTE
    files: int = 20_000


@dataclass(frozen=True)
class Site:
    """One installation's folders. state: owned by the site alone. studies_root: the only place studies are read from by path.

    demo: whether it shows phantoms; else the page opens with the place to add a study.
    """

    state: Path
    database: str
    studies_root: Path | None = None
    demo: bool = False
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def at(cls, state: Path, *, database: str | None = None, studies_root: Path | None = None, demo: bool = False) -> Site:
        """Makes the state folder (mode 0700) and checks the studies root; raises UsageError."""
        state = state.expanduser().resolve()
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("uploads", "demo", "volumes", "cases"):
                (state / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise UsageError(f"The state folder {state} cannot be written ({error.strerror}). Name another with --state.") from error
        if studies_root is not None and not studies_root.expanduser().is_dir():
            raise UsageError(f"--studies-root must be a folder; {studies_root} is not one.")
        root = studies_root.expanduser().resolve() if studies_root else None
        return cls(state, database or f"sqlite:///{state / 'prima.db'}", root, demo)

    def uploads(self, study: str) -> Path:
        """The folder of an uploaded study's files."""
        return self.state / "uploads" / study

    def volumes(self, study: str) -> Path:
        """The folder of a study's viewer volumes."""
        return self.state / "volumes" / study

    def cases(self, case: str) -> Path:
        """The folder of a cited case."""
        return self.state / "cases" / case

    def inside_root(self, asked: str) -> Path:
        """The path of a study under the studies root; raises UsageError for anything that resolves outside it or is not there."""
        if self.studies_root is None:
            raise UsageError("No studies folder is open here. Upload the study, or start the page with --studies-root.")
        path = (self.studies_root / asked.strip()).resolve()
        if not path.is_relative_to(self.studies_root):
            raise UsageError("That path lies outside the studies folder of this site. Choose a study below it.")
        if not path.exists():
            raise UsageError("Nothing is at that path in the studies folder. Check the spelling, or choose from the list.")
        return path

    def root_entries(self, limit: int = 500) -> tuple[str, ...]:
        """The first-level folders and archives under the studies root, sorted; links that lead outside are left out."""
        if self.studies_root is None:
            return ()
        with os.scandir(self.studies_root) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".")]
            names = sorted(entry.name for entry in seen if entry.is_dir() or _is_study_file(entry.name))
        return tuple(name for name in names if (self.studies_root / name).resolve().is_relative_to(self.studies_root))[:limit]


def _is_study_file(name: str) -> bool:
    return name.lower().endswith((".zip", ".nii", ".nii.gz", ".dcm"))


def default_state() -> Path:
    """Where the page keeps its state unless told: the folder `page` of the site's data folder (`encoder.identity.data_home`)."""
    return data_home() / "page"
