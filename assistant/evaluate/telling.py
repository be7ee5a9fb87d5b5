"""An evaluation as a person reads it: the result and its controls in one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from assistant.evaluate.evaluation import Beside, Control, Evaluation
from assistant.evaluate.intervals import Estimate
from assistant.evaluate.probe import Probe
from assistant.evaluate.retrieval import NEIGHBOURS, Retrieval, Search
from assistant.evaluate.worklist import DISCIPLINES, EVERYONE, Simulation

NONE = "not computed"


def told(result: Evaluation) -> str:
    """The whole evaluation, controls before details."""
    flagged = f"{result.flagged} of them out of distribution" if result.flagged else "none of them out of distribution"
    lines = [f"{result.task.upper()}  {result.studies} studies, {flagged}; encoder {result.encoder[:12]}; intervals 95 %", ""]
    lines += [*_headline(result), "", *_names(result.by_name), *_subgroups(result), ""]
    lines += [*_ablations(result), ""] if result.ablations else []
    lines += [*_beside(result.beside), ""] if result.beside else []
    lines += [f"{name.replace('_', ' ')}: {_short(value)}" for name, value in result.details.items() if name != "reliability"]
    for title, pairs in (("NOT ASSESSED", result.not_assessed), ("SKIPPED", result.skipped)):
        lines += ["", title, *(f"  {name}: {reason}" for name, reason in pairs)] if pairs else []
    return "\n".join([*lines, "", result.notice])


def told_worklist(result: Simulation) -> str:
    """Waiting times by subgroup and discipline."""
    lines = [f"WORKLIST  {result.runs} runs of {result.studies:.0f} studies; minutes until read; intervals: 95 % of runs", ""]
    for title, which in (("MEAN WAIT OF URGENT STUDIES", "mean"), ("NINE IN TEN URGENT STUDIES WAIT LESS THAN", "ninetieth")):
        rows = [[title, "a run", *DISCIPLINES]]
        for row in result.waiting:
            figures: Mapping[str, Estimate] = getattr(row, which)
            rows.append([_place(row.axis, row.subgroup), f"{row.studies:.0f}", *(_form(figures[name], "{:.0f}") for name in DISCIPLINES)])
        if which == "mean":
            rows.append(["(all that are not urgent)", "", *(_form(result.others[name], "{:.0f}") for name in DISCIPLINES)])
        lines += [*_columns(rows), ""]
    rows = [[_place(row.axis, row.subgroup), _form(row.saved, "{:.0f}")] for row in result.waiting]
    lines += _columns([["SAVED BY PREDICTED PRIORITY", "minutes"], *rows])
    return "\n".join([*lines, "", f"Order: {', '.join(result.order)}. Simulated; assumptions: assistant/evaluate/worklist.py."])


def told_retrieval(result: Retrieval) -> str:
    """Both searches, each in one table with its floors."""
    lines = [f"RETRIEVAL  {result.studies} studies; encoder {result.encoder[:12]}; intervals 95 %", ""]
    if result.reports is None:
        lines += [f"OWN REPORT: not searched for: {result.no_reports}", ""]
    else:
        lines += [*_search(f"OWN REPORT AMONG {result.reports.among} ({result.distinct} different)", result.reports), ""]
    title = f"STUDIES LIKE IT: share of {NEIGHBOURS} neighbours with a diagnosis in common (labels {result.labels})"
    lines += _search(title, result.studies_alike)
    lines += ["", "SKIPPED", *(f"  {name}: {reason}" for name, reason in result.skipped)] if result.skipped else []
    return "\n".join([*lines, "", result.notice])


def told_probe(result: Probe) -> str:
    """The figures with their floors, in one table."""
    classes = f"; {', '.join(f'{name} {count}' for name, count in result.counts.items())}" if result.counts else ""
    lines = [
        f"PROBE  {result.column} ({result.kind}{classes})",
        f"{result.method} on {result.features} features of {result.studies} studies of {result.patients} patients; "
        f"encoder {result.encoder[:12]}; out of fold, intervals 95 %",
        "",
    ]
    rows = [["", "studies", *result.figures, ""], ["RESULT", str(result.studies), *map(_form, result.figures.values()), ""]]
    for name, floor in result.floors.items():
        mark = "ABOVE CHANCE" if floor.better_than_chance else ""
        rows.append([f"floor: {name}", str(floor.studies), *(_form(floor.figures[measure]) for measure in result.figures), mark])
    rows.append(["result less no features", "", *(_form(result.less[measure], "{:+.3f}") for measure in result.figures), ""])
    penalties = ", ".join(f"{penalty:g}" for penalty in result.penalties)
    lines += [*_columns(rows), f"penalties chosen inside the folds: {penalties}; studies without a cell, left out: {result.left_out}"]
    lines += ["", "SKIPPED", *(f"  {name}: {reason}" for name, reason in result.skipped)] if result.skipped else []
    return "\n".join([*lines, "", result.notice])


def _search(title: str, found: Search) -> list[str]:
    rows = [["", "studies", *found.figures, ""], ["RESULT", str(found.studies), *map(_form, found.figures.values()), ""]]
    rows.append(["floor: random order", "", *(f"{found.chance[name]:.3f}" for name in found.figures), ""])
    for name, floor in found.floors.items():
        mark = "ABOVE CHANCE" if floor.above_chance else ""
        rows.append([f"floor: {name}", str(floor.studies), *(_form(floor.figures[measure]) for measure in found.figures), mark])
    for name, less in found.less_floor.items():
        rows.append([f"result less {name}", "", *(_form(less[measure], "{:+.3f}") for measure in found.figures), ""])
    return [title, *_columns(rows)]


def _headline(result: Evaluation) -> list[str]:
    """The result with its controls, in one table: neither stands without the other."""
    controls: dict[str, Control] = {
        "control: noise images": result.controls.noise,
        "control: another patient's images": result.controls.swapped,
        "control: images of normal studies": result.controls.normal,
        "floor: everything but the voxels": result.controls.floor,
    }
    rows = [["", "studies", *result.headline, ""], ["RESULT", str(result.studies), *map(_form, result.headline.values()), ""]]
    for name, control in controls.items():
        mark = "ABOVE CHANCE" if control.above_chance else ""
        rows.append([name, str(control.studies), *(_form(control.figures[measure]) for measure in result.headline), mark])
    if result.above_floor:
        rows.append(["result less floor", "", *(_form(result.above_floor[measure], "{:+.3f}") for measure in result.headline), ""])
    chance = ", ".join(f"{name} {value:g}" for name, value in result.controls.noise.chance.items())
    figures = {name: figure for name, control in controls.items() for figure in control.figures.values()}
    return [*_columns(rows), f"by chance: {chance}", *_reasons(figures.items())]


def _names(by_name: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """A table for each set of metrics, one row a name; names without any figure only in the reasons."""
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for name, figures in by_name.items():
        if any(figure.value is not None for figure in figures.values()):
            counted = [figure.positives for figure in figures.values() if figure.positives is not None]
            row = [name, str(counted[0]) if counted else "", *(_form(figure, "{:.2f}") for figure in figures.values())]
            tables.setdefault(tuple(figures), []).append(row)
    lines = [line for metrics, rows in tables.items() for line in (*_columns([["BY NAME", "positive", *metrics], *rows]), "")]
    missing = [(name, figure) for name, figures in by_name.items() for figure in figures.values()]
    return lines[:-1] + _reasons(missing) + [""]


def _subgroups(result: Evaluation) -> list[str]:
    found = result.subgroups
    shown = [gap for gap in found.gaps if " x " not in gap.axis or gap.flagged]
    rows = [["SUBGROUPS", "measure", "studies", "inside", "outside", "gap beyond the mix of diagnoses", ""]]
    for gap in shown:
        around = f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        mark = "DIFFERS" if gap.flagged else ""
        place = _place(gap.axis, gap.group)
        rows.append([place, gap.measure, str(gap.studies), _form(gap.inside), f"{gap.outside:.3f}", around, mark])
    lines = [*_columns(rows), "(the intervals of the gaps hold for all of them together)"] if found.gaps else []
    if more := len(found.gaps) - len(shown):
        lines.append(f"and {more} of intersections, none of which differs (--json lists them)")
    if most := found.largest:
        verdict = "differs" if most.flagged else "may be chance"
        where = f"{most.measure}, {_place(most.axis, most.group)}"
        lines.append(f"largest for its error: {where}, {most.value:+.3f} [{most.low:+.3f}, {most.high:+.3f}]: {verdict}")
    return lines + [f"not compared: {axis} ({reason})" for axis, reason in found.passed_over]


def _ablations(result: Evaluation) -> list[str]:
    rows = [["LEFT OUT (on the same studies)", "studies", *(title for measure in result.headline for title in (measure, "difference"))]]
    for name, ablation in result.ablations.items():
        pairs = [(ablation.figures[measure], ablation.difference[measure]) for measure in result.headline]
        rows.append([name, str(ablation.studies), *(cell for left, less in pairs for cell in (_form(left), _form(less, "{:+.3f}")))])
    reasons = [(name, figure) for name, ablation in result.ablations.items() for figure in ablation.figures.values()]
    return [*_columns(rows), *_reasons(reasons)]


def _beside(other: Beside) -> list[str]:
    """Another encoder's figures and what they are more or less, paired; the names whose interval leaves out 0."""
    rows = [[f"BESIDE (encoder {other.encoder[:12]}, {other.studies} studies)", "this", "beside", "difference"]]
    rows += [
        [name, _form(other.own[name]), _form(other.figures[name]), _form(figure, "{:+.3f}")] for name, figure in other.difference.items()
    ]
    lines = _columns(rows)
    told_apart = {n: f for n, f in other.by_name.items() if f.low is not None and f.high is not None and (f.low > 0 or f.high < 0)}
    said = ", ".join(f"{name} {_form(figure, '{:+.3f}')}" for name, figure in told_apart.items())
    return [*lines, f"AUROC of single names, {len(other.by_name)} compared, interval without 0: {said or 'none'}"]


def _reasons(figures: Iterable[tuple[str, Estimate]]) -> list[str]:
    """Why some are not computed, one line a reason."""
    why: dict[str, dict[str, None]] = {}
    for name, figure in figures:
        if figure.value is None:
            why.setdefault(figure.reason or "", {})[name] = None
    return [f"{NONE} ({reason}): {', '.join(names)}" for reason, names in why.items()]


def _form(figure: Estimate, number: str = "{:.3f}") -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return NONE
    return f"{number.format(figure.value)} [{number.format(figure.low)}, {number.format(figure.high)}]"


def _place(axis: str, group: str) -> str:
    return group if axis == EVERYONE else f"{axis}: {group}"


def _short(value: object) -> str:
    if isinstance(value, list | tuple) and not (value and isinstance(value[0], list | tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
