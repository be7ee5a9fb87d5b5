"""DICOM headers as single image planes: classic files, enhanced multi-frame files and Siemens mosaics alike.

Datasets do not leave this file and `pixels.py`. Tags: PS3.3 C.7.6.2 (plane), C.7.6.16 (functional groups), C.8.13 (enhanced MR).
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_partial
from pydicom.tag import Tag

from encoder.facts import Component

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental; of them only the CSA header parser is used
    from nibabel.nicom import csareader

MAX_MATRIX = 4096
MAX_FRAMES = 100_000
MAX_INFLATED = 512 << 20

CLASSIC = b"UI\x1a\x001.2.840.10008.5.1.4.1.1.4\0"  # a media storage class that says "MR image"
DEFLATED = b"1.2.840.10008.1.2.1.99"
MOSAIC_COUNT = 0x0019100A
SIEMENS_B = 0x0019100C
CSA_IMAGE = 0x00291010
GE_B = 0x00431039
GE_COMPONENT = 0x0043102F
PHILIPS_B = 0x20011003

KEYWORDS = """
    SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate Modality Manufacturer StudyDescription SeriesDescription
    AccessionNumber ReferringPhysicianName OperatorsName PerformingPhysicianName AcquisitionDate AcquisitionTime AcquisitionDateTime
    PatientName PatientID IssuerOfPatientID OtherPatientIDs PatientBirthDate PatientSex PatientAge
    ContrastBolusAgent ContrastBolusAgentSequence EchoPulseSequence EchoPlanarPulseSequence
    ScanningSequence SequenceVariant MRAcquisitionType SequenceName SliceThickness RepetitionTime EchoTime InversionTime
    FlipAngle MagneticFieldStrength SpacingBetweenSlices ProtocolName TriggerTime DiffusionBValue DiffusionGradientOrientation
    AcquisitionContrast ComplexImageComponent StudyInstanceUID SeriesInstanceUID SeriesNumber AcquisitionNumber InstanceNumber
    TemporalPositionIdentifier ImagePositionPatient ImageOrientationPatient SamplesPerPixel PhotometricInterpretation
    NumberOfFrames Rows Columns PixelSpacing BitsAllocated BitsStored PixelRepresentation RescaleIntercept RescaleSlope
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence ReasonForStudy ReasonForTheRequestedProcedure
"""
# Only these are read from a header: pixels wait until it is known whether the series is used.
TAGS = [Tag(tag) for tag in (*KEYWORDS.split(), MOSAIC_COUNT, SIEMENS_B, CSA_IMAGE, GE_B, GE_COMPONENT, PHILIPS_B)]


class UnreadableFile(ValueError):
    """A file that claims to be an image and cannot be read; the message gives the reason, without names."""


@dataclass(frozen=True)
class Patient:
    """Who and when: stays in the reader, which turns it into pseudonyms and a context. `others`: further names and numbers."""

    number: str
    issuer: str
    name: str
    birth: str
    sex: str
    age: str
    accession: str
    study: str
    study_date: str
    description: str
    reason: str
    others: tuple[str, ...]

    @property
    def identifiers(self) -> tuple[str, ...]:
        return (self.number, self.name, self.accession, *self.others)


@dataclass(frozen=True)
class Image:
    """What one DICOM file says of all its planes. Empty strings and None where it says nothing."""

    path: Path
    patient: Patient
    study: str
    series: str
    instance: str
    sop_class: str
    syntax: str
    modality: str
    number: int
    description: str
    protocol: str
    sequence_name: str
    image_type: tuple[str, ...]
    colour: bool
    enhanced: bool
    manufacturer: str
    field_strength: float | None
    contrast_agent: bool | None
    three_d: bool | None
    sequence: frozenset[str]
    stored_signed: bool
    stored_bits: int
    allocated_bits: int


@dataclass(frozen=True)
class Frame:
    """One image plane and where to fetch it.

    index: frame of the file. tile: (first row, first column) of a mosaic tile, else None. position: centre of its first pixel, mm LPS.
    orientation: direction cosines of a row, then of a column. spacing: between rows, then between columns, mm.
    rank: order among planes of one place (time, then identifiers). block: which acquisition or stack it belongs to.
    copies: the same plane in other files, in case this one's pixels cannot be read.
    """

    image: Image
    index: int
    tile: tuple[int, int] | None
    rows: int
    columns: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: tuple[float, float]
    slope: float
    intercept: float
    image_type: tuple[str, ...]
    component: Component
    contrast: str
    b_value: float | None
    tr: float | None
    te: float | None
    ti: float | None
    flip_angle: float | None
    block: str
    rank: tuple[Any, ...]
    copies: tuple[Frame, ...] = ()


def read_header(path: Path, start: bytes) -> tuple[Image, tuple[Frame, ...], str | None]:
    """Image, its planes, and why it has none (None where it has). `start`: the first bytes of the file. Raises UnreadableFile."""
    if DEFLATED in start:
        _check_inflated(path)
    try:
        with warnings.catch_warnings():
            # Odd values are judged where they are used; pydicom's warnings may quote them, and so a patient.
            warnings.simplefilter("ignore")
            with path.open("rb") as stream:
                stop = _after_classic_tags if CLASSIC in start else _at_pixels
                dataset = read_partial(stream, stop_when=stop, force=True, specific_tags=TAGS)
            image = _image(path, dataset)
            if not (image.sop_class or image.modality or image.series or "Rows" in dataset):
                raise UnreadableFile("begins like DICOM, but has none of its tags")
            if "Rows" not in dataset or "Columns" not in dataset:
                return image, (), "no image in it"
            try:
                return image, tuple(_frames(image, dataset)), None
            except UnreadableFile as problem:
                return image, (), str(problem)
    except UnreadableFile:
        raise
    except Exception as error:
        # A damaged header can fail anywhere in a parser; whatever fails, the file is set aside.
        raise UnreadableFile(f"damaged DICOM header ({type(error).__name__})") from None


def _after_classic_tags(tag: int, _vr: str | None, _length: int) -> bool:
    """Classic files say all that is read here before Philips' private sequences, which are long."""
    return tag >= 0x20050000


