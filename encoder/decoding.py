"""Compressed pixels, decoded in a process of their own.

Decoders of JPEG, JPEG-LS and JPEG 2000 are C libraries; a damaged file can make them abort, hang or ask for all memory. Apart from
the reader they can do so without taking it along. This file is both sides: `Decoder` starts it as a script, which imports nothing
of the package.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

# Of the processor, for one file: a slice takes milliseconds, a multi-frame file a second or two. Halved with every file that takes
# more, so that many of them do not add up. The clock on the wall, on which the machine's other work counts too, is the last resort.
SECONDS = 8.0
LEAST_SECONDS = 1.0
WALL_SECONDS = 120.0
MEMORY = 8 << 30


class UndecodablePixels(ValueError):
    """Pixels that cannot be decoded; the message is the reason, without names."""


def stored_planes(path: Path, indices: list[int]) -> NDArray[Any]:
    """(frames, rows, columns) as stored, with inverted grey values turned. Raises whatever a damaged file makes pydicom raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
        if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise UndecodablePixels("no pixels in the file")
        planes = np.stack(list(iter_pixels(dataset, indices=indices, raw=True)))
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            top = -1 if dataset.PixelRepresentation else (1 << int(dataset.BitsStored)) - 1
            planes = (top - planes.astype(np.int64)).astype(planes.dtype)
        return planes


class Decoder:
    """A process that decodes, started when first needed, started anew when it died, ended with the `with` block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._seconds = SECONDS

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def planes(self, path: Path, indices: list[int]) -> NDArray[Any]:
        """`stored_planes` in the other process. Raises UndecodablePixels."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        patience = threading.Timer(WALL_SECONDS, process.kill)
        patience.start()
        try:
            process.stdin.write(json.dumps([os.fspath(path), indices, self._seconds]).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            length, reason = json.loads(answer) if answer else (0, None)
            content = process.stdout.read(length)
        except OSError:
            answer, length, reason, content = b"", 0, None, b""
        finally:
            patience.cancel()
        if not answer or len(content) < length:
            self._end()
            self._seconds = max(LEAST_SECONDS, self._seconds / 2)
            raise UndecodablePixels("damaged pixels (their decoder crashed or took too long)")
        if reason is not None:
            raise UndecodablePixels(reason)
        planes: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        return planes

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # -P: the package's folder is not a place to import from.
            command = [sys.executable, "-P", __file__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            self._process.wait()
            self._process = None


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each line [path, indices, seconds] with a line [length, reason] and that many bytes of a .npy file."""
    for line in requests:
        path, indices, seconds = json.loads(line)
        _limit("RLIMIT_CPU", math.ceil(time.process_time() + seconds))
        content, reason = io.BytesIO(), None
        try:
            np.save(content, stored_planes(Path(path), indices), allow_pickle=False)
        except UndecodablePixels as problem:
            reason = str(problem)
        except Exception as error:
            reason = f"pixels that cannot be decoded (damaged, or no decoder installed: {type(error).__name__})"
        answers.write(json.dumps([content.tell() if reason is None else 0, reason]).encode() + b"\n")
        answers.write(content.getbuffer() if reason is None else b"")
        answers.flush()


def _limit(kind: str, most: int) -> None:
    """Limit this process where the system can (Windows cannot)."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(getattr(resource, kind), (most, resource.getrlimit(getattr(resource, kind))[1]))


if __name__ == "__main__":
    _limit("RLIMIT_AS", MEMORY)
    # Decoders may print: what they say must not mix with the answers.
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(sys.stdin.buffer, private)
