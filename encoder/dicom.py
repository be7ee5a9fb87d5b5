"""DICOM planes to series: grouped by what they show, ordered and spaced by where they lie."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.decoding import Decoder
from encoder.facts import Facts, words_of
from encoder.frames import Frame, Image
from encoder.geometry import IrregularGeometry, Layout, affine_of, lay_out, normal_of, plane_of
from encoder.identity import Pseudonyms
from encoder.naming import sanitise, series_name, without_identity
from encoder.pixels import read_planes
from encoder.selection import COPY, NO_SIGNAL, OTHER_ENCODING, REPEATED, reason_against, reason_against_shape
from encoder.study import Acquisition, Series
from encoder.weighting import weighting_of

SAME_DIRECTION = 2e-3  # largest difference of direction cosines within a volume; headers repeat them to 1e-4
MAX_VOXELS = 1 << 30
B_STEP = 50  # s/mm2; scanners state 995 and 1005 for what was planned as 1000


@dataclass(frozen=True)
class Outcome:
    """What became of some files: a series made of them, or the reason why not. `name` is the series'."""

    name: str
    files: frozenset[Path]
    series: Series | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Stack:
    """Planes of one series that show one thing in one direction, and their layout once it is known."""

    name: str
    frames: tuple[Frame, ...]
    facts: Facts
    layout: Layout | None = None

    @property
    def files(self) -> frozenset[Path]:
        return frozenset(frame.image.path for frame in self.frames)

    @property
    def first(self) -> Frame:
        return self.frames[0]


def read_images(
    images: Sequence[tuple[Image, tuple[Frame, ...], str | None]],
    names: Pseudonyms,
    decoder: Decoder,
    *,
    against: Callable[[Facts], str | None] = reason_against,
    min_slices: bool = True,
) -> Iterator[Outcome]:
    """Every series of one study's files, in order of series number, and what is not used with its reason.

    `against` gives the reason why a series is not used (the table in selection.py).
    """
    groups: dict[str, list[tuple[Image, tuple[Frame, ...], str | None]]] = defaultdict(list)
    for entry in images:
        groups[entry[0].series].append(entry)
    for series in sorted(groups, key=lambda uid: (min(entry[0].number for entry in groups[uid]), uid)):
        try:
            yield from list(_read_series(groups[series], names, decoder, against, min_slices))
        except Exception as error:
            # Values that are each possible may still make no sense together; one damaged series does not take the others along.
            first = groups[series][0][0]
            files = frozenset(entry[0].path for entry in groups[series])
            yield Outcome(name_of(first, names), files, reason=f"damaged series ({type(error).__name__})")


def _read_series(
    entries: list[tuple[Image, tuple[Frame, ...], str | None]],
    names: Pseudonyms,
    decoder: Decoder,
    against: Callable[[Facts], str | None],
    min_slices: bool,
) -> Iterator[Outcome]:
    """One SeriesInstanceUID: set aside what the tables say, split the rest into volumes and read them."""
    frames: list[Frame] = []
    for image, planes, problem in sorted(entries, key=lambda entry: (entry[0].instance, entry[0].syntax, entry[0].path)):
        name = name_of(image, names)
        # The table first: "raw data" says more than "no image in it".
        reason = against(_facts(image, planes[0] if planes else None, diffusion=False)) if not planes else None
        if reason or problem:
            yield Outcome(name, frozenset([image.path]), reason=reason or problem)
        frames += planes
    frames, copies = _without_copies(frames)
    if copies:
        files = frozenset(frame.image.path for frame in copies)
        yield Outcome(name_of(copies[0].image, names), files, reason=COPY)
    stacks = []
    for stack in _stacks(frames, names):
        if reason := against(stack.facts):
            yield Outcome(stack.name, stack.files, reason=reason)
        else:
            stacks.append(stack)
    laid: list[Stack] = []
    for stack in stacks:
        for part in _laid_out(stack, min_slices):
            if isinstance(part, Outcome):
                yield part
            else:
                laid.append(part)
    once, again = _without_other_encodings(laid)
    yield from again
    for stack in _told_apart(once):
        yield from _read_stack(stack, decoder, min_slices)


def name_of(image: Image, names: Pseudonyms) -> str:
    """Series name as PRIMA.md section 1 builds it, without the patient in it."""
    identifiers = image.patient.identifiers
    description, protocol = (without_identity(text, identifiers) for text in (image.description, image.protocol))
    return series_name(description, protocol, names.of("series", image.series))


