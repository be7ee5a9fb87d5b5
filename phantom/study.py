"""A simulated study: the patient, the disease, the head and the acquisition, all drawn from one seed. Cheap; nothing is rendered here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np

from phantom import anatomy
from phantom.anatomy import Anatomy
from phantom.atlas import EXTRA_AXIAL, INTRA_AXIAL
from phantom.errors import UnknownDiagnosis
from phantom.lesion import Lesion, Part, Scene
from phantom.lesions import COMPANIONS, DIAGNOSES, RECIPES
from phantom.shape import Mass
from phantom.signal import Weighting
from phantom.style import Style, draw_style

NORMAL_SHARE = 0.12
COMBINED_SHARE = 0.18
TYPICAL_AGE = 0.12  # share of patients whose age and sex are the disease's typical ones: more, and age alone would tell the disease
TYPICAL_INDICATION = 0.15
AGES = (3, 88)
INCIDENTAL = ("arachnoid_cyst", "meningioma", "cavernoma", "small_vessel_disease")  # beside a disease that names no company of its own
FIRST_DATE = date(2020, 1, 1)
WIDE_VENTRICLES = 4.0  # mm of outward growth from which ventriculomegaly is reported; normal heads stay below 2
WIDE_SULCI = 1.3  # log odds of csf from which atrophy is reported; normal heads stay below 0.8
VISIBLE_SHIFT = 3.0  # mm of midline displacement
OF_AGE = ("small_vessel_disease", "old large_vessel_stroke")
INDICATIONS = (
    "headache",
    "headache",
    "headache",
    "dizziness",
    "seizure",
    "first seizure",
    "weakness",
    "numbness",
    "visual disturbance",
    "confusion",
    "memory problems",
    "gait disturbance",
    "abnormal CT",
    "follow-up",
    "nausea and vomiting",
    "speech difficulty",
    "hearing loss",
    "syncope",
    "rule out intracranial lesion",
    "neurological deficit",
)


@dataclass(frozen=True)
class Patient:
    """Age in years, sex "F" or "M"."""

    age: int
    sex: str


@dataclass(frozen=True)
class Change:
    """What became of a disease since the study before: course "stable", "grown" or "resolved"; sizes in mm, None where it has none.

    seen: whether the study before has a series that shows it.
    """

    before: Lesion
    course: str
    size_before: float | None
    size_now: float | None
    seen: bool


@dataclass(frozen=True)
class Prior:
    """The study before: its key and date, the months since, and what became of each of its diseases."""

    study: str
    date: date
    months: int
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Phantom:
    """One simulated study, before any image is made. Everything is drawn on the unmirrored head; `mirror` swaps left and right at the end.

    lesions: main first, each followed by what belongs to it; none = normal.
    recipes: what the lesions were drawn by, main first. growth: of each recipe's lesions, times the first size; 0 = gone.
    drawn_age: the patient's age at the first study, by which the lesions are drawn.
    visit: 1, 2... where a patient has several studies, 0 where this is the only one. prior: the study before this one.
    """

    seed: int
    mirror: bool
    patient: Patient
    indication: str
    description: str
    lesions: tuple[Lesion, ...]
    anatomy: Anatomy
    style: Style
    recipes: tuple[str, ...] = ()
    growth: tuple[float, ...] = ()
    date: date = FIRST_DATE
    visit: int = 0
    drawn_age: int = 0
    prior: Prior | None = None

    @property
    def diagnoses(self) -> tuple[str, ...]:
        """The diagnoses, main first, without repetition: what a differential may hold, so neither findings nor post-operative states."""
        return tuple(name for name in self.names if RECIPES[name].kind == "diagnosis")

    @property
    def names(self) -> tuple[str, ...]:
        """The taxonomy's names of all lesions, main first, without repetition; empty = normal."""
        return tuple(dict.fromkeys(lesion.name for lesion in self.lesions))

    @property
    def key(self) -> str:
        """A name for files: the seed, m where mirrored, and the visit where there are several."""
        return f"phantom-{self.seed:08d}{'m' if self.mirror else ''}{f'-visit{self.visit}' if self.visit else ''}"

    @property
    def masses(self) -> tuple[Mass, ...]:
        """Everything that pushes."""
        return tuple(mass for lesion in self.lesions for mass in lesion.masses)

    @property
    def acquired(self) -> tuple[Weighting, ...]:
        """The contrasts there are, in the order of acquisition, each once."""
        return tuple(dict.fromkeys(plan.sequence.weighting for plan in self.style.series))

    @cached_property
    def midline_shift(self) -> float:
        """mm, signed as if unmirrored (+ towards the patient's left)."""
        return anatomy.shift_of_midline(self.masses)

    @property
    def ventriculomegaly(self) -> bool:
        """Whether the ventricles are wide enough to be reported."""
        return self.anatomy.ventricles >= WIDE_VENTRICLES

    @property
    def obstructed(self) -> bool:
        """Whether a lesion keeps the fluid from leaving wide ventricles."""
        return self.ventriculomegaly and any(lesion.dams for lesion in self.lesions)

    @property
    def atrophy(self) -> bool:
        """Whether the sulci are wide enough to be reported."""
        return self.anatomy.sulci >= WIDE_SULCI

    def side(self, name: str) -> str:
        """A side of the unmirrored head as the side of the patient that is shown."""
        return {"left": "right", "right": "left"}.get(name, name) if self.mirror else name


