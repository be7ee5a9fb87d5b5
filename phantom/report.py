"""A report from the truth, through a varied grammar: only what the acquired series bear out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from phantom.absence import deniable
from phantom.atlas import INTRA_AXIAL
from phantom.groundtruth import Finding, truth
from phantom.signal import Weighting
from phantom.study import Change, Phantom, Prior
from phantom.wordings import (
    CHANGES,
    CHANGES_IMPRESSION,
    LESION,
    LIMITS,
    NEGATIVE_IMPRESSION,
    NORMAL_FINDINGS,
    NORMAL_IMPRESSION,
    NOTHING_SEEN,
    NOUNS,
    WORDINGS,
)

NUMBERS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
SIDES = {"left": "on the left", "right": "on the right", "bilateral": "on both sides", "midline": "in the midline"}
OF_A_LESION = ("edema", "mass_effect")  # said right after the lesion that makes them
LOBAR = ("lobe", "convexity", "insula")  # where the sulci are that a mass may efface
AN = re.compile(r"\b([Aa]) (?=(?:8\d?|11|18) mm)")
ADJECTIVE = re.compile(r"\b(c|C)erebellum (?=mass|lesion|brain|contusion|cavernoma|encephalomalacia|hematoma|intracranial|arteriovenous)")
OF_ALL = ("enhancement", "signal")  # subjects of negative sentences that speak of all disease
HEDGED = 0.25  # share of reports that name what a missing series leaves open
SERIES = {
    Weighting.T1: "T1",
    Weighting.T2: "T2",
    Weighting.FLAIR: "FLAIR",
    Weighting.DWI: "diffusion",
    Weighting.ADC: "ADC",
    Weighting.SWI: "susceptibility",
}


@dataclass(frozen=True)
class Sentence:
    """One sentence and what it says. section: "findings" or "impression".

    subject: a name of the taxonomy or "normal". side, region, size_mm: only where the text says them. negated: the subject is denied.
    """

    section: str
    text: str
    subject: str
    side: str | None = None
    region: str | None = None
    size_mm: float | None = None
    negated: bool = False


@dataclass(frozen=True)
class Report:
    """The report by section, plain text, and its sentences of findings and impression in order."""

    technique: str
    comparison: str
    findings: str
    impression: str
    sentences: tuple[Sentence, ...]

    def text(self) -> str:
        """The whole report as in report.txt."""
        parts = (
            ("TECHNIQUE", self.technique),
            ("COMPARISON", self.comparison),
            ("FINDINGS", self.findings),
            ("IMPRESSION", self.impression),
        )
        return "\n\n".join(f"{head}:\n{body}" for head, body in parts) + "\n"


def compose(phantom: Phantom, variant: int = 0) -> Report:
    """Write the study's report; each variant words the same facts differently."""
    rng = np.random.default_rng([phantom.seed, 5, variant])
    facts = truth(phantom).findings
    findings = [sentence for fact in _in_order(facts) for sentence in _found(rng, phantom, fact)]
    absent = _absent(rng, phantom)
    keep = len(absent) if not facts else int(rng.integers(2, 5))
    findings += [absent[index] for index in sorted(rng.permutation(len(absent))[:keep])]
    findings += _limits(rng, phantom)
    impression = _impression(rng, phantom, facts)
    if phantom.prior:
        findings, impression = [*_compared(rng, phantom, phantom.prior), *findings], [*impression, *_progress(rng, phantom, phantom.prior)]
    comparison = f"Study of {_day(phantom.prior)}." if phantom.prior else "None available."
    return _assembled(_technique(rng, phantom), comparison, (*findings, *impression))


def with_noise(report: Report, phantom: Phantom, share: float) -> tuple[Report, tuple[str, ...]]:
    """The report with about this share of its sentences swapped for ones that the image does not bear out, and these sentences.

    For tests of robustness only.
    """
    rng = np.random.default_rng([phantom.seed, 7])
    facts = truth(phantom).findings
    strangers = sorted(WORDINGS.keys() - {fact.name for fact in facts})
    elsewhere = sorted(set(INTRA_AXIAL) - {fact.region for fact in facts})
    sentences, wrong = [], []
    for sentence in report.sentences:
        if rng.random() >= share:
            sentences.append(sentence)
            continue
        wording = WORDINGS[name := _choose(rng, strangers)]
        invented = Finding(name, _choose(rng, ("left", "right")), _choose(rng, elsewhere), float(rng.integers(6, 40)), None, (), 1)
        phrasings = wording.impression or wording.found if sentence.section == "impression" else wording.found
        sentences.append(_say(rng, sentence.section, phrasings, replace(invented, stage="acute")))
        wrong.append(sentences[-1].text)
    return _assembled(report.technique, report.comparison, tuple(sentences)), tuple(wrong)


