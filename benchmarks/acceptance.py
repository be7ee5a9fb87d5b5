"""What the README claims of the shipped, simulated-data weights, measured on phantoms of a seed never used in training.

    python benchmarks/acceptance.py --seed 90210 --studies 100 --data DIR --out benchmarks/results/acceptance.json

Sections can be named to run only those: report image language outliers sides cold real.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import phantom
from assistant.assistant import Assistant
from assistant.errors import DraftError
from assistant.llm import WEIGHTS, LanguageModel
from assistant.result import Finished, Result
from assistant.train.studies import as_study
from encoder.features import OPERATING_POINT
from encoder.reading import read_study
from encoder.study import Acquisition, Series, Study, Weighting
from prompts import diagnoses

FOCAL = (
    "high_grade_glioma",
    "low_grade_glioma",
    "brain_metastasis",
    "meningioma",
    "brain_abscess",
    "intracranial_hemorrhage",
    "schwannoma",
)
REAL = ("nifti_tumour_TCGA-FG-6692", "nifti_ms_patient20", "philips_elitionx_brain_multiseries")
PRIMA = [sys.executable, "-m", "assistant"]


def draft(assistant: Assistant, study: Study, **how: Any) -> Result:
    """The checked result of one study."""
    for event in assistant.report(study, **how):
        if isinstance(event, Finished):
            return event.result
    raise RuntimeError("the run ended without a result")


def written(seeds: range, folder: Path) -> Iterator[tuple[phantom.Phantom, Study]]:
    """Phantoms through their files: written as DICOM, read back."""
    for seed in seeds:
        p = phantom.sample(seed)
        yield p, read_study(phantom.write(p, folder))


def ranks(result: Result, main: str) -> int:
    """Rank of a diagnosis in the differential, 0 where it is not there."""
    found = [item.diagnosis for item in result.differential]
    return found.index(main) + 1 if main in found else 0


def report(assistant: Assistant, seed: int, studies: int) -> dict[str, Any]:
    """Main diagnosis first and in the first three, citations, what is not assessed, priority, and DWI taken away."""
    first, three, normal, cited, named, heads, dwi, seconds, priorities = [], [], [], [], [], [], [], [], []
    per: dict[str, list[int]] = {}
    silent = set(diagnoses.load()) - assistant.encoder.trained_heads
    with tempfile.TemporaryDirectory() as folder:
        for p, study in written(range(seed, seed + studies), Path(folder)):
            began = time.monotonic()
            result = draft(assistant, study)
            seconds.append(time.monotonic() - began)
            whole = json.loads(json.dumps(result.to_json(), default=str))
            truth = phantom.truth(p)
            if truth.diagnoses:
                rank = ranks(result, truth.diagnoses[0])
                first.append(rank == 1)
                three.append(1 <= rank <= 3)
                per.setdefault(truth.diagnoses[0], []).append(rank)
            else:
                normal.append(not any((item.probability or 0.0) >= OPERATING_POINT for item in result.differential))
            retrieved = {case["id"] for case in whole["cases"]}
            cited += [c in retrieved for claim in whole["claims"] for c in claim["citations"]]
            named.append(sum(len(claim["citations"]) for claim in whole["claims"]))
            heads.append(silent <= {left.name for left in result.not_assessed})
            priorities.append((str(result.priority), truth.priority))
            if "large_vessel_stroke" in truth.diagnoses:
                without = replace(study, series=tuple(s for s in study.series if s.weighting not in (Weighting.DWI, Weighting.ADC)))
                dwi.append("large_vessel_stroke" in {left.name for left in draft(assistant, without).not_assessed})
    return {
        "studies": studies,
        "first": float(np.mean(first)),
        "in_first_three": float(np.mean(three)),
        "abnormal": len(first),
        "normal_without_a_positive_diagnosis": float(np.mean(normal)) if normal else None,
        "normal": len(normal),
        "citations_of_retrieved_cases": float(np.mean(cited)) if cited else None,
        "citations_a_study": float(np.mean(named)),
        "untrained_heads_all_not_assessed": float(np.mean(heads)),
        "stroke_not_assessed_without_dwi": float(np.mean(dwi)) if dwi else None,
        "strokes": len(dwi),
        "seconds_a_study": float(np.median(seconds)),
        "rank_by_diagnosis": {name: {"n": len(r), "first": float(np.mean([x == 1 for x in r]))} for name, r in sorted(per.items())},
        "priority_exact": float(np.mean([a == b for a, b in priorities])),
        "normal_studies_medium_or_high": float(np.mean([a in ("medium", "high") for a, b in priorities if b == "none"] or [0])),
    }


def image(assistant: Assistant, seed: int, pairs: int) -> dict[str, Any]:
    """Voxels of A with everything else of B; and noise in place of voxels, the gate bypassed."""
    follows_a, follows_b, noise = [], [], []
    abnormal = [s for s in range(seed, seed + 6 * pairs) if phantom.truth(phantom.sample(s)).diagnoses]
    for a, b in zip(abnormal[:pairs], abnormal[pairs:], strict=False):
        truth_a, truth_b = (phantom.truth(phantom.sample(s)).diagnoses[0] for s in (a, b))
        if truth_a == truth_b:
            continue
        one, other = as_study(phantom.sample(a)), as_study(phantom.sample(b))
        named = [other.series[k % len(other.series)].name for k in range(len(one.series))]
        mixed = replace(one, series=tuple(replace(s, name=n) for s, n in zip(one.series, named, strict=True)), context=other.context)
        top = [item.diagnosis for item in draft(assistant, mixed).differential][:1]
        follows_a.append(top == [truth_a])
        follows_b.append(top == [truth_b])
        rng = np.random.default_rng(a)
        blank = tuple(replace(s, voxels=np.abs(rng.normal(300, 120, s.voxels.shape)).astype(np.int16)) for s in one.series)
        top = [i.diagnosis for i in draft(assistant, replace(one, series=blank), hide=frozenset({"gate"})).differential][:1]
        noise.append(top == [truth_a])
    kinds = len({phantom.truth(phantom.sample(s)).diagnoses[0] for s in abnormal})
    return {
        "pairs": len(follows_a),
        "follows_voxels": float(np.mean(follows_a)),
        "follows_the_rest": float(np.mean(follows_b)),
        "noise_right": float(np.mean(noise)),
        "chance": 1 / kinds,
    }


def language(assistant: Assistant, seed: int, studies: int) -> dict[str, Any]:
    """The model's own first diagnosis with scores, cases and places hidden: soft prompt alone, adapter on and off."""
    bare = replace(assistant, llm=LanguageModel.open(str(WEIGHTS / "lm")))
    seeds = [s for s in range(seed, seed + 3 * studies) if phantom.truth(phantom.sample(s)).diagnoses][:studies]
    truths = [phantom.truth(phantom.sample(s)).diagnoses[0] for s in seeds]
    told = [(own_first(assistant, study), own_first(bare, study)) for study in (as_study(phantom.sample(s)) for s in seeds)]
    return {
        "studies": len(seeds),
        "soft_prompt_alone": float(np.mean([on == truth for (on, _), truth in zip(told, truths, strict=True)])),
        "adapter_off": float(np.mean([off == truth for (_, off), truth in zip(told, truths, strict=True)])),
        "readable_with_adapter_off": float(np.mean([off is not None for _, off in told])),
        "chance": 1 / len(set(truths)),
        "most_frequent": max(truths.count(t) for t in set(truths)) / len(truths),
    }


