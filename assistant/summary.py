"""A report as the numbered list of its findings: the text that images are aligned with (PRIMA.md section 8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import prompts
from assistant import lexicon
from assistant.report_labels import Ask
from assistant.reported import Statement, statements

_IDLE = frozenset(
    re.findall(
        r"\w+",
        """a an and are as associated at be been by evidence for from has have in is it its likely most of on or seen shown shows than that
        the there these this to was which with consistent keeping measures measuring mm cm approximately about""",
    )
)
_DENIAL = re.compile(r"\b(?:no|not|without|negative for|free of|absence of|absent|neither)\b")
_LIMIT = re.compile(r"\b(?:excluded|ruled out|assessed|evaluated) without\b|\bmay be missed\b|\b(?:is|are) (?:limited|degraded) by\b")
_CHANGE = re.compile(r"\b(?:since|ha(?:s|ve) (?:increased|decreased|grown|shrunk))\b")
_KNOWN = re.compile(r"(?:the|it|its|this|these|they)\b")


@dataclass(frozen=True)
class Summary:
    """A report's findings in order, and who chose them: "rules" or "model". refused: why the model's list was not taken."""

    items: tuple[str, ...]
    by: str = "rules"
    refused: str | None = None

    def text(self) -> str:
        """The numbered list, one finding a line."""
        return "\n".join(f"{number}. {item}" for number, item in enumerate(self.items, 1))


def summarise(report: str, ask: Ask | None = None) -> Summary:
    """What findings and impression assert, each thing once; of a report that asserts nothing, its normal statements.

    ask: a language model in place of the rules' choice. Its list counts only where it asserts no name that the report does not assert.
    """
    ruled = Summary(_chosen(statements(report)))
    if ask is None or not ruled.items:
        return ruled
    text = "\n".join(statement.text for statement in statements(report))
    reply = ask(prompts.load("summarise").render(report=text).text)
    items = tuple(re.sub(r"^\d+[.)]\s*", "", line.strip()) for line in reply.splitlines() if re.match(r"\s*\d+[.)]\s*\w", line))
    if not items:
        return Summary(ruled.items, refused="no numbered list")
    invented = _asserted(items) - _asserted([statement.text for statement in statements(report)])
    if invented:
        return Summary(ruled.items, refused=f"not in the report: {', '.join(sorted(invented))}")
    return Summary(items, by="model")


def _chosen(said: Sequence[Statement]) -> tuple[str, ...]:
    asserting = [statement.text for statement in said if _asserts(statement.text)]
    if asserting:
        return _once(asserting)
    concluded = [statement.text for statement in said if statement.section == "impression"]
    return _once(concluded or [statement.text for statement in said])


def _asserts(sentence: str) -> bool:
    """Whether a sentence says that something is there, and not only that it is normal, absent, as before, or beyond these images."""
    plain = lexicon.normalise(sentence)
    if _LIMIT.search(plain):
        return False
    if any(not mention.negated for mention in lexicon.mentions(sentence)):
        return True
    if lexicon.prior_phrase(sentence) or _CHANGE.search(plain):
        return False
    if denial := _DENIAL.search(plain):  # "a cyst without enhancement" says that there is one; "the cyst does not enhance" does not
        return lexicon.says_lesion(plain[: denial.start()]) and not _KNOWN.match(plain)
    return not lexicon.says_normal(sentence)


def _once(sentences: Sequence[str]) -> tuple[str, ...]:
    """Without those that say nothing beyond a longer one: all their words and names are in it. Of equals the first stays."""
    said = [(_words(sentence), _names(sentence)) for sentence in sentences]
    kept = []
    for k, (words, names) in enumerate(said):
        longer = (other for j, other in enumerate(said) if (len(other[0]), -j) > (len(words), -k))
        if not any(words <= others and names <= said_there for others, said_there in longer):
            kept.append(sentences[k])
    return tuple(kept)


def _names(sentence: str) -> frozenset[str]:
    return frozenset(mention.name for mention in lexicon.mentions(sentence))


def _words(sentence: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", lexicon.normalise(sentence))) - _IDLE


def _asserted(sentences: Sequence[str]) -> set[str]:
    return {mention.name for sentence in sentences for mention in lexicon.mentions(sentence) if not mention.negated}
