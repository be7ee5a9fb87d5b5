"""Every sentence of a draft against the evidence: supported, unsupported, or contradicted.

Nothing is deleted silently: each sentence becomes a claim with its status and reason; the report's text leaves out what is contradicted,
and marks what is unsupported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from assistant import lexicon
from assistant.draft import Draft, Sentence
from assistant.evidence import Evidence, evidence_text
from assistant.lexicon import Mention
from assistant.result import Claim, ClaimStatus, DifferentialItem, FindingItem, Spot
from encoder.features import FLOOR, Localisation
from encoder.study import Side
from index.case import Neighbour
from prompts.diagnoses import Diagnosis, load

UNVERIFIED = "[unverified]"
OTHER = "other"  # the one name outside the taxonomy that a model may write
MOST_POSSIBLE = 3  # ranks of the differential that names below their threshold may take
COPIED_WORDS = 8  # so many words in a row from a case's report are a copy, not a coincidence
GENERAL = 26  # "normal" as a whole needs at least so many of the 52 names assessed
_AFFECTED = frozenset({"mass_effect", "midline_shift", "brain_herniation", "ventriculomegaly", "cerebral_atrophy", "edema"})
_SHOWN = {"T1post": ("+",), "DWI": ("+",), "SWI": ("-",)}  # the sign of a name that always enhances, restricts, blooms
_ABOUT_CASE = ("case", "cases", "neighbour", "neighbours", "neighbor", "neighbors", "retrieved")
_RANK = {ClaimStatus.SUPPORTED: 0, ClaimStatus.RENDERED: 0, ClaimStatus.UNSUPPORTED: 1, ClaimStatus.CONTRADICTED: 2}


@dataclass(frozen=True)
class Checked:
    """A draft after the check. claims: every sentence written, and those that code added; findings, impression: the report's text."""

    differential: tuple[DifferentialItem, ...]
    findings: tuple[FindingItem, ...]
    claims: tuple[Claim, ...]
    reasoning: tuple[str, ...]
    findings_text: str
    impression_text: str


@dataclass(frozen=True)
class _Flag:
    """One thing wrong with a sentence."""

    status: ClaimStatus
    reason: str
    of: str = ""  # "side" and "size" are repaired in the text


def verify(draft: Draft, evidence: Evidence) -> Checked:
    """Checks a draft sentence by sentence, and completes it with the positive heads that it leaves unsaid."""
    reasoning = [_checked("reasoning", sentence, evidence) for sentence in draft.reasoning]
    findings = [_checked("findings", sentence, evidence) for sentence in draft.findings]
    impression = [_checked("impression", sentence, evidence) for sentence in draft.impression]
    unsaid = _unsaid(findings + impression, evidence)
    findings += [_rendered("findings", name, evidence) for name in unsaid if not load()[name].in_differential]
    impression += [_rendered("impression", name, evidence) for name in unsaid if load()[name].in_differential]
    for section, shown in (("findings", findings), ("impression", impression)):
        if not any(item.text for item in shown):
            shown.append(_nothing_left(section, evidence))
    differential, dropped = _differential(draft.differential, evidence)
    return Checked(
        differential=differential,
        findings=_findings(differential, evidence),
        claims=(*(item.claim for item in (*reasoning, *findings, *impression)), *dropped),
        reasoning=tuple(_step(item.claim) for item in reasoning),
        findings_text=" ".join(item.text for item in findings if item.text),
        impression_text=" ".join(item.text for item in impression if item.text),
    )


# ---- one sentence ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Item:
    """A claim and what the report's text shows of it ("" = left out); says: the names it asserts."""

    claim: Claim
    text: str
    says: frozenset[str]