def _at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return tag in (0x7FE00008, 0x7FE00009, 0x7FE00010)


def _check_inflated(path: Path) -> None:
    """Refuse a deflated file that grows beyond a limit, before pydicom inflates it whole."""
    content = path.read_bytes()
    begin = 132 + 12 + struct.unpack("<I", content[140:144])[0] if content[132:136] == b"\x02\x00\x00\x00" else len(content)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflater.decompress(content[begin:], MAX_INFLATED)
    except zlib.error:
        raise UnreadableFile("damaged deflated DICOM file") from None
    if inflater.unconsumed_tail:
        raise UnreadableFile(f"a deflated DICOM file that grows beyond {MAX_INFLATED >> 20} MiB")


def _image(path: Path, dataset: pydicom.Dataset) -> Image:
    meta = getattr(dataset, "file_meta", pydicom.Dataset())
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    return Image(
        path=path,
        patient=_patient(dataset),
        study=_text(dataset, "StudyInstanceUID"),
        series=_text(dataset, "SeriesInstanceUID"),
        instance=_text(dataset, "SOPInstanceUID"),
        sop_class=_text(dataset, "SOPClassUID") or str(meta.get("MediaStorageSOPClassUID", "")),
        syntax=str(meta.get("TransferSyntaxUID", "")),
        modality=_text(dataset, "Modality").upper(),
        number=int(_number(dataset, "SeriesNumber") or 0),
        description=_text(dataset, "SeriesDescription"),
        protocol=_text(dataset, "ProtocolName"),
        sequence_name=_text(dataset, "SequenceName"),
        image_type=_texts(dataset, "ImageType"),
        colour=(_number(dataset, "SamplesPerPixel") or 1) > 1 or "PALETTE" in _text(dataset, "PhotometricInterpretation"),
        enhanced=bool(groups),
        manufacturer=_text(dataset, "Manufacturer"),
        field_strength=_positive(_number(dataset, "MagneticFieldStrength")),
        contrast_agent=_contrast_agent(dataset),
        three_d={"3D": True, "2D": False}.get(_text(dataset, "MRAcquisitionType").upper()),
        sequence=_sequence(dataset),
        stored_signed=_number(dataset, "PixelRepresentation") == 1,
        stored_bits=int(_number(dataset, "BitsStored") or _number(dataset, "BitsAllocated") or 16),
        allocated_bits=int(_number(dataset, "BitsAllocated") or 16),
    )


