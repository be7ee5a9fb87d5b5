"""The draft: a job's events folded to what is known so far, and that as HTML. Every text from outside is escaped here, once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any
from urllib.parse import quote

import gradio as gr

from assistant.app.assets import address
from assistant.jobs import AGAIN, Job, JobEvent, State

STAGES = ("reading", "encoding", "retrieving", "writing", "checking")
SECTIONS = ("exam", "indication", "technique", "comparison", "findings", "impression", "recommendation")
MARKS = {"supported": "✓", "unsupported": "!", "contradicted": "✗", "rendered": "·", "unchecked": "…"}
MEANINGS = {
    "supported": "evidence found",
    "unsupported": "no evidence found",
    "contradicted": "evidence against it",
    "rendered": "written by rule",
}
NOTICE = (
    "AI-generated draft from a model trained on simulated studies. Research use only, not a medical device. "
    "Must be reviewed by a radiologist."
)
NO_DRAFT = "No draft of this study yet. “Draft report” writes one; it takes some seconds and nothing leaves this machine."
TEMPLATE = """<section class="panel draft" tabindex="0" aria-label="Draft report"><div data-part="body"></div></section>"""
ON_LOAD = "import(props.script).then((draft) => draft.mount(element, props, watch));"
COPY = f"() => import('{address('draft.js')}').then((draft) => draft.copyDraft())"
TAG = re.compile(r"\[([PLSC][^\]\s]*)\]")


@dataclass(frozen=True)
class Progress:
    """What a drafting job's events said so far. result: `Result.to_json()` once finished."""

    stage: str = ""
    reasoning: str = ""
    answer: str = ""
    cases: tuple[Mapping[str, Any], ...] = ()
    result: Mapping[str, Any] | None = None
    seen: int = 0
    links: Mapping[str, str] = field(default_factory=dict)  # "C2" -> what it opens

    def after(self, events: Iterable[JobEvent]) -> Progress:
        """The progress once these events are told too."""
        now = self
        for event in events:
            now = replace(now._told(event.kind, event.body), seen=event.number)
        return now

    def _told(self, kind: str, body: Mapping[str, Any]) -> Progress:
        match kind:
            case "stage" if body["name"].startswith("writing"):
                return replace(self, stage="writing", reasoning="", answer="")  # also when it writes a second time
            case "stage":
                return replace(self, stage=body["name"])
            case "reasoning":
                return replace(self, reasoning=self.reasoning + body["text"])
            case "answer":
                return replace(self, answer=self.answer + body["text"])
            case "retrieved":
                return replace(self, cases=tuple(body["cases"]), links=case_links(body["cases"]))
            case "finished":
                return replace(self, result=body)
            case _ if kind == AGAIN:
                return Progress()
        return self


def draft_panel() -> gr.HTML:
    """The empty panel; its value is what `render` makes."""
    script = address("draft.js")
    return gr.HTML(value=empty(), elem_id="draft", html_template=TEMPLATE, js_on_load=ON_LOAD, apply_default_css=False, script=script)


