"""Planes, 3-D series, motion and echo-planar distortion; and what other software makes of the files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from made_phantoms import every_sequence
from pydicom import config

import phantom
from encoder.facts import Facts, words_of
from encoder.weighting import weighting_of
from phantom import scanner
from phantom.signal import Weighting, signal
from phantom.style import MOVED, NAMES, PLANES, THREE_D, SeriesPlan, Style, draw_sequence, draw_style, draw_volume
from phantom.tissue import TISSUES

NOT_OF_GEOMETRY = ("GE protocol data block", "B0 (reference)", "DTI gradients")  # what a simulated scanner's console does not write
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def every_plane(seed: int) -> Style:
    """Coarse series in all planes, 2-D and 3-D, one with motion, one echo-planar."""
    rng = np.random.default_rng(seed)
    style = every_sequence(seed, 64)
    volumes = (replace(draw_volume(rng, "GE", 0.02), name=f"3D {plane}", plane=plane, voxel=4.0) for plane in ("sagittal", "axial"))
    plans = (
        SeriesPlan("Ax T2 FSE", draw_sequence(rng, Weighting.T2), "axial", 0.02),
        SeriesPlan("AX DWI B1000", draw_sequence(rng, Weighting.DWI), "axial", 0.02),
        SeriesPlan("SAG T1", draw_sequence(rng, Weighting.T1), "sagittal", 0.02),
        SeriesPlan("COR T2 FSE", draw_sequence(rng, Weighting.T2), "coronal", 0.02, motion=2.0),
        *volumes,
    )
    return replace(style, vendor="GE", tilt=(0.05, -0.03, 0.04), series=plans)


@pytest.fixture(scope="module")
def drawn() -> phantom.Phantom:
    return phantom.sample(9, "meningioma", style=every_plane(9))


@pytest.fixture(scope="module")
def rendered(drawn: phantom.Phantom) -> tuple[phantom.Rendered, ...]:
    return phantom.render(drawn)


@pytest.fixture(scope="module")
def written(drawn: phantom.Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write(drawn, tmp_path_factory.mktemp("written"))


def series_folders(written: Path) -> list[Path]:
    return sorted(path for path in written.iterdir() if path.is_dir() and path.name != "masks")


def test_the_mirror_image_is_exact_in_every_plane(drawn: phantom.Phantom, rendered: tuple[phantom.Rendered, ...]) -> None:
    for plain, mirrored in zip(rendered, phantom.render(replace(drawn, mirror=True)), strict=True):
        axis = 2 if plain.plane == "sagittal" else 0
        assert np.array_equal(np.flip(plain.voxels, axis), mirrored.voxels), plain.name
        corner = [0, 0, 0, 1]
        opposite = [plain.voxels.shape[axis] - 1 if index == axis else 0 for index in range(3)]
        assert np.allclose((mirrored.affine @ corner)[:3] * (-1, 1, 1), (plain.affine @ [*opposite, 1])[:3])


def test_masks_follow_the_anatomy_in_every_plane(drawn: phantom.Phantom, rendered: tuple[phantom.Rendered, ...]) -> None:
    centres = []
    for series in rendered:
        mask = phantom.labels(drawn, series.affine, series.voxels.shape).lesions["meningioma"]
        centres.append((series.affine @ [*np.argwhere(mask).mean(0), 1])[:3])
    assert np.abs(np.array(centres) - np.mean(centres, axis=0)).max() < 3.0


def test_slabs_change_nothing(drawn: phantom.Phantom, rendered: tuple[phantom.Rendered, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "SLAB", 3 * 64 * 64)
    for whole, cut in zip(rendered, phantom.render(drawn), strict=True):
        assert np.abs(whole.voxels.astype(int) - cut.voxels).max() <= 0.01 * whole.voxels.max()


def test_simpleitk_reads_the_same_geometry(rendered: tuple[phantom.Rendered, ...], written: Path) -> None:
    for folder, series in zip(series_folders(written), rendered, strict=True):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        assert np.array_equal(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), series.voxels)
        for index in ((0, 0, 0), (40, 5, 3)):
            assert np.allclose(image.TransformIndexToPhysicalPoint(index), (series.affine @ [*index, 1])[:3], atol=1e-3)


def test_dcm2niix_converts_to_the_same_voxels_in_the_same_places(
    rendered: tuple[phantom.Rendered, ...], written: Path, tmp_path: Path
) -> None:
    converter = pytest.importorskip("dcm2niix").bin
    for number, (folder, series) in enumerate(zip(series_folders(written), rendered, strict=True)):
        arguments = ["-f", str(number), "-b", "n", "-z", "n", "-o", str(tmp_path), str(folder)]
        done = subprocess.run([converter, *arguments], capture_output=True, text=True, check=True)
        said = [line for line in done.stdout.splitlines() if "warning" in line.lower()]
        assert not [line for line in said if not any(known in line for known in NOT_OF_GEOMETRY)]
        (file,) = tmp_path.glob(f"{number}*.nii")
        image = nibabel.load(file)
        # the converter may turn rows and slices; the voxel at a place of the patient must be the same
        index = np.array([[0, 0, 0], [30, 20, 5], [41, 33, 9]])
        places = (TO_RAS @ series.affine @ np.c_[index, np.ones(3)].T)[:3]
        there = np.rint(np.linalg.solve(image.affine, np.vstack([places, np.ones(3)]))[:3]).astype(int)
        assert np.allclose((image.affine @ np.vstack([there, np.ones(3)]))[:3], places, atol=1e-2)
        assert np.array_equal(np.asarray(image.dataobj)[tuple(there)], series.voxels[tuple(index.T)])
        assert np.asarray(image.dataobj).astype(np.int64).sum() == series.voxels.astype(np.int64).sum()


def test_pydicom_finds_nothing_invalid(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.RAISE)
    for folder in series_folders(written):
        image = pydicom.dcmread(next(folder.iterdir()))
        for element in image.iterall():
            assert element.value is not None
        image.save_as(tmp_path / "again.dcm", enforce_file_format=True)
        assert ("3D" in image.SeriesDescription) == (image.MRAcquisitionType == "3D")


def test_a_volume_covers_the_head_in_small_cubes() -> None:
    for plane in ("sagittal", "axial"):
        affine, shape = scanner.geometry(draw_style(np.random.default_rng(1)), plane, 1.2)
        assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), 1.2, atol=0.03)
        assert 120 <= shape[2] <= 170


@pytest.mark.parametrize("seed", range(6))
def test_three_dimensional_t1_shows_white_over_grey_over_fluid(seed: int) -> None:
    plan = draw_volume(np.random.default_rng(seed), "Siemens", 0.02)
    white, grey, fluid = (abs(signal(TISSUES[name], plan.sequence)) for name in ("white", "grey", "csf"))
    if plan.sequence.weighting is Weighting.FLAIR:
        assert fluid < 0.1 * white
    else:
        assert white > 1.15 * grey > 1.15 * fluid
    if plan.sequence.contrast:
        assert signal(TISSUES["meningioma"], plan.sequence) > 1.4 * white


def test_motion_leaves_ghosts_beside_the_head(drawn: phantom.Phantom) -> None:
    (plan,) = (plan for plan in drawn.style.series if plan.motion)
    still, moved = (
        phantom.render(replace(drawn, style=replace(drawn.style, series=(replace(plan, motion=mm),))))[0].voxels.astype(float)
        for mm in (0.0, 2.5)
    )
    air = np.zeros(still.shape, bool)
    air[:, :6] = True
    assert moved[air].mean() > 1.1 * still[air].mean()
    assert abs(moved.mean() / still.mean() - 1) < 0.2


def test_echo_planar_images_are_bent_at_the_skull_base_only(drawn: phantom.Phantom) -> None:
    plan = next(plan for plan in drawn.style.series if plan.sequence.weighting is Weighting.DWI)
    style = replace(drawn.style, series=(plan,), blur=0.0)
    bent, ideal = (phantom.render(replace(drawn, style=style), noise=noise)[0].voxels.astype(float) for noise in (True, False))
    rows = np.arange(64)[None, :]

    def shift(part: slice) -> float:
        """How far the centre of gravity of a run of slices moved along the phase encoding, pixels."""
        middle = [(image[24:40, :, part].sum((0, 2)) * rows).sum() / image[24:40, :, part].sum() for image in (bent, ideal)]
        return float(abs(middle[0] - middle[1]))

    depth = bent.shape[2]
    assert shift(slice(depth - 8, depth - 4)) < 0.6
    assert not np.array_equal(bent, ideal)


def test_names_say_the_weighting() -> None:
    for vendor, table in NAMES.items():
        for key, names in table.items():
            expected = str(key).removeprefix("sagittal ").removeprefix("coronal ").removeprefix("3-D ")
            for name in names:
                for plane in PLANES[vendor].values():
                    assert weighting_of(Facts(words_of(name.format(plane=plane)))).value == expected, name


def test_shares_of_volumes_and_motion() -> None:
    styles = [draw_style(np.random.default_rng(seed)) for seed in range(1500)]
    volumes = sum(any(plan.voxel for plan in style.series) for style in styles) / len(styles)
    moved = sum(any(plan.motion for plan in style.series) for style in styles) / len(styles)
    assert abs(volumes - THREE_D) < 0.03
    assert abs(moved - MOVED) < 0.03
    for style in styles:
        kinds = [(plan.plane, plan.sequence.weighting) for plan in style.series]
        assert len(set(kinds)) == len(kinds)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak memory here")
def test_a_study_of_many_slices_needs_little_memory() -> None:
    """Sampling a fine volume in slabs: the peak stays far below what all its tissue maps would take."""
    code = (
        "import re, numpy as np, phantom\n"
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from phantom.style import draw_volume\n"
        "p = phantom.sample(1)\n"
        "plan = replace(draw_volume(np.random.default_rng(0), 'GE', .02), voxel=1.3)\n"
        "phantom.render(replace(p, style=replace(p.style, series=(plan,))))\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"  # ru_maxrss would be the tests' own
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_200_000