def _contrast_agent(dataset: pydicom.Dataset) -> bool | None:
    """Whether a contrast agent was given; None where the file does not say. Enhanced files list agents in a sequence."""
    if dataset.get("ContrastBolusAgentSequence"):
        return True
    if "ContrastBolusAgent" not in dataset:
        return None
    return _text(dataset, "ContrastBolusAgent").lower() not in ("", "no", "none", "n", "without")


def _sequence(dataset: pydicom.Dataset) -> frozenset[str]:
    """Kinds of pulse sequence in the words of classic files; enhanced ones have tags of their own."""
    told = {*_texts(dataset, "ScanningSequence"), *_texts(dataset, "SequenceVariant")}
    told |= {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}.get(_text(dataset, "EchoPulseSequence").upper(), set())
    return frozenset(told | ({"EP"} if _text(dataset, "EchoPlanarPulseSequence").upper() == "YES" else set()))


def _patient(dataset: pydicom.Dataset) -> Patient:
    others = ("OtherPatientIDs", "ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName")
    return Patient(
        number=_text(dataset, "PatientID"),
        issuer=_text(dataset, "IssuerOfPatientID"),
        name=_text(dataset, "PatientName"),
        birth=_text(dataset, "PatientBirthDate"),
        sex=_text(dataset, "PatientSex"),
        age=_text(dataset, "PatientAge"),
        accession=_text(dataset, "AccessionNumber"),
        study=_text(dataset, "StudyInstanceUID"),
        study_date=_text(dataset, "StudyDate") or _text(dataset, "AcquisitionDate"),
        description=_text(dataset, "StudyDescription"),
        reason=_text(dataset, "ReasonForTheRequestedProcedure") or _text(dataset, "ReasonForStudy"),
        others=tuple(_text(dataset, keyword) for keyword in others),
    )


def _frames(image: Image, dataset: pydicom.Dataset) -> Iterator[Frame]:
    rows, columns = int(_number(dataset, "Rows") or 0), int(_number(dataset, "Columns") or 0)
    count = int(_number(dataset, "NumberOfFrames") or 1)
    if not (0 < rows <= MAX_MATRIX and 0 < columns <= MAX_MATRIX and 0 < count <= MAX_FRAMES):
        raise UnreadableFile(f"an impossible image size ({columns} x {rows}, {count} frames)")
    if not 0 < image.stored_bits <= image.allocated_bits <= 64:
        raise UnreadableFile("an impossible number of bits a pixel")
    if "MOSAIC" in image.image_type:
        yield from _mosaic(image, dataset, rows, columns)
        return
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if count > 1 and len(groups) != count:
        raise UnreadableFile(f"{count} frames, but the places of {len(groups)}")
    for index in range(count):
        yield _frame(image, [groups[index] if groups else None, shared, dataset], index, rows, columns)


def _frame(image: Image, levels: list[pydicom.Dataset | None], index: int, rows: int, columns: int) -> Frame:
    """One plane; each value from the frame's own groups, else the shared ones, else the file (`levels`)."""
    dataset = levels[-1]
    assert dataset is not None

    def look(sequence: str, keyword: str) -> Any:
        for level in levels:
            if level is None:
                continue
            if sequence in level and (item := _first(level, sequence)) is not None and keyword in item:
                return item.get(keyword)
        return dataset.get(keyword)

    position = _vector(look("PlanePositionSequence", "ImagePositionPatient"), 3, "position")
    orientation = _vector(look("PlaneOrientationSequence", "ImageOrientationPatient"), 6, "orientation")
    spacing = _vector(look("PixelMeasuresSequence", "PixelSpacing"), 2, "pixel spacing")
    if spacing.min() < 0.01 or spacing.max() > 50:
        raise UnreadableFile("an impossible pixel spacing")
    frame_type = look("MRImageFrameTypeSequence", "FrameType")
    image_type = tuple(str(value).upper() for value in frame_type) if _several(frame_type) else image.image_type
    acquisition = look("FrameContentSequence", "FrameAcquisitionNumber") or dataset.get("AcquisitionNumber") or ""
    slope, intercept = (_float(look("PixelValueTransformationSequence", keyword)) for keyword in ("RescaleSlope", "RescaleIntercept"))
    te = _float(look("MREchoSequence", "EffectiveEchoTime"))
    return Frame(
        image=image,
        index=index,
        tile=None,
        rows=rows,
        columns=columns,
        position=position,
        orientation=orientation,
        spacing=(float(spacing[0]), float(spacing[1])),
        slope=1.0 if slope in (None, 0.0) else float(slope or 1.0),
        intercept=intercept or 0.0,
        image_type=image_type,
        component=_component(image_type, str(look("MRImageFrameTypeSequence", "ComplexImageComponent") or ""), dataset),
        contrast=str(look("MRImageFrameTypeSequence", "AcquisitionContrast") or "").upper(),
        b_value=_b_value(dataset, look),
        tr=_positive(_float(look("MRTimingAndRelatedParametersSequence", "RepetitionTime"))),
        te=_positive(te if te is not None else _number(dataset, "EchoTime")),
        ti=_positive(_inversion(look)),
        flip_angle=_positive(_float(look("MRTimingAndRelatedParametersSequence", "FlipAngle"))),
        block=f"{look('FrameContentSequence', 'StackID') or ''}/{acquisition}",
        rank=_rank(image, dataset, look, index),
    )


