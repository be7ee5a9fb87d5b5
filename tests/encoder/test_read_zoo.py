"""The files that pydicom and nibabel bring for their own tests, and volumes of every kind: each ends in a typed outcome."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from made_dicom import transcode, voxels_of, write_series
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from encoder.errors import StudyError
from encoder.reading import read_studies, read_study
from encoder.study import Study, Weighting

PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
NIBABEL = Path(nib.__file__).parent

FOLDERS = {"pydicom": PYDICOM, "nibabel": NIBABEL / "tests" / "data", "nicom": NIBABEL / "nicom" / "tests" / "data"}

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
)

EXPECTED = {
    PYDICOM / "MR_small.dcm": "too few slices: 1",
    PYDICOM / "CT_small.dcm": "modality CT, not MR",
    PYDICOM / "JPEG2000.dcm": "secondary capture",
    PYDICOM / "rtplan.dcm": "no MR image: RT Plan",
    PYDICOM / "reportsi.dcm": "no MR image: Basic Text SR",
    PYDICOM / "dicomdirtests" / "DICOMDIR": "no MR image: Media Storage Directory",
    NIBABEL / "tests" / "data" / "functional.nii": "too few slices: 3",
    NIBABEL / "tests" / "data" / "analyze.hdr": "left cannot be told from right",
    NIBABEL / "tests" / "data" / "standard.nii.gz": "label image",
    NIBABEL / "nicom" / "tests" / "data" / "csa_slice_norm.dcm": "no pixels in the file",
}


def files() -> list[Path]:
    return [file for folder in FOLDERS.values() for file in sorted(folder.rglob("*")) if file.is_file()]


def test_every_bundled_file_ends_in_a_typed_outcome() -> None:
    for file in files():
        begun = time.monotonic()
        try:
            for study in read_studies(file):
                assert study.series, file
        except StudyError:
            pass
        assert time.monotonic() - begun < 10, file


@pytest.mark.parametrize("file", EXPECTED, ids=lambda file: file.name)
def test_reasons_for_bundled_files(file: Path) -> None:
    if not file.exists():
        pytest.skip(f"this release brings no {file.name}")
    with pytest.raises(StudyError, match=EXPECTED[file]):
        read_study(file)


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_whole_folders_of_bundled_files(folder: Path) -> None:
    with pytest.raises(StudyError, match="usable MR series") if folder != FOLDERS["nibabel"] else nullcontext():
        assert all(study.series for study in read_studies(folder))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_transfer_syntaxes(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    voxels = voxels_of().astype(np.uint16)
    for file in write_series(tmp_path, voxels):
        transcode(file, syntax)
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == syntax
    (series,) = read_study(tmp_path).series
    assert np.array_equal(series.voxels, voxels)


def write_nifti(path: Path, values: NDArray[np.generic], spacing: Sequence[float] = (1, 1, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(values, np.diag([*spacing, 1.0]))
    image.set_sform(image.affine, 1)
    nib.save(image, path)
    return path


def used(study: Study) -> dict[str, tuple[Weighting, float | None]]:
    return {series.name: (series.weighting, series.acquisition.b_value) for series in study.series}


def test_four_dimensions_with_b_values(tmp_path: Path) -> None:
    volumes = np.stack([voxels_of(seed=n) for n in range(4)], axis=3)
    write_nifti(tmp_path / "dwi.nii.gz", volumes)
    (tmp_path / "dwi.bval").write_text("0 1000 1000 2000\n")
    (tmp_path / "dwi.bvec").write_text("0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    study = read_study(tmp_path)
    assert used(study) == {"dwi_b0": (Weighting.T2, 0.0), "dwi_b1000": (Weighting.DWI, 1000.0), "dwi_b2000": (Weighting.DWI, 2000.0)}
    assert study.series[1].notes == ("mean of 2 directions",)
    assert study.excluded == ()


def test_four_dimensions_without_b_values_give_the_first_volume(tmp_path: Path) -> None:
    volumes = np.stack([voxels_of(seed=n) for n in range(3)], axis=3)
    write_nifti(tmp_path / "bold.nii", volumes)
    study = read_study(tmp_path)
    assert study.series[0].notes == ("the first of 3 volumes",)
    flat = read_study(write_nifti(tmp_path / "alone" / "bold.nii", volumes[..., 0]))
    assert np.array_equal(study.series[0].voxels, flat.series[0].voxels)


def test_a_sidecar_tells_the_acquisition(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii.gz", voxels_of())
    told = {"RepetitionTime": 9.0, "EchoTime": 0.12, "InversionTime": 2.5, "MagneticFieldStrength": 3, "PatientName": "Mueller"}
    (tmp_path / "scan.json").write_text(json.dumps(told))
    study = read_study(tmp_path)
    (series,) = study.series
    assert series.weighting is Weighting.FLAIR
    assert (series.acquisition.tr, series.acquisition.te, series.acquisition.ti) == (9000, 120, 2500)
    assert series.name.startswith("UNK-")
    assert study.excluded == ()


def test_renamed_nifti_files_give_the_same_study(tmp_path: Path) -> None:
    for seed, name in enumerate(("mueller_T1w", "mueller_FLAIR", "other")):
        write_nifti(tmp_path / "a" / f"{name}.nii.gz", voxels_of(seed=seed))
    for seed, name in enumerate(("17_T1w", "3_FLAIR", "aaa")):
        write_nifti(tmp_path / "b" / f"{name}.nii", voxels_of(seed=seed))
    one, other = read_study(tmp_path / "a"), read_study(tmp_path / "b")
    assert one.key == other.key
    assert [series.name for series in one.series] == [series.name for series in other.series]
    assert "mueller" not in repr(one.series[0].name) + repr(one.excluded)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (voxels_of().astype(np.complex64), "complex values"),
        (np.zeros((24, 20, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "colour image"),
        (voxels_of(top=2), "label image"),
        (np.full((24, 20, 6), np.nan, np.float32), "no voxel is a number"),
        (voxels_of((24, 20, 3)), "too few slices: 3"),
        (voxels_of((8, 20, 6)), "too small a matrix: 8 x 20"),
    ],
)
def test_volumes_that_are_no_sequences(tmp_path: Path, values: NDArray[np.generic], reason: str) -> None:
    with pytest.raises(StudyError, match=reason):
        read_study(write_nifti(tmp_path / "scan.nii", values))


def test_labels_are_known_by_folder_or_name_and_few_values(tmp_path: Path) -> None:
    write_nifti(tmp_path / "t1.nii", voxels_of())
    write_nifti(tmp_path / "t1_seg.nii", voxels_of(top=5))
    write_nifti(tmp_path / "masks" / "a.nii", voxels_of(top=5))
    study = read_study(tmp_path)
    assert [series.name for series in study.series] == ["t1"]
    assert {(entry.reason, entry.files) for entry in study.excluded} == {("label image or mask, not a sequence", 1)}
    assert len(study.excluded) == 2


def test_big_endian_and_scaled_nifti(tmp_path: Path) -> None:
    voxels = voxels_of()
    plain = read_study(write_nifti(tmp_path / "plain" / "t1.nii", voxels)).series[0]
    image = nib.Nifti1Image(voxels.astype(">i2"), np.diag([1.0, 1, 5, 1]), nib.Nifti1Header(endianness=">"))
    image.set_sform(image.affine, 1)
    nib.save(image, tmp_path / "big.nii")
    big = read_study(tmp_path / "big.nii").series[0]
    assert big.voxels.dtype.isnative
    assert np.array_equal(big.voxels, plain.voxels)
    image = nib.Nifti1Image(voxels, np.diag([1.0, 1, 5, 1]))
    image.set_sform(image.affine, 1)
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "scaled.nii")
    assert np.allclose(read_study(tmp_path / "scaled.nii").series[0].voxels, plain.voxels * 0.5 + 3)


def test_a_pair_of_header_and_image_is_one_volume(tmp_path: Path) -> None:
    image = nib.Nifti1Pair(voxels_of(), np.diag([1.0, 1, 5, 1]))
    image.set_sform(image.affine, 1)
    nib.save(image, tmp_path / "t1.hdr")
    study = read_study(tmp_path)
    assert len(study.series) == 1
    assert study.excluded == ()


@pytest.mark.parametrize(
    ("layout", "studies"),
    [
        (("a/t1.nii", "a/t2.nii", "b/t1.nii", "b/t2.nii"), 2),
        (("t1/x.nii", "t2/x.nii", "flair/x.nii"), 1),
        (("t1.nii", "more/t2.nii", "more/flair.nii"), 1),
        (("sub-1/anat/T1w.nii", "sub-1/anat/T2w.nii", "sub-1/dwi/dwi.nii", "sub-2/anat/T1w.nii", "sub-2/anat/T2w.nii"), 2),
        (("sub-1/ses-1/anat/T1w.nii", "sub-1/ses-1/perf/asl.nii", "sub-1/ses-2/anat/T1w.nii"), 2),
    ],
)
def test_folders_of_nifti_files_are_told_apart(tmp_path: Path, layout: tuple[str, ...], studies: int) -> None:
    for seed, name in enumerate(layout):
        write_nifti(tmp_path / name, voxels_of(seed=seed))
    assert len(read_studies(tmp_path)) == studies
    assert len(read_study(tmp_path).series) == len(layout)
