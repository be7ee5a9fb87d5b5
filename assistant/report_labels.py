"""Labels from the words of a report: what it asserts, what it leaves open, and the sentence that each label stands on.

The rules: names, negation and doubt as `assistant.lexicon` hears them, sentence by sentence. The impression outranks the findings, except
that a denial of something acute, new or significant leaves the old and the slight where the findings have them. A diagnosis that was
operated on ("status post resection of a meningioma") is a post-operative state, unless some of it is there again. A language model may be
asked about what stays open; it answers with one of three words or is not heard.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import prompts
from assistant import lexicon
from assistant.labelled import diagnoses_of
from assistant.reported import Statement, statements
from prompts.diagnoses import Kind, load

Ask = Callable[[str], str]  # a prompt -> the model's reply
_RANK = {Kind.DIAGNOSIS: 0, Kind.PARENT: 0, Kind.POSTOPERATIVE: 1, Kind.FINDING: 2}  # what is named first
PRESENT, UNCERTAIN, ABSENT = "present", "uncertain", "absent"
_SURGERY = (
    r"(?:(?:gross |sub ?)?total |partial |previous |prior )*(?:resect\w+|craniotom\w+|craniectom\w+|surgery|surgical|excis\w+|debulk\w+|"
    r"clip(?:ping|ped)|coil(?:ing|ed)|evacuat\w+|remov(?:al|ed))"
)
_OPERATED = re.compile(
    rf"\b(?:status post|s p|post ?operative\w*|post ?surgical|post ?resection|"
    rf"(?:after|following|previous|prior|interval|history of) {_SURGERY}|"
    rf"(?:resect|excis|evacuat|remov|clipp|coil)ed)\b"
)
_AGAIN = re.compile(r"\b(?:recurr\w+|residual|regrow\w+|persist\w+|remain\w*|progress\w+|incomplete\w*|remnant)\b")
_RESECTED = re.compile(r"\b(?:resect\w+|excis\w+|debulk\w+|remov(?:al|ed))\b")
_OPENED = re.compile(r"\b(?:craniotom\w+|craniectom\w+)\b")
_PAST = re.compile(r"\bhistory of (?:\w+ ){0,3}$")
_GONE = re.compile(
    r"^(?:(?! (?:largely|partly|partially|mostly|nearly)) \w+){0,4} (?:(?:has|have) (?:(?:completely|fully|now|since) )?)?"
    r"(?:resolved|cleared|disappeared|no longer (?:seen|visible|present))\b"
)
_LIMITED_DENIAL = re.compile(r"\b(?:acute|new|significant|substantial|recent|large|further|additional|definite|focal)\b")
_DOUBT_AFTER = re.compile(r"^(?: \w+){0,2} (?:versus|vs|or)\b|^ ?\?|^(?: \w+){0,3} (?:cannot|can not|not) (?:be )?(?:excluded|ruled out)")
_DOUBT_BEFORE = re.compile(
    r"(?:\?|\bquestion of|\bquestionable|\bequivocal|\bconcern(?:ing)? for|\bsuspicion of|\brule out) ?(?:\w+ ){0,3}$|"
    r"\bfavor\w*\b.* over (?:an? )?(?:\w+ )?$"
)


@dataclass(frozen=True)
class ReportLabel:
    """A name of the taxonomy, whether the report asserts it or leaves it open, and the sentence that it stands on."""

    name: str
    state: str
    sentence: str
    section: str


@dataclass(frozen=True)
class ReportLabels:
    """What a report says. refused: answers of the language model that were not heard."""

    labels: tuple[ReportLabel, ...]
    refused: tuple[str, ...] = ()

    @property
    def present(self) -> tuple[str, ...]:
        """Asserted names, the main diagnosis first; findings and post-operative states behind the diagnoses."""
        return tuple(label.name for label in self.labels if label.state == PRESENT)

    @property
    def uncertain(self) -> tuple[str, ...]:
        """Names that the report leaves open."""
        return tuple(label.name for label in self.labels if label.state == UNCERTAIN)

    def evidence(self) -> dict[str, str]:
        """The sentence of each name."""
        return {label.name: label.sentence for label in self.labels}


@dataclass(frozen=True)
class Agreement:
    """How the labels of many reports agree with the truth, for one name, in reports. uncertain: left open and not stated."""

    name: str
    right: int
    missed: int
    invented: int
    uncertain: int

    @property
    def precision(self) -> float | None:
        """Of the stated, the share that is true; None where it was never stated."""
        return self.right / (self.right + self.invented) if self.right + self.invented else None

    @property
    def recall(self) -> float | None:
        """Of the true, the share that was stated; None where there is none."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None


