"""Answers that code knows: which cases were retrieved, whether there is a prior, and that something is not assessed.

These are facts of the run, not of the picture, so no model is asked for them.
"""

from __future__ import annotations

import re

from assistant import lexicon, rendering
from assistant.evidence import Evidence, evidence_text
from assistant.needs import NO_HEAD
from assistant.verify import case_says, family
from prompts.diagnoses import load

NO_CASE = "No case in the index is close enough to this study to be called similar."
NO_PRIOR = "No prior study was given, so nothing was compared."
_CASES = r"(?:cases?|examples?|reports?|patients|studies)"
_LIKE = r"(?:similar|alike|comparable|closest|nearest|retrieved|resembl\w+|looks? like|looking like|like (?:this|it))"
_FOR_CASES = re.compile(
    rf"\b{_LIKE}\b[\w ,']*\b{_CASES}\b|\b{_CASES}\b[\w ,']*\b(?:{_LIKE}|support\w*)\b|"
    r"\bwhat is similar\b|\blooks? like this\b|\bseen (?:\w+ ){1,4}before\b|"
    r"\b(?:show|list|find|give|which|what|any|other|more)(?: me)?(?: the| some| any| other| more| prior| past)* cases\b",
    re.IGNORECASE,
)
_EARLIER = r"(?:priors?|(?:previous|earlier|old|last) (?:\w+ )?(?:study|studies|scans?|exam\w*|mris?|images?|imaging|reports?))"
_FOR_PRIOR = re.compile(
    rf"\b(?:an?|the|any|with|to) {_EARLIER}\b|\bpriors\b|\bprior (?:\w+ )?(?:study|studies|scans?|exam\w*|mris?|imaging|reports?)\b|"
    r"\b(?:has|have|had|did) (?:\w+ ){1,4}(?:changed?|grown?|progress(?:ed)?)\b|\bsince (?:the )?last\b|\bis it new\b",
    re.IGNORECASE,
)
_WHETHER = re.compile(
    r"^(?:and |but |so )?(?:(?:what|how) about|(?:is|are) there|any|(?:does|has) (?:he|she|the patient|it) (?:have|got|show)) "
    r"(?:(?:any|an?|the|his|her|signs? of|evidence (?:of|for)) )*(?P<what>[\w' -]{3,60}?)(?: here| in this study)?\s*[?.!]*$",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(r"^(?:and |but |so )?(?:is|are|was|were|do|does|did|has|have|any|(?:what|how) about)\b", re.IGNORECASE)
# What a question may be about that is no name of the taxonomy, and yet is in the evidence or the draft.
_OTHERWISE_KNOWN = re.compile(
    r"urgen|hurry|rush|priorit|refer|advi[cs]e|recommend|differential|diagnos|finding|draft|report|impression|reason|evidence|score|probab|"
    r"sequence|series|image|slice|contrast|context|indication|patient|age\b|sex\b|side\b|else\b|other\b|problem|wrong|acute|it\b|that\b|this\b",
    re.IGNORECASE,
)


def known(question: str, evidence: Evidence) -> str | None:
    """The answer to a question whose answer code knows, with its tags; None leaves it to the model."""
    numbers = lexicon.case_numbers(question)
    if numbers and not any(1 <= number <= len(evidence.cases) for number in numbers):
        return f"No such case was retrieved for this study; there {_are(len(evidence.cases))}."
    if for_cases(question):
        return similar_cases(question, evidence)
    if _FOR_PRIOR.search(question):
        return rendering.comparison(evidence.study) if evidence.study.context.prior else NO_PRIOR
    if not lexicon.mentions(question):
        return _unknown(question)
    barred = not_assessed(question, evidence)
    return barred if barred and not _assessed(question, evidence) else None


def for_cases(question: str) -> bool:
    """Whether a question asks for similar cases, not about one of them."""
    return not lexicon.case_numbers(question) and bool(_FOR_CASES.search(question))


def similar_cases(question: str, evidence: Evidence) -> str:
    """The retrieved cases, one a line, closest first; and which of them say what the question names."""
    if not evidence.cases:
        return NO_CASE
    lines = []
    for rank, neighbour in enumerate(evidence.cases, start=1):
        names = ", ".join(load()[name].label if name in load() else name for name in neighbour.case.diagnoses) or "normal"
        alike = "found by its words" if neighbour.similarity is None else f"similarity {neighbour.similarity:.2f}"
        lines.append(f"{rank}. {names}, {alike} [C{rank}]")
    for name in dict.fromkeys(mention.name for mention in lexicon.mentions(question)):
        saying = [f"[C{rank}]" for rank, neighbour in enumerate(evidence.cases, start=1) if name in case_says(neighbour)]
        label = load()[name].label
        lines.append(f"\n{label[:1].upper()}{label[1:]} is said by {' '.join(saying)}." if saying else f"\nNone of them says {label}.")
    return "\n".join(["Closest cases of the index, each of another patient:", "", *lines])


def not_assessed(question: str, evidence: Evidence) -> str:
    """Of the names in a question, those that nothing here assesses, a sentence each; "" if there are none."""
    reasons = {left.name: left.reason for left in evidence.not_assessed}
    missing = [name for name in _named(question) if not _judged(name, evidence)]
    sentences = (f"{load()[name].label} was not assessed: {reasons.get(name, NO_HEAD)}." for name in missing)
    return " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def beside_the_point(question: str, answer: str, evidence: Evidence) -> str:
    """What stands in place of an answer to "is there X?" that does not speak of X: that, and X's score; "" where it does.

    A "yes" about something else would be read as a yes.
    """
    asked = _named(question) if _YES_OR_NO.match(question.strip()) else ()
    spoken = {*_named(answer), *re.findall(r"\[[PL]:(\w+)\]", answer)}
    if not asked or not any(_judged(name, evidence) for name in asked) or any(family(name) & spoken for name in asked):
        return ""
    label = " or ".join(load()[name].label for name in asked)
    return " ".join([f"(The answer did not speak of {label} and was left out.)", *(_scored(name, evidence) for name in asked)]).strip()


def _scored(name: str, evidence: Evidence) -> str:
    """What the scores say of a name, a sentence for it or for each of its children that is assessed."""
    said = [each for each in (name, *load()[name].children) if each in evidence.scores]
    said = said[:1] if name in evidence.scores else said
    verdicts = {each: "positive" if evidence.positive(each) else "negative" for each in said}
    sentences = (f"{load()[each].label} is scored {verdicts[each]} ({evidence_text(evidence.scores[each])}). [P:{each}]" for each in said)
    return " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def _assessed(question: str, evidence: Evidence) -> bool:
    return any(_judged(name, evidence) for name in _named(question))


def _named(question: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mention.name for mention in lexicon.mentions(question)))


def _judged(name: str, evidence: Evidence) -> bool:
    return bool({name, *load()[name].children} & evidence.scores.keys())


def _unknown(question: str) -> str | None:
    """The answer to a question whether there is something that no name, sign or place of this house covers."""
    judged = [names for _, names in lexicon.structures(question)]
    if judged and not any(judged):
        return f"Not assessed: nothing here judges the {lexicon.structures(question)[0][0]}."
    asked = _WHETHER.match(question.strip())
    if asked is None or judged:
        return None
    what = asked["what"].strip()
    covered = (lexicon.says_lesion, lexicon.says_whole, lexicon.says_normal, lexicon.regions, lexicon.sides, lexicon.prior_phrase)
    if _OTHERWISE_KNOWN.search(what) or any(covers(what) for covers in covered) or any(lexicon.sign_sequences(what)):
        return None
    return f"Not assessed: “{what}” is none of the {len(load())} names that can be assessed here, so this study says nothing about it."


def _are(count: int) -> str:
    return "is 1 case" if count == 1 else f"are {count or 'no'} cases"
