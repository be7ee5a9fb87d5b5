"""Dated studies of one patient: the same head and diseases some months later, scanned anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal, get_args

import numpy as np

from phantom.errors import NoSuchCourse
from phantom.lesion import Lesion
from phantom.signal import Weighting
from phantom.study import Change, Patient, Phantom, Prior, dammed, describe, draw_lesions
from phantom.style import draw_style

Course = Literal["stable", "grown", "resolved"]
GROWS = frozenset(
    (
        "high_grade_glioma",
        "low_grade_glioma",
        "lymphoma",
        "brain_metastasis",
        "meningioma",
        "schwannoma",
        "pituitary_adenoma",
        "craniopharyngioma",
        "rathkes_cleft_cyst",
        "colloid_cyst",
        "pineal_tumor",
        "germ_cell_tumor",
        "brainstem_glioma",
        "ependymoma",
        "medulloblastoma",
        "pilocytic_astrocytoma",
        "arachnoid_cyst",
        "brain_abscess",
        "subdural_hematoma",
        "intracranial_hemorrhage",
        "cavernoma",
        "cerebral_aneurysm",
        "neurosarcoid",
        "syrinx",
    )
)
RESOLVES = frozenset(
    (
        "subdural_hematoma",
        "subarachnoid_hemorrahage",
        "intraventricular_hemorrhage",
        "intracranial_hypotension",
        "neurosarcoid",
        "brain_abscess",
        "lymphoma",
        "germ_cell_tumor",
        "viral_encephalitis",
    )
)
"""Gone by itself or by treatment within months."""
SOON = 5  # days after which a study "0 months" later is made
GROWTH = (1.25, 1.6)  # times the size before
LARGEST = 2.0  # times the first size: no lesion outgrows its head
TELLING = 1.1  # times the size before from which a lesion counts as grown


def courses(first: Phantom, months: int) -> tuple[Course, ...]:
    """The courses that the main disease can take within these months; what is acute does not stay so for a month."""
    if not first.recipes:
        return ("stable",)
    lesion = next((lesion for lesion in first.lesions if lesion.name == _name(first.recipes[0])), None)
    if lesion is None:
        return ("stable",)
    possible: dict[Course, bool] = {
        "stable": months == 0 or "acute" not in lesion.stage,
        "grown": lesion.name in GROWS and (months == 0) == ("acute" in lesion.stage) and _grows(first),
        "resolved": lesion.name in RESOLVES and months > 0,
    }
    return tuple(course for course in get_args(Course) if possible[course])


def follow_up(first: Phantom, months: int, course: Course) -> Phantom:
    """The patient's next study: the main disease took this course, any other stayed as it was; acquired anew, the patient older.

    months: since `first`; 0 = some days later. Raises NoSuchCourse where the disease does not take that course.
    """
    possible = courses(first, months)
    if course not in possible:
        named = first.recipes[0] if first.recipes else "normal"
        raise NoSuchCourse(
            f"{first.key}: expected a course that {named} takes within {months} months ({', '.join(possible) or 'none'}), "
            f"found {course!r}. Choose another course or number of months."
        )
    visit = (first.visit or 1) + 1
    rng = np.random.default_rng([first.seed, 6, visit])
    factor = {"stable": 1.0, "grown": float(rng.uniform(*GROWTH)), "resolved": 0.0}[course]
    growth = (min(first.growth[0] * factor, LARGEST), *first.growth[1:]) if first.growth else ()
    lesions = _redrawn(first, growth)
    days = max(round(30.44 * months), SOON)
    style = draw_style(rng)
    return replace(
        first,
        patient=Patient(first.patient.age + days // 365, first.patient.sex),
        indication="follow-up",
        description=describe(style),
        lesions=lesions,
        anatomy=replace(first.anatomy, ventricles=first.anatomy.ventricles - dammed(first.lesions) + dammed(lesions)),
        style=style,
        growth=growth,
        date=first.date + timedelta(days=days),
        visit=visit,
        prior=Prior(first.key, first.date, months, _changes(first.lesions, lesions, first.acquired)),
    )


def _redrawn(first: Phantom, growth: tuple[float, ...]) -> tuple[Lesion, ...]:
    undammed = replace(first.anatomy, ventricles=first.anatomy.ventricles - dammed(first.lesions))
    return draw_lesions(first.seed, first.recipes, growth, undammed, first.drawn_age)


def _grows(first: Phantom) -> bool:
    """Whether the main lesion's size follows the scene's growth."""
    if first.growth[0] * GROWTH[0] > LARGEST:
        return False
    larger = _redrawn(first, (first.growth[0] * GROWTH[0], *first.growth[1:]))
    return _by_name(larger)[_name(first.recipes[0])].size_mm >= TELLING * _by_name(first.lesions)[_name(first.recipes[0])].size_mm > 0


def _changes(before: tuple[Lesion, ...], now: tuple[Lesion, ...], acquired: tuple[Weighting, ...]) -> tuple[Change, ...]:
    """What became of each disease, told by what is drawn."""
    here = _by_name(now)
    changes = []
    for name, lesion in _by_name(before).items():
        later = here.get(name)
        grown = later is not None and later.size_mm >= TELLING * lesion.size_mm > 0
        course = "resolved" if later is None else "grown" if grown else "stable"
        seen = any(weighting in acquired for weighting in lesion.visible_on)
        changes.append(Change(lesion, course, lesion.size_mm or None, later.size_mm or None if later else None, seen))
    return tuple(changes)


def _by_name(lesions: tuple[Lesion, ...]) -> dict[str, Lesion]:
    """The first lesion of each name."""
    return {lesion.name: lesion for lesion in reversed(lesions)}


def _name(recipe: str) -> str:
    return recipe.removeprefix("old ")
