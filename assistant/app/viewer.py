"""The viewer: NiiVue in a Gradio component, for a study and for the case cited beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from assistant.app.assets import address

TEMPLATE = """
<section class="viewer" data-state="none" aria-label="Image viewer">
  <header><strong data-part="title"></strong><span class="sub" data-part="subtitle"></span>
    <button type="button" data-part="close" hidden>Close</button></header>
  <nav class="row strip" data-part="strip" aria-label="Sequences"></nav>
  <div class="stage">
    <canvas tabindex="0" role="img" aria-label="Slices. Arrow up and down scroll, 1 to 4 choose the view, square brackets change the window,
      n and p change the sequence, r resets."></canvas>
    <div class="pictures" data-part="pictures" hidden></div>
    <p class="message" data-part="message" role="status"></p>
    <div class="readouts" data-part="readouts" hidden><span data-part="slice"></span><span data-part="window"></span>
      <span data-part="place"></span></div>
  </div>
  <nav class="row" data-part="tools" aria-label="Views" hidden><span class="row views" data-part="views"></span>
    <span class="convention">Radiological: R is on the left</span></nav>
  <div class="report" data-part="report" tabindex="0" hidden></div>
</section>
"""
FIRST = ("FLAIR", "T2", "T1post", "T1")  # which sequence is opened first, the best there is
ON_LOAD = """import(props.script).then((viewer) => viewer.mount(element, props, trigger, watch)); // events: 'close'"""


def viewer(elem_id: str) -> gr.HTML:
    """An empty viewer; its value is what `study_value`, `case_value` or `message_value` makes."""
    return gr.HTML(
        value=None,
        elem_id=elem_id,
        html_template=TEMPLATE,
        js_on_load=ON_LOAD,
        apply_default_css=False,
        script=address("viewer.js"),
        library=address("niivue/index.js"),
    )


def study_value(study: str, title: str, subtitle: str, series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A study to look at; `series` as in its intake."""
    if not series:
        return message_value(study, title, "failed", "No sequence of this study can be shown. The intake below says why.")
    return {"id": study, "title": title, "subtitle": subtitle, "state": "ready", "series": _addressed(f"/site/volumes/{study}", series)}


def message_value(study: str | None, title: str, state: str, message: str) -> dict[str, Any]:
    """Nothing to look at (yet), and why; state: empty, waiting or failed."""
    return {"id": study, "title": title, "state": state, "message": message, "series": []}


def case_value(case: Mapping[str, Any], tag: str, series: Sequence[Mapping[str, Any]] | None, note: str = "") -> dict[str, Any]:
    """A cited case: key pictures until `series` is there. case: as the worker kept it. note: what becomes of its full study."""
    report = [{"heading": name, "text": text} for name, text in case["report"].items() if text]
    facts = (f"case {case['id']}", case["age_band"], case["sex"], note, "another patient, not aligned")
    where = f"/site/cases/{case['id']}"
    return {
        "id": f"case-{case['id']}",
        "title": f"{tag} · {', '.join(name.replace('_', ' ') for name in case['diagnoses']) or 'normal'}",
        "subtitle": " · ".join(fact for fact in facts if fact),
        "state": "ready" if series else "waiting",
        "message": "",
        "series": _addressed(where, series or ()),
        "pictures": [{"url": f"{where}/{number}.png", "caption": caption} for number, caption in enumerate(case["pictures"])],
        "report": report,
        "closable": True,
    }


def first_shown(keys: Sequence[str]) -> int:
    """The position of the sequence that a study opens with; the first where none of FIRST is there."""
    return next((keys.index(wanted) for wanted in FIRST if wanted in keys), 0)


def sequence_keys(series: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys by which sentences name sequences (`assistant.evidence`), in the order of the series."""
    keys: list[str] = []
    for each in series:
        key = each["weighting"].replace(" post-contrast", "post").replace(" ", "")
        count = sum(made.split("-")[0] == key for made in keys)
        keys.append(f"{key}-{count + 1}" if count else key)
    return keys


def _addressed(where: str, series: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    keys = sequence_keys(series)
    first = first_shown(keys)
    return [
        {**each, "url": f"{where}/{each['file']}", "key": key, "first": at == first}
        for at, (each, key) in enumerate(zip(series, keys, strict=True))
    ]
