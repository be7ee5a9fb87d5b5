"""Geometry alone decides which voxel lies where: not file names, not instance numbers, not the order of files."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from made_dicom import AXIAL, CORONAL, SAGITTAL, edit, voxels_of, write_enhanced, write_series

from encoder.errors import StudyError
from encoder.reading import read_study
from encoder.study import Plane, Series, Study


def same(one: Study, other: Study) -> bool:
    """Equal in everything a Study says."""
    if (one.key, one.patient, one.excluded, one.context) != (other.key, other.patient, other.excluded, other.context):
        return False
    return len(one.series) == len(other.series) and all(
        (a.name, a.plane, a.weighting, a.acquisition, a.notes) == (b.name, b.plane, b.weighting, b.acquisition, b.notes)
        and np.array_equal(a.voxels, b.voxels)
        and np.array_equal(a.affine, b.affine)
        for a, b in zip(one.series, other.series, strict=True)
    )


def voxel_at(series: Series, mm: tuple[float, float, float]) -> float:
    """Value of the voxel nearest to a point in LPS."""
    index = np.linalg.solve(series.affine, [*mm, 1.0])[:3]
    return float(series.voxels[tuple(np.rint(index).astype(int))])


def test_shuffled_and_renamed_files_give_the_same_study(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "t2", voxels_of(seed=1), number=3)
    write_series(tmp_path / "a" / "t1", voxels_of(seed=2), number=2, orientation=SAGITTAL, SeriesDescription="SAG T1")
    files = sorted((tmp_path / "a").rglob("*.dcm"))
    random.Random(0).shuffle(files)
    (tmp_path / "b").mkdir()
    for count, file in enumerate(files):
        shutil.copy(file, tmp_path / "b" / f"IM{count:05d}")
    first = read_study(tmp_path / "a")
    assert same(first, read_study(tmp_path / "b"))
    assert same(first, read_study(files))
    assert [series.name for series in first.series] == ["SAG_T1", "AX_T2"]


def test_slices_are_ordered_by_position_and_the_type_is_kept(tmp_path: Path) -> None:
    voxels = voxels_of()
    write_series(tmp_path, voxels)
    (series,) = read_study(tmp_path).series
    assert np.array_equal(series.voxels, voxels)
    assert series.voxels.dtype == np.int16
    assert series.plane is Plane.AXIAL
    assert np.allclose(series.affine, [[1, 0, 0, -10], [0, 1, 0, -12], [0, 0, 5, -15], [0, 0, 0, 1]])


def test_spacing_comes_from_positions_not_from_thickness_or_gap_tags(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(), gap=6.5, SliceThickness=5, SpacingBetweenSlices=1.5)
    (series,) = read_study(tmp_path).series
    assert np.linalg.norm(series.affine[:3, 2]) == pytest.approx(6.5)


def test_pixels_need_not_be_square(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(), spacing=(0.5, 2.0))
    (series,) = read_study(tmp_path).series
    assert np.allclose(np.linalg.norm(series.affine[:3, :3], axis=0), [2.0, 0.5, 5.0])


@pytest.mark.parametrize(("orientation", "plane"), [(AXIAL, Plane.AXIAL), (SAGITTAL, Plane.SAGITTAL), (CORONAL, Plane.CORONAL)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_left_stays_left_in_dicom(tmp_path: Path, orientation: tuple[int, ...], plane: Plane, mirrored: bool) -> None:
    """A bright voxel 40 mm to the patient's left is found there, whichever way rows and slices run."""
    directions = np.array(orientation, dtype=float) * (-1 if mirrored else 1)
    normal = np.cross(directions[:3], directions[3:])
    corner = -45.0 * (directions[:3] + directions[3:] + normal)
    voxels = np.random.default_rng(0).integers(0, 50, (19, 19, 19)).astype(np.int16)
    marker = np.array([40.0, 10.0, 20.0])
    i, j, k = (round(float((marker - corner) @ axis) / 5) for axis in (directions[:3], directions[3:], normal))
    voxels[i, j, k] = 3000
    write_series(tmp_path, voxels, orientation=tuple(directions), spacing=(5, 5), gap=5, origin=corner)
    (series,) = read_study(tmp_path).series
    found = series.affine @ [*np.unravel_index(series.voxels.argmax(), series.voxels.shape), 1.0]
    assert series.plane is plane
    assert np.allclose(found[:3], marker)


@pytest.mark.parametrize("axes", ["LAS", "RAS", "LPS", "PIR", "SAL", "AIR"])
def test_left_stays_left_in_nifti(tmp_path: Path, axes: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 50, (20, 24, 16)).astype(np.int16)
    voxels[3, 12, 9] = 3000  # in RAS+ order with 4 mm voxels: x = 12 - 40 = -28 mm, so 28 mm to the left
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = [-40, -50, -30]
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes)))
    nib.save(turned, tmp_path / "t1.nii.gz")
    (series,) = read_study(tmp_path).series
    found = series.affine @ [*np.unravel_index(series.voxels.argmax(), series.voxels.shape), 1.0]
    assert np.allclose(found[:3], [28.0, 2.0, 15.0])
    assert series.plane is Plane.AXIAL
    assert series.voxels.shape == (20, 24, 16)


