"""The study shelf: choosing a demo study, one under the studies root, or sending one; and what the reader found in it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from assistant.app.assets import address
from assistant.site import GIGABYTE, Limits
from assistant.studies import ShelfStudy

UPLOAD = """
<section class="panel upload" aria-label="Send a study">
  <div class="zone" data-part="zone">Drop a folder, a zip or NIfTI files here, or choose<br>
    <label class="file">a folder<input type="file" webkitdirectory multiple aria-label="Choose a folder to send"></label>
    <label class="file">a zip or files<input type="file" multiple aria-label="Choose a zip or files to send"></label>
  </div>
  <p class="hint">DICOM or NIfTI, up to @LIMIT@. Files stay on this machine.</p>
  <p data-part="progress" hidden><progress data-part="bar" max="1" value="0" aria-label="Upload"></progress>
    <span data-part="amount"></span> <button type="button" data-part="cancel">Cancel</button></p>
  <p class="message" data-part="message" role="alert"></p>
</section>
"""
NOTHING_LEFT = '<p class="none">Nothing was set aside.</p>'
ON_LOAD = "import(props.script).then((upload) => upload.mount(element, props, trigger)); // events: 'uploaded'"


def upload_panel(limits: Limits) -> gr.HTML:
    """The place to send a study from; raises the event `uploaded` with the new study's id."""
    limit = f"{limits.bytes / GIGABYTE:g} GB and {limits.files} files"
    return gr.HTML(
        value=None,
        elem_id="upload",
        html_template=UPLOAD.replace("@LIMIT@", limit),
        js_on_load=ON_LOAD,
        apply_default_css=False,
        script=address("upload.js"),
        uploads="/site/uploads",
    )


def choices(shelf: tuple[ShelfStudy, ...]) -> list[tuple[str, str]]:
    """What the study list offers: (label, id); what could not be read is left out."""
    return [(title(study), study.id) for study in shelf if study.state in ("waiting", "ready")]


def title(study: ShelfStudy) -> str:
    """A study's name in the list: its label, and for a demo study whom it shows."""
    if study.state == "waiting":
        return f"{study.label} (being prepared)"
    return " · ".join(part for part in (study.label, context_line(study.intake) if study.origin == "demo" else "") if part)


def intake_html(intake: Mapping[str, Any]) -> str:
    """What was read and what was set aside, as a table that opens."""
    used, left = intake["series"], intake["excluded"]
    counted = f"{_count(len(used), 'sequence')} used, {len(left)} set aside"
    rows = "".join(_row(each["name"], each["weighting"], each["plane"], _count(each["slices"], "slice")) for each in used)
    aside = "".join(_row(each["series"], each["reason"], "", _count(each["files"], "file")) for each in left)
    tables = f"<table>{_row('used', 'weighting', 'plane', '', cell='th')}{rows}</table>"
    tables += f"<table>{_row('set aside', 'why', '', '', cell='th')}{aside}</table>" if left else NOTHING_LEFT
    return f'<details class="panel intake"><summary>Intake: {counted}</summary>{tables}</details>'


def _row(*texts: str, cell: str = "td") -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(text)}</{cell}>' for text in texts)}</tr>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def context_line(intake: Mapping[str, Any]) -> str:
    """Age, sex and indication, where known."""
    context = intake.get("context") or {}
    age, sex = context.get("age"), {"M": "man", "F": "woman"}.get(context.get("sex") or "", context.get("sex"))
    person = " ".join(part for part in (f"{age:.0f}-year-old" if age is not None else None, sex) if part)
    return " · ".join(part for part in (person, context.get("indication")) if part)