def _checked(section: str, sentence: Sentence, evidence: Evidence) -> _Item:
    subjects = _subjects(sentence)
    about_case = bool(set(lexicon.normalise(sentence.text).split()) & set(_ABOUT_CASE))
    flags = [*_tag_flags(sentence, evidence), *_citation_flags(sentence, subjects, evidence)]
    if not about_case:
        flags += _name_flags(subjects, evidence)
        flags += _side_flags(sentence, subjects, evidence)
        flags += _region_flags(sentence, subjects, evidence)
        flags += _sign_flags(sentence, subjects, evidence)
        flags += _normal_flags(sentence, subjects, evidence)
        flags += _outside_flags(sentence, subjects)
    flags += _size_flags(sentence)
    flags += _prior_flags(sentence, evidence)
    flags += _copy_flags(sentence, flags, evidence)
    status = max((flag.status for flag in flags), key=_RANK.__getitem__, default=ClaimStatus.SUPPORTED)
    claim = Claim(
        section=section,
        text=sentence.tagged,
        status=status,
        citations=tuple(case.case.id for _, case in _cited(sentence, evidence)),
        evidence=_stands_on(sentence, subjects, evidence),
        reason="; ".join(dict.fromkeys(flag.reason for flag in flags)) or None,
    )
    asserted = frozenset() if about_case else frozenset(mention.name for mention in subjects if not mention.negated)
    return _Item(claim, _shown(sentence.text, flags, status), asserted if status is not ClaimStatus.CONTRADICTED else frozenset())


def _shown(text: str, flags: Iterable[_Flag], status: ClaimStatus) -> str:
    """The sentence as the report prints it: contradicted ones not at all, sides and sizes without evidence taken out."""
    if status is ClaimStatus.CONTRADICTED:
        return ""
    kinds = {flag.of for flag in flags}
    if "side" in kinds:
        text = lexicon.without_sides(text)
    if "size" in kinds:
        text = lexicon.without_sizes(text)
    return f"{text} {UNVERIFIED}" if status is ClaimStatus.UNSUPPORTED else text


def _step(claim: Claim) -> str:
    mark = {ClaimStatus.UNSUPPORTED: f" {UNVERIFIED}", ClaimStatus.CONTRADICTED: " [contradicted]"}
    return claim.text + mark.get(claim.status, "")


def _subjects(sentence: Sentence) -> tuple[Mention, ...]:
    """The names a sentence is about: those it says; where it says none, those its P: and L: tags name."""
    said = lexicon.mentions(sentence.text)
    if said:
        return said
    tagged = dict.fromkeys(name for tag in sentence.tags for kind, _, name in [tag.partition(":")] if kind in "PL" and name in load())
    negated = lexicon.negative(sentence.text) or lexicon.says_normal(sentence.text)
    return tuple(Mention(name, -1, -1, negated, hedged=False) for name in tagged)


def _stands_on(sentence: Sentence, subjects: tuple[Mention, ...], evidence: Evidence) -> tuple[str, ...]:
    """The tags that hold: those written that exist, and the scores and locations that the check used."""
    written = [tag for tag in sentence.tags if not tag.startswith("C") and not list(_tag_flag(tag, evidence))]
    used = [f"P:{mention.name}" for mention in subjects if mention.name in evidence.scores]
    if lexicon.sides(sentence.text) or lexicon.regions(sentence.text):
        used += [f"L:{mention.name}" for mention in subjects if mention.name in evidence.locations]
    return tuple(dict.fromkeys(written + used))


# ---- tags and citations ---------------------------------------------------------------------------------------------


def _tag_flags(sentence: Sentence, evidence: Evidence) -> Iterator[_Flag]:
    for tag in sentence.tags:
        yield from _tag_flag(tag, evidence)


def _tag_flag(tag: str, evidence: Evidence) -> Iterator[_Flag]:
    kind, _, name = tag.partition(":")
    if kind == "P" and name not in evidence.scores:
        yield _Flag(ClaimStatus.UNSUPPORTED, f"[{tag}]: no assessed head of that name")
    elif kind == "L" and name not in evidence.locations:
        yield _Flag(ClaimStatus.UNSUPPORTED, f"[{tag}]: nothing was located under that name")
    elif kind == "S" and name not in evidence.sequences:
        yield _Flag(ClaimStatus.CONTRADICTED, f"[{tag}]: the study has no such sequence")
    elif kind not in ("P", "L", "S") and _case_number(tag) is None:
        yield _Flag(ClaimStatus.UNSUPPORTED, f"[{tag}]: not a kind of evidence")


