"""Damaged files, by the hundred: the reader neither crashes nor hangs, and whatever happens is a study or a typed error."""

from __future__ import annotations

import random
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from made_dicom import transcode, voxels_of, write_enhanced, write_series
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from encoder.decoding import Decoder
from encoder.errors import EncoderError
from encoder.reading import read_study

SECONDS = 10.0  # of the processor, for the clock on a wall depends on who else works; test_read_decoding.py limits the other process


@pytest.fixture(autouse=True)
def one_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One decoding process for all studies of a test, so that most of the time goes into reading; it starts anew when it dies."""
    with Decoder() as decoder:
        monkeypatch.setattr("encoder.reading.Decoder", lambda: nullcontext(decoder))
        yield


def bodies(folder: Path) -> list[Path]:
    """One folder for each kind of study, each with a file or more to damage."""
    smooth = np.add.outer(np.add.outer(np.arange(24), np.arange(20)), np.arange(6)).astype(np.uint16) + voxels_of(top=9).astype(np.uint16)
    write_series(folder / "plain", smooth, RepetitionTime=4500.0, EchoTime=100.0, RescaleSlope=1.5, RescaleIntercept=0)
    for syntax in (RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless):
        for file in write_series(folder / syntax.keyword, smooth):
            transcode(file, syntax)
    write_enhanced(folder / "enhanced" / "e.dcm", smooth, series="1.2.3")
    image = nib.Nifti1Image(smooth, np.diag([1.0, 1, 5, 1]))
    image.set_sform(image.affine, 1)
    for ending in ("nii", "nii.gz"):
        (folder / ending).mkdir()
        nib.save(image, folder / ending / f"t2.{ending}")
    (folder / "zip").mkdir()
    with zipfile.ZipFile(folder / "zip" / "z.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        for file in sorted((folder / "plain").iterdir()):
            bundle.write(file, file.name)
    return sorted(folder.iterdir())


def flip(content: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 12)):
        content[place(content, dice)] = dice.randrange(256)


def cut(content: bytearray, dice: random.Random) -> None:
    del content[place(content, dice) :]


def lose(content: bytearray, dice: random.Random) -> None:
    begin = place(content, dice)
    del content[begin : begin + dice.randint(1, 64)]


def repeat(content: bytearray, dice: random.Random) -> None:
    begin = place(content, dice)
    content[begin:begin] = content[begin : begin + dice.randint(1, 64)] * dice.randint(1, 4)


def fill(content: bytearray, dice: random.Random) -> None:
    begin = place(content, dice)
    length = dice.randint(1, 16)
    content[begin : begin + length] = bytes([dice.choice((0, 0xFF, 0x7F, 0x80))]) * length


def place(content: bytearray, dice: random.Random) -> int:
    """Anywhere, but half of the time in the first kilobyte, where headers are."""
    return dice.randrange(max(1, min(len(content), 1024 if dice.random() < 0.5 else len(content))))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, cut, lose, repeat, fill)


def damaged_reads(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Damage one file of one kind of study, read it, `count` times; how often that gave a study and how often an error."""
    dice = random.Random(seed)
    kinds = bodies(folder / "sound")
    outcomes = {"study": 0, "error": 0}
    for number in range(count):
        study = folder / "damaged"
        shutil.copytree(dice.choice(kinds), study)
        for _ in range(dice.choice((1, 1, 1, 6))):
            victim = dice.choice(sorted(study.iterdir()))
            content = bytearray(victim.read_bytes() or b"\0")
            dice.choice(DAMAGES)(content, dice)
            victim.write_bytes(bytes(content))
        begun = time.process_time()
        try:
            read = read_study(study if not (study / "z.zip").exists() else study / "z.zip")
            assert read.series
            assert all(np.isfinite(series.affine).all() and series.voxels.ndim == 3 for series in read.series)
            outcomes["study"] += 1
        except EncoderError:
            outcomes["error"] += 1
        assert time.process_time() - begun < SECONDS, f"damage {number} of seed {seed}"
        shutil.rmtree(study)
    return outcomes


def test_a_hundred_damaged_studies(tmp_path: Path) -> None:
    outcomes = damaged_reads(tmp_path, 100, seed=1)
    assert sum(outcomes.values()) == 100
    assert min(outcomes.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_thousand_damaged_studies(tmp_path: Path) -> None:
    outcomes = damaged_reads(tmp_path, 2000, seed=2)
    assert sum(outcomes.values()) == 2000
    assert min(outcomes.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_damaged_files_of_real_scanners(real_data: Path, tmp_path: Path) -> None:
    """Mosaics in nine transfer syntaxes (both encoders of lossless JPEG among them) and enhanced files, each damaged 20 times."""
    dice = random.Random(3)
    files = sorted((real_data / "siemens_trio_epi_9_transfer_syntaxes").glob("*.dcm"))
    files += sorted((real_data / "dicom2nifti_multivendor_fragments" / "philips_enhanced").rglob("*.dcm"))
    for file in files:
        for number in range(20):
            content = bytearray(file.read_bytes())
            dice.choice(DAMAGES)(content, dice)
            (tmp_path / "a.dcm").write_bytes(bytes(content))
            begun = time.process_time()
            with suppress(EncoderError):
                assert read_study(tmp_path / "a.dcm").series
            assert time.process_time() - begun < SECONDS, f"damage {number} of {file.name}"
