"""Recipes: how each diagnosis is drawn. One file a group of lesions; this table is the list of what the phantom can draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from phantom.lesion import Lesion, Scene
from phantom.lesions.extra_axial import arachnoid_cyst, meningioma, pituitary_adenoma, schwannoma, subdural_hematoma
from phantom.lesions.inflammatory import multiple_sclerosis
from phantom.lesions.intra_axial_tumours import brain_abscess, brain_metastasis, high_grade_glioma, low_grade_glioma, lymphoma
from phantom.lesions.vascular import (
    cavernoma,
    intracranial_hemorrhage,
    lacunar_stroke,
    large_vessel_stroke,
    old_large_vessel_stroke,
    small_vessel_disease,
)


@dataclass(frozen=True)
class Recipe:
    """ages: typical range in years. female: share of women. goes_with: what may be drawn beside it (incidental or old)."""

    draw: Callable[[Scene], Lesion]
    ages: tuple[int, int]
    female: float = 0.5
    goes_with: tuple[str, ...] = ()


OLD = ("small_vessel_disease",)
RECIPES: dict[str, Recipe] = {
    "high_grade_glioma": Recipe(high_grade_glioma, (45, 78), 0.42, OLD),
    "low_grade_glioma": Recipe(low_grade_glioma, (20, 48), 0.45, ("arachnoid_cyst",)),
    "lymphoma": Recipe(lymphoma, (52, 80), 0.45, OLD),
    "brain_metastasis": Recipe(brain_metastasis, (45, 80), 0.5, OLD),
    "meningioma": Recipe(meningioma, (40, 80), 0.68, OLD),
    "schwannoma": Recipe(schwannoma, (35, 68), 0.5, ("small_vessel_disease", "arachnoid_cyst")),
    "pituitary_adenoma": Recipe(pituitary_adenoma, (25, 70), 0.5, OLD),
    "brain_abscess": Recipe(brain_abscess, (18, 70), 0.4),
    "large_vessel_stroke": Recipe(large_vessel_stroke, (50, 88), 0.48, ("small_vessel_disease", "meningioma")),
    "lacunar_stroke": Recipe(lacunar_stroke, (50, 85), 0.48, OLD),
    "intracranial_hemorrhage": Recipe(intracranial_hemorrhage, (50, 85), 0.46, OLD),
    "subdural_hematoma": Recipe(subdural_hematoma, (50, 90), 0.38, OLD),
    "cavernoma": Recipe(cavernoma, (18, 65), 0.52, ("meningioma",)),
    "multiple_sclerosis": Recipe(multiple_sclerosis, (20, 52), 0.7, ("arachnoid_cyst",)),
    "small_vessel_disease": Recipe(
        small_vessel_disease, (55, 88), 0.5, ("meningioma", "arachnoid_cyst", "schwannoma", "old large_vessel_stroke")
    ),
    "arachnoid_cyst": Recipe(arachnoid_cyst, (18, 70), 0.42),
}
COMPANIONS: dict[str, Callable[[Scene], Lesion]] = {name: recipe.draw for name, recipe in RECIPES.items()} | {
    "old large_vessel_stroke": old_large_vessel_stroke
}
DIAGNOSES = tuple(RECIPES)