def _case_number(tag: str) -> int | None:
    return int(tag[1:]) if tag[:1] == "C" and tag[1:].isascii() and tag[1:].isdigit() else None


def _cited(sentence: Sentence, evidence: Evidence) -> Iterator[tuple[str, Neighbour]]:
    """The citations that name a retrieved case, by tag or in words, and the case."""
    for number in _numbered(sentence):
        if 1 <= number <= len(evidence.cases):
            yield f"C{number}", evidence.cases[number - 1]


def _numbered(sentence: Sentence) -> tuple[int, ...]:
    """The numbers of the cases that a sentence names, by tag or in words."""
    tagged = (number for tag in sentence.tags if (number := _case_number(tag)) is not None)
    return tuple(dict.fromkeys((*tagged, *lexicon.case_numbers(sentence.text))))


def unretrieved(sentence: Sentence, evidence: Evidence) -> tuple[str, ...]:
    """The cases that a sentence names and retrieval did not return, as tags."""
    return tuple(f"C{number}" for number in _numbered(sentence) if not 1 <= number <= len(evidence.cases))


def _citation_flags(sentence: Sentence, subjects: tuple[Mention, ...], evidence: Evidence) -> Iterator[_Flag]:
    for tag in unretrieved(sentence, evidence):
        yield _Flag(ClaimStatus.CONTRADICTED, f"[{tag}]: {len(evidence.cases)} cases were retrieved")
    for tag, neighbour in _cited(sentence, evidence):
        yield from _cited_case_flags(tag, neighbour, sentence, subjects)


def _cited_case_flags(tag: str, neighbour: Neighbour, sentence: Sentence, subjects: tuple[Mention, ...]) -> Iterator[_Flag]:
    says = case_says(neighbour)
    asserted = {mention.name for mention in subjects if not mention.negated}
    denied = {mention.name for mention in subjects if mention.negated} & says
    if denied:
        yield _Flag(ClaimStatus.UNSUPPORTED, f"[{tag}]: that case has {_labels(denied)}")
    if asserted and not any(family(name) & says for name in asserted):
        yield _Flag(ClaimStatus.UNSUPPORTED, f"[{tag}]: that case does not say {_labels(asserted)}")
    if not subjects and not (lexicon.says_normal(sentence.text) or lexicon.says_lesion(sentence.text)):
        yield _Flag(ClaimStatus.UNSUPPORTED, f"[{tag}]: the sentence names nothing that a case could say")


def case_says(neighbour: Neighbour) -> frozenset[str]:
    """The names a case has: its labels, and what its report asserts. Its text is only ever searched, never followed."""
    report = neighbour.case.report
    mentioned = (mention.name for text in (report.findings, report.impression) for mention in _split_mentions(text) if not mention.negated)
    return frozenset((*neighbour.case.diagnoses, *mentioned))


def _split_mentions(text: str) -> Iterator[Mention]:
    for part in text.replace("\n", ". ").split(". "):
        yield from lexicon.mentions(part)


def family(name: str) -> frozenset[str]:
    """A name, its parent and its children."""
    row = load()[name]
    return frozenset(filter(None, (name, row.parent, *row.children)))


# ---- names ----------------------------------------------------------------------------------------------------------


def _name_flags(subjects: tuple[Mention, ...], evidence: Evidence) -> Iterator[_Flag]:
    reasons = {left.name: left.reason for left in evidence.not_assessed}
    for mention in subjects:
        label, score = load()[mention.name].label, evidence.scores.get(mention.name)
        if score is None:
            yield _Flag(ClaimStatus.UNSUPPORTED, f"{label} is not assessed: {reasons.get(mention.name, 'no head scores it')}")
        elif mention.negated and evidence.positive(mention.name) and not mention.hedged:
            yield _Flag(ClaimStatus.CONTRADICTED, f"{label} is denied, but its head is positive ({evidence_text(score)})")
        elif not mention.negated and not (evidence.possible if mention.hedged else evidence.positive)(mention.name):
            impossible = not mention.hedged and not evidence.possible(mention.name)
            status = ClaimStatus.CONTRADICTED if impossible else ClaimStatus.UNSUPPORTED
            yield _Flag(status, f"{label} is said, but its head is negative ({evidence_text(score)})")