def case_links(cases: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What each citation opens: C1 is the first retrieved."""
    return {f"C{rank}": f"#case-{quote(case['id'], safe='')}" for rank, case in enumerate(cases, 1)}


def place_links(spots: Iterable[tuple[str, Mapping[str, Any] | None]]) -> dict[str, str]:
    """What each location's tag opens: its sequence at its point (LPS mm); spots: (name, spot), None where nothing was located."""
    found = ((name, spot["series"], spot["mm"]) for name, spot in spots if spot)
    return {f"L:{name}": f"#place-{quote(series, safe='')}@{','.join(f'{x:.1f}' for x in mm)}" for name, series, mm in found}


def empty(text: str = NO_DRAFT) -> str:
    """The panel without a draft."""
    return f'<p class="empty">{escape(text)}</p>'


def render(progress: Progress, job: Job, models: str) -> str:
    """The whole panel for a job as it stands."""
    if progress.result is not None:
        return _finished(progress.result)
    parts = [_state_of(progress, job, models)]
    if lines := progress.reasoning.strip().splitlines():  # the first token may be a line's end
        live = f'<p class="live">{_tagged(lines[-1], progress.links)}</p>'
        parts.append(live if job.state is State.RUNNING and not progress.answer else "")
        parts.append(_reasoning(lines, progress.links))
    parts.append(_written_so_far(progress))
    return "".join(parts)


def plain_text(result: Mapping[str, Any]) -> str:
    """The draft to paste elsewhere: fixed section headers, flagged sentences marked, notice at the end."""
    report = result["report"]
    contradicted = [TAG.sub("", claim["text"]).strip() for claim in result["claims"] if claim["status"] == "contradicted"]
    lines: list[str] = []
    for section in SECTIONS:
        text = TAG.sub("", report.get(section) or "").replace("[unverified]", "[CHECK: no evidence found]")  # the check's own mark
        for sentence in filter(None, contradicted):
            text = text.replace(sentence, f"[CHECK: contradicted] {sentence}")
        lines += [section.upper() + ":", re.sub(r" +([.,])", r"\1", re.sub(r" {2,}", " ", text)).strip() or "-", ""]
    return "\n".join([*lines, NOTICE])


def partial_json(text: str) -> dict[str, Any]:
    """What can already be read of an object that is still being written; empty if nothing can."""
    closing: list[str] = []
    quoted = escaped = False
    for character in text:
        if quoted:
            quoted, escaped = (character != '"' or escaped), (character == "\\" and not escaped)
        elif character == '"':
            quoted = True
        elif character in "[{":
            closing.append("]" if character == "[" else "}")
        elif character in "]}" and closing:
            closing.pop()
    head = text + ('"' if quoted and not escaped else "")
    for candidate in (head, head.rstrip().rstrip(",:"), head.rpartition(",")[0]):
        try:
            found = json.loads(candidate + "".join(reversed(closing)))
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}


def readable(name: str) -> str:
    """A taxonomy name as people write it."""
    return name.replace("_", " ")


def _state_of(progress: Progress, job: Job, models: str) -> str:
    """What happens now, or why nothing does any more."""
    if job.state is State.QUEUED:
        waiting = f"{job.ahead} request{'s' if job.ahead > 1 else ''} before yours." if job.ahead else "Starting."
        if models == "loading":
            waiting = "The models are being loaded; this takes some seconds after a start. " + (waiting if job.ahead else "")
        elif models != "ready":
            return _banner(f"No draft can be written here: {models}", bad=True)
        return f'<p class="empty" role="status">{escape(waiting)}</p>'
    if job.state is State.RUNNING:
        at = STAGES.index(progress.stage) if progress.stage in STAGES else 0
        marks = ("past" if number < at else "now" if number == at else "" for number in range(len(STAGES)))
        items = "".join(f'<li class="{mark}">{name}</li>' for name, mark in zip(STAGES, marks, strict=True))
        return f'<ol class="stages" role="status" aria-label="Progress: {escape(STAGES[at])}">{items}</ol>'
    if job.state is State.STOPPED:
        return _banner("Stopped. What was written so far is unchecked and not kept as a draft.")
    return _banner(job.message or "The draft could not be finished. Ask for it once more.", bad=True)


def _written_so_far(progress: Progress) -> str:
    """The answer while it is being written: readable, and marked as unchecked."""
    known = partial_json(progress.answer)
    parts: list[str] = []
    names = [name for name in known.get("differential") or [] if isinstance(name, str)]
    if names:
        parts.append(f"<h3>Differential</h3><ol>{''.join(f'<li>{escape(readable(name))}</li>' for name in names)}</ol>")
    for section in ("findings", "impression"):
        sentences = [each for each in known.get(section) or [] if isinstance(each, str)]
        if sentences:
            lines = "".join(_sentence(each, "unchecked", progress.links) for each in sentences)
            parts.append(f"<h3>{section} <small>(not yet checked)</small></h3>{lines}")
    return "".join(parts)