def own_first(assistant: Assistant, study: Study) -> str | None:
    """The first diagnosis of the model's own list, "" for an empty one, None for an unreadable draft."""
    try:
        found = draft(assistant, study, hide=frozenset({"scores", "cases", "gate"})).differential
    except DraftError:
        return None
    return found[0].diagnosis if found else ""


def outliers(assistant: Assistant, seed: int, studies: int) -> dict[str, Any]:
    """Share of unseen phantoms flagged: as DICOM, as NIfTI, and without names and tags."""
    flagged: dict[str, list[bool]] = {"dicom": [], "nifti": [], "stripped": []}
    with tempfile.TemporaryDirectory() as folder:
        for s in range(seed, seed + studies):
            p = phantom.sample(s)
            forms: dict[str, Callable[[], Study]] = {
                "dicom": lambda p=p: read_study(phantom.write(p, Path(folder) / "dicom")),  # type: ignore[misc]
                "nifti": lambda p=p: read_study(phantom.write_nifti(p, Path(folder) / "nifti")),  # type: ignore[misc]
                "stripped": lambda p=p: stripped(as_study(p)),  # type: ignore[misc]
            }
            for form, make in forms.items():
                flagged[form].append(bool(assistant.encoder.encode(make()).out_of_distribution.flagged))  # type: ignore[union-attr]
    return {"studies": studies} | {form: float(np.mean(values)) for form, values in flagged.items()}


def stripped(study: Study) -> Study:
    """The same voxels without a word about them."""
    bare = tuple(replace(s, name=f"UNK-{k}", weighting=Weighting.UNKNOWN, acquisition=Acquisition()) for k, s in enumerate(study.series))
    return replace(study, series=bare, context=replace(study.context, description=None, indication=None, age=None, sex=None))