# ---- sides and regions ----------------------------------------------------------------------------------------------


def _side_flags(sentence: Sentence, subjects: tuple[Mention, ...], evidence: Evidence) -> Iterator[_Flag]:
    for word in lexicon.sides(sentence.text):
        nearest = min(subjects, key=lambda mention: abs(mention.start - word.start), default=None)
        if word.direction:
            yield from _direction_flags(word.side, evidence)
            continue
        located = _locations(sentence, nearest, subjects, evidence)
        if not located:
            yield _Flag(ClaimStatus.UNSUPPORTED, f"{word.side.value}: no location supports a side", of="side")
        elif not any(_same_side(word.side, location.side) for location in located):
            seen = " or ".join(sorted({location.side.value for location in located}))
            yield _Flag(ClaimStatus.CONTRADICTED, f"{word.side.value} is said, but {located[0].diagnosis} was located {seen}", of="side")


def _locations(sentence: Sentence, nearest: Mention | None, subjects: tuple[Mention, ...], evidence: Evidence) -> tuple[Localisation, ...]:
    """What a side or region in the sentence stands on: the nearest name's own location, else those its L: tags or other names have."""
    own = _location(nearest.name, evidence) if nearest else None
    if own:
        return (own,)
    tagged = [tag.removeprefix("L:") for tag in sentence.tags if tag.startswith("L:")]
    others = tagged or [mention.name for mention in subjects if not mention.negated]
    return tuple(location for name in others if (location := _location(name, evidence)))


def _location(name: str, evidence: Evidence) -> Localisation | None:
    if name not in load():
        return None
    return next((evidence.locations[kin] for kin in (name, *sorted(family(name) - {name})) if kin in evidence.locations), None)


def _same_side(claimed: Side, located: Side) -> bool:
    return claimed is located or (located is Side.BILATERAL and claimed in (Side.LEFT, Side.RIGHT))


def _direction_flags(side: Side, evidence: Evidence) -> Iterator[_Flag]:
    """A shift to one side: its own location says so, or a lesion lies on the other side."""
    own = evidence.locations.get("midline_shift")
    if own and own.side is side:
        return
    located = (evidence.locations[name] for name in evidence.positives if name in evidence.locations and name != "midline_shift")
    lesions = {location.side for location in located}
    if lesions == {Side.LEFT, Side.RIGHT} - {side}:
        return
    if lesions == {side}:
        yield _Flag(ClaimStatus.CONTRADICTED, f"a shift to the {side.value} is said, but the lesion lies there", of="side")
    else:
        yield _Flag(ClaimStatus.UNSUPPORTED, f"no location supports a shift to the {side.value}", of="side")


def _region_flags(sentence: Sentence, subjects: tuple[Mention, ...], evidence: Evidence) -> Iterator[_Flag]:
    claimed = lexicon.regions(sentence.text)
    placed = [mention for mention in subjects if mention.name not in _AFFECTED and not mention.negated]
    if not claimed or not placed:
        return
    usual = {region for mention in placed for region in _usual_place(load()[mention.name])}
    located = [location for mention in placed for location in _locations(sentence, mention, subjects, evidence)]
    if claimed & usual or any(lexicon.same_place(claimed, location.region) for location in located):
        return
    where = f"it was located in {located[0].region}" if located else "no location supports it"
    yield _Flag(ClaimStatus.UNSUPPORTED, f"{', '.join(sorted(claimed))} is said, but {where}")


