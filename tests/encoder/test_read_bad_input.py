"""Bad input ends in one typed error that says what to do, or in a study that says what it could not use."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from made_dicom import voxels_of, write_series

from encoder import archive, dicom
from encoder.errors import StudyError, UnsafeArchive
from encoder.reading import read_studies, read_study


def zipped(target: Path, folder: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for file in sorted(folder.rglob("*")):
            bundle.write(file, file.relative_to(folder))
    return target


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"found nothing at .*nowhere"):
        read_study(tmp_path / "nowhere")


def test_no_path() -> None:
    with pytest.raises(StudyError, match="at least one path"):
        read_study([])


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with pytest.raises(StudyError, match="found none in"):
        read_study(tmp_path)


def test_text_named_dcm(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("this is a letter, not an image\n" * 50)
    with pytest.raises(StudyError, match="named like DICOM, but not DICOM inside"):
        read_study(tmp_path)


def test_ct_only(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(), Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    with pytest.raises(StudyError, match=r"6 file.* modality CT, not MR"):
        read_study(tmp_path)


def test_truncated_files_leave_the_rest(tmp_path: Path) -> None:
    voxels = voxels_of((24, 20, 20))
    files = write_series(tmp_path / "t2", voxels)
    write_series(tmp_path / "t1", voxels_of(seed=4), number=2, SeriesDescription="T1")
    for file in files[:2]:
        file.write_bytes(file.read_bytes()[:-100])
    study = read_study(tmp_path)
    assert [series.voxels.shape[2] for series in study.series] == [18, 6]
    assert [(entry.series, entry.files) for entry in study.excluded] == [("AX_T2", 2)]
    assert "truncated" in study.excluded[0].reason


def test_a_header_cut_short_is_one_excluded_file(tmp_path: Path) -> None:
    files = write_series(tmp_path, voxels_of((24, 20, 20)))
    files[0].write_bytes(files[0].read_bytes()[:200])
    study = read_study(tmp_path)
    assert study.series[0].voxels.shape[2] == 19
    assert sum(entry.files for entry in study.excluded) == 1


def test_a_zip_reads_like_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "study" / "t2", voxels_of())
    whole = read_study(tmp_path / "study")
    study = read_study(zipped(tmp_path / "study.zip", tmp_path / "study"))
    assert study.key == whole.key
    assert np.array_equal(study.series[0].voxels, whole.series[0].voxels)


@pytest.mark.parametrize("name", ["../outside.dcm", "/etc/outside.dcm", "a/../../outside.dcm", "..\\outside.dcm", "C:/outside.dcm"])
def test_a_zip_that_names_files_outside_itself(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as bundle:
        bundle.writestr(name, b"x")
    with pytest.raises(UnsafeArchive, match="outside"):
        read_study(tmp_path / "z.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["z.zip"]


def test_a_zip_with_a_link(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as bundle:
        bundle.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeArchive, match="symbolic link"):
        read_study(tmp_path / "z.zip")


def test_a_zip_of_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "RATIO_FREE", 1 << 20)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as bundle, bundle.open("zeros.dcm", "w") as sink:
        for _ in range(64):
            sink.write(bytes(1 << 20))
    with pytest.raises(UnsafeArchive, match="unpacks to more"):
        read_study(tmp_path / "z.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["z.zip"]


def test_a_zip_of_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 10)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as bundle:
        for number in range(11):
            bundle.writestr(f"{number}.dcm", b"x")
    with pytest.raises(UnsafeArchive, match="at most 10 files"):
        read_study(tmp_path / "z.zip")


def test_a_damaged_zip(tmp_path: Path) -> None:
    write_series(tmp_path / "study", voxels_of())
    whole = zipped(tmp_path / "z.zip", tmp_path / "study").read_bytes()
    (tmp_path / "z.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StudyError):
        read_study(tmp_path / "z.zip")


def test_a_damaged_member_is_one_excluded_file(tmp_path: Path) -> None:
    write_series(tmp_path / "study", voxels_of((24, 20, 20)))
    path = zipped(tmp_path / "z.zip", tmp_path / "study")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as bundle:
        member = bundle.infolist()[3]
    middle = member.header_offset + member.compress_size // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(bytes(content))
    study = read_study(path)
    assert study.series[0].voxels.shape[2] == 20
    assert sum(entry.files for entry in study.excluded) == 1


def test_a_pipe_among_the_files_does_not_hang(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of())
    os.mkfifo(tmp_path / "pipe.dcm")
    study = read_study(tmp_path)
    assert [(entry.reason, entry.files) for entry in study.excluded] == [("not a regular file", 1)]


def test_links_that_circle_or_lead_nowhere(tmp_path: Path) -> None:
    write_series(tmp_path / "t2", voxels_of())
    (tmp_path / "t2" / "again").symlink_to(tmp_path)
    (tmp_path / "t2" / "gone").symlink_to(tmp_path / "nowhere")
    study = read_study(tmp_path)
    assert {entry.reason for entry in study.excluded} == {"a link to a folder", "a link to nowhere, or not permitted"}


def test_a_nifti_header_that_promises_too_much(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels_of(), np.diag([1.0, 1, 5, 1]))
    image.set_sform(image.affine, 1)
    nib.save(image, tmp_path / "t2.nii")
    content = bytearray((tmp_path / "t2.nii").read_bytes())
    content[42:48] = np.array([32000, 32000, 32000], "<i2").tobytes()
    (tmp_path / "t2.nii").write_bytes(bytes(content))
    with pytest.raises(StudyError, match="promises more voxels"):
        read_study(tmp_path)


def test_a_nifti_without_orientation_is_not_guessed(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels_of(), None)
    nib.save(image, tmp_path / "t2.nii")
    with pytest.raises(StudyError, match="left cannot be told from right"):
        read_study(tmp_path)


def test_a_dicom_header_that_promises_too_much(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(), Rows=60000, Columns=60000)
    with pytest.raises(StudyError, match="impossible image size"):
        read_study(tmp_path)


def test_a_constant_series_is_no_image(tmp_path: Path) -> None:
    write_series(tmp_path / "a", np.full((24, 20, 6), 7, np.int16))
    write_series(tmp_path / "b", voxels_of(), number=2)
    study = read_study(tmp_path)
    assert [entry.reason for entry in study.excluded] == ["no signal: every voxel has the same value"]


def test_masks_beside_dicom_are_no_series_and_no_study(tmp_path: Path) -> None:
    for number in (1, 2):
        home = tmp_path / f"study-{number}"
        write_series(home / "t2", voxels_of(seed=number), StudyInstanceUID=f"1.2.{number}")
        (home / "masks").mkdir()
        mask = nib.Nifti1Image(voxels_of(top=2).astype(np.uint8), np.diag([1.0, 1, 5, 1]))
        mask.set_sform(mask.affine, 1)
        nib.save(mask, home / "masks" / "lesion_1.nii.gz")
    studies = read_studies(tmp_path)
    assert [len(study.series) for study in studies] == [1, 1]
    assert [[entry.reason for entry in study.excluded] for study in studies] == [["label image or mask, not a sequence"]] * 2


def test_what_an_unusable_study_holds_is_told_with_the_good_one_beside_it(tmp_path: Path) -> None:
    write_series(tmp_path / "a", voxels_of(), StudyInstanceUID="1.2.1", Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    write_series(tmp_path / "b", voxels_of(), StudyInstanceUID="1.2.2")
    study = read_study(tmp_path)
    assert len(study.series) == 1
    assert [(entry.reason, entry.files) for entry in study.excluded] == [("modality CT, not MR", 6)]


def test_an_impossible_number_of_bits(tmp_path: Path) -> None:
    """The fuzzer found it: 2 to the power of BitsStored was too large a number for the rescaling's range."""
    write_series(tmp_path, voxels_of(), BitsStored=12345, RescaleSlope=2)
    with pytest.raises(StudyError, match="bits a pixel"):
        read_study(tmp_path)


def test_one_damaged_series_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "a", voxels_of(seed=1))
    write_series(tmp_path / "b", voxels_of(seed=2), number=2)
    kept = dicom.read_planes
    calls = iter([True, False])

    def once(*given: Any) -> Any:
        if next(calls):
            raise OverflowError
        return kept(*given)

    monkeypatch.setattr(dicom, "read_planes", once)
    study = read_study(tmp_path)
    assert len(study.series) == 1
    assert [(entry.reason, entry.files) for entry in study.excluded] == [("damaged series (OverflowError)", 6)]
