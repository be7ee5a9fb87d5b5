"""Real scans, folder by folder: what is used, what is not, and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from encoder.errors import StudyError
from encoder.reading import intake, read_series, read_studies, read_study
from encoder.study import Series

COPY = "NIfTI file in a DICOM study's folder: taken as a converted copy"
REPEATED = "repeated images of places already read (time series or duplicates): the first is used"
FEW = "too few slices: {}, at least 4 are needed"
NO_IMAGE = "not an image file"
CAPTURE = "secondary capture, not the scanner's own image"


@dataclass(frozen=True)
class Expected:
    """used: "name | plane | weighting | columns x rows x slices"; UNK stands for UNK and any pseudonym. excluded: files by reason."""

    folder: str
    used: tuple[str, ...]
    excluded: dict[str, int]


TABLE = (
    Expected(
        "nifti_tumour_TCGA-FG-6692",
        (
            "FLAIR_AX_SE_IR_tir2d1_fla | axial | FLAIR | 208 x 256 x 26",
            "T1_AX_POST_GAD_SE_se2d1r_t1c | axial | T1 post-contrast | 256 x 224 x 26",
            "T1_AX_SE_se2d1 | axial | T1 | 256 x 224 x 26",
            "T2_AX_SE_tse2d1 | axial | T2 | 224 x 256 x 26",
        ),
        {NO_IMAGE: 1},
    ),
    Expected(
        "nifti_ms_patient20",
        ("FLAIR | axial | FLAIR | 256 x 256 x 44", "T1W | axial | T1 | 256 x 256 x 44"),
        {NO_IMAGE: 1},
    ),
    Expected(
        "nifti_misc_niivue",
        ("ASL | sagittal | perfusion | 79 x 67 x 64", "FLAIR | sagittal | FLAIR | 160 x 140 x 124"),
        {NO_IMAGE: 1, "complex values, not a magnitude image": 1, "same image as ASL": 11},
    ),
    Expected(
        "philips_elitionx_brain_multiseries",
        (
            "ADNI_Sag3D_MPRAGE-WIP_ADNI_Sag3D_MPRAGE-Protocol | sagittal | T1 | 256 x 256 x 170",
            "3DpCASL-WIP_3DpCASL-Protocol | axial | perfusion | 96 x 96 x 40",
            "DTI_S2MB2-WIP_DTI_S2MB2-Protocol_b0 | axial | T2 | 128 x 128 x 15",
            "DTI_S2MB2-WIP_DTI_S2MB2-Protocol_b1000 | axial | DWI | 128 x 128 x 15",
        ),
        {
            NO_IMAGE: 1,
            "raw data, not an image": 1,
            "same images in another encoding (classic and enhanced under one UID)": 1,
            "field map, made to correct other series": 107,
        },
    ),
    Expected(
        "siemens_skyra_epi_mosaic_pe_polarity",
        ("EPI_PE_AP | axial | unknown | 72 x 72 x 5", "EPI_PE_RL | axial | unknown | 72 x 72 x 5"),
        {NO_IMAGE: 1, REPEATED: 2},
    ),
    Expected(
        "siemens_trio_epi_9_transfer_syntaxes",
        ("ax_asc_35sl | axial | unknown | 64 x 64 x 35",),
        {NO_IMAGE: 1, REPEATED: 8, COPY: 2},
    ),
    Expected(
        "siemens_xa30_phantom_odd_objects",
        (),
        {
            NO_IMAGE: 1,
            "localizer or calibration scan": 3,
            "field map, made to correct other series": 4,
            "derived map of a parameter": 1,
            CAPTURE: 2,
            "no MR image: Enhanced SR": 1,
        },
    ),
    Expected("torchio_coronal_modality_mislabelled_CT", (), {NO_IMAGE: 1, "modality CT, not MR": 17}),
    Expected("dicom2nifti_multivendor_fragments/failing/slicecount/001", (), {FEW.format(2): 2}),
    Expected("dicom2nifti_multivendor_fragments/failing/sliceorientation/001", (), {FEW.format(2): 4}),
    Expected("dicom2nifti_multivendor_fragments/ge/anatomical/001", ("UNK | sagittal | T1 | 256 x 256 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/ge/anatomical/001_single_slice", (), {FEW.format(1): 1}),
    Expected("dicom2nifti_multivendor_fragments/ge/dti/002", ("UNK | coronal | unknown | 64 x 64 x 4",), {REPEATED: 12}),
    Expected("dicom2nifti_multivendor_fragments/generic/anatomical/002_non_isotropic", ("UNK | axial | T1 | 64 x 28 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/generic/compressed_j2k/001", ("UNK | sagittal | FLAIR | 256 x 256 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/generic/compressed_jpeg/001", ("UNK | sagittal | FLAIR | 256 x 256 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/generic/compressed_jpegls/001", ("UNK | sagittal | FLAIR | 256 x 256 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/generic/compressed_rle/001", ("UNK | sagittal | FLAIR | 256 x 256 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/generic/rgb/001", (), {CAPTURE: 4}),
    Expected("dicom2nifti_multivendor_fragments/hitachi/anatomical/001_implicit", ("UNK | sagittal | PD | 64 x 64 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/hyperfine/anatomical/001", ("UNK | axial | FLAIR | 112 x 138 x 8",), {}),
    Expected("dicom2nifti_multivendor_fragments/philips/anatomical/001_implicit", ("UNK | coronal | FLAIR | 240 x 240 x 4",), {}),
    Expected("dicom2nifti_multivendor_fragments/philips_enhanced/anatomical/001", ("UNK | sagittal | T1 | 256 x 256 x 8",), {}),
    Expected("dicom2nifti_multivendor_fragments/siemens_multiframe/anatomical/001", ("UNK | axial | unknown | 256 x 256 x 8",), {}),
)


@pytest.mark.parametrize("expected", TABLE, ids=lambda expected: expected.folder)
def test_every_series_of_real_scans_goes_where_it_should(real_data: Path, expected: Expected) -> None:
    folder = real_data / expected.folder
    if not expected.used:
        with pytest.raises(StudyError) as caught:
            read_study(folder)
        assert not [reason for reason, files in expected.excluded.items() if f"{files} file(s): {reason}" not in str(caught.value)]
        return
    (taken,) = intake(folder, one=True)
    used = [
        f"{re.sub('^UNK-.*', 'UNK', series.name)} | {series.plane} | {series.weighting} | " + " x ".join(map(str, series.voxels.shape))
        for series in taken.study.series
    ]
    excluded: Counter[str] = Counter()
    for entry in taken.study.excluded:
        excluded[entry.reason] += entry.files
    assert used == list(expected.used)
    assert dict(excluded) == expected.excluded
    told = {file for outcome in taken.outcomes for file in outcome.files}
    assert told == {file for file in folder.rglob("*") if file.is_file()}


def test_the_table_covers_every_dicom_and_nifti_file(real_data: Path) -> None:
    """Besides the converted references of the fragments, which the next test reads."""
    listed = [real_data / expected.folder for expected in TABLE]
    files = [file for file in real_data.rglob("*") if file.is_file() and not file.name.endswith((".txt", ".tsv", "ground_truth.nii.gz"))]
    assert [file for file in files if not any(file.is_relative_to(folder) for folder in listed)] == []


@pytest.mark.parametrize(
    ("dicom", "converted"),
    [
        ("siemens_trio_epi_9_transfer_syntaxes/1.dcm", "siemens_trio_epi_9_transfer_syntaxes/dcm2niix_reference/1.nii"),
        *(
            (f"dicom2nifti_multivendor_fragments/{name}", f"dicom2nifti_multivendor_fragments/{name}_ground_truth.nii.gz")
            for name in ("ge/anatomical/001", "generic/compressed_j2k/001", "hitachi/anatomical/001_implicit", "hyperfine/anatomical/001")
        ),
    ],
)
def test_voxels_lie_where_other_converters_put_them(real_data: Path, dicom: str, converted: str) -> None:
    (ours,) = read_study(real_data / dicom).series
    (theirs,) = read_study(real_data / converted).series
    index = np.stack(np.meshgrid(*(np.arange(n) for n in ours.voxels.shape), indexing="ij"), -1).reshape(-1, 3)
    world = index @ ours.affine[:3, :3].T + ours.affine[:3, 3]
    place = (world - theirs.affine[:3, 3]) @ np.linalg.inv(theirs.affine[:3, :3]).T
    nearest = np.rint(place).astype(int)
    assert np.abs(place - nearest).max() < 1e-3
    assert np.array_equal(ours.voxels.reshape(-1), theirs.voxels[tuple(nearest.T)])


def test_nine_transfer_syntaxes_give_the_same_volume(real_data: Path) -> None:
    """Little and big endian, implicit, run-length, lossless JPEG of two encoders, JPEG-LS of two, JPEG 2000."""
    volumes = [read_study(real_data / "siemens_trio_epi_9_transfer_syntaxes" / f"{n}.dcm").series[0] for n in range(1, 10)]
    assert all(alike(volume, volumes[0]) for volume in volumes[1:])
    assert [volume.name for volume in volumes] == ["ax_asc_35sl"] * 9


def test_twelve_axis_orders_give_the_same_volume(real_data: Path) -> None:
    files = sorted((real_data / "nifti_misc_niivue" / "orientation").glob("*.nii.gz"))
    volumes = [read_study(file).series[0] for file in files]
    assert len(files) == 12
    assert all(alike(volume, volumes[0]) for volume in volumes[1:])


def test_classic_and_enhanced_files_give_the_same_volume(real_data: Path) -> None:
    folder = real_data / "philips_elitionx_brain_multiseries"
    (classic,), (enhanced,) = read_series(folder / "1901_pCASL_classic"), read_series(folder / "1901_pCASL_enhanced")
    assert alike(classic, enhanced)
    assert classic.name == enhanced.name


def test_fragments_of_many_scanners_are_many_studies(real_data: Path) -> None:
    studies = read_studies(real_data / "dicom2nifti_multivendor_fragments")
    assert len({study.key for study in studies}) == len(studies) == 12
    assert all(study.series for study in studies)


def alike(one: Series, other: Series) -> bool:
    return one.plane == other.plane and np.array_equal(one.voxels, other.voxels) and np.allclose(one.affine, other.affine, atol=1e-3)