def _outside_flags(sentence: Sentence, subjects: tuple[Mention, ...]) -> Iterator[_Flag]:
    """A tumour of the brain's tissue does not sit on the dura."""
    meant = lexicon.outside(sentence.text)
    said = {mention.name for mention in subjects if not mention.negated} - _AFFECTED
    if meant is not None and said and not meant & said:
        yield _Flag(ClaimStatus.CONTRADICTED, f"outside the brain's tissue is said, but {_labels(said)} lies within")


def _usual_place(row: Diagnosis) -> tuple[str, ...]:
    """The regions that a name itself implies: those of names that are not found in just any lobe."""
    return () if lexicon.LOBES & set(row.regions) and len(row.regions) > 1 else row.regions


# ---- signs and normal statements ------------------------------------------------------------------------------------


def _sign_flags(sentence: Sentence, subjects: tuple[Mention, ...], evidence: Evidence) -> Iterator[_Flag]:
    """A sign needs its sequence; a sign denied of no name needs heads that would see it, none of them positive."""
    have = {key.partition("-")[0] for key in evidence.sequences}
    for word, keys in lexicon.sign_sequences(sentence.text):
        if not have & set(keys):
            yield _Flag(ClaimStatus.CONTRADICTED, f"{word} is said, but the study has no {' or '.join(keys)}")
        elif not subjects and _denies_sign(sentence.text, keys[0]):
            showing = [name for name, row in load().items() if row.signs.get(keys[0]) == _SHOWN[keys[0]]]
            if positive := [name for name in showing if evidence.positive(name)]:
                yield _Flag(ClaimStatus.CONTRADICTED, f"{word} is denied, but {_labels(positive)} is positive")
            elif 2 * len(evidence.scores.keys() & set(showing)) < len(showing):
                yield _Flag(ClaimStatus.UNSUPPORTED, f"{word} is denied, but most diagnoses that show it were not assessed")


def _denies_sign(text: str, key: str) -> bool:
    return key in _SHOWN and lexicon.negative(text)


def _normal_flags(sentence: Sentence, subjects: tuple[Mention, ...], evidence: Evidence) -> Iterator[_Flag]:
    """A normal or negative statement without a name needs heads that were asked and said no; an unnamed lesion needs one that said yes."""
    text = sentence.text
    if subjects or any(_denies_sign(text, keys[0]) for _, keys in lexicon.sign_sequences(text)):
        return
    denies = lexicon.says_normal(text) or (lexicon.negative(text) and (lexicon.says_lesion(text) or lexicon.structures(text)))
    if denies:
        yield from _denial_flags(text, evidence)
    elif lexicon.says_lesion(text):
        if not evidence.positives:
            yield _Flag(ClaimStatus.UNSUPPORTED, "a lesion is said, but no head is positive")
    elif not any(tag.startswith("S:") for tag in sentence.tags):
        yield _Flag(ClaimStatus.UNSUPPORTED, "the sentence names nothing that evidence could support")


def _denial_flags(text: str, evidence: Evidence) -> Iterator[_Flag]:
    spoken = lexicon.structures(text)
    for word, names in spoken:
        if not names or not all(name in evidence.scores for name in names):
            yield _Flag(ClaimStatus.UNSUPPORTED, f"{word}: no head assesses it, so it cannot be called normal")
        elif positive := [name for name in names if evidence.positive(name)]:
            yield _Flag(ClaimStatus.CONTRADICTED, f"{word} called normal, but {_labels(positive)} is positive")
    if spoken:
        return
    if evidence.positives and not any(word in lexicon.normalise(text) for word in ("other", "further", "additional", "elsewhere")):
        yield _Flag(ClaimStatus.CONTRADICTED, f"normal is said, but {_labels(evidence.positives[:3])} is positive")
    elif len(evidence.scores) < GENERAL:
        yield _Flag(ClaimStatus.UNSUPPORTED, f"normal is said, but only {len(evidence.scores)} of {len(load())} names were assessed")


# ---- sizes, priors, copies ------------------------------------------------------------------------------------------


def _size_flags(sentence: Sentence) -> Iterator[_Flag]:
    for size in lexicon.sizes(sentence.text):
        yield _Flag(ClaimStatus.UNSUPPORTED, f"size {size}: nothing here measures", of="size")


