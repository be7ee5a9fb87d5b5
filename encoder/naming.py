"""Series names, as the published encoder builds them, and without the patient in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Words that say what an image shows or how it was made. A NIfTI file name may hold a patient's name or number, so only these
# words of it travel on.
SEQUENCE_WORD = re.compile(
    r"""(?ix)
    (?: s?t1w? | s?t2w? | t2star | star | pdw? | flair | longtr | s?dwi | ssh | dti | diff | [de]?adc | tracew? | 3scan | b\d{1,4}
      | apparent | diffusion | coefficient | map | swip? | swan | fsbb | images | tof | mra | mrv
      | angio | asl | pcasl | perf | perfusion | dsc | dce | bold | fmri | epi | stir | tirm | dark | fluid | ir | se | tse | fse
      | gre | gr | ffe | tfe | propeller | blade | mprage | mp2rage | f?spgr | bravo | space | cube | vista | vibe | haste | ciss
      | fiesta | flash | dixon | hemo | mip | minip
      | ax | axial | tra | transverse | sag | sagittal | cor | coronal | 2d | 3d
      | (?: se | tse | tir | tirm | fl | tfl | ep | gre | spc )[23]d\d*\w{0,5} | fla | t1c | t1ce | t1gd
      | pre | post | gado? | gd | plus | c | contrast | native | km | ce | fs | fat | sat | fatsat | phase | magnitude | mag | fieldmap
      | mask | seg | label | labels | localizer | localiser | scout | survey )"""
)
MAX_NAME = 64


def sanitise(text: str) -> str:
    """`+` -> `_plus_`, `*` -> `_star_`, every other character outside [A-Za-z0-9] -> `_` (PRIMA.md section 1)."""
    return re.sub(r"[^A-Za-z0-9]", "_", text.replace("+", "_plus_").replace("*", "_star_"))


def series_name(description: str, protocol: str, pseudonym: str) -> str:
    """Name of a DICOM series (PRIMA.md section 1).

    Where the official reader falls back to the SeriesInstanceUID, which identifies a patient, this takes its pseudonym.
    """
    description, protocol = sanitise(description), sanitise(protocol)
    if description and protocol and description != protocol:
        return f"{description}-{protocol}-Protocol"
    if description:
        return description
    return f"{protocol}-Protocol" if protocol else f"UNK-{pseudonym[:8]}"


def file_name(stem: str) -> str:
    """Name of a NIfTI series: the words of its file stem that describe a sequence, each once, in order; empty where none does."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", stem) if SEQUENCE_WORD.fullmatch(word)]
    first_spelling = {word.lower(): word for word in reversed(words)}
    return "_".join(first_spelling[word] for word in dict.fromkeys(word.lower() for word in words))[:MAX_NAME]


def without_identity(text: str, identifiers: Iterable[str]) -> str:
    """`text` with every given name, number or identifier of three characters or more blanked, whatever its case."""
    for identifier in sorted({part for item in identifiers for part in re.split(r"[\s^=,]+", item)}, key=len, reverse=True):
        if len(identifier) >= 3:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(identifier)}(?![A-Za-z0-9])", "___", text, flags=re.IGNORECASE)
    return text


def unique(names: Iterable[str]) -> list[str]:
    """The names, the second of a kind with `_2` after it, the third with `_3`: evidence is cited by sequence name."""
    taken: dict[str, int] = {}
    result = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        result.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    return result