def _assembled(technique: str, comparison: str, sentences: tuple[Sentence, ...]) -> Report:
    findings, impression = ([s.text for s in sentences if s.section == section] for section in ("findings", "impression"))
    listed = "\n".join(f"{number}. {text}" for number, text in enumerate(impression, 1)) if len(impression) > 1 else impression[0]
    return Report(technique, comparison, " ".join(findings), listed, sentences)


def _in_order(facts: Sequence[Finding]) -> Iterable[Finding]:
    """Each lesion with the oedema and mass effect at its place, then the rest."""
    effects = [fact for fact in facts if fact.name in OF_A_LESION]
    for fact in facts:
        if fact.name not in OF_A_LESION:
            yield fact
            for effect in [e for e in effects if (e.side, e.region) == (fact.side, fact.region)]:
                effects.remove(effect)
                yield effect
    yield from effects


def _found(rng: np.random.Generator, phantom: Phantom, fact: Finding) -> list[Sentence]:
    """What is seen of one finding: the thing itself, then its signs on the acquired series."""
    if not fact.visible_on:
        return []
    wording = WORDINGS[fact.name]
    phrasings = wording.several if fact.count > 1 and wording.several else wording.found
    if fact.name == "mass_effect" and not (fact.region or "").endswith(LOBAR):
        phrasings = tuple(phrasing for phrasing in phrasings if "sulci" not in phrasing)
    sentences = [_say(rng, "findings", phrasings, fact)]
    for needs, trait, phrasings in wording.signs:
        if all(weighting in phantom.acquired for weighting in needs) and trait in ("", fact.enhancement, fact.stage) and rng.random() < 0.9:
            sentences.append(_say(rng, "findings", phrasings, fact))
    return sentences


def _impression(rng: np.random.Generator, phantom: Phantom, facts: Sequence[Finding]) -> list[Sentence]:
    """Diagnoses first, then effects worth naming; what matters and is absent; or normal."""
    seen = [fact for fact in facts if fact.visible_on]
    sentences = []
    for fact in seen:
        wording = WORDINGS[fact.name]
        phrasings = wording.several_impression if fact.count > 1 and wording.several_impression else wording.impression
        datable = fact.stage == "acute" or wording.dated_by is not Weighting.DWI  # diffusion dates only what is acute
        if wording.undated and datable and wording.dated_by not in phantom.acquired:
            phrasings = wording.undated
        if phrasings and (fact.name != "mass_effect" or rng.random() < 0.4):
            sentences.append(_say(rng, "impression", phrasings, fact))
    if not seen:
        sentences.append(Sentence("impression", _choose(rng, NOTHING_SEEN if phantom.lesions else NORMAL_IMPRESSION), "normal"))
    absent = [sentence.subject for sentence in _absent(rng, phantom) if sentence.subject in NEGATIVE_IMPRESSION]
    if absent and seen and rng.random() < 0.45:
        subject = _choose(rng, absent)
        sentences.append(Sentence("impression", _choose(rng, NEGATIVE_IMPRESSION[subject]), subject, negated=True))
    return sentences


def _absent(rng: np.random.Generator, phantom: Phantom) -> list[Sentence]:
    """What may be called normal or absent: it is not there, nothing like it is, and a series that would show it was acquired."""
    holds = deniable(phantom)
    sentences = []
    for subject, needs, phrasings in NORMAL_FINDINGS:
        if holds[subject] and all(weighting in phantom.acquired for weighting in needs):
            about_all = subject in OF_ALL
            sentences.append(Sentence("findings", _choose(rng, phrasings), "normal" if about_all else subject, negated=not about_all))
    return sentences


def _limits(rng: np.random.Generator, phantom: Phantom) -> list[Sentence]:
    """At times, what a series that was not acquired leaves open."""
    missing = [phrasings for weighting, phrasings in LIMITS if weighting not in phantom.acquired]
    if not missing or rng.random() >= HEDGED:
        return []
    return [Sentence("findings", _choose(rng, missing[int(rng.integers(len(missing)))]), "normal")]


