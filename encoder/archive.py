"""The files behind a path: a folder, a zip, one file or a list of them, opened within limits."""

from __future__ import annotations

import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from encoder.errors import StudyError, UnsafeArchive

MAX_FILES = 200_000
MAX_UNPACKED = 32 << 30
# Stored images shrink perhaps twentyfold; zeros shrink a thousandfold. Small archives may do as they like.
MAX_RATIO = 100
RATIO_FREE = 256 << 20
CHUNK = 1 << 20


@dataclass(frozen=True)
class Found:
    """Regular files (absolute, sorted), and what lies among them without being one, as (path, reason).

    root: the folder they share, for telling studies apart.
    """

    root: Path
    files: tuple[Path, ...]
    others: tuple[tuple[Path, str], ...]


@contextmanager
def opened(path: Path | Sequence[Path]) -> Iterator[Found]:
    """Yield every file behind `path`; zips are unpacked to a private temporary folder that goes when the block ends.

    Raises StudyError for a path that does not exist or holds no file, UnsafeArchive for a zip beyond the limits.
    """
    paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(p) for p in path]
    if not paths:
        raise StudyError("Expected at least one path to a study; found none. Give a folder, a zip or image files.")
    with ExitStack() as stack:
        roots, files, others = [], [], []
        for given in paths:
            if not given.exists():
                raise StudyError(f"Expected a folder, a zip or image files; found nothing at {given}. Check the path.")
            if not given.is_dir() and zipfile.is_zipfile(given):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prima-")))
                unpack(given, folder)
                given = folder
            found, odd = walk(given.resolve())
            roots.append(given.resolve() if given.is_dir() else given.resolve().parent)
            files += found
            others += odd
        if not files:
            raise StudyError(f"Expected image files; found none in {_listed(paths)}. Give the folder that holds the study.")
        root = Path(os.path.commonpath(roots))
        yield Found(root, tuple(sorted(set(files))), tuple(sorted(set(others))))


def walk(path: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Regular files at or under `path`, and the rest with a reason; links to folders are not followed (they can circle)."""
    if not path.is_dir():
        return _sorted_out([path])
    names = []
    for folder, subfolders, inside in os.walk(path):
        names += [Path(folder, name) for name in inside]
        names += [Path(folder, name) for name in subfolders if Path(folder, name).is_symlink()]
        if len(names) > MAX_FILES:
            raise StudyError(f"Expected at most {MAX_FILES} files; {path} holds more. Give one study's folder at a time.")
    return _sorted_out(names)


def _sorted_out(names: list[Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    files, others = [], []
    for name in names:
        try:
            mode = name.stat().st_mode
        except OSError:
            others.append((name, "a link to nowhere, or not permitted"))
            continue
        if stat.S_ISREG(mode):
            files.append(name)
        else:
            # Opening a pipe or a device could wait for ever.
            others.append((name, "a link to a folder" if stat.S_ISDIR(mode) else "not a regular file"))
    return files, others


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into `folder`, counting what really comes out rather than what the zip promises.

    A member that is damaged leaves a truncated file, so that the rest of the study is still read and the damage is seen.
    """
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = [member for member in bundle.infolist() if not member.is_dir()]
            if len(members) > MAX_FILES:
                raise UnsafeArchive(f"Expected at most {MAX_FILES} files in {archive}; found {len(members)}. Unpack and choose.")
            for member in members:
                _check_member(archive, member)
            budget = min(MAX_UNPACKED, max(RATIO_FREE, MAX_RATIO * archive.stat().st_size))
            if sum(member.file_size for member in members) > budget:
                raise _too_much(archive)
            for number, member in enumerate(members):
                target = folder / PurePosixPath(member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():  # two members of one name
                    target = target.with_name(f"{number}_{target.name}")
                with target.open("wb") as sink:
                    budget -= _pour(bundle, member, sink, budget, archive)
    except StudyError:
        raise
    except Exception as error:
        # A damaged archive can fail anywhere in a parser.
        raise StudyError(f"Expected a readable zip; {archive} is damaged ({type(error).__name__}). Make it again.") from error


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in member.filename:
        raise UnsafeArchive(f"Expected file names inside the zip; {archive} names one outside it. It was not unpacked.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UnsafeArchive(f"Expected plain files; {archive} holds a symbolic link. It was not unpacked.")
    if member.flag_bits & 1:
        raise StudyError(f"Expected an open zip; {archive} is protected by a password. Unpack it and give the folder.")


def _pour(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, sink: IO[bytes], budget: int, archive: Path) -> int:
    poured = 0
    try:
        with bundle.open(member) as source:
            while block := source.read(CHUNK):
                poured += len(block)
                if poured > budget:
                    raise _too_much(archive)
                sink.write(block)
    except UnsafeArchive:
        raise
    except Exception:
        sink.truncate(poured // 2)
    return poured


def _too_much(archive: Path) -> UnsafeArchive:
    return UnsafeArchive(
        f"Expected a zip that unpacks to at most {MAX_RATIO} times its size (and {MAX_UNPACKED >> 30} GiB); "
        f"{archive} unpacks to more. If it is sound, unpack it and give the folder."
    )


def _listed(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths[:3]) + (" ..." if len(paths) > 3 else "")