def _mosaic(image: Image, dataset: pydicom.Dataset, rows: int, columns: int) -> Iterator[Frame]:
    """Tiles of a Siemens mosaic as planes.

    The position in the header is that of the whole mosaic's corner if it were one slice of that size, centred as the slices are.
    """
    whole = _frame(image, [None, None, dataset], 0, rows, columns)
    header = _csa(dataset)
    count = int(_number(dataset, MOSAIC_COUNT) or header.get("NumberOfImagesInMosaic", 0))
    side = math.ceil(math.sqrt(max(count, 0)))
    gap = _number(dataset, "SpacingBetweenSlices") or _number(dataset, "SliceThickness")
    if not 0 < count <= 1024 or rows % side or columns % side or not gap or not math.isfinite(gap):
        raise UnreadableFile("a mosaic that does not say how it is tiled")
    height, width = rows // side, columns // side
    across, down = whole.orientation[:3] * whole.spacing[1], whole.orientation[3:] * whole.spacing[0]
    normal = np.cross(whole.orientation[:3], whole.orientation[3:])
    direction = header.get("SliceNormalVector")
    # Siemens stacks tiles along its own slice normal, which may oppose the right-handed one.
    if direction is not None and float(np.dot(normal, direction)) < 0:
        normal = -normal
    corner = whole.position + across * (columns - width) / 2 + down * (rows - height) / 2
    for tile in range(count):
        row, column = divmod(tile, side)
        place = corner + normal * gap * tile
        yield replace(whole, tile=(row * height, column * width), rows=height, columns=width, position=place)


def _csa(dataset: pydicom.Dataset) -> dict[str, Any]:
    """The two values of Siemens' private header that place mosaic tiles, where they can be read."""
    element = dataset.get(CSA_IMAGE)
    if element is None or not isinstance(element.value, bytes):
        return {}
    try:
        tags = csareader.read(element.value)["tags"]
    except (csareader.CSAReadError, struct.error, KeyError, ValueError, IndexError, UnicodeError):
        return {}
    items = {name: tags[name]["items"] for name in ("NumberOfImagesInMosaic", "SliceNormalVector") if tags.get(name, {}).get("items")}
    found: dict[str, Any] = {}
    if "NumberOfImagesInMosaic" in items:
        found["NumberOfImagesInMosaic"] = items["NumberOfImagesInMosaic"][0]
    if len(items.get("SliceNormalVector", ())) == 3:
        found["SliceNormalVector"] = np.asarray(items["SliceNormalVector"], dtype=np.float64)
    return found