def sample(
    seed: int,
    diagnosis: str | None = None,
    style: Style | None = None,
    mirror: bool = False,
    *,
    companion: str | None = None,
    drop: tuple[Weighting, ...] = (),
) -> Phantom:
    """Draw a study from its seed alone.

    diagnosis: a name of DIAGNOSES, or "normal"; None draws one (about one in eight is normal, one in six has a second disease).
    companion: a second diagnosis. style: an acquisition in place of the drawn one; drop: weightings that were not acquired.
    mirror: the exact mirror image of the same seed.
    Raises UnknownDiagnosis.
    """
    for name in (diagnosis, companion):
        if name is not None and name != "normal" and name not in RECIPES:
            raise UnknownDiagnosis(f"Unknown diagnosis {name!r}: expected one of normal, {', '.join(DIAGNOSES)}.")
    which, body, _, acquisition, words = (np.random.default_rng([seed, stream]) for stream in range(5))
    drawn = _diagnosis(which)
    main = diagnosis or drawn
    patient = _patient(body, main)
    head = _head(body, patient, main)
    recipes: tuple[str, ...] = ()
    if main != "normal":
        second = companion or (_companion(which, main, patient.age) if diagnosis is None else None)
        recipes = (main, second) if second else (main,)
    growth = (1.0,) * len(recipes)
    lesions = draw_lesions(seed, recipes, growth, head, patient.age)
    head = replace(head, ventricles=head.ventricles + dammed(lesions))
    chosen = style or draw_style(acquisition)
    if drop:
        chosen = replace(chosen, series=tuple(plan for plan in chosen.series if plan.sequence.weighting not in drop))
    told = (_indication(words, main), describe(chosen))
    return Phantom(seed, mirror, patient, *told, lesions, head, chosen, recipes, growth, drawn_age=patient.age)


def draw_lesions(seed: int, recipes: tuple[str, ...], growth: tuple[float, ...], head: Anatomy, age: int) -> tuple[Lesion, ...]:
    """The lesions of a patient whose head no lesion has bent yet; the same at any growth but for their size. Growth 0 = gone."""
    rng = np.random.default_rng([seed, 2])
    backward = anatomy.field(head, ())
    lesions: list[Lesion] = []
    for name, size in zip(recipes, growth, strict=True):
        drawn = _draw(COMPANIONS[name], Scene(rng, backward, _sign(rng), age, size or 1.0))
        lesions += drawn if size else []
    return tuple(lesions)


def dammed(lesions: tuple[Lesion, ...]) -> float:
    """How far the ventricles' walls move out because of these lesions, mm."""
    return max((lesion.dams for lesion in lesions), default=0.0)


def _with_region(scene: Scene, lesion: Lesion) -> Lesion:
    """The lesion with the region in which most of it, or of its largest focus, lies; outside the brain with the one it was drawn into."""
    if lesion.region in EXTRA_AXIAL:
        return lesion
    within = {name: volume for name, volume in scene.regions(_focus(lesion)).items() if name in INTRA_AXIAL}
    return replace(lesion, region=max(within, key=lambda name: within[name])) if within else lesion


