"""A report's text by section, whatever its headings look like."""

from __future__ import annotations

import re

from index.case import ReportSections

KEPT = {
    "technique": ("technique", "protocol", "procedure", "sequences"),
    "comparison": ("comparison", "comparisons", "prior studies", "previous studies"),
    "findings": ("findings", "finding", "report", "body of report"),
    "impression": ("impression", "impressions", "conclusion", "conclusions", "opinion", "summary"),
}
# Headings that end a section and whose own text is not kept: the request may name the patient.
DROPPED = (
    *("exam", "examination", "study", "indication", "clinical indication", "history", "clinical history", "clinical information"),
    *("clinical details", "recommendation", "recommendations", "addendum", "notice", "signed", "reported by", "electronically signed by"),
)
HOME = {word: section for section, words in KEPT.items() for word in words}
# A heading has its line to itself, or a colon behind it: "Findings are stable" is a sentence. Numbering, # and * around it are tolerated.
NAMES = "|".join(sorted((*HOME, *DROPPED), key=len, reverse=True))
HEADING = re.compile(rf"^[\s#*\d.)-]*(?P<name>{NAMES})[\s*]*(?::[\s*]*(?P<rest>.*)|)$", re.IGNORECASE)


def split(text: str) -> ReportSections:
    """Sections of a report; a text without headings is all findings."""
    found: dict[str, list[str]] = {section: [] for section in KEPT}
    headed = False
    current: list[str] = []  # what stands before the first heading, or under a dropped one
    preface = current
    for line in text.replace("\r", "").split("\n"):
        heading = HEADING.match(line)
        if heading:
            headed = True
            current = found.get(HOME.get(heading["name"].lower(), ""), [])
            line = heading["rest"] or ""
        current.append(line.rstrip())
    if not headed:
        found["findings"] = preface
    return ReportSections(**{section: "\n".join(lines).strip() for section, lines in found.items()})