def _component(image_type: tuple[str, ...], stated: str, dataset: pydicom.Dataset) -> Component:
    """Component from ComplexImageComponent, ImageType or GE's private tag; magnitude where none speaks.

    Perfusion differences are real-valued by nature: Philips calls them REAL, and they are images all the same.
    """
    values = set(image_type[2:])
    if values & {"P", "PHASE", "PHASE MAP", "B0 MAP", "PHASEMAP"} or stated.upper() == "PHASE":
        return Component.PHASE
    if values & {"I", "IMAGINARY"} or stated.upper() == "IMAGINARY":
        return Component.IMAGINARY
    if "PERFUSION" not in values and (values & {"R", "REAL"} or stated.upper() == "REAL"):
        return Component.REAL
    private = _number(dataset, GE_COMPONENT) if "GE" in _text(dataset, "Manufacturer").upper() else None
    by_number = {1: Component.PHASE, 2: Component.REAL, 3: Component.IMAGINARY}
    return by_number.get(int(private or 0), Component.MAGNITUDE)


def _b_value(dataset: pydicom.Dataset, look: Any) -> float | None:
    """b-value in s/mm2, from the standard tag or the makers' own."""
    stated = _float(look("MRDiffusionSequence", "DiffusionBValue"))
    maker = _text(dataset, "Manufacturer").upper()
    if stated is None and "SIEMENS" in maker:
        stated = _number(dataset, SIEMENS_B)
    if stated is None and "GE" in maker:
        coded = _number(dataset, GE_B)
        stated = None if coded is None else coded % 1_000_000_000  # GE adds 10^9 to mark several b-values
    if stated is None and "PHILIPS" in maker:
        stated = _number(dataset, PHILIPS_B)
    return stated if stated is not None and 0 <= stated < 100_000 else None


def _inversion(look: Any) -> float | None:
    times = look("MRModifierSequence", "InversionTimes")
    return _float(times) if times is not None else _float(look("MRModifierSequence", "InversionTime"))


def _rank(image: Image, dataset: pydicom.Dataset, look: Any, index: int) -> tuple[Any, ...]:
    """Order in time among planes of one place; identifiers last, so that it never depends on file names."""
    temporal = _float(look("FrameContentSequence", "TemporalPositionIndex"))
    if temporal is None:
        temporal = _number(dataset, "TemporalPositionIdentifier")
    when = str(look("FrameContentSequence", "FrameAcquisitionDateTime") or "") or _text(dataset, "AcquisitionDateTime")
    when = when or _text(dataset, "AcquisitionDate") + _text(dataset, "AcquisitionTime").ljust(6, "0")
    numbers = tuple(_number(dataset, keyword) or 0.0 for keyword in ("AcquisitionNumber", "TriggerTime", "InstanceNumber", "SeriesNumber"))
    return (temporal or 0.0, numbers[0], when, *numbers[1:], image.instance, index, image.syntax)


def _first(dataset: pydicom.Dataset, sequence: str) -> pydicom.Dataset | None:
    items = dataset.get(sequence)
    return items[0] if items else None


def _text(dataset: pydicom.Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if _several(value):
        value = " ".join(str(part) for part in value)
    return "" if value is None else re.sub(r"[\x00-\x1f\x7f]+", " ", str(value)).strip()


def _texts(dataset: pydicom.Dataset, keyword: str) -> tuple[str, ...]:
    value = dataset.get(keyword)
    values = value if _several(value) else [value]
    return tuple(str(part).strip().upper() for part in values if part)


def _several(value: Any) -> bool:
    return isinstance(value, pydicom.multival.MultiValue | list | tuple)


def _number(dataset: pydicom.Dataset, tag: str | int) -> float | None:
    element = dataset.get(tag)
    return _float(element.value if isinstance(element, pydicom.DataElement) else element)


def _float(value: Any) -> float | None:
    """First number of a value; None where there is none. Private numbers arrive as bytes in implicit VR."""
    if _several(value):
        value = value[0] if len(value) else None
    if isinstance(value, bytes):
        value = _unpacked(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _unpacked(value: bytes) -> Any:
    text = value.strip(b" \x00").split(b"\\")[0]
    if re.fullmatch(rb"[+-]?\d+(\.\d*)?", text):
        return text
    sizes = {2: "<H", 4: "<f", 8: "<d"}
    return struct.unpack(sizes[len(value)], value)[0] if len(value) in sizes else None


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _vector(value: Any, length: int, what: str) -> NDArray[np.float64]:
    try:
        vector = np.asarray([float(part) for part in value], dtype=np.float64)
    except (TypeError, ValueError):
        raise UnreadableFile(f"no {what} in the patient") from None
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise UnreadableFile(f"no usable {what} in the patient")
    return vector
