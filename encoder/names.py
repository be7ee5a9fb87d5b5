"""Sequence names and study descriptions as character codes (PRIMA.md 4)."""

from __future__ import annotations

CHARACTERS = "abcdefghijklmnopqrstuvwxyz_+-0123456789.*(),"  # code = place + 1; 0 is unused
UNKNOWN = 45
END = 46
CODES = 47
LONGEST = 200  # rows of the published position table, end included; longer names fail officially, we cut them

_CODE = {character: place for place, character in enumerate(CHARACTERS, start=1)}


def character_codes(name: str) -> list[int]:
    """A name's character codes with the end code behind; characters outside the table (a space, an accent) are UNKNOWN."""
    return [_CODE.get(character, UNKNOWN) for character in name.lower()[: LONGEST - 1]] + [END]
