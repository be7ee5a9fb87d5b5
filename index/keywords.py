"""Words for keyword search: what a report asserts, in one spelling, and queries in which nothing is an operator."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from itertools import islice

# From a word of denial to the end of what it denies. "No haemorrhage" must not answer a search for haemorrhage.
DENIED = re.compile(
    r"(?i)\b(?:no|not|without|absence of|absent|negative for|free of|rather than)\b.*?(?=\bbut\b|\bhowever\b|;|\.(?:\s|$)|$)", re.DOTALL
)
# British to American, on both sides of a search.
SPELLINGS = [
    (re.compile(pattern), to) for pattern, to in (("aem", "em"), (r"oed", "ed"), (r"our\b", "or"), ("centre", "center"), ("grey", "gray"))
]
IDLE = frozenset(
    re.findall(
        r"\w+",
        """a an and any are as at be been by can case cases could did do does find for from had has have how i in into is it its like look
        me most my of on one or other our patient patients please same see seen show similar such than that the their there these they
        this those to us was we were what when where which who why will with would you your""",
    )
)
MOST_WORDS = 32
WEIGHED = 8  # times the limit: the best by BM25 that are looked through for their words


def asserted(text: str) -> str:
    """The text without what it denies."""
    return DENIED.sub(" ", text)


def folded(text: str) -> str:
    """Lower case, American spelling, underscores as spaces."""
    text = text.lower().replace("_", " ")
    for pattern, to in SPELLINGS:
        text = pattern.sub(to, text)
    return text


def words(text: str) -> tuple[str, ...]:
    """The distinct words of a query that can tell one report from another, in order, at most 32."""
    found = re.findall(r"[^\W_]+", folded(text))
    return tuple(dict.fromkeys(word for word in found if word not in IDLE))[:MOST_WORDS]


def find(
    db: sqlite3.Connection, asked: tuple[str, ...], limit: int, allowed: frozenset[int] | None, denied: frozenset[int]
) -> list[tuple[int, tuple[str, ...]]]:
    """Rows whose report says at least half of the words, best BM25 first, with the words that each says."""
    if not asked:
        return []
    order = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 1.0, 2.0, 2.0), rowid"
    ranked = db.execute(order, (" OR ".join(map(_quoted, asked)),))
    open_to = (row for (row,) in ranked if row not in denied and (allowed is None or row in allowed))
    rows = list(islice(open_to, WEIGHED * limit))
    among = "SELECT rowid FROM words WHERE words MATCH ? AND rowid IN (SELECT value FROM json_each(?))"
    said = {word: {row for (row,) in db.execute(among, (_quoted(word), json.dumps(rows)))} for word in asked}
    hits = ((row, tuple(word for word in asked if row in said[word])) for row in rows)
    return [(row, found) for row, found in hits if 2 * len(found) >= len(asked)][:limit]


def _quoted(word: str) -> str:
    # A quoted string is FTS5's only form without operators; words() leaves no quote inside.
    return f'"{word}"'


def searchable(findings: str, impression: str, diagnoses: Iterable[str]) -> tuple[str, str, str]:
    """The three columns that keyword search sees."""
    return folded(asserted(findings)), folded(asserted(impression)), folded(" ".join(diagnoses))