def _with_size(scene: Scene, lesion: Lesion) -> Lesion:
    """The lesion with the diameter that it, or its largest focus, has as it is drawn; a recipe may have told it without its unevenness."""
    parts = _focus(lesion)
    if not lesion.size_mm or lesion.own_measure or not parts:
        return lesion
    return replace(lesion, size_mm=scene.diameter(parts))


def _focus(lesion: Lesion) -> tuple[Part, ...]:
    """What the lesion's region and size are told of: all of it, or the largest of several foci."""
    parts = lesion.parts_of(lesion.name)
    return (max(parts, key=_volume),) if lesion.count > 1 and parts else parts


def _volume(part: Part) -> float:
    low, high = part.shape.box()
    return float(np.prod(np.subtract(high, low)))


def _draw(recipe: Callable[[Scene], Lesion], scene: Scene) -> list[Lesion]:
    """What the recipe draws, then what belongs to it."""
    main = recipe(scene)
    return [_with_size(scene, _with_region(scene, lesion)) for lesion in (main, *main.also)]


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _diagnosis(rng: np.random.Generator) -> str:
    return "normal" if rng.random() < NORMAL_SHARE else str(rng.choice(DIAGNOSES))


def _companion(rng: np.random.Generator, main: str, age: int) -> str | None:
    if rng.random() >= COMBINED_SHARE:
        return None
    choices = [name for name in RECIPES[main].goes_with or INCIDENTAL if name != main and (age >= 45 or name not in OF_AGE)]
    return str(rng.choice(choices)) if choices else None


def _patient(rng: np.random.Generator, main: str) -> Patient:
    """Most patients come from one distribution for all diagnoses: age and sex alone must not tell."""
    typical = main in RECIPES and rng.random() < TYPICAL_AGE
    low, high = RECIPES[main].ages if typical else AGES
    return Patient(int(rng.integers(low, high + 1)), "F" if rng.random() < (RECIPES[main].female if typical else 0.5) else "M")


def _head(rng: np.random.Generator, patient: Patient, main: str) -> Anatomy:
    """Size, ventricles and sulci; children's heads are smaller; ventricles and sulci widen with age, and markedly so in some."""
    older = np.clip((patient.age - 40) / 50, 0, 1)
    ventricles, sulci = 1.2 * older + rng.normal(0, 0.35), 0.55 * older + rng.normal(0, 0.12)
    ventricles, sulci = min(ventricles, 2.0), min(sulci, 0.75)
    if patient.age > 60 and rng.random() < (0.45 if main == "small_vessel_disease" else 0.2):  # involution
        ventricles, sulci = rng.uniform(1.5, 5.5), rng.uniform(1.4, 2.2)
        ventricles = ventricles if not 2.4 < ventricles < WIDE_VENTRICLES + 0.4 else 2.2
    elif rng.random() < (0.3 if main in ("schwannoma",) else 0.05):  # communicating
        ventricles = rng.uniform(4.6, 7.5)
    young = np.clip((10 - patient.age) / 8, 0, 1)
    scale = 1 - 0.07 * young + rng.normal(0, 0.022) + rng.normal(0, 0.015, 3) - (0.02 if patient.sex == "F" else 0)
    x, y, z = (float(value) for value in scale)
    return Anatomy(int(rng.integers(2**31)), (x, y, z), float(ventricles), float(sulci - 0.2 * young))


def _indication(rng: np.random.Generator, main: str) -> str:
    """Mostly what any patient may have; now and then what the disease often brings."""
    if main in RECIPES and rng.random() < TYPICAL_INDICATION:
        return RECIPES[main].indication
    return str(rng.choice(INDICATIONS))


def describe(style: Style) -> str:
    """The study's description as the vendor's consoles have it."""
    post = any(plan.sequence.contrast for plan in style.series)
    return {
        "Siemens": "MR Brain with and without contrast" if post else "MR Brain without contrast",
        "GE": "MRI BRAIN W WO CONTRAST" if post else "MRI BRAIN WO CONTRAST",
        "Philips": "MRI Head W/WO Gad" if post else "MRI Head",
        "Canon": "Brain MRI +C" if post else "Brain MRI",
    }[style.vendor]
