"""The one reviewed table of the 52 diagnoses (diagnoses.toml), as values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

SEQUENCES = ("T1", "T1post", "T2", "FLAIR", "DWI", "ADC", "SWI", "MRA")
SAGITTAL = "sagittal"  # a need that a plane fulfils, not a weighting
SIGNS = ("+", "-", "=")
PRIORITIES = ("none", "low", "medium", "high")
SIDES = ("left", "right", "midline", "bilateral")


class Kind(StrEnum):
    """What a name of the taxonomy is; a differential holds diagnoses, and a parent only while none of its children stands in it."""

    DIAGNOSIS = "diagnosis"
    FINDING = "finding"
    POSTOPERATIVE = "postoperative"
    PARENT = "parent"


class Without(StrEnum):
    """What becomes of a diagnosis when a need is missing."""

    NOT_ASSESSED = "not assessed"
    LIMITED = "limited"


@dataclass(frozen=True)
class Need:
    """Any one of these sequences (keys of SEQUENCES, or SAGITTAL) is needed; else the diagnosis is `without`."""

    any: tuple[str, ...]
    without: Without


@dataclass(frozen=True)
class Diagnosis:
    """One row of the table.

    priority: the least this alone asks for; referral: specialties to refer to (rules may raise the one and add to the other).
    phrases: how reports say it, lower case, American spelling, blanks for hyphens. signs: sequence -> possible signals relative to normal
    brain ("+", "-", "="); an absent sequence has no rule. age: usual years, None = any. goes_with: names often seen together.
    incidental: so often a chance find that whatever else is positive comes before it.
    """

    name: str
    label: str
    group: str
    kind: Kind
    parent: str | None
    children: tuple[str, ...]
    form: str
    priority: str
    referral: tuple[str, ...]
    phrases: tuple[str, ...]
    needs: tuple[Need, ...]
    signs: Mapping[str, tuple[str, ...]]
    sides: tuple[str, ...]
    regions: tuple[str, ...]
    age: tuple[float, float] | None
    goes_with: tuple[str, ...]
    incidental: bool

    @property
    def in_differential(self) -> bool:
        """Whether a differential may list it: diagnoses and their parents; findings and post-operative states stand elsewhere."""
        return self.kind in (Kind.DIAGNOSIS, Kind.PARENT)


@cache
def load() -> Mapping[str, Diagnosis]:
    """The 52 by name, in the order of the Prima heads; raises ValueError where the table is wrong."""
    table = tomllib.loads((files("prompts") / "diagnoses.toml").read_text(encoding="utf-8"))
    return parse(table)


def parse(table: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Diagnosis]:
    """Validated rows of a raw table; unknown keys, values and names raise ValueError."""
    rows = {name: _row(name, dict(raw)) for name, raw in table.items()}
    for row in rows.values():
        unknown = {*row.goes_with, *filter(None, [row.parent])} - rows.keys()
        if unknown:
            raise ValueError(f"diagnoses.toml [{row.name}]: expected names of this table, found {sorted(unknown)}")
    children = {name: tuple(row.name for row in rows.values() if row.parent == name) for name in rows}
    return MappingProxyType({name: replace(row, children=children[name]) for name, row in rows.items()})


def _row(name: str, raw: dict[str, Any]) -> Diagnosis:
    where = f"diagnoses.toml [{name}]"
    try:
        age = raw.pop("age", None)
        row = Diagnosis(
            name=name,
            label=raw.pop("label"),
            group=raw.pop("group"),
            kind=Kind(raw.pop("kind")),
            parent=raw.pop("parent", None),
            children=(),
            form=raw.pop("form"),
            priority=raw.pop("priority"),
            referral=tuple(raw.pop("referral")),
            phrases=tuple(raw.pop("phrases")),
            needs=tuple(Need(tuple(need.pop("any")), Without(need.pop("without"))) for need in raw.pop("needs", [])),
            signs=MappingProxyType({key: tuple(value.split("|")) for key, value in raw.pop("signs", {}).items()}),
            sides=tuple(raw.pop("sides", ())),
            regions=tuple(raw.pop("regions", ())),
            age=None if age is None else (float(age[0]), float(age[1])),
            goes_with=tuple(raw.pop("with", ())),
            incidental=raw.pop("incidental", False),
        )
    except KeyError as missing:
        raise ValueError(f"{where}: expected key {missing}, found none; add it") from None
    except ValueError as wrong:
        raise ValueError(f"{where}: {wrong}") from None
    _require(where, "known keys", set(raw), set())
    _require(where, "known sequences in needs", {key for need in row.needs for key in need.any}, {*SEQUENCES, SAGITTAL})
    _require(where, "known sequences in signs", set(row.signs), set(SEQUENCES))
    _require(where, "signs + - =", {sign for signs in row.signs.values() for sign in signs}, set(SIGNS))
    _require(where, "a known priority", {row.priority}, set(PRIORITIES))
    _require(where, "known sides", set(row.sides), set(SIDES))
    return row


def _require(where: str, expected: str, found: set[str], allowed: set[str]) -> None:
    if found - allowed:
        raise ValueError(f"{where}: expected {expected}, found {sorted(found - allowed)}")


def taxonomy_name(head: str) -> str:
    """The table's name of a head: released weights say `cyst_arachnoid_cyst` for group and name; other names stay as they are."""
    return _grouped().get(head, head)


@cache
def _grouped() -> Mapping[str, str]:
    return {f"{row.group}_{name}": name for name, row in load().items()}