def test_a_missing_slice_is_filled_and_said(tmp_path: Path) -> None:
    voxels = voxels_of((24, 20, 20))
    files = write_series(tmp_path, voxels)
    files[7].unlink()
    (series,) = read_study(tmp_path).series
    assert series.voxels.shape == (24, 20, 20)
    assert np.array_equal(np.delete(series.voxels, 7, axis=2), np.delete(voxels, 7, axis=2))
    between = (voxels[:, :, 6].astype(float) + voxels[:, :, 8]) / 2
    assert np.abs(series.voxels[:, :, 7] - between).max() <= 0.5
    assert series.notes == ("1 of 20 slices missing, filled from their neighbours",)


def test_many_missing_slices_are_not_filled(tmp_path: Path) -> None:
    for file in write_series(tmp_path, voxels_of((24, 20, 20)))[5:11]:
        file.unlink()
    with pytest.raises(StudyError, match="6 of 20 slices are missing"):
        read_study(tmp_path)


def test_uneven_slices_are_excluded(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of((24, 20, 8)), places=[0, 1, 2, 3.3, 4.9, 5.2, 6.7, 8.4])
    with pytest.raises(StudyError, match="uneven"):
        read_study(tmp_path)


def test_files_stored_twice_count_once(tmp_path: Path) -> None:
    files = write_series(tmp_path / "once", voxels_of())
    whole = read_study(tmp_path)
    shutil.copytree(tmp_path / "once", tmp_path / "again")
    twice = read_study(tmp_path)
    assert np.array_equal(whole.series[0].voxels, twice.series[0].voxels)
    assert [(entry.reason, entry.files) for entry in twice.excluded] == [("copy of an image already read", len(files))]


def test_a_copy_stands_in_for_a_damaged_file(tmp_path: Path) -> None:
    voxels = voxels_of()
    files = write_series(tmp_path / "once", voxels)
    shutil.copytree(tmp_path / "once", tmp_path / "again")
    files[2].write_bytes(files[2].read_bytes()[:-300])
    (series,) = read_study(tmp_path).series
    assert np.array_equal(series.voxels, voxels)
    assert not series.notes


def test_two_images_in_each_place_are_a_repetition_and_the_first_is_used(tmp_path: Path) -> None:
    first, second = voxels_of(seed=1), voxels_of(seed=2)
    write_series(tmp_path, second, series="1.2.3", TemporalPositionIdentifier=2)
    write_series(tmp_path, first, series="1.2.3", TemporalPositionIdentifier=1)
    study = read_study(tmp_path)
    assert np.array_equal(study.series[0].voxels, first)
    assert [entry.files for entry in study.excluded] == [6]
    assert "the first is used" in study.excluded[0].reason


def test_mixed_directions_in_one_series_become_one_volume_each(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(seed=1), series="1.2.3")
    write_series(tmp_path, voxels_of(seed=2), series="1.2.3", orientation=CORONAL)
    study = read_study(tmp_path)
    assert {(series.name, series.plane) for series in study.series} == {("AX_T2_axial", Plane.AXIAL), ("AX_T2_coronal", Plane.CORONAL)}


def test_two_slabs_of_one_series_become_two_volumes(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(seed=1), series="1.2.3", AcquisitionNumber=1)
    write_series(tmp_path, voxels_of(seed=2), series="1.2.3", AcquisitionNumber=2, origin=(-10, -12, 200))
    assert [series.name for series in read_study(tmp_path).series] == ["AX_T2", "AX_T2_2"]


def test_a_tilted_stack_keeps_its_shear(tmp_path: Path) -> None:
    """Slices whose positions slide along the plane: the affine says so, nothing is resampled."""
    voxels = voxels_of()
    write_series(tmp_path, voxels, step=(0.0, 1.5, 5.0))
    (series,) = read_study(tmp_path).series
    assert np.array_equal(series.voxels, voxels)
    assert np.allclose(series.affine[:3, 2], [0.0, 1.5, 5.0])
    assert voxel_at(series, (-10 + 3, -12 + 4 + 1.5 * 2, -15 + 5 * 2)) == voxels[3, 4, 2]


def test_each_file_is_rescaled_with_its_own_slope(tmp_path: Path) -> None:
    """Philips gives every slice another slope; fractional slopes make float64, as in the official reader."""
    voxels = voxels_of()
    slopes = np.array([0.5, 1.25, 2.0, 3.5, 0.1, 1.0])
    for file, slope in zip(write_series(tmp_path, voxels), slopes, strict=True):
        edit(file, RescaleSlope=float(slope), RescaleIntercept=-3)
    (series,) = read_study(tmp_path).series
    assert series.voxels.dtype == np.float64
    assert np.allclose(series.voxels, voxels * slopes - 3)


