"""Recipes: how each diagnosis is drawn. One file a group of lesions; this table is the list of what the phantom can draw."""

from __future__ import annotations

from collections.abc import Callable

from phantom.lesion import Lesion, Recipe, Scene
from phantom.lesions import (
    developmental,
    extra_axial,
    haemorrhage,
    infectious,
    inflammatory,
    intra_axial_tumours,
    midline,
    paediatric_tumours,
    postoperative,
    trauma,
    vascular,
    vessels,
)

RECIPES: dict[str, Recipe] = {
    **intra_axial_tumours.RECIPES,
    **extra_axial.RECIPES,
    **vascular.RECIPES,
    **inflammatory.RECIPES,
    **midline.RECIPES,
    **developmental.RECIPES,
    **infectious.RECIPES,
    **paediatric_tumours.RECIPES,
    **postoperative.RECIPES,
    **trauma.RECIPES,
    **haemorrhage.RECIPES,
    **vessels.RECIPES,
}
COMPANIONS: dict[str, Callable[[Scene], Lesion]] = {name: recipe.draw for name, recipe in RECIPES.items()} | {
    "old large_vessel_stroke": vascular.old_large_vessel_stroke
}
DIAGNOSES = tuple(RECIPES)