def _prior_flags(sentence: Sentence, evidence: Evidence) -> Iterator[_Flag]:
    word = lexicon.prior_phrase(sentence.text)
    if word and not evidence.study.context.prior and not list(_cited(sentence, evidence)):
        yield _Flag(ClaimStatus.UNSUPPORTED, f"'{word}' compares with an earlier examination; none was given")


def _copy_flags(sentence: Sentence, flags: list[_Flag], evidence: Evidence) -> Iterator[_Flag]:
    """Long verbatim overlap with a case, in a sentence that this study's own evidence does not carry."""
    if not flags:
        return
    words = lexicon.normalise(sentence.text).split()
    for rank, neighbour in enumerate(evidence.cases, start=1):
        report = lexicon.normalise(f"{neighbour.case.report.findings} {neighbour.case.report.impression}").split()
        run = SequenceMatcher(None, words, report, autojunk=False).find_longest_match().size
        if run >= min(COPIED_WORDS, max(len(words), 4)):
            yield _Flag(ClaimStatus.UNSUPPORTED, f"{run} words in a row are copied from C{rank}")
            return


# ---- what code adds -------------------------------------------------------------------------------------------------


def _unsaid(items: list[_Item], evidence: Evidence) -> tuple[str, ...]:
    """The positive names that no kept sentence asserts; a parent is said by its children."""
    said = frozenset[str]().union(*(item.says for item in items))
    return tuple(name for name in _own_positives(evidence) if name not in said and not said & set(load()[name].children))


def _own_positives(evidence: Evidence) -> tuple[str, ...]:
    """The positive names, less parents that a positive child tells."""
    return tuple(name for name in evidence.positives if not any(evidence.positive(child) for child in load()[name].children))


def _rendered(section: str, name: str, evidence: Evidence) -> _Item:
    location = evidence.locations.get(name)
    where = f", {place(location)}" if location else ""
    label = load()[name].label
    text = f"{label[:1].upper()}{label[1:]}{where}: scored positive ({evidence_text(evidence.scores[name])}), not described in the draft."
    tags = (f"P:{name}", *([f"L:{name}"] if location else []))
    return _Item(Claim(section, text, ClaimStatus.RENDERED, (), tags, "added: the draft left it out"), text, frozenset({name}))


def _nothing_left(section: str, evidence: Evidence) -> _Item:
    positive = _own_positives(evidence)
    if positive:
        text = f"Scored positive: {_labels(positive)}."
    elif evidence.scores:
        text = f"None of the {len(evidence.scores)} assessed names is scored positive."
    else:
        text = "Nothing was assessed."
    tags = tuple(f"P:{name}" for name in positive)
    return _Item(
        Claim(section, text, ClaimStatus.RENDERED, (), tags, "added: no sentence of the draft was left"), text, frozenset(positive)
    )


def place(location: Localisation) -> str:
    """A location in words: "right frontal lobe"; the midline is not a side to name before a midline region."""
    return location.region if location.side is Side.MIDLINE else f"{location.side.value} {location.region}".strip()


def _labels(names: Iterable[str]) -> str:
    return ", ".join(load()[name].label if name in load() else name for name in sorted(names))


# ---- differential and findings --------------------------------------------------------------------------------------


def _differential(written: tuple[str, ...], evidence: Evidence) -> tuple[tuple[DifferentialItem, ...], tuple[Claim, ...]]:
    """The diagnoses that the heads leave room for, likeliest first; what else the model named as flagged claims."""
    names, unknown = _known(written)
    dropped = [_dropped(text, "not a name of the taxonomy") for text in unknown]
    blind = "scores" in evidence.hidden  # an evaluation of the model alone: its list as it stands
    kept = []
    for name in names:
        if not load()[name].in_differential:
            dropped.append(_dropped(name, f"a {load()[name].kind.value}, not a diagnosis"))
        elif blind or evidence.possible(name):
            kept.append(name)
        elif name not in evidence.scores:
            dropped.append(_dropped(name, "not assessed"))
        else:
            dropped.append(_dropped(name, f"its head is negative ({evidence_text(evidence.scores[name])}, floor {FLOOR})"))
    if not blind:
        kept = _ranked({*kept, *filter(_is_diagnosis, filter(evidence.possible, evidence.scores))}, evidence)
    else:
        kept = [name for name in kept if not _gives_way(name, kept, evidence)]
    return tuple(_item(name, name not in names, evidence) for name in kept), tuple(dropped)