def test_whole_number_rescaling_stays_whole(tmp_path: Path) -> None:
    voxels = voxels_of().astype(np.uint16)
    write_series(tmp_path, voxels, RescaleSlope=1, RescaleIntercept=-1000)
    (series,) = read_study(tmp_path).series
    assert series.voxels.dtype == np.int32
    assert np.array_equal(series.voxels, voxels.astype(np.int32) - 1000)


def test_enhanced_frames_are_ordered_by_position(tmp_path: Path) -> None:
    voxels = voxels_of()
    write_enhanced(tmp_path / "e.dcm", voxels, series="1.2.3", order=[3, 0, 5, 1, 4, 2])
    (series,) = read_study(tmp_path).series
    assert np.array_equal(series.voxels, voxels)


def test_classic_and_enhanced_under_one_uid_count_once(tmp_path: Path) -> None:
    voxels = voxels_of()
    write_series(tmp_path / "classic", voxels, series="1.2.3")
    write_enhanced(tmp_path / "enhanced" / "e.dcm", voxels, series="1.2.3")
    study = read_study(tmp_path)
    assert len(study.series) == 1
    assert [(entry.reason.split(" (")[0], entry.files) for entry in study.excluded] == [("same images in another encoding", 1)]


def test_b_values_become_volumes_and_directions_their_mean(tmp_path: Path) -> None:
    plain, one, two = (voxels_of(seed=seed) for seed in (1, 2, 3))
    write_enhanced(tmp_path / "e.dcm", np.concatenate([plain, one, two], axis=2), series="1.2.3", b_values=(0, 995, 1005))
    by_name = {series.name: series for series in read_study(tmp_path).series}
    assert sorted(by_name) == ["AX_T2_b0", "AX_T2_b1000"]
    assert np.array_equal(by_name["AX_T2_b0"].voxels, plain)
    assert np.array_equal(by_name["AX_T2_b1000"].voxels, np.rint((one.astype(float) + two) / 2))
    assert by_name["AX_T2_b1000"].notes == ("mean of 2 directions",)


def test_phase_images_of_a_series_are_set_aside(tmp_path: Path) -> None:
    magnitude = voxels_of(seed=1)
    write_series(tmp_path, voxels_of(seed=2), series="1.2.3", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    write_series(tmp_path, magnitude, series="1.2.3")
    study = read_study(tmp_path)
    assert np.array_equal(study.series[0].voxels, magnitude)
    assert [(entry.reason, entry.files) for entry in study.excluded] == [("phase image or other part of the complex signal", 6)]


def test_every_file_is_accounted_for(tmp_path: Path) -> None:
    from encoder.reading import intake

    write_series(tmp_path / "t2", voxels_of())
    write_series(tmp_path / "loc", voxels_of((24, 20, 3)), number=2)
    (tmp_path / "report.txt").write_text("findings")
    (tmp_path / "text.dcm").write_text("not an image at all")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "masks").mkdir()
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)), tmp_path / "masks" / "tumour.nii.gz")
    (taken,) = intake(tmp_path)
    told = {file for outcome in taken.outcomes for file in outcome.files}
    assert told == {file for file in tmp_path.rglob("*") if file.is_file()}
    reasons = {entry.reason: entry.files for entry in taken.study.excluded}
    assert reasons == {
        "label image or mask, not a sequence": 1,
        "named like DICOM, but not DICOM inside": 1,
        "empty file": 1,
        "not an image file": 1,
        "too few slices: 3, at least 4 are needed": 3,
    }


def test_studies_in_one_folder_come_one_by_one_in_natural_order(tmp_path: Path) -> None:
    from encoder.reading import read_studies

    for number in (10, 2, 1):
        write_series(
            tmp_path / f"study-{number}" / "t2", voxels_of(seed=number), StudyInstanceUID=f"1.2.{number}", SeriesDescription=f"T2 {number}"
        )
        (tmp_path / f"study-{number}" / "report.txt").write_text("text")
    studies = read_studies(tmp_path)
    assert [study.series[0].name for study in studies] == ["T2_1", "T2_2", "T2_10"]
    assert [len(study.excluded) for study in studies] == [1, 1, 1]
    with pytest.raises(StudyError, match="holds 3"):
        read_study(tmp_path)


def test_datasets_without_preamble_are_read(tmp_path: Path) -> None:
    voxels = voxels_of()
    for file in write_series(tmp_path, voxels):
        file.write_bytes(file.read_bytes()[132:])
    assert pydicom.misc.is_dicom(file) is False
    assert np.array_equal(read_study(tmp_path).series[0].voxels, voxels)
