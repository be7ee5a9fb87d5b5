"""A phantom as files: DICOM series, report, truth and masks; or NIfTI series. The same seed gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from phantom.errors import OutputExists
from phantom.groundtruth import labels, truth
from phantom.report import compose, with_noise
from phantom.scanner import Rendered, render
from phantom.signal import Weighting
from phantom.study import Phantom, Prior
from phantom.style import MODELS

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NOTICE = "Simulated study (phantom). No patient. Not for clinical use."
MAKERS = {"Siemens": "SIEMENS", "GE": "GE MEDICAL SYSTEMS", "Philips": "Philips Medical Systems", "Canon": "CANON_MEC"}
FLAVOURS = {Weighting.DWI: ["ORIGINAL", "PRIMARY", "DIFFUSION", "TRACEW"], Weighting.ADC: ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}


def write(phantom: Phantom, out_dir: Path, report_noise: float = 0.0) -> Path:
    """Save OUT/<study>/ with one folder of DICOM files a series, report.txt, truth.json and masks/*.nii.gz; returns the study's folder.

    report_noise: share of the report's sentences that say what is not so (see `report.with_noise`); truth.json lists them.
    Raises OutputExists, before anything is written, where that folder is there already.
    """
    folder = _new(Path(out_dir) / phantom.key)
    series = render(phantom)
    for number, rendered in enumerate(series, start=1):
        name = "".join(c if c.isalnum() else "_" for c in rendered.name)
        _write_series(phantom, rendered, number, folder / f"{number:02d}_{name}")
    _write_truth(phantom, series, folder, report_noise)
    return folder


def write_nifti(phantom: Phantom, out_dir: Path) -> Path:
    """Save OUT/<study>/ with one .nii.gz a series, named like the series; truth beside them as `write` does; returns the folder."""
    folder = _new(Path(out_dir) / phantom.key)
    series = render(phantom)
    for rendered in series:
        name = "".join(c if c.isalnum() else "_" for c in rendered.name)
        save_nifti(rendered.voxels, rendered.affine, folder / f"{name}.nii.gz")
    _write_truth(phantom, series, folder)
    return folder


def save_nifti(voxels: NDArray[Any], affine: NDArray[np.float64], path: Path) -> None:
    """One volume (i, j, k) with its LPS affine as .nii.gz, without a time stamp in the gzip header."""
    import gzip

    import nibabel

    image = nibabel.Nifti1Image(voxels, TO_RAS @ affine)
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), 5, mtime=0))


def _new(folder: Path) -> Path:
    if folder.exists():
        raise OutputExists(
            f"{folder} exists already: expected a folder that is not there yet. Choose another output folder or seed; nothing was written."
        )
    folder.mkdir(parents=True)
    return folder


def _write_truth(phantom: Phantom, series: tuple[Rendered, ...], folder: Path, report_noise: float = 0.0) -> None:
    """report.txt, truth.json and the masks on the grid of the T2 series (or the first, where there is none)."""
    report, wrong = with_noise(compose(phantom), phantom, report_noise)
    (folder / "report.txt").write_text(report.text(), encoding="utf-8")
    said = truth(phantom).to_json()
    for finding in said["findings"]:
        finding["mask"] = f"masks/{finding['mask']}.nii.gz" if finding["mask"] else None
    context = {
        "indication": phantom.indication,
        "description": phantom.description,
        "seed": phantom.seed,
        "mirror": phantom.mirror,
        "date": phantom.date.isoformat(),
        "prior": _prior(phantom.prior) if phantom.prior else None,
        "report_noise": list(wrong),
        "notice": NOTICE,
    }
    (folder / "truth.json").write_text(json.dumps(said | context, indent=1) + "\n", encoding="utf-8")
    grid = next((rendered for rendered in series if rendered.weighting is Weighting.T2), series[0])
    i, j, k = grid.voxels.shape
    found = labels(phantom, grid.affine, (i, j, k)).lesions
    if found:
        (folder / "masks").mkdir()
    for name, mask in found.items():
        save_nifti(mask.astype(np.uint8), grid.affine, folder / "masks" / f"{name}.nii.gz")


def _prior(prior: Prior) -> dict[str, Any]:
    course = {change.before.name: change.course for change in prior.changes}
    return {"study": prior.study, "date": prior.date.isoformat(), "months": prior.months, "course": course}


def _uid(*parts: object) -> str:
    """A UID that depends on nothing but its parts (2.25, PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def _write_series(phantom: Phantom, rendered: Rendered, number: int, folder: Path) -> None:
    folder.mkdir()
    first = _header(phantom, rendered, number)
    step = rendered.affine[:3, :3]
    spacing = np.linalg.norm(step, axis=0)
    first.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    first.SpacingBetweenSlices = _decimal(spacing[2])
    first.ImageOrientationPatient = [_decimal(v) for v in (*(step[:, 0] / spacing[0]), *(step[:, 1] / spacing[1]))]
    first.Columns, first.Rows = rendered.voxels.shape[:2]
    top = float(np.percentile(rendered.voxels, 99.5))
    first.WindowCenter, first.WindowWidth = _decimal(top / 2), _decimal(max(top, 1))
    for k in range(rendered.voxels.shape[2]):
        uid = _uid(phantom.key, number, k)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, uid
        meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, _uid("prima-assistant phantom")
        image = FileDataset("", dict(first.items()), preamble=b"\0" * 128, file_meta=meta)
        image.SOPInstanceUID, image.InstanceNumber = uid, k + 1
        position = rendered.affine[:3, 3] + k * step[:, 2]
        image.ImagePositionPatient = [_decimal(v) for v in position]
        image.SliceLocation = _decimal(float(position @ (step[:, 2] / spacing[2])))
        image.PixelData = np.ascontiguousarray(rendered.voxels[:, :, k].T, dtype="<i2").tobytes()
        image.save_as(folder / f"IM{k + 1:04d}.dcm", enforce_file_format=True)


def _header(phantom: Phantom, rendered: Rendered, number: int) -> Dataset:
    """Everything that the images of one series share."""
    ds = Dataset()
    weighting = rendered.weighting
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.Modality = MRImageStorage, "MR"
    ds.ImageType = FLAVOURS.get(weighting, ["ORIGINAL", "PRIMARY", "M", "NORM"])
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = f"PHANTOM^{phantom.seed}", f"PHANTOM-{phantom.seed:08d}", ""
    ds.PatientAge, ds.PatientSex, ds.PatientComments = f"{phantom.patient.age:03d}Y", phantom.patient.sex, NOTICE
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(phantom.key), _uid(phantom.key, number)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = _uid(phantom.key, "frame"), ""
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = (
        f"{phantom.date:%Y%m%d}",
        "120000",
        f"{phantom.seed}{f'-{phantom.visit}' if phantom.visit else ''}",
        f"PH{phantom.seed}{f'-{phantom.visit}' if phantom.visit else ''}",
        "",
    )
    ds.SeriesTime = f"12{number:02d}00"
    ds.StudyDescription, ds.SeriesDescription, ds.ProtocolName = phantom.description, rendered.name, rendered.name
    ds.ReasonForTheRequestedProcedure = phantom.indication
    ds.SeriesNumber, ds.BodyPartExamined, ds.PatientPosition, ds.Laterality = number, "BRAIN", "HFS", ""
    ds.Manufacturer, ds.ManufacturerModelName, ds.InstitutionName = MAKERS[rendered.vendor], MODELS[rendered.vendor], "PHANTOM"
    ds.MagneticFieldStrength, ds.MRAcquisitionType = _decimal(rendered.tesla), "3D" if rendered.volume else "2D"
    ds.RepetitionTime, ds.EchoTime, ds.SliceThickness = _decimal(rendered.tr), _decimal(rendered.te), _decimal(rendered.thickness)
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.EchoTrainLength = _kind(rendered), "SK", "", 1
    ds.FlipAngle = _decimal(rendered.flip or 90.0)
    if rendered.ti:
        ds.InversionTime = _decimal(rendered.ti)
    if rendered.b_value is not None:
        ds.DiffusionBValue = float(rendered.b_value)
    if rendered.contrast:
        ds.ContrastBolusAgent = "GADOLINIUM"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    return ds


def _kind(rendered: Rendered) -> str | list[str]:
    if rendered.weighting in (Weighting.DWI, Weighting.ADC):
        return ["SE", "EP"]
    echo = "SE" if rendered.flip is None else "GR"
    return [echo, "IR"] if rendered.ti else echo


def _decimal(value: float) -> str:
    """A DICOM decimal string of at most 16 characters."""
    return f"{float(value):.8g}"
