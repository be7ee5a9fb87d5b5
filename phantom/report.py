"""A report from the truth, through a varied grammar: only what the acquired series bear out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phantom.groundtruth import Finding, truth
from phantom.signal import Weighting
from phantom.study import WIDE_VENTRICLES, Phantom
from phantom.wording import NEGATIVE_IMPRESSION, NORMAL_FINDINGS, NORMAL_IMPRESSION, WORDINGS

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RESTRICTING = {"large_vessel_stroke", "lacunar_stroke", "brain_abscess", "lymphoma", "intracranial_hemorrhage", "subdural_hematoma"}
BLEEDING = {"intracranial_hemorrhage", "subdural_hematoma", "cavernoma", "high_grade_glioma"}
SECONDARY = {"edema", "mass_effect", "midline_shift", "ventriculomegaly", "cerebral_atrophy"}
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
    findings = [sentence for fact in facts for sentence in _found(rng, phantom, fact)]
    absent = _absent(rng, phantom)
    keep = len(absent) if not facts else int(rng.integers(2, 5))
    findings += [absent[index] for index in sorted(rng.permutation(len(absent))[:keep])]
    impression = _impression(rng, phantom, facts)
    sentences = (*findings, *impression)
    return Report(
        _technique(rng, phantom),
        "None available.",
        " ".join(s.text for s in findings),
        "\n".join(f"{number}. {s.text}" for number, s in enumerate(impression, 1)) if len(impression) > 1 else impression[0].text,
        sentences,
    )


def _found(rng: np.random.Generator, phantom: Phantom, fact: Finding) -> list[Sentence]:
    """What is seen of one finding: the thing itself, then its signs on the acquired series."""
    if not fact.visible_on:
        return []
    wording = WORDINGS[fact.name]
    sentences = [_say(rng, "findings", wording.several if fact.count > 1 and wording.several else wording.found, fact)]
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
        if wording.undated and fact.stage == "acute" and Weighting.DWI not in phantom.acquired:
            phrasings = wording.undated
        if phrasings and (fact.name != "mass_effect" or rng.random() < 0.4):
            sentences.append(_say(rng, "impression", phrasings, fact))
    if not seen:
        sentences.append(Sentence("impression", _choose(rng, NORMAL_IMPRESSION), "normal"))
    absent = [sentence.subject for sentence in _absent(rng, phantom) if sentence.subject in NEGATIVE_IMPRESSION]
    if absent and seen and rng.random() < 0.45:
        subject = _choose(rng, absent)
        sentences.append(Sentence("impression", _choose(rng, NEGATIVE_IMPRESSION[subject]), subject, negated=True))
    return sentences


def _absent(rng: np.random.Generator, phantom: Phantom) -> list[Sentence]:
    """What may be called normal or absent: it is not there, nothing like it is, and a series that would show it was acquired."""
    facts = truth(phantom).findings
    names = {fact.name for fact in facts}
    denied = {
        "large_vessel_stroke": not names & RESTRICTING,
        "intracranial_hemorrhage": not names & BLEEDING,
        "mass_effect": "mass_effect" not in names and not any(lesion.masses for lesion in phantom.lesions),
        "midline_shift": abs(phantom.midline_shift) < 1.5,
        "ventriculomegaly": phantom.anatomy.ventricles < 0.6 * WIDE_VENTRICLES,
        "subdural_hematoma": not names & {"subdural_hematoma", "arachnoid_cyst"},
        "cerebral_atrophy": phantom.anatomy.sulci < 1.0,
    }
    enhancing = any(fact.enhancement != "none" for fact in facts) or bool(
        names & {"subdural_hematoma", "intracranial_hemorrhage", "cavernoma"}
    )
    sentences = []
    for subject, needs, phrasings in NORMAL_FINDINGS:
        about_signal = subject == "normal" and Weighting.FLAIR in needs
        holds = denied.get(subject, not (names - SECONDARY) if about_signal else not enhancing)
        if holds and all(weighting in phantom.acquired for weighting in needs):
            sentences.append(Sentence("findings", _choose(rng, phrasings), subject, negated=subject != "normal"))
    return sentences


def _say(rng: np.random.Generator, section: str, phrasings: Sequence[str], fact: Finding) -> Sentence:
    """One phrasing with its fields filled in; the sentence records what of side, region and size it says."""
    phrasing = _choose(rng, phrasings)
    place = " ".join(word for word in (fact.side if fact.side in ("left", "right") else None, fact.region) if word)
    size = f"{fact.size_mm:.0f} mm" if fact.size_mm else ""
    foci = NUMBERS[min(fact.count, 10)]
    fields = {"place": place, "side": fact.side or "", "region": fact.region or "", "size": size, "foci": foci, "stage": fact.stage}
    text = phrasing.format(**fields, **{name.capitalize(): value.capitalize() for name, value in fields.items()})
    says_place = "{place}" in phrasing or "{Place}" in phrasing
    says_side = (says_place and fact.side in ("left", "right")) or "{side}" in phrasing or "{Side}" in phrasing
    return Sentence(
        section,
        text,
        fact.name,
        fact.side if says_side else None,
        fact.region if says_place or "{region}" in phrasing else None,
        fact.size_mm if "{size}" in phrasing else None,
    )


def _technique(rng: np.random.Generator, phantom: Phantom) -> str:
    """What was acquired."""
    names = [SERIES[weighting] for weighting in phantom.acquired if weighting in SERIES]
    listed = ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
    opening = _choose(rng, ("Multiplanar multisequence MRI of the brain:", "MRI of the brain with", "Sequences:"))
    contrast = " T1 images after gadolinium." if Weighting.T1_POST in phantom.acquired else " No contrast was given."
    return f"{opening} {listed} at {phantom.style.tesla:g} T.{contrast}"


def _choose(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