def _ranked(names: set[str], evidence: Evidence) -> list[str]:
    """Likeliest first, chance finds after what is positive: every positive diagnosis, and others within the first MOST_POSSIBLE."""
    ranked = sorted(
        names, key=lambda name: (evidence.positive(name) and not load()[name].incidental, evidence.likelihood(name)), reverse=True
    )
    ranked = [name for name in ranked if not _gives_way(name, ranked, evidence)]
    return [name for rank, name in enumerate(ranked) if rank < MOST_POSSIBLE or evidence.positive(name)]


def _known(written: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Taxonomy names in the model's order, by name or by phrase; and what is neither, `other` aside."""
    names: list[str] = []
    unknown: list[str] = []
    for text in written:
        name = "_".join(lexicon.normalise(text).split())
        said = [name] if name in load() else [mention.name for mention in lexicon.mentions(text)]
        names += said
        if not said and name != OTHER:
            unknown.append(text)
    return list(dict.fromkeys(names)), unknown


def _is_diagnosis(name: str) -> bool:
    return load()[name].in_differential


def _gives_way(name: str, kept: list[str], evidence: Evidence) -> bool:
    """A parent gives way to a child about as likely; a parenchymal bleed keeps its name beside blood elsewhere."""
    least = evidence.likelihood(name)[0] / 2
    children = [child for child in load()[name].children if child in kept and evidence.likelihood(child)[0] >= least]
    location = evidence.locations.get(name)
    own_place = location is not None and bool(
        lexicon.regions(location.region) & (lexicon.LOBES | {"basal ganglia", "thalamus", "brainstem"})
    )
    return bool(children) and not (name == "intracranial_hemorrhage" and own_place)


def _item(name: str, omitted: bool, evidence: Evidence) -> DifferentialItem:
    score = evidence.scores.get(name)
    cases = [f"C{rank}" for rank, neighbour in enumerate(evidence.cases, start=1) if name in neighbour.case.diagnoses]
    tags = [f"P:{name}"] * (score is not None) + [f"L:{name}"] * (name in evidence.locations) + cases
    note = "scored positive; the model's draft left it out" if omitted else None
    if not evidence.positive(name) and "scores" not in evidence.hidden:
        note = "possible; its score is not positive"
    spot = Spot.of(evidence.locations[name]) if name in evidence.locations else None
    if "scores" in evidence.hidden:
        return DifferentialItem(name, None, None, tuple(tags[1:]), note, spot)
    return DifferentialItem(name, score.probability if score else None, score.score if score else None, tuple(tags), note, spot)


def _dropped(text: str, reason: str) -> Claim:
    return Claim("differential", text, ClaimStatus.UNSUPPORTED, (), (), f"left out of the differential: {reason}")


def _findings(differential: tuple[DifferentialItem, ...], evidence: Evidence) -> tuple[FindingItem, ...]:
    """What the heads see: positive findings and post-operative states, and where each diagnosis of the differential would lie."""
    seen = [name for name in evidence.positives if not _is_diagnosis(name)]
    seen += [item.diagnosis for item in differential if item.diagnosis in evidence.locations]
    return tuple(_finding(name, evidence) for name in sorted(seen, key=evidence.likelihood, reverse=True))


def _finding(name: str, evidence: Evidence) -> FindingItem:
    location, possible = evidence.locations.get(name), not evidence.positive(name)
    if location is None:
        return FindingItem(name, None, None, (f"P:{name}",), possible=possible)
    return FindingItem(name, location.side.value, location.region, (f"P:{name}", f"L:{name}"), Spot.of(location), possible)
