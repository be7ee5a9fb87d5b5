"""How report sentences say things: names of the taxonomy, negation, doubt, sides, regions, sizes, priors, signs, normal statements.

Everything works on `normalise`d text: lower case, American spelling, blanks for hyphens. The names' phrases come from the reviewed table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from encoder.study import Side
from prompts.diagnoses import load

LONG_WORD = 8  # shorter words are never taken for misspelled phrases
CLOSE = 0.87  # difflib ratio: one slip in a word of eight letters


@dataclass(frozen=True)
class Mention:
    """A name that a text says, and where (character offsets in the normalised text). hedged: said as a possibility or a contrast only."""

    name: str
    start: int
    end: int
    negated: bool
    hedged: bool


@dataclass(frozen=True)
class SideWord:
    """A side that a text says and where. direction: "to the left", as of a shift, not a place."""

    side: Side
    start: int
    direction: bool


_SPELLING = (("haem", "hem"), ("oedem", "edem"), ("tumour", "tumor"), ("ischaem", "ischem"), ("grey", "gray"), ("paed", "ped"), ("’", "'"))


def normalise(text: str) -> str:
    """Lower case, American spelling, one blank for hyphens, slashes and runs of blanks."""
    plain = text.lower()
    for british, american in _SPELLING:
        plain = plain.replace(british, american)
    return " ".join(re.sub(r"[-/–—]", " ", plain).split())


# ---- names ----------------------------------------------------------------------------------------------------------

# Ways of saying a name that are no fixed phrase.
_WIDE = r"(?:enlarged|dilated|widened|wide|prominent|distended)"
_PATTERNS = (
    ("ventriculomegaly", rf"ventric\w+(?: \w+){{0,4}} {_WIDE}|{_WIDE} (?:\w+ ){{0,3}}ventric\w+"),
    ("cerebral_atrophy", rf"{_WIDE} (?:\w+ ){{0,2}}sulci|sulci(?: \w+){{0,4}} {_WIDE}"),
    ("mass_effect", r"(?:effac|compress)\w+ (?:\w+ ){0,4}(?:sulci|ventric\w+|cistern\w*)"),
    ("mass_effect", r"(?:sulci|ventric\w+|cistern\w*)(?: \w+){0,3} (?:effaced|compressed)"),
    ("midline_shift", r"shift|(?:septum|midline)(?: \w+){0,4} displaced|displacement of the (?:septum|midline)"),
    ("brain_herniation", r"herniat\w+"),
)


@cache
def _names() -> tuple[re.Pattern[str], dict[str, str]]:
    """One pattern of all phrases, longest first, and the name of each phrase."""
    phrases = {normalise(phrase): name for name, row in load().items() for phrase in (*row.phrases, row.label, name.replace("_", " "))}
    ordered = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(map(re.escape, ordered))})(?:e?s)?\b"), phrases


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word for phrase in _names()[1] for word in phrase.split() if len(word) >= LONG_WORD)


def respelled(plain: str) -> str:
    """Long words that are one slip away from a word of the table's phrases, corrected."""

    def correct(match: re.Match[str]) -> str:
        word = match[0]
        if word in _vocabulary() or word.removesuffix("s") in _vocabulary():
            return word
        near = next(iter(get_close_matches(word, _vocabulary(), n=1, cutoff=CLOSE)), word)
        return word if word.endswith(near) else near  # "decompressed" is no slip for "compressed"

    return re.sub(rf"\b[a-z]{{{LONG_WORD},}}\b", correct, plain)


def mentions(text: str) -> tuple[Mention, ...]:
    """The names that a text says, in reading order; the longest phrase wins ("high grade glioma" is not also "glioma")."""
    plain = respelled(normalise(text))
    pattern, names = _names()
    found = [(names[match[1]], match.start(), match.end()) for match in pattern.finditer(plain)]
    for name, way in _PATTERNS:
        for match in re.finditer(rf"\b(?:{way})\b", plain):
            if not any(start < match.end() and match.start() < end for _, start, end in found):
                found.append((name, match.start(), match.end()))
    return tuple(Mention(name, start, end, *_polarity(plain, start, end)) for name, start, end in sorted(found, key=lambda hit: hit[1]))


# ---- negation and doubt ---------------------------------------------------------------------------------------------

