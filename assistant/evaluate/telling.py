"""An evaluation as a person reads it: the result and its controls in one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assistant.evaluate.evaluation import Control, Evaluation
from assistant.evaluate.intervals import Estimate
from assistant.evaluate.worklist import DISCIPLINES, Simulation


def told(result: Evaluation) -> str:
    """The whole evaluation, controls before details."""
    flagged = f"{result.flagged} of them out of distribution" if result.flagged else "none of them out of distribution"
    lines = [f"{result.task.upper()}  {result.studies} studies, {flagged}; encoder {result.encoder[:12]}; intervals 95 %", ""]
    lines += _headline(result)
    lines += ["", *_names(result.by_name)]
    lines += ["", *_subgroups(result)]
    if result.ablations:
        lines += ["", "LEFT OUT (same studies; difference to the whole)"]
        rows = []
        for name, ablation in result.ablations.items():
            rows += [
                [name, measure, str(ablation.studies), _figure(figure), _figure(ablation.difference[measure], sign=True)]
                for measure, figure in ablation.figures.items()
            ]
        lines += _columns([["", "measure", "studies", "value", "difference"], *rows])
    lines += [""] if result.details else []
    lines += [f"{name.replace('_', ' ')}: {_short(value)}" for name, value in result.details.items() if name != "reliability"]
    for title, pairs in (("NOT ASSESSED", result.not_assessed), ("SKIPPED", result.skipped)):
        lines += ["", title, *(f"  {name}: {reason}" for name, reason in pairs)] if pairs else []
    return "\n".join([*lines, "", result.notice])


def told_worklist(result: Simulation) -> str:
    """Waiting times by subgroup and discipline."""
    lines = [
        f"WORKLIST  {result.runs} runs of {result.studies:.0f} studies; minutes until read; intervals: 95 % of runs",
        "",
    ]
    for title, which in (("MEAN WAIT OF URGENT STUDIES", "mean"), ("NINE IN TEN URGENT STUDIES WAIT LESS THAN", "ninetieth")):
        rows = [["", "a run", *DISCIPLINES]]
        for row in result.waiting:
            figures: Mapping[str, Estimate] = getattr(row, which)
            name = row.subgroup if row.axis == row.subgroup else f"{row.axis}: {row.subgroup}"
            rows.append([name, f"{row.studies:.0f}", *(_minutes(figures[discipline]) for discipline in DISCIPLINES)])
        if which == "mean":
            rows.append(["all that are not urgent", "", *(_minutes(result.others[discipline]) for discipline in DISCIPLINES)])
        lines += [title, *_columns(rows), ""]
    saved = [["SAVED BY PREDICTED PRIORITY", "minutes"]] + [[f"{row.axis}: {row.subgroup}", _minutes(row.saved)] for row in result.waiting]
    return "\n".join(
        [*lines, *_columns(saved), "", f"Order: {', '.join(result.order)}. Simulated; assumptions: assistant/evaluate/worklist.py."]
    )


def _headline(result: Evaluation) -> list[str]:
    """The result with its controls, in one table: neither stands without the other."""
    measures = list(result.headline)
    controls: dict[str, Control] = {
        "control: noise images": result.controls.noise,
        "control: another patient's images": result.controls.swapped,
        "control: images of normal studies": result.controls.normal,
        "floor: everything but the voxels": result.controls.floor,
    }
    rows = [["", "studies", *measures, ""], ["RESULT", str(result.studies), *(_figure(figure) for figure in result.headline.values()), ""]]
    for name, control in controls.items():
        mark = "ABOVE CHANCE" if control.above_chance else ""
        rows.append([name, str(control.studies), *(_figure(control.figures[measure]) for measure in measures), mark])
    if result.above_floor:
        rows.append(["result less floor", "", *(_figure(result.above_floor[measure], sign=True) for measure in measures), ""])
    chance = ", ".join(f"{name} {value:g}" for name, value in result.controls.noise.chance.items())
    return [*_columns(rows), f"by chance: {chance}"]


def _names(by_name: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """One row a name; names without any figure share one line a reason."""
    rows: list[list[str]] = []
    silent: dict[str, list[str]] = {}
    for name, figures in by_name.items():
        if all(figure.value is None for figure in figures.values()):
            silent.setdefault(next(iter(figures.values())).reason or "", []).append(name)
            continue
        positives = next((figure.positives for figure in figures.values() if figure.positives is not None), None)
        rows.append([name, "" if positives is None else str(positives), "  ".join(f"{m} {_figure(f)}" for m, f in figures.items())])
    lines = _columns([["BY NAME", "positive", ""], *rows])
    return lines + [f"not computed ({reason}): {', '.join(names)}" for reason, names in silent.items()]


def _subgroups(result: Evaluation) -> list[str]:
    found = result.subgroups
    lines = ["SUBGROUPS (gap = inside less outside, beyond the mix of diagnoses; intervals hold for all of them together)"]
    rows = [["", "measure", "studies", "inside", "outside", "gap", ""]]
    single = [gap for gap in found.gaps if " x " not in gap.axis or gap.flagged]
    for gap in single:
        around = f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        mark = "DIFFERS" if gap.flagged else ""
        rows.append([f"{gap.axis}: {gap.group}", gap.measure, str(gap.studies), _figure(gap.inside), f"{gap.outside:.3f}", around, mark])
    lines += _columns(rows)
    if more := len(found.gaps) - len(single):
        lines.append(f"and {more} of intersections, none of which differs (--json lists them)")
    if found.largest:
        gap = found.largest
        verdict = "differs" if gap.flagged else "may be chance"
        lines.append(
            f"largest for its error: {gap.measure}, {gap.axis}: {gap.group}, {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]: {verdict}"
        )
    return lines + [f"not compared: {axis} ({reason})" for axis, reason in found.passed_over]


def _figure(figure: Estimate, sign: bool = False) -> str:
    if figure.value is None:
        return f"not computed ({figure.reason})"
    form = "{:+.3f} [{:+.3f}, {:+.3f}]" if sign else "{:.3f} [{:.3f}, {:.3f}]"
    return form.format(figure.value, figure.low, figure.high)


def _minutes(figure: Estimate) -> str:
    return f"{figure.value:.0f} [{figure.low:.0f}, {figure.high:.0f}]"


def _short(value: object) -> str:
    if isinstance(value, list | tuple) and value and not isinstance(value[0], list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
