"""From labelled studies to what the encoder makes of them, as they are and altered; one or two studies in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import UsageError
from assistant.evaluate.altered import ABLATIONS, noise, swapped
from assistant.evaluate.cache import Cache, bare, files_of
from assistant.evidence import in_taxonomy
from assistant.labelled import Labelled
from encoder.encoder import StudyEncoder
from encoder.errors import StudyError
from encoder.features import StudyFeatures
from encoder.study import Study

AS_IT_IS = "as it is"
NOISE, SWAPPED, NORMAL = "noise images", "images of another patient", "images of normal studies"
IMAGE_CONTROLS = (NOISE, SWAPPED, NORMAL)
ALTERATIONS: Mapping[str, Callable[[Study], Study]] = {NOISE: noise, **ABLATIONS}


@dataclass(frozen=True)
class Member:
    """One study of a cohort: its labels, the study without voxels, what the encoder made of it, and a hash of its files."""

    labels: Labelled
    study: Study
    features: StudyFeatures
    files: str

    @property
    def patient(self) -> str:
        """Whose study it is, by the list or the files; a study of nobody known is a patient of its own."""
        return self.labels.patient or self.study.patient or self.files


@dataclass(frozen=True)
class Cohort:
    """What an evaluation stands on.

    members: the studies as they are. controls, ablations: by what was done; each on the first of the members, in the same order, less
    those to which it cannot be done. skipped: (path, reason) of studies that could not be read or encoded. encoder: its hash.
    """

    members: tuple[Member, ...]
    controls: Mapping[str, tuple[Member, ...]]
    ablations: Mapping[str, tuple[Member, ...]]
    skipped: tuple[tuple[str, str], ...]
    encoder: str


@dataclass
class Intake:
    """Reads and encodes, or finds both in the cache. progress: told of every study. files: a hash that changes with the study's files.

    vectors: whether registers are kept; scores and the embedding always are.
    """

    encoder: StudyEncoder
    read: Callable[[Path], Study]
    cache: Cache
    progress: Callable[[str], None] = lambda _: None
    files: Callable[[Path], str] = files_of
    vectors: bool = False
    last: tuple[str, Study] | None = field(default=None, repr=False)

    def member(self, labels: Labelled) -> Member:
        """The study as it is. Raises StudyError where it cannot be read or encoded."""
        files = self.files(labels.path)
        known = _with_labels(self.cache.study(files) or bare(self._study(labels.path, files)), labels)
        features = self._encoded(known, files, AS_IT_IS, lambda: replace(known, series=self._study(labels.path, files).series))
        return Member(labels, known, features, files)

    def altered(self, member: Member, variant: str, donor: Member | None = None) -> Member:
        """The study after `variant` was done to it; donor: whose images it gets. Raises StudyError where that cannot be done."""
        source = donor or member

        def whole() -> Study:
            images = self._study(source.labels.path, source.files)
            return swapped(member.study, images) if donor else ALTERATIONS[variant](replace(member.study, series=images.series))

        shown = swapped(member.study, donor.study) if donor else ALTERATIONS[variant](member.study)
        done = f"{variant} {donor.files if donor else ''}"
        return replace(member, study=shown, features=self._encoded(member.study, member.files, done, whole))

    def _encoded(self, known: Study, files: str, done: str, whole: Callable[[], Study]) -> StudyFeatures:
        done = f"{done} {known.context.age} {known.context.sex}"
        features = self.cache.features(known.key, files, done)
        if features is None:
            features = self.encoder.encode(whole())
            self.cache.keep_features(known.key, files, done, features)
        return _kept(features, self.vectors)

    def _study(self, path: Path, files: str) -> Study:
        """The study with its voxels; the last one read is at hand."""
        if self.last is None or self.last[0] != files:
            self.last = (files, self.read(path))
            self.cache.keep_study(files, self.last[1])
        return self.last[1]


# Applies some work, in order, to items: here, or in several processes that each have an intake of their own (`workers.several`).
Each = Callable[[Callable[[Intake, Any], Any], Sequence[Any]], Iterator[Any]]


def gather(
    labelled: Sequence[Labelled],
    intake: Intake,
    *,
    controls: int,
    ablations: int = 0,
    kinds: Sequence[str] = IMAGE_CONTROLS,
    seed: int = 0,
    each: Each | None = None,
) -> Cohort:
    """Encode the studies, and the first `controls` and `ablations` of them (in an order drawn from the seed) altered.

    each: who does it; None = this process. Raises UsageError where none could be encoded.
    """
    each = each or (lambda work, items: (work(intake, item) for item in items))
    order = [labelled[k] for k in np.random.default_rng(seed).permutation(len(labelled))]
    skipped: list[tuple[str, str]] = []
    members: list[Member] = []
    for number, (labels, made) in enumerate(zip(order, each(_as_it_is, order), strict=True), 1):
        intake.progress(f"[{number}/{len(order)}] {labels.path.name}")
        if isinstance(made, Member):
            members.append(made)
        else:
            skipped.append((str(labels.path), made))
    if not members:
        raise UsageError(f"Expected studies to evaluate, could read none. {' '.join(f'{path}: {why}' for path, why in skipped[:3])}")
    arms: dict[str, list[Member]] = {name: [] for name in (*kinds, *(ABLATIONS if ablations else ()))}
    some = members[: max(controls, ablations)]
    wanted = [[*(ABLATIONS if k < ablations else ()), *(kinds if k < controls else ())] for k in range(len(some))]
    jobs = [(member, tuple(_jobs(members, k, wanted[k]))) for k, member in enumerate(some)]
    for number, (member, altered) in enumerate(zip(some, each(_altered, jobs), strict=True), 1):
        intake.progress(f"altered [{number}/{len(some)}] {member.labels.path.name}")
        for variant, made in altered:
            arms[variant].append(made)
    return Cohort(
        tuple(members),
        {name: tuple(arms[name]) for name in kinds},
        {name: tuple(rows) for name, rows in arms.items() if name not in kinds},
        tuple(skipped),
        intake.encoder.hash,
    )


def _as_it_is(intake: Intake, labels: Labelled) -> Member | str:
    """The member, or why it cannot be read."""
    try:
        return intake.member(labels)
    except StudyError as error:
        return str(error)


def _altered(intake: Intake, job: tuple[Member, Sequence[tuple[str, Member | None]]]) -> list[tuple[str, Member]]:
    """The member after each variant; one that cannot be done (no such sequence) is left out, and the arm says how many it holds."""
    member, variants = job
    made = []
    for variant, donor in variants:
        with suppress(StudyError):
            made.append((variant, intake.altered(member, variant, donor)))
    return made


def _jobs(members: Sequence[Member], number: int, wanted: Sequence[str]) -> Iterator[tuple[str, Member | None]]:
    """What is to be done to a study, with whose images: its own first, while they are at hand; the next study's last."""
    for variant in sorted(wanted, key=lambda name: (name == NORMAL) + 2 * (name == SWAPPED)):
        if variant not in (SWAPPED, NORMAL):
            yield variant, None
        elif donor := _donor(members, number, normal=variant == NORMAL):
            yield variant, donor


def _donor(members: Sequence[Member], number: int, normal: bool) -> Member | None:
    """The next study (in drawn order: neighbours share a label only by chance) of another patient; None where there is none."""
    me = members[number].study.patient
    for other in (*members[number + 1 :], *members[:number]):
        if (me is None or other.study.patient != me) and (not normal or other.labels.normal):
            return other
    return None


def _with_labels(study: Study, labels: Labelled) -> Study:
    """What the list says of the patient goes before what the files say."""
    known = study.context
    age, sex = known.age if labels.age is None else labels.age, labels.sex or known.sex
    return replace(study, context=replace(known, age=age, sex=sex))


def _kept(features: StudyFeatures, vectors: bool) -> StudyFeatures:
    """Scores named as the table names them, and the embedding: of a million studies only they have to fit in memory."""
    nothing = np.zeros((0, 0), np.float32)
    registers = features.registers if vectors else nothing
    return in_taxonomy(replace(features, registers=registers, sequences=nothing, locations=()))