# "No change in the meningioma" denies the change only.
_NEGATION = re.compile(
    r"\b(?:no(?! (?:(?:interval|significant|relevant|definite) )*change (?:in|of|from)\b)|not(?! changed)|without|neither|nor|never|"
    r"absen(?:ce|t)|negative for|free of|lacks?|lacking|excludes?|rules? out)\b"
)
_CLAUSE_END = re.compile(
    r"[;:]|\b(?:but|however|although|though|whereas|except|apart from|aside from|other than|consistent with|compatible with|"
    r"(?<!to )suggest\w*|"
    r"in keeping with|favor\w*|there (?:is|are)|(?<!less )likely)\b|, (?:with|which|and there)\b"
)
_NEGATED_AFTER = re.compile(
    r"^(?:[ ,]+[\w']+){0,7}? (?:is|are|was|were) (?:not|absent|unlikely|excluded|ruled out|negative)\b(?! (?:be )?excluded)"
)
_OPEN = re.compile(r"(?:cannot|can not|not)(?: \w+)? (?:be )?(?:excluded|ruled out)|not excluded")
_HEDGE = re.compile(
    r"\b(?:possib\w+|may|might|could|differential|consider\w*|alternativ\w+|versus|vs|less likely|rather than|instead of|against|lower|"
    r"weaker|next|other|further|additional|suspicious|or)\b"
)
_HEDGED_AFTER = re.compile(
    r"\b(?:less likely|also considered|possible|alternative|lower)\b|"
    r"^ (?:is|are|remains?) (?:an? |the |also |another )*(?:\w+ )?(?:consideration|possibility)\b"
)


def _polarity(plain: str, start: int, end: int) -> tuple[bool, bool]:
    """(negated, hedged) of the span, from the words before it in its clause and those after."""
    clause = max((stop.end() for stop in _CLAUSE_END.finditer(plain, 0, start)), default=0)
    before, after = plain[clause:start], plain[end:]
    after = after[: stop.start()] if (stop := _CLAUSE_END.search(after)) else after
    left_open = bool(_OPEN.search(before) or _OPEN.search(after))
    inside = re.search(r"\b(?:not|no)\b", plain[start:end])  # "ventricles are not enlarged"
    negated = not left_open and bool(inside or _NEGATION.search(before) or _NEGATED_AFTER.search(after))
    hedge = _HEDGE.search(before) or _HEDGED_AFTER.search(after)
    # "or" joins what is negated; it makes a possibility only of what is asserted.
    hedged = left_open or (hedge is not None and not (negated and hedge[0] == "or"))
    return negated, hedged


def negative(text: str) -> bool:
    """Whether a sentence as a whole denies something."""
    return bool(_NEGATION.search(_OPEN.sub("", normalise(text))))


# ---- what a statement is about, when it says no name ----------------------------------------------------------------

_LESION = re.compile(
    r"\b(?:mass(?:es)?|lesions?|tumors?|neoplasms?|collections?|foc(?:us|i)|abnormal\w*|signal change|"
    r"\w*intens\w+|nodul\w+|cysts?|ring|diagnos[ie]s)\b"
)
_NORMAL = re.compile(
    r"\b(?:normal\w*|unremarkable|preserved|intact|patent|(?:is|are) central(?! \w+ed\b)|age appropriate|symmetric\w*|"
    r"in the midline|clear)\b|"
    r"\bnot (?:enlarged|dilated|displaced)\b"
)
# Structure -> the names that must all be assessed and negative before it may be called normal; () = nothing here can judge it.
_STRUCTURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"ventric\w+", ("ventriculomegaly",)),
    (r"midline|septum", ("midline_shift",)),
    (r"(?:sulci|sulcal|cisterns?)(?![\w ]* for age)|extra axial spaces?", ("mass_effect",)),
    (r"sulci[\w ]* for age|(?:brain|cerebral|parenchymal) volume", ("cerebral_atrophy",)),
    (r"extra axial (?:fluid )?collections?", ("subdural_hematoma",)),
    (r"sella\w*|pituitary", ("pituitary_adenoma", "rathkes_cleft_cyst", "craniopharyngioma")),
    (r"tonsils?|craniocervical|foramen magnum", ("chiari_malformation",)),
    (r"callosum|callosal", ("dysgenesis_corpus_callosum",)),
    (r"flow voids?|vessels?|arter\w+|vascular", ("cerebral_aneurysm", "arteriovenous_malformation")),
    (r"cerebellopontine|auditory|meat(?:us|i)", ("schwannoma",)),
    (r"pineal", ("pineal_tumor", "germ_cell_tumor")),
    (r"orbits?|globes?|sinus\w*|mastoids?|calvari\w+|skull|scalp|soft tissues?|bones?|bony|marrow|tympanic", ()),
)
_WHOLE = re.compile(
    r"\b(?:brain|parenchyma\w*|white matter|gray matter|study|examination|mri|intracranial|signal|otherwise|hemispheres?|abnormal\w*)\b"
)


def says_lesion(text: str) -> bool:
    """Whether a sentence speaks of an unnamed lesion ("a ring-enhancing mass")."""
    return bool(_LESION.search(without_names(text)))


def says_normal(text: str) -> bool:
    """Whether a sentence calls something normal."""
    return bool(_NORMAL.search(normalise(text))) and not re.search(r"\babnormal", normalise(text))