def _finished(result: Mapping[str, Any]) -> str:
    located = [(item["diagnosis"], item.get("spot")) for item in result["differential"]]
    located += [(item["name"], item.get("spot")) for item in result["findings"]]
    links = case_links(result["cases"]) | place_links(located)
    return "".join(
        (
            _badges(result),
            _out_of_distribution(result),
            _reasoning(result["reasoning"], links),
            _differential(result, links),
            _findings(result, links),
            _referral(result),
            _report(result, links),
            _cases(result, links),
            _not_assessed(result),
            _provenance(result),
            f"<p class='legend'>{escape(NOTICE)}</p>",
            f"<pre data-plain hidden>{escape(plain_text(result))}</pre>",
        )
    )


def _badges(result: Mapping[str, Any]) -> str:
    level, reason = escape(result["priority"]), escape(result["priority_reason"])
    return (
        f'<div class="badges"><span class="badge {level}">Priority: {level}</span>'
        f'<span class="badge state">Draft, not reviewed</span></div><p class="legend">{reason}</p>'
    )


def _out_of_distribution(result: Mapping[str, Any]) -> str:
    found = result["out_of_distribution"]
    if not found.get("flagged"):
        return ""
    reason = found.get("reason") or "These images lie outside what the model was trained on, so it gives no diagnosis."
    return _banner(f"Not diagnosed. {reason} Technique and intake are below; read the images yourself.", bad=True)


def _reasoning(steps: Iterable[str], links: Mapping[str, str]) -> str:
    lines = [re.sub(r"^\d+\.\s*", "", step) for step in steps if step.strip()]
    if not lines:
        return ""
    items = "".join(f"<li>{_tagged(line, links)}</li>" for line in lines)
    count = f"{len(lines)} step{'s' if len(lines) > 1 else ''}"
    return f'<details id="draft-reasoning"><summary id="draft-reasoning-summary">Reasoning ({count})</summary><ol>{items}</ol></details>'


def _differential(result: Mapping[str, Any], links: Mapping[str, str]) -> str:
    items = result["differential"]
    if not items:
        flagged = result["out_of_distribution"].get("flagged")
        return "" if flagged else "<h3>Differential</h3><p>No diagnosis of the taxonomy is suggested.</p>"
    rows = "".join(
        f'<tr><td class="number">{rank}</td><td>{escape(readable(item["diagnosis"]))}</td>'
        f'<td class="number">{_chance(item["probability"], item["score"])}</td>'
        f"<td>{_tags(item['evidence'], links)}{_note(item.get('note'))}</td></tr>"
        for rank, item in enumerate(items, 1)
    )
    return f"<h3>Differential</h3><table><tr><th></th><th>diagnosis</th><th>probability or score</th><th>evidence</th></tr>{rows}</table>"


def _note(note: str | None) -> str:
    return f'<div class="legend">{escape(note)}</div>' if note else ""


def _chance(probability: float | None, score: float | None) -> str:
    if probability is None:
        return "" if score is None else f"{score:+.2f} relative to threshold, not calibrated"
    percent = round(100 * probability)
    return f'<span class="chance"><i style="width:{percent}%"></i></span>{percent} %'


def _findings(result: Mapping[str, Any], links: Mapping[str, str]) -> str:
    if not result["findings"]:
        return ""
    lines = []
    for item in result["findings"]:
        where = " ".join(part for part in (item["side"], item["region"]) if part)
        placed = f" <span class='legend'>{escape(where)}</span>" if where else ""
        doubt = " <span class='legend'>possible</span>" if item.get("possible") else ""
        lines.append(f"<li>{escape(readable(item['name']))}{doubt}{placed} {_tags(item['evidence'], links)}</li>")
    return f"<h3>What was found</h3><ul>{''.join(lines)}</ul>"


def _referral(result: Mapping[str, Any]) -> str:
    if not result["referral"]:
        return ""
    cards = "".join(
        f'<div class="referral"><strong>{escape(readable(item["specialty"]))}</strong> · {escape(item["urgency"])}'
        f"<br>{escape(item['reason'])}<small>rule {escape(item['rule'])}</small></div>"
        for item in result["referral"]
    )
    return f"<h3>Suggested referral</h3>{cards}"


