"""Small DICOM studies with known voxels in known places, written for the tests of the reader."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    MRImageStorage,
    generate_uid,
)

GDCM_SYNTAXES = {
    JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
    JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
}

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)
STUDY = "1.2.826.0.1.3680043.8.498.1"


def voxels_of(shape: tuple[int, int, int] = (24, 20, 6), seed: int = 0, top: int = 900) -> NDArray[np.int16]:
    """(i, j, k) = (column, row, slice)."""
    return np.random.default_rng(seed).integers(0, top, shape).astype(np.int16)


def write_series(
    folder: Path,
    voxels: NDArray[Any],
    *,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    gap: float = 5.0,
    origin: Sequence[float] = (-10.0, -12.0, -15.0),
    step: Sequence[float] | None = None,
    places: Sequence[float] | None = None,
    series: str | None = None,
    number: int = 1,
    **tags: Any,
) -> list[Path]:
    """One classic file a slice; slice k lies at origin + k * step (step: the normal times gap). places: k for each slice instead."""
    folder.mkdir(parents=True, exist_ok=True)
    series = series or generate_uid(entropy_srcs=[folder.name, str(number)])
    directions = np.asarray(orientation, dtype=float)
    move = np.cross(directions[:3], directions[3:]) * gap if step is None else np.asarray(step, dtype=float)
    paths = []
    for index in range(voxels.shape[2]):
        place = index if places is None else places[index]
        dataset = _plane(voxels[:, :, index].T, series, number)
        dataset.ImageOrientationPatient = [float(value) for value in directions]
        dataset.ImagePositionPatient = [float(value) for value in np.asarray(origin) + move * place]
        dataset.PixelSpacing = [float(value) for value in spacing]
        # Numbers of files and instances run against the geometry, which alone may decide.
        dataset.InstanceNumber = voxels.shape[2] - index
        for keyword, value in tags.items():
            set_tag(dataset, keyword, value)
        path = folder / f"{number:03d}_{voxels.shape[2] - index:04d}.dcm"
        while path.exists():
            path = path.with_name("x" + path.name)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def set_tag(dataset: Dataset, keyword: str, value: Any) -> None:
    """Set a tag, or remove it where the value is None."""
    if value is None:
        if keyword in dataset:
            delattr(dataset, keyword)
    else:
        setattr(dataset, keyword, value)


def edit(path: Path, **tags: Any) -> None:
    """Rewrite a file with other tags."""
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        set_tag(dataset, keyword, value)
    dataset.save_as(path)


def transcode(path: Path, syntax: str) -> None:
    """Rewrite a file in another transfer syntax."""
    dataset = pydicom.dcmread(path)
    if syntax in GDCM_SYNTAXES:
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(GDCM_SYNTAXES[syntax]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return
    if UID(syntax).is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    if big := syntax == ExplicitVRBigEndian:
        dataset.PixelData = dataset.pixel_array.astype(dataset.pixel_array.dtype.newbyteorder(">")).tobytes()
        dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=not big, force_encoding=True)


def write_enhanced(
    path: Path,
    voxels: NDArray[Any],
    *,
    series: str,
    gap: float = 5.0,
    origin: Sequence[float] = (-10.0, -12.0, -15.0),
    b_values: Sequence[float] | None = None,
    order: Sequence[int] | None = None,
) -> None:
    """One enhanced axial file; frames in `order`. b_values: one volume of `voxels` for each, all at the same places."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volumes = 1 if b_values is None else len(b_values)
    slices = voxels.shape[2] // volumes
    frames = list(range(voxels.shape[2])) if order is None else list(order)
    dataset = _plane(np.stack([voxels[:, :, k].T for k in frames]), series, 1)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(frames)
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[float(value) for value in AXIAL])]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[1.0, 1.0], SliceThickness=gap)]
    shared.PixelValueTransformationSequence = [_item(RescaleSlope=1, RescaleIntercept=0, RescaleType="US")]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for k in frames:
        group = Dataset()
        place = [origin[0], origin[1], origin[2] + gap * (k % slices)]
        group.PlanePositionSequence = [_item(ImagePositionPatient=place)]
        if b_values is not None:
            group.MRDiffusionSequence = [_item(DiffusionBValue=float(b_values[k // slices]))]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.save_as(path, enforce_file_format=True)


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def _plane(pixels: NDArray[Any], series: str, number: int) -> FileDataset:
    instance = generate_uid(entropy_srcs=[series, str(number), sha256(pixels.tobytes()).hexdigest()])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = instance
    dataset.StudyInstanceUID = STUDY
    dataset.SeriesInstanceUID = series
    dataset.SeriesNumber = number
    dataset.Modality = "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.PatientName = "Mueller^Hans"
    dataset.PatientID = "PID-4711"
    dataset.PatientBirthDate = "19700601"
    dataset.StudyDate = "20240310"
    dataset.PatientSex = "F"
    dataset.SeriesDescription = "AX T2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"))).tobytes()
    return dataset