def structures(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The structures that a sentence speaks of: the word, and the names that judge it."""
    plain = without_names(text)
    return tuple((match[0], names) for way, names in _STRUCTURES if (match := re.search(rf"\b(?:{way})\b", plain)))


def says_whole(text: str) -> bool:
    """Whether a sentence speaks of the brain or the study as a whole."""
    return bool(_WHOLE.search(without_names(text)))


def without_names(text: str) -> str:
    """The normalised text with every name of the taxonomy blanked."""
    plain = respelled(normalise(text))
    for mention in mentions(text):
        plain = plain[: mention.start] + "#" * (mention.end - mention.start) + plain[mention.end :]
    return plain


# ---- sides and regions ----------------------------------------------------------------------------------------------

_SIDES = (
    (r"bilateral\w*|both|left and right|right and left|either side", Side.BILATERAL),
    (r"left(?:ward|wards| sided)?", Side.LEFT),
    (r"right(?:ward|wards| sided)?", Side.RIGHT),
)
_SIDE_WORD = re.compile(r"\b(?:bilateral(?:ly)?|both|(?:left|right)(?:[- ]sided|wards?)?)\b\s*", re.IGNORECASE)
_ON_SIDE = re.compile(r"\s*\bon (?:the )?(?:left|right|both sides)(?: side)?(?=\s*[.,;])", re.IGNORECASE)
_DIRECTION = re.compile(
    r"\b(?:(?:to|towards?) (?:the )?(?:left|right)|(?:left|right)wards?|(?:left|right) to (?:left|right))\b", re.IGNORECASE
)


def sides(text: str) -> tuple[SideWord, ...]:
    """The sides that a text says, in reading order."""
    plain = respelled(normalise(text))
    directions = [(match.start(), match.end()) for match in _DIRECTION.finditer(plain)]
    taken: list[tuple[int, int]] = []
    found = []
    for way, side in _SIDES:
        for match in re.finditer(rf"\b(?:{way})\b", plain):
            if any(start < match.end() and match.start() < end for start, end in taken):
                continue
            taken.append((match.start(), match.end()))
            found.append(SideWord(side, match.start(), any(start <= match.start() < end for start, end in directions)))
    return tuple(sorted(found, key=lambda word: word.start))


def without_sides(text: str) -> str:
    """The sentence with its side words taken out, still a sentence."""
    bare = " ".join(_SIDE_WORD.sub("", _ON_SIDE.sub("", _DIRECTION.sub("", text))).split())
    return re.sub(r" (?=[.,;])", "", bare[:1].upper() + bare[1:])


_REGIONS = {
    "frontal lobe": r"frontal\w*",
    "parietal lobe": r"parietal\w*",
    "temporal lobe": r"temporal\w*",
    "occipital lobe": r"occipital\w*",
    "insula": r"insula\w*",
    "basal ganglia": r"basal ganglia|putam\w+|caudate|lentiform|pallid\w+|striat\w+",
    "thalamus": r"thalam\w+",
    "internal capsule": r"internal capsule|capsular",
    "corona radiata": r"corona radiata",
    "corpus callosum": r"corpus callosum|callosal|callosum|splenium|genu",
    "periventricular white matter": r"periventricular",
    "deep white matter": r"deep white matter|centrum semiovale",
    "cerebellum": r"cerebell(?:um|ar)|vermi\w+|posterior fossa|infratentorial",
    "brainstem": r"brain ?stem|pons|pontine|midbrain|mesencephal\w+|medulla",
    "fourth ventricle": r"fourth ventric\w+|4th ventric\w+",
    "third ventricle": r"third ventric\w+|foramen of monro",
    "lateral ventricle": r"lateral ventric\w+|ventricles",
    "cerebellopontine angle": r"cerebello ?pontine|cpa|internal auditory",
    "sella": r"sella|sellar|intrasellar|pituitary",
    "suprasellar region": r"suprasellar|chiasm\w*",
    "pineal region": r"pineal",
    "convexity": r"convexit\w+",
    "falx": r"falx|falcine|parasagittal",
    "sphenoid wing": r"sphenoid\w*",
    "middle cranial fossa": r"middle (?:cranial )?fossa",
    "foramen magnum": r"foramen magnum",
    "cervical cord": r"cervical cord|spinal cord",
    "circle of willis": r"circle of willis|carotid|communicating artery",
}
# Parts of one another: a claim about the one is answered by a location in the other.
_NEAR = (
    frozenset({"cerebellum", "fourth ventricle", "brainstem", "cerebellopontine angle"}),
    frozenset({"sella", "suprasellar region", "circle of willis"}),
    frozenset({"basal ganglia", "thalamus", "internal capsule", "corona radiata", "insula"}),
    frozenset({"periventricular white matter", "deep white matter", "corpus callosum", "lateral ventricle", "corona radiata"}),
)
# Extra-axial places lie over lobes: either word may be used.
_OVER_LOBES = frozenset({"convexity", "falx", "sphenoid wing", "middle cranial fossa"})
LOBES = frozenset({"frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe", "cerebellum", "insula"})


# Words that place a lesion outside the brain's own tissue, and the names that can be meant.
_DURAL = frozenset({"meningioma", "brain_metastasis", "lymphoma", "neurosarcoid"})
_OUTSIDE = {
    "dural based": _DURAL,
    "extra axial": _DURAL
    | {"schwannoma", "arachnoid_cyst", "subdural_hematoma", "intracranial_hypotension", "pituitary_adenoma"}
    | {"craniopharyngioma", "rathkes_cleft_cyst", "subarachnoid_hemorrahage", "cephaloceles"},
}


def outside(text: str) -> frozenset[str] | None:
    """The names that can be meant where a text says that something lies outside the brain's tissue; None where it does not say so."""
    plain = normalise(text)
    meant = [names for words, names in _OUTSIDE.items() if words in plain]
    return frozenset.intersection(*meant) if meant else None


def regions(text: str) -> frozenset[str]:
    """The regions that a text says."""
    plain = without_names(text)
    return frozenset(name for name, way in _REGIONS.items() if re.search(rf"\b(?:{way})\b", plain))


def same_place(claimed: frozenset[str], located: str) -> bool:
    """Whether any claimed region is, or touches, the located one; a located region the lexicon does not know agrees with itself only."""
    known = regions(located) or frozenset({located})
    if claimed & known:
        return True
    if any(claimed & near and known & near for near in _NEAR):
        return True
    return bool((claimed & _OVER_LOBES and known & (LOBES | _OVER_LOBES)) or (known & _OVER_LOBES and claimed & LOBES))


# ---- sizes, priors, signs -------------------------------------------------------------------------------------------

_SIZE = re.compile(
    r"\d+(?:[.,]\d+)?(?:\s*(?:x|×|by|-|to)\s*\d+(?:[.,]\d+)?)*\s*-?(?=(?:mm|cm|millimet\w+|centimet\w+|ml|cc)\b)", re.IGNORECASE
)
_PRIOR = re.compile(
    r"\b(?:unchanged|stable|interval|previous\w*|prior|compar(?:ed|ison)|new(?:ly)?|no longer|since the|as before|"
    r"again (?:seen|noted|demonstrated)|"
    r"(?:in|de)creased? in size|progress(?:ion|ed|ive)|regress(?:ion|ed)|resolved|follow up|remains?|persist\w*)\b"
)
_SIGNS = (
    (r"enhanc\w+|post ?contrast|gadolinium", ("T1post",)),
    (r"restrict\w+|diffusion|dwi", ("DWI", "ADC")),
    (r"adc", ("ADC",)),
    (r"susceptibility|blooming|swi|microbleeds?", ("SWI",)),
    (r"flair", ("FLAIR",)),
    (r"t2", ("T2", "FLAIR")),
    (r"t1", ("T1", "T1post")),
)


_CASE_NUMBERS = re.compile(r"\bcases? (?:number |no |nr )?#?(\d+(?:(?:, and |, | and | or | to )\d+)*)\b|\bc(\d+)\b")
_SPINE = re.compile(r"\b(?:cervical|vertebra\w*|spin\w+|cord|odontoid|dens|atlas)\b")  # there C2 is a vertebra


def case_numbers(text: str) -> tuple[int, ...]:
    """The numbers under which a text names cases: "case 2", "cases 1 and 3", "C2"."""
    plain = re.sub(r"\b(?:this|that|each|any) case\b", "it", normalise(text).replace(".", " ").replace("  ", " "))
    found = [match for match in _CASE_NUMBERS.finditer(plain) if match[1] or not _SPINE.search(plain)]
    return tuple(dict.fromkeys(int(number) for match in found for number in re.findall(r"\d+", match[0])))


def sizes(text: str) -> tuple[str, ...]:
    """The measures that a text gives in figures."""
    return tuple(match[0].strip() for match in _SIZE.finditer(text))


def without_sizes(text: str) -> str:
    """The sentence with every figure of size as `___`, lengths in mm."""
    return re.sub(r"(?<=___ )(?:cm|centimet\w+)", "mm", _SIZE.sub("___ ", text))


def prior_phrase(text: str) -> str | None:
    """The first word that compares with an earlier examination."""
    match = _PRIOR.search(normalise(text))
    return match[0] if match else None


def sign_sequences(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each sign or sequence that a text speaks of: the word, and the sequences that can show it (any of them)."""
    plain = normalise(text)
    for way, keys in _SIGNS:
        if match := re.search(rf"\b(?:{way})\b", plain):
            yield match[0], keys