def _report(result: Mapping[str, Any], links: Mapping[str, str]) -> str:
    claims: dict[str, list[Mapping[str, Any]]] = {}
    for claim in result["claims"]:
        claims.setdefault(claim["section"], []).append(claim)
    parts = []
    for section in SECTIONS:
        if section in claims:
            body = "".join(_sentence(each["text"], each["status"], links, each) for each in claims[section])
        else:
            body = f"<p>{escape(result['report'].get(section) or 'not given')}</p>"
        parts.append(f"<h3>{section}</h3>{body}")
    legend = " ".join(f"<b>{MARKS[status]}</b> {meaning}" for status, meaning in MEANINGS.items())
    return f"<h2>Report</h2><p class='legend'>{legend}</p>{''.join(parts)}"


def _sentence(text: str, status: str, links: Mapping[str, str], claim: Mapping[str, Any] | None = None) -> str:
    inline = set(TAG.findall(text))
    more = [] if claim is None else [tag for tag in (*claim["evidence"], *_ranks(claim["citations"], links)) if tag not in inline]
    why = f'<span class="why">{escape(claim["reason"])}</span>' if claim is not None and claim.get("reason") else ""
    meaning = MEANINGS.get(status, "not yet checked")
    mark = f'<span class="mark" role="img" aria-label="{meaning}" title="{meaning}">{MARKS.get(status, "?")}</span>'
    return f'<span class="sentence {escape(status)}">{mark}{_tagged(text, links)} {_tags(more, links)}{why}</span>'


def _ranks(cases: Iterable[str], links: Mapping[str, str]) -> list[str]:
    """Case ids as the tags that name them."""
    tags = {target: tag for tag, target in links.items()}
    return [tags[target] for case in cases if (target := f"#case-{quote(case, safe='')}") in tags]


def _cases(result: Mapping[str, Any], links: Mapping[str, str]) -> str:
    if not result["cases"]:
        flagged = result["out_of_distribution"].get("flagged")
        return "" if flagged else "<h3>Similar cases</h3><p>No case in the index is similar enough to cite.</p>"
    lines = []
    for rank, case in enumerate(result["cases"], 1):
        names = ", ".join(readable(name) for name in case["diagnoses"]) or "normal"
        alike = "" if case["similarity"] is None else f" <span class='legend'>similarity {case['similarity']:.2f}</span>"
        lines.append(f"<li>{_tag(f'C{rank}', links)} {escape(names)} <span class='legend'>{escape(case['id'])}</span>{alike}</li>")
    return f"<h3>Similar cases</h3><ul>{''.join(lines)}</ul>"


def _not_assessed(result: Mapping[str, Any]) -> str:
    left = result["not_assessed"]
    if not left:
        return ""
    items = "".join(f"<li>{escape(readable(item['name']))}: {escape(item['reason'])}</li>" for item in left)
    return f'<details id="draft-left"><summary id="draft-left-summary">Not assessed ({len(left)})</summary><ul>{items}</ul></details>'


def _provenance(result: Mapping[str, Any]) -> str:
    items = "".join(f"<li>{escape(name)}: {escape(str(value))}</li>" for name, value in result["provenance"].items())
    return f'<details id="draft-made"><summary id="draft-made-summary">How this draft was made</summary><ul>{items}</ul></details>'


def _banner(text: str, *, bad: bool = False) -> str:
    return f'<div class="banner {"bad" if bad else ""}" role="status">{escape(text)}</div>'


def _tagged(text: str, links: Mapping[str, str]) -> str:
    """A sentence with its tags as chips."""
    pieces = TAG.split(text)
    return "".join(_tag(piece, links) if number % 2 else escape(piece) for number, piece in enumerate(pieces))


def _tags(tags: Iterable[str], links: Mapping[str, str]) -> str:
    return " ".join(_tag(tag, links) for tag in tags)


def _tag(tag: str, links: Mapping[str, str]) -> str:
    shown = escape(readable(tag))
    if tag.startswith("L:") and tag in links:
        return f'<button type="button" class="tag" data-opens="{links[tag]}" title="Show this place in the images">{shown}</button>'
    if tag in links:
        return f'<a class="tag" href="{links[tag]}" title="Open the cited case beside the study">{shown}</a>'
    if tag.startswith("S:"):
        return f'<a class="tag" href="#sequence-{quote(tag[2:], safe="")}" title="Show this sequence">{shown}</a>'
    return f'<span class="tag">{shown}</span>'