def sides(assistant: Assistant, seed: int, studies: int) -> dict[str, Any]:
    """Reported side of focal lesions, and of their anatomical mirror images.

    right: under the lesion's own name, a lesion that is not reported counting as wrong. right_where_reported: without those.
    right_of_first: of whatever located diagnosis stands first, which may have another name.
    """
    right: dict[bool, list[dict[str, bool | None]]] = {False: [], True: []}
    s = seed
    while len(right[True]) < studies:
        name = FOCAL[s % len(FOCAL)]
        truth = {f.name: f.side for f in phantom.truth(phantom.sample(s, diagnosis=name)).findings}
        if truth.get(name) in ("left", "right"):
            for mirror in (False, True):
                p = phantom.sample(s, diagnosis=name, mirror=mirror)
                wanted = {f.name: f.side for f in phantom.truth(p).findings}[name]
                result = draft(assistant, as_study(p))
                told = {f.name: f.side for f in result.findings if f.side}
                first = next((told[item.diagnosis] for item in result.differential if item.diagnosis in told), None)
                reported = told[name] == wanted if name in told else None
                right[mirror].append({"own": reported, "first": first == wanted})
        s += 1
    return {"studies": studies, "anatomical": _sides(right[False]), "mirrored": _sides(right[True])}


def _sides(found: list[dict[str, bool | None]]) -> dict[str, float]:
    reported = [one["own"] for one in found if one["own"] is not None]
    return {
        "right": float(np.mean([one["own"] is True for one in found])),
        "reported": len(reported),
        "right_where_reported": float(np.mean(reported)),
        "right_of_first": float(np.mean([bool(one["first"]) for one in found])),
    }


def cold(_: Assistant, seed: int, __: int) -> dict[str, Any]:
    """One study from a cold start in a process of its own; and `prima --help`."""
    with tempfile.TemporaryDirectory() as folder:
        path = phantom.write(phantom.sample(seed), Path(folder))
        began = time.monotonic()
        done = subprocess.run([*PRIMA, "report", str(path), "--json"], capture_output=True, text=True, check=True)
        seconds = time.monotonic() - began
        json.loads(done.stdout)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    began = time.monotonic()
    subprocess.run([*PRIMA, "--help"], capture_output=True, check=True)
    return {"report_seconds": seconds, "report_gib": memory, "help_seconds": time.monotonic() - began}


def real(assistant: Assistant, _: int, __: int, data: Path | None = None) -> dict[str, Any]:
    """Real scans: refused as out of distribution, also under a phantom's tags. No image of them leaves this function."""
    found = {}
    for name in REAL:
        began = time.monotonic()
        study = read_study((data or Path()) / name)
        result = draft(assistant, study)
        dressed = replace(study, series=tuple(_dressed(s) for s in study.series))
        again = assistant.encoder.encode(dressed).out_of_distribution
        found[name] = {
            "seconds": time.monotonic() - began,
            "used": len(result.used),
            "excluded": len(result.excluded),
            "flagged": result.out_of_distribution["flagged"],
            "distance_over_threshold": result.out_of_distribution["score"] / result.out_of_distribution["threshold"],
            "flagged_under_phantom_tags": bool(again and again.flagged),
            "differential_empty": not result.differential,
            "priority": str(result.priority),
        }
    return found


def _dressed(series: Series) -> Series:
    return replace(series, name="AX_FLAIR", weighting=Weighting.FLAIR, acquisition=Acquisition(tr=9000, te=120, ti=2500))


SECTIONS: dict[str, tuple[Callable[..., dict[str, Any]], int]] = {
    "report": (report, 100),
    "image": (image, 40),
    "language": (language, 60),
    "outliers": (outliers, 60),
    "sides": (sides, 30),
    "cold": (cold, 1),
    "real": (real, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS))
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--studies", type=int, help="fewer or more studies a section")
    parser.add_argument("--data", type=Path, default=os.environ.get("PRIMA_TEST_DATA"), help="folder of real scans for `real`")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    assistant = Assistant.open(None, None, None, None)
    results: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    for name in asked.sections or SECTIONS:
        run, size = SECTIONS[name]
        if name == "real" and not asked.data:
            print("real: skipped, no --data", file=sys.stderr)
            continue
        extra = {"data": Path(asked.data)} if name == "real" else {}
        results[name] = {"seed": asked.seed, **run(assistant, asked.seed, asked.studies or size, **extra)}
        print(json.dumps({name: results[name]}, indent=1), flush=True)
        if asked.out:
            asked.out.parent.mkdir(parents=True, exist_ok=True)
            asked.out.write_text(json.dumps({"encoder": assistant.encoder.hash, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
