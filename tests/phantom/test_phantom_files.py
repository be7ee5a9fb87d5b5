"""Phantoms on disk."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from made_phantoms import every_sequence

import phantom
from phantom import atlas


@pytest.fixture(scope="module")
def drawn() -> phantom.Phantom:
    return phantom.sample(7, "meningioma", style=every_sequence(7, 64))


@pytest.fixture(scope="module")
def written(drawn: phantom.Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write(drawn, tmp_path_factory.mktemp("written"))


def test_other_software_reads_the_same_geometry(drawn: phantom.Phantom, written: Path) -> None:
    folders = sorted(path for path in written.iterdir() if path.is_dir() and path.name != "masks")
    series = phantom.render(drawn)
    assert len(folders) == len(series)
    for folder, rendered in zip(folders, series, strict=True):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        assert np.array_equal(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), rendered.voxels)
        for index in ((0, 0, 0), (63, 5, 3)):
            assert np.allclose(image.TransformIndexToPhysicalPoint(index), (rendered.affine @ [*index, 1])[:3], atol=1e-3)


def test_files_are_valid_and_say_they_are_simulated(written: Path) -> None:
    for path in written.rglob("*.dcm"):
        image = pydicom.dcmread(path)
        assert str(image.PatientName).startswith("PHANTOM")
        assert "Simulated" in image.PatientComments
        assert image.SOPInstanceUID == image.file_meta.MediaStorageSOPInstanceUID
    uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in written.rglob("*.dcm")]
    assert len(set(uids)) == len(uids)


def test_one_seed_gives_the_same_bytes(drawn: phantom.Phantom, written: Path, tmp_path: Path) -> None:
    again = phantom.write(drawn, tmp_path)
    files = sorted(path.relative_to(written) for path in written.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in files:
        assert (written / name).read_bytes() == (again / name).read_bytes(), name


def test_a_model_loading_beside_it_changes_nothing(drawn: phantom.Phantom) -> None:
    """While transformers loads half-precision weights in one thread, new tensors of every thread are of half precision."""
    far = np.full((1, 3), 1e4, np.float32)
    alone, border = phantom.render(drawn), atlas.load().channels.at(far)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        beside, border_beside = phantom.render(drawn), atlas.load().channels.at(far)
    finally:
        torch.set_default_dtype(before)
    np.testing.assert_array_equal(border_beside, border)
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one.voxels, other.voxels)


def test_truth_names_masks_that_are_there(written: Path) -> None:
    said = json.loads((written / "truth.json").read_text())
    assert said["diagnoses"][0] == "meningioma"
    assert {"diagnoses", "findings", "referral", "priority"} <= said.keys()
    for finding in said["findings"]:
        assert {"name", "side", "region", "size_mm", "mask", "visible_on"} <= finding.keys()
        if finding["mask"]:
            assert np.asarray(nibabel.load(written / finding["mask"]).dataobj).any()


def test_nifti_has_the_same_geometry(drawn: phantom.Phantom, tmp_path: Path) -> None:
    folder = phantom.write_nifti(drawn, tmp_path)
    rendered = phantom.render(drawn)[0]
    image = nibabel.load(folder / f"{rendered.name}.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), rendered.voxels)
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ image.affine, rendered.affine, atol=1e-4)


def test_a_study_is_never_overwritten(drawn: phantom.Phantom, written: Path) -> None:
    before = sorted(written.rglob("*"))
    with pytest.raises(phantom.PhantomError, match="nothing was written"):
        phantom.write(drawn, written.parent)
    assert sorted(written.rglob("*")) == before


def test_prima_phantom_prints_one_object_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assistant.commands.phantom import phantom as command

    command(tmp_path, studies=1, seed=30, diagnosis="normal", visits=1, mirror=False, report_noise=0.0, as_json=True)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [30]
    assert all(Path(json.loads(line)["study"], "report.txt").exists() for line in lines)
