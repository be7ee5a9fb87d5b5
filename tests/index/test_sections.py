"""Reports come in many shapes; their sections are found in all of them."""

from __future__ import annotations

import pytest

from index.case import ReportSections
from index.sections import split

EXPECTED = ReportSections("T1, T2 and FLAIR.", "None.", "A mass.\nFindings are stable.", "1. Glioma.\n2. Oedema.")


SHAPES = {
    "upper case": """TECHNIQUE
T1, T2 and FLAIR.

COMPARISON
None.

FINDINGS
A mass.
Findings are stable.

IMPRESSION
1. Glioma.
2. Oedema.
""",
    "colons": """Technique: T1, T2 and FLAIR.\r
Comparison: None.\r
Findings: A mass.\r
Findings are stable.\r
Impression:\r
1. Glioma.\r
2. Oedema.""",
    "markdown": """## Technique
T1, T2 and FLAIR.
**Comparison:** None.
**FINDINGS**
A mass.
Findings are stable.
### Conclusion
1. Glioma.
2. Oedema.""",
    "with more around": """MRI BRAIN, Jane Roe
Indication: headache
TECHNIQUE:
T1, T2 and FLAIR.
COMPARISON:
None.
FINDINGS:
A mass.
Findings are stable.
OPINION:
1. Glioma.
2. Oedema.
Signed:
Dr X""",
}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_sections_are_found_whatever_their_headings_look_like(shape: str) -> None:
    assert split(SHAPES[shape]) == EXPECTED


def test_a_text_without_headings_is_all_findings() -> None:
    assert split("Ring-enhancing lesion.\n") == ReportSections(findings="Ring-enhancing lesion.")
    assert split("") == ReportSections()