def _compared(rng: np.random.Generator, phantom: Phantom, prior: Prior) -> list[Sentence]:
    """What became of each disease that both studies could show."""
    sentences = []
    for change in prior.changes:
        lesion = change.before
        if not _comparable(phantom, change):
            continue
        placed = NOUNS.get(lesion.name, LESION).placed
        side = phantom.side(lesion.side) if placed and lesion.side in ("left", "right") else None
        where = " ".join((" in the", *((side,) if side else ()), lesion.region)) if placed else ""
        fields = {"date": _day(prior), "where": where, "before": _mm(change.size_before), "now": _mm(change.size_now)}
        text = _choose(rng, CHANGES[change.course]).format(**fields, **_named(change))
        gone = change.course == "resolved"
        size = None if gone else change.size_now if change.course == "grown" else None
        sentences.append(Sentence("findings", text, lesion.name, side, lesion.region if placed else None, size, negated=gone))
    return sentences


def _progress(rng: np.random.Generator, phantom: Phantom, prior: Prior) -> list[Sentence]:
    """The main change, in few words."""
    seen = [change for change in prior.changes if _comparable(phantom, change)]
    if not seen:
        return []
    change: Change = max(seen, key=lambda change: ("stable", "resolved", "grown").index(change.course))
    text = _choose(rng, CHANGES_IMPRESSION[change.course]).format(date=_day(prior), **_named(change))
    return [Sentence("impression", text, change.before.name, negated=change.course == "resolved")]


def _comparable(phantom: Phantom, change: Change) -> bool:
    return change.seen and any(weighting in change.before.visible_on for weighting in phantom.acquired)


def _named(change: Change) -> dict[str, str]:
    """What the disease is called, with the verbs that go with it."""
    what, plural = NOUNS.get(change.before.name, LESION).of(change.before.count)
    return {"what": what, "has": "have" if plural else "has", "is": "are" if plural else "is"}


def _day(prior: Prior) -> str:
    return f"{prior.date.day} {prior.date:%B %Y}"


def _mm(size: float | None) -> str:
    return f"{round(size, 1):.0f} mm" if size else ""  # rounded as the findings' sizes are


def _say(rng: np.random.Generator, section: str, phrasings: Sequence[str], fact: Finding) -> Sentence:
    """One phrasing with its fields filled in; the sentence records what of side, region and size it says."""
    phrasing = _choose(rng, phrasings)
    place = " ".join(word for word in (fact.side if fact.side in ("left", "right") else None, fact.region) if word)
    size = f"{fact.size_mm:.0f} mm" if fact.size_mm else ""
    foci = NUMBERS[fact.count] if fact.count < len(NUMBERS) else "more than twenty"
    side, region = fact.side or "", fact.region or ""
    fields = {"place": place, "side": side, "on": SIDES.get(side, ""), "region": region, "size": size, "foci": foci, "stage": fact.stage}
    text = phrasing.format(**fields, **{name.capitalize(): value.capitalize() for name, value in fields.items()})
    text = ADJECTIVE.sub(r"\1erebellar ", AN.sub(r"\1n ", text))
    says_place = "{place}" in phrasing or "{Place}" in phrasing
    says_side = (says_place and fact.side in ("left", "right")) or any(field in phrasing for field in ("{side}", "{Side}", "{on}"))
    return Sentence(
        section,
        text,
        fact.name,
        fact.side if says_side else None,
        fact.region if says_place or "{region}" in phrasing else None,
        fact.size_mm if "{size}" in phrasing or "{Size}" in phrasing else None,
    )


def _technique(rng: np.random.Generator, phantom: Phantom) -> str:
    """What was acquired."""
    names = [SERIES[weighting] for weighting in phantom.acquired if weighting in SERIES] or ["T1"]
    listed = ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
    planes = len({plan.plane for plan in phantom.style.series})
    first = "Multiplanar multisequence MRI of the brain:" if planes > 1 and len(names) > 1 else "MRI of the brain:"
    opening = _choose(rng, (first, "MRI of the brain with", "Sequences:"))
    contrast = " T1 images after gadolinium." if Weighting.T1_POST in phantom.acquired else " No contrast was given."
    return f"{opening} {listed} at {phantom.style.tesla:g} T.{contrast}"


def _choose(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
