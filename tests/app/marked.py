"""Studies with one bright block on the patient's left, written so that only their geometry says where left is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

HEAD, MARK = 60, 1000
SIZE = 64  # mm, a cube of dim head around the origin, LPS
CENTRE = np.array([18.0, -8.0, 6.0])  # LPS mm of the mark: left, anterior, superior
REACH = np.array([8.0, 6.0, 6.0])
# Rows are the image's column, row and slice directions, LPS.
PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}
ORIENTATIONS = {"LAS": (1, -1, 1), "RAS": (-1, -1, 1)}  # signs of the voxel axes in LPS


def write_dicom(plane: str, folder: Path, study: str | None = None) -> None:
    """One classic series of this plane, 2 mm in plane, 4 mm slices; of a study of its own unless a UID names one."""
    folder.mkdir(parents=True)
    directions = np.array(PLANES[plane], dtype=float)
    spacing = np.array([2.0, 2.0, 4.0])
    counts = (SIZE / spacing).astype(int)
    origin = -(directions.T @ (spacing * (counts - 1) / 2))
    voxels = _voxels(directions.T * spacing, origin, counts)
    study, series = study or generate_uid(), generate_uid()
    for number in range(counts[2]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            ExplicitVRLittleEndian,
            MRImageStorage,
            generate_uid(),
        )
        file = FileDataset(str(folder / f"{number}.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
        _tag(
            file,
            SOPClassUID=MRImageStorage,
            SOPInstanceUID=meta.MediaStorageSOPInstanceUID,
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
        )
        _tag(file, Modality="MR", PatientID="MARK", PatientName="Mark^Left", SeriesNumber=1, InstanceNumber=number + 1)
        _tag(
            file, SeriesDescription=f"{plane} T1", ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], BodyPartExamined="HEAD", SliceThickness=4.0
        )
        _tag(file, ImageOrientationPatient=[*directions[0], *directions[1]], PixelSpacing=[2.0, 2.0], RepetitionTime=500.0, EchoTime=10.0)
        _tag(file, ImagePositionPatient=[float(x) for x in origin + directions[2] * spacing[2] * number])
        _tag(file, Rows=int(counts[1]), Columns=int(counts[0]), SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
        _tag(file, BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=1)
        file.PixelData = np.ascontiguousarray(voxels[:, :, number].T).astype("<i2").tobytes()
        file.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def write_nifti(orientation: str, folder: Path, name: str = "T1", tilt: float = 0.0) -> None:
    """One NIfTI file whose voxel axes run as the letters say, tilted about the left-right axis by so many degrees."""
    folder.mkdir(parents=True, exist_ok=True)
    spacing, counts = np.array([2.0, 2.0, 4.0]), np.array([32, 32, 16])
    cosine, sine = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    matrix = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ np.diag(ORIENTATIONS[orientation] * spacing)
    origin = -(matrix @ (counts - 1) / 2)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.diag([-1, -1, 1]) @ matrix, np.array([-1, -1, 1]) * origin
    image = nibabel.Nifti1Image(_voxels(matrix, origin, counts), affine)
    assert "".join(nibabel.aff2axcodes(affine)) == orientation
    nibabel.save(image, folder / f"{name}.nii.gz")


def _voxels(matrix: NDArray[np.float64], origin: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.int16]:
    index = np.stack(np.meshgrid(*(np.arange(count) for count in counts), indexing="ij"), axis=-1)
    place = index @ matrix.T + origin
    noise = np.random.default_rng(0).integers(0, 20, tuple(counts))
    head = np.where(np.linalg.norm(place, axis=-1) < 0.45 * SIZE, HEAD, 0) + noise
    return np.where(np.all(np.abs(place - CENTRE) <= REACH, axis=-1), MARK, head).astype(np.int16)


def _tag(file: FileDataset, **tags: Any) -> None:
    for name, value in tags.items():
        setattr(file, name, value)