def _facts(image: Image, frame: Frame | None, diffusion: bool) -> Facts:
    b_value = frame.b_value if frame is not None and (diffusion or frame.b_value) else None
    return Facts(
        words=words_of(image.description, image.protocol, image.sequence_name.lstrip("*")),
        modality=image.modality,
        sop_class=image.sop_class,
        image_type=frozenset(frame.image_type if frame is not None else image.image_type),
        contrast=frame.contrast if frame is not None else "",
        sequence=image.sequence,
        **({"component": frame.component} if frame is not None else {}),
        colour=image.colour,
        diffusion=diffusion,
        acquisition=Acquisition(
            tr=frame.tr if frame is not None else None,
            te=frame.te if frame is not None else None,
            ti=frame.ti if frame is not None else None,
            flip_angle=frame.flip_angle if frame is not None else None,
            b_value=b_value,
            field_strength=image.field_strength,
            contrast_agent=image.contrast_agent,
            three_d=image.three_d,
            manufacturer=image.manufacturer or None,
        ),
    )


def _without_copies(frames: Iterable[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Frames in a stable order, each once: the same instance in the same place is one image, however often it is stored."""
    groups: dict[Any, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: frame.rank):
        groups[frame.image.instance or frame.image.path, frame.index, frame.tile, tuple(np.round(frame.position, 2))].append(frame)
    kept = [replace(group[0], copies=tuple(group[1:])) for group in groups.values()]
    return kept, [copy for frame in kept for copy in frame.copies]


def _stacks(frames: list[Frame], names: Pseudonyms) -> list[Stack]:
    """Split one series by what its planes show (encoding, matrix, component, b-value, echo, type) and by direction."""
    diffusion = any((frame.b_value or 0) > 0 for frame in frames)
    groups: dict[tuple[Any, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[_shows(frame, diffusion)].append(frame)
    stacks = []
    for key in sorted(groups, key=repr):
        for part in _by_direction(groups[key]):
            stacks.append(Stack(name_of(part[0].image, names), tuple(part), _facts(part[0].image, part[0], diffusion)))
    return stacks


def _shows(frame: Frame, diffusion: bool) -> tuple[Any, ...]:
    return (
        frame.image.enhanced,
        frame.image.sop_class,
        frame.image.modality,
        frame.image.colour,
        frame.rows,
        frame.columns,
        tuple(round(value, 3) for value in frame.spacing),
        frame.component,
        frame.image_type,
        _shell(frame) if diffusion else 0,
        -1 if frame.te is None else round(frame.te, 1),
    )


def _shell(frame: Frame) -> int:
    return -1 if frame.b_value is None else B_STEP * round(frame.b_value / B_STEP)


def _by_direction(frames: list[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if np.abs(group[0].orientation - frame.orientation).max() <= SAME_DIRECTION:
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def _laid_out(stack: Stack, min_slices: bool) -> Iterator[Stack | Outcome]:
    """The stack with its layout; its acquisitions one by one where together they do not form one volume."""
    try:
        if min_slices and (reason := reason_against_shape(len(stack.frames), stack.first.rows, stack.first.columns)):
            raise IrregularGeometry(reason)
        layout = lay_out(np.array([frame.position for frame in stack.frames]), normal_of(stack.first.orientation))
        if len(layout.places) * stack.first.rows * stack.first.columns > MAX_VOXELS:
            raise IrregularGeometry(f"more than {MAX_VOXELS} voxels")
        yield replace(stack, layout=layout)
    except IrregularGeometry as problem:
        blocks = sorted({frame.block for frame in stack.frames})
        if len(blocks) == 1:
            yield Outcome(stack.name, stack.files, reason=str(problem))
            return
        for block in blocks:
            frames = tuple(frame for frame in stack.frames if frame.block == block)
            yield from _laid_out(replace(stack, frames=frames), min_slices)


def _without_other_encodings(stacks: list[Stack]) -> tuple[list[Stack], list[Outcome]]:
    """Of volumes stored both as classic and as enhanced images, the more complete one (classic where equal)."""
    kept: list[Stack] = []
    dropped = []
    for stack in sorted(stacks, key=lambda stack: (-len(stack.frames), stack.first.image.enhanced)):
        if any(_encodes_again(stack, other) for other in kept):
            dropped.append(Outcome(stack.name, stack.files, reason=OTHER_ENCODING))
        else:
            kept.append(stack)
    return [stack for stack in stacks if stack in kept], dropped


def _encodes_again(stack: Stack, other: Stack) -> bool:
    a, b = stack.first, other.first
    if a.image.enhanced == b.image.enhanced or (a.rows, a.columns, a.component) != (b.rows, b.columns, b.component):
        return False
    if a.te is not None and b.te is not None and abs(a.te - b.te) > 0.5:
        return False
    if max(_shell(a), 0) != max(_shell(b), 0):
        return False
    if np.abs(a.orientation - b.orientation).max() > 5 * SAME_DIRECTION:
        return False
    normal = normal_of(a.orientation)
    own, theirs = (np.array([frame.position @ normal for frame in frames]) for frames in (stack.frames, other.frames))
    assert other.layout is not None
    tolerance = 0.25 * float(np.linalg.norm(other.layout.step))
    return bool((np.abs(own[:, None] - theirs[None]).min(axis=1) <= tolerance).all())


def _told_apart(stacks: list[Stack]) -> list[Stack]:
    """Volumes of one series with what tells them apart after their name: b-value, echo, plane, part."""
    if len(stacks) < 2:
        return stacks
    traits: tuple[Callable[[Stack], str], ...] = (
        lambda stack: f"b{_shell(stack.first)}" if stack.facts.diffusion and _shell(stack.first) >= 0 else "",
        lambda stack: next((t for t in ("ADC", "TRACEW") if t in stack.facts.image_type), ""),
        lambda stack: "" if stack.first.te is None else f"TE{round(stack.first.te)}",
        lambda stack: plane_of(normal_of(stack.first.orientation)).value,
    )
    names = [stack.name for stack in stacks]
    for trait in traits:
        if len({trait(stack) for stack in stacks}) > 1 and max(Counter(names).values()) > 1:
            names = [f"{name}_{sanitise(trait(stack))}" if trait(stack) else name for name, stack in zip(names, stacks, strict=True)]
    return [replace(stack, name=name) for name, stack in zip(names, stacks, strict=True)]


def _read_stack(stack: Stack, decoder: Decoder, min_slices: bool) -> Iterator[Outcome]:
    """Pixels of one volume: of repeated places the first image, of diffusion directions the mean."""
    assert stack.layout is not None
    averaged = (stack.facts.acquisition.b_value or 0) > 0
    chosen = [number for place in stack.layout.places for number in (place if averaged else place[:1])]
    used = tuple(stack.frames[number] for number in chosen)
    rest = frozenset(frame.image.path for frame in stack.frames) - frozenset(frame.image.path for frame in used)
    planes, failed = read_planes(used, decoder)
    for reason in sorted(set(failed.values())):
        bad = frozenset(used[number].image.path for number in failed if failed[number] == reason)
        yield Outcome(stack.name, bad, reason=reason)
    if failed and planes:
        # What is left may have gaps: its layout is found anew.
        left = replace(stack, frames=tuple(used[number] for number in sorted(planes)), layout=None)
        rebuilt = list(_laid_out(left, min_slices))
        for part in rebuilt:
            if isinstance(part, Outcome):
                yield part
            else:
                yield from _read_stack(part, decoder, min_slices)
    elif planes:
        yield from _finished(replace(stack, frames=used), planes, min_slices)
    if rest:
        yield Outcome(stack.name, rest, reason=REPEATED)


def _finished(stack: Stack, planes: dict[int, NDArray[Any]], min_slices: bool) -> Iterator[Outcome]:
    first = stack.first
    layout = lay_out(np.array([frame.position for frame in stack.frames]), normal_of(first.orientation))
    slices = len(layout.places)
    if min_slices and (reason := reason_against_shape(slices - layout.missing, first.rows, first.columns)):
        yield Outcome(stack.name, stack.files, reason=reason)
        return
    voxels = np.empty((first.columns, first.rows, slices), dtype=planes[0].dtype, order="F")
    for slot, place in enumerate(layout.places):
        if place:
            voxels[:, :, slot] = _mean([planes[number] for number in place]).T
    _fill(voxels, layout)
    if voxels.size and voxels.min() == voxels.max():
        yield Outcome(stack.name, stack.files, reason=NO_SIGNAL)
        return
    notes = [f"{layout.missing} of {slices} slices missing, filled from their neighbours"] if layout.missing else []
    repeats = max(len(place) for place in layout.places)
    notes += [f"mean of {repeats} directions"] if repeats > 1 else []
    series = Series(
        name=stack.name,
        voxels=voxels,
        affine=affine_of(first.orientation, first.spacing, layout.origin, layout.step),
        plane=plane_of(normal_of(first.orientation)),
        weighting=weighting_of(stack.facts),
        acquisition=stack.facts.acquisition,
        notes=tuple(notes),
    )
    yield Outcome(stack.name, stack.files, series=series)


def digest(voxels: NDArray[Any]) -> str:
    """Hexadecimal digest of a volume's values, shape and type, whatever its memory order."""
    content = hashlib.sha256(f"{voxels.dtype.str}{voxels.shape}".encode())
    content.update(np.ascontiguousarray(voxels.T).data)
    return content.hexdigest()


def _mean(planes: list[NDArray[Any]]) -> NDArray[Any]:
    if len(planes) == 1:
        return planes[0]
    mean = np.mean(planes, axis=0, dtype=np.float64)
    return (np.rint(mean) if planes[0].dtype.kind in "iu" else mean).astype(planes[0].dtype)


def _fill(voxels: NDArray[Any], layout: Layout) -> None:
    """Fill missing slices linearly from the nearest on both sides (the ends are never missing)."""
    present = [slot for slot, place in enumerate(layout.places) if place]
    for below, above in pairwise(present):
        for slot in range(below + 1, above):
            weight = (slot - below) / (above - below)
            between = (1 - weight) * voxels[:, :, below] + weight * voxels[:, :, above].astype(np.float64)
            voxels[:, :, slot] = np.rint(between) if voxels.dtype.kind in "iu" else between
