"""Decoders live apart: when they die or hang, the reader goes on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_dicom import transcode, voxels_of, write_series
from pydicom.uid import JPEG2000Lossless

from encoder import decoding
from encoder.decoding import Decoder, UndecodablePixels
from encoder.reading import read_study

ROOT = Path(decoding.__file__).parent.parent


@pytest.fixture
def compressed(tmp_path: Path) -> list[Path]:
    files = write_series(tmp_path / "t2", voxels_of((24, 20, 12)).astype(np.uint16))
    for file in files:
        transcode(file, JPEG2000Lossless)
    return files


def test_a_decoder_that_died_is_started_anew(compressed: list[Path]) -> None:
    with Decoder() as decoder:
        whole = decoder.planes(compressed[0], [0])
        assert whole.shape == (1, 20, 24)
        assert decoder._process is not None
        decoder._process.kill()
        decoder._process.wait()
        with pytest.raises(UndecodablePixels, match="crashed"):
            decoder.planes(compressed[0], [0])
        assert np.array_equal(decoder.planes(compressed[0], [0]), whole)


def test_a_decoder_that_hangs_is_stopped(compressed: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "endless")
    with Decoder() as decoder:
        decoder.planes(compressed[0], [0])
        monkeypatch.setattr(decoding, "WALL_SECONDS", 0.2)
        with pytest.raises(UndecodablePixels, match="took too long"):
            decoder.planes(tmp_path / "endless", [0])


def test_a_decoder_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no image")
    with Decoder() as decoder, pytest.raises(UndecodablePixels, match=r"cannot be decoded|no pixels"):
        decoder.planes(tmp_path / "text.dcm", [0])


def test_no_process_is_left_behind(compressed: list[Path]) -> None:
    with Decoder() as decoder:
        decoder.planes(compressed[0], [0])
        process = decoder._process
        assert process is not None
    assert process.poll() is not None


def test_one_undecodable_slice_is_a_missing_slice(compressed: list[Path]) -> None:
    content = bytearray(compressed[5].read_bytes())
    begin = content.index(b"\xff\x4f\xff\x51")
    content[begin : begin + 60] = bytes(60)
    compressed[5].write_bytes(bytes(content))
    study = read_study(compressed)
    assert study.series[0].voxels.shape[2] == 12
    assert study.series[0].notes == ("1 of 12 slices missing, filled from their neighbours",)
    assert [entry.files for entry in study.excluded] == [1]
    assert "cannot be decoded" in study.excluded[0].reason


def test_a_decoder_that_computes_for_ever_is_stopped() -> None:
    """The limit is the processor's time, so a busy machine does not make sound files look bad."""
    endless = "import encoder.decoding as d, io\nd.stored_planes = lambda path, indices: [None for _ in iter(int, 1)]\n"
    request = json.dumps(["a.dcm", [0], 1.0]).encode() + b"\n"
    begun = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    ended = subprocess.run([sys.executable, "-c", endless + f"d.serve(io.BytesIO({request!r}), io.BytesIO())"], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGXCPU
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begun < 10