def labels_of(report: str, ask: Ask | None = None) -> ReportLabels:
    """The labels of a report. ask: a language model, for the uncertain ones only."""
    heard = [label for statement in statements(report) for label in _said(statement)]
    said: dict[str, list[ReportLabel]] = {}
    for label in heard:
        said.setdefault(label.name, []).append(label)
    kept = [label for name in said if (label := _settled(said[name])).state != ABSENT]
    kept.sort(key=lambda label: (_RANK[load()[label.name].kind], label.section != "impression", heard.index(label)))
    found = ReportLabels(tuple(kept))
    return found if ask is None else _asked(found, report, ask)


def agreement(found: Sequence[ReportLabels], truth: Sequence[frozenset[str]]) -> tuple[Agreement, ...]:
    """Counts for each name that is true or stated anywhere, in the taxonomy's order. A child makes its parent true on both sides."""
    rows: dict[str, list[int]] = {}
    for labels, true in zip(found, truth, strict=True):
        stated, open_ = diagnoses_of(labels.present), set(labels.uncertain)
        for name in stated | true:
            counts = rows.setdefault(name, [0, 0, 0, 0])
            counts[0 if name in stated & true else 1 if name in true else 2] += 1
            counts[3] += name in open_ - stated
    return tuple(Agreement(name, *rows[name]) for name in load() if name in rows)


def _said(statement: Statement) -> list[ReportLabel]:
    plain = lexicon.normalise(statement.text)
    respelled = lexicon.respelled(plain)  # a mention's offsets count in the mended text
    operated = _OPERATED.search(respelled)
    found = []
    for mention in lexicon.mentions(statement.text):
        before, after = respelled[: mention.start], respelled[mention.end :]
        state = ABSENT if mention.negated else UNCERTAIN if mention.hedged else PRESENT
        if _GONE.search(after) or _PAST.search(before):
            state = ABSENT
        elif state == PRESENT and (_DOUBT_AFTER.search(after) or _DOUBT_BEFORE.search(before)):
            state = UNCERTAIN
        is_diagnosis = load()[mention.name].kind in (Kind.DIAGNOSIS, Kind.PARENT)
        if (
            operated
            and is_diagnosis
            and not _AGAIN.search(respelled)
            and state != ABSENT
            and not _apart(respelled, operated, mention.start)
        ):
            state = ABSENT
        found.append(ReportLabel(mention.name, state, statement.text, statement.section))
    if operated and not lexicon.negative(statement.text):
        states = {"resection_cavity": _RESECTED, "craniotomy": _OPENED}
        known = {label.name for label in found}
        found += [
            ReportLabel(name, PRESENT, statement.text, statement.section)
            for name, way in states.items()
            if name not in known and way.search(respelled)
        ]
    return found


def _apart(plain: str, operated: re.Match[str], start: int) -> bool:
    """Whether another clause stands between the operation and the name: "after resection, there is a new abscess"."""
    first, last = sorted((operated.start(), start))
    return bool(re.search(r"[;:]|, (?:there|with|now|and)\b|\bthere (?:is|are)\b|\bnow\b|\bnew\b", plain[first:last]))


def _settled(said: Sequence[ReportLabel]) -> ReportLabel:
    """One state of all that a report says of a name."""
    concluded = [label for label in said if label.section == "impression"]
    described = [label for label in said if label.section != "impression"]
    for labels in (concluded, described):
        for state in (PRESENT, UNCERTAIN):
            if stated := next((label for label in labels if label.state == state), None):
                return stated
        if labels and not all(_limited(label) for label in labels):
            return labels[0]
    return said[0]


def _limited(denial: ReportLabel) -> bool:
    """Whether a denial leaves room for what the findings say: "no acute haemorrhage" does not deny an old one."""
    return bool(_LIMITED_DENIAL.search(lexicon.normalise(denial.sentence)))


def _asked(found: ReportLabels, report: str, ask: Ask) -> ReportLabels:
    """The uncertain names put to a language model. What is no answer to the question leaves a name uncertain."""
    if not found.uncertain:
        return found
    text = "\n".join(statement.text for statement in statements(report))
    reply = ask(prompts.load("label").render(report=text, names="; ".join(found.uncertain)).text)
    answers: dict[str, str] = {}
    refused = []
    for line in filter(None, map(str.strip, reply.splitlines())):
        name, _, state = (part.strip(" .`*-\"'").lower().replace(" ", "_") for part in line.partition(":"))
        if name in found.uncertain and state in (PRESENT, ABSENT, UNCERTAIN):
            answers.setdefault(name, state)
        else:
            refused.append(line)
    settled = [replace(label, state=answers.get(label.name, UNCERTAIN)) if label.state == UNCERTAIN else label for label in found.labels]
    return ReportLabels(tuple(label for label in settled if label.state != ABSENT), tuple(refused))
