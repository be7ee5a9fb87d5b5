"""How fast the published encoder is here, against the published procedure: python -m benchmarks.encode --out benchmarks/results

Official sizes, random weights, a made-up study of three series (head-shaped, sagittal and axial, one with a small matrix). Every arm runs
in a process of its own, so that its peak memory is its own: the procedure re-enacted in its own order (benchmarks/official.py), our path
in float32, our path in bfloat16 where the processor has it, and a GPU where there is one. Writes encode.json and encode.png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoder.config import EncoderConfig, TokenizerConfig, TransformerConfig, preset
from encoder.heads import HeadGroup
from encoder.networks import Towers
from encoder.patches import patchify
from encoder.prima import Prima
from encoder.released import HEADS, TOWERS, open_released, save_released
from encoder.study import Context, Plane, Series, Study, Weighting
from encoder.volume import canonical
from encoder.weights import Entry

DIAGNOSES, REFERRALS = 52, 5
HIDDEN = (4000, 1000)
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
# (columns, rows, slices), sagittal or axial: the shapes of the three series that the published code's time was taken on.
SHAPES = (((256, 256, 170), "sagittal"), ((96, 96, 40), "axial"), ((128, 88, 17), "axial"))
STEPS = {"axial": np.diag([1.0, 1.0, 1.0]), "sagittal": np.array([[0, 0, 1.0], [1.0, 0, 0], [0, -1.0, 0]])}
SMALL = EncoderConfig(  # to try the script itself
    tokenizer=TokenizerConfig(channels=(8, 8), residual_channels=(8, 8), codebook=16),
    sequence=TransformerConfig(289, 1, 2, 8, 16, 2, 16),
    description=TransformerConfig(256, 1, 4, 64, 300, 0, 16),
    study=TransformerConfig(16, 1, 2, 8, 16, 2, 8),
)


def main() -> None:
    options = _options()
    if options.arm:
        print(json.dumps(ARMS[options.arm](Path(options.weights))))
        return
    config = SMALL if options.small else preset("prima")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="prima-benchmark-"))
    try:
        make_weights(folder / "weights", config, heads=3 if options.small or options.sample else DIAGNOSES)
        if options.sample:
            from benchmarks.sampled import compare

            torch.set_num_threads(1)
            report = {"machine": machine(), **compare(folder / "weights", options.sample)}
            (out / "encode_sampled.json").write_text(json.dumps(report, indent=1) + "\n")
            print(json.dumps(report["speedup"], indent=1))
            return
        arms = ["official", "float32", "growth"]
        arms += ["bfloat16"] if has_bfloat16() else []
        arms += ["cuda"] if torch.cuda.is_available() else []
        results = {arm: _in_own_process(arm, folder / "weights", options) for arm in arms}
    finally:
        shutil.rmtree(folder)
    report = {"machine": machine(), "sizes": "toy" if options.small else "official", "arms": results, "speedup": _speedup(results)}
    (out / "encode.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(report, out / "encode.png")
    print(json.dumps(report["speedup"], indent=1))


def official_arm(weights: Path) -> dict[str, Any]:
    """The published order; one of the 57 heads is held in memory and asked 57 times, which favours it (it reads no file)."""
    from benchmarks.official import cut_one_by_one, encode, monai_tokenizer

    released = open_released(weights)
    towers, config = released.towers(), released.config
    tokenizer, study = monai_tokenizer(config), made_study()
    start = time.perf_counter()
    volumes = [canonical(series, config.patch) for series in study.series]
    cuts = [cut_one_by_one(volume) for volume in volumes]
    bookkeeping = time.perf_counter() - start
    pooled = encode(volumes, cuts, tokenizer, towers, config)
    encoded = time.perf_counter() - start
    head = [torch.randn(b, a) for a, b in pairwise(head_widths(config))]
    start = time.perf_counter()
    for _ in range(DIAGNOSES + REFERRALS):
        x = pooled
        for weight in head:
            x = (x @ weight.T).relu()
    heads = time.perf_counter() - start
    tokens = sum(len(cut[0]) for cut in cuts)
    return {
        "study_s": encoded + heads,
        "heads_s": heads,
        "bookkeeping_s": bookkeeping,
        "bookkeeping_s_per_series": bookkeeping / len(volumes),
        "tokens_encoded": tokens,
        "token_s": (encoded - bookkeeping) / tokens,
        "peak_mb": peak_mb(),
    }


def our_arm(precision: str, device: str = "cpu") -> Callable[[Path], dict[str, Any]]:
    """Our path from volumes in memory to all scores."""

    def run(weights: Path) -> dict[str, Any]:
        prima = Prima.load(weights, "bfloat16" if precision == "bfloat16" else "float32", device)
        study = made_study()
        start = time.perf_counter()
        prima.encode(study)
        whole = time.perf_counter() - start
        start = time.perf_counter()
        patches = [patchify(series, prima.config.patch) for series in study.series]
        bookkeeping = time.perf_counter() - start
        start = time.perf_counter()
        with torch.inference_mode():
            _, out = prima.embed(patches, [series.name for series in study.series], "mr brain")
        embedded = time.perf_counter() - start
        kept = sum(len(p) for p in patches)
        return {
            "study_s": whole,
            "heads_s": whole - bookkeeping - embedded,
            "bookkeeping_s": bookkeeping,
            "bookkeeping_s_per_series": bookkeeping / len(patches),
            "tokens_encoded": kept,
            "token_s": embedded / kept,
            "peak_mb": peak_mb(),
            "finite": bool(torch.isfinite(out.clip).all()),
        }

    return run


def growth_arm(weights: Path) -> dict[str, Any]:
    """Time against kept tokens: one axial series of more and more slices, then more and more series; without heads."""
    prima = Prima.load(weights, "bfloat16" if has_bfloat16() else "float32")
    rows = []
    for slices, count in ((8, 1), (16, 1), (32, 1), (64, 1), (16, 2), (16, 4)):
        series = [made_series(f"series_{i}", (256, 256, slices), "axial", seed=i) for i in range(count)]
        start = time.perf_counter()
        patches = [patchify(one, prima.config.patch) for one in series]
        bookkeeping = time.perf_counter() - start
        with torch.inference_mode():
            prima.embed(patches, [one.name for one in series], "mr brain")
        rows.append(
            {
                "slices": slices,
                "series": count,
                "kept": sum(len(p) for p in patches),
                "bookkeeping_s": bookkeeping,
                "s": time.perf_counter() - start,
            }
        )
    kept, seconds = np.array([row["kept"] for row in rows]), np.array([row["s"] for row in rows])
    slope, offset = np.polyfit(kept, seconds, 1)
    fitted = slope * kept + offset
    r2 = 1 - ((seconds - fitted) ** 2).sum() / ((seconds - seconds.mean()) ** 2).sum()
    return {"precision": prima.precision, "rows": rows, "s_per_kept_token": float(slope), "linear_r2": float(r2)}


ARMS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "official": official_arm,
    "float32": our_arm("float32"),
    "bfloat16": our_arm("bfloat16"),
    "cuda": our_arm("bfloat16", "cuda"),
    "growth": growth_arm,
}


def made_series(name: str, shape: tuple[int, int, int], plane: str, seed: int = 0) -> Series:
    """A head-shaped series: noise in an ellipsoid that fills about half of the volume's tokens, air around it."""
    grid = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    inside = (grid[0] / 0.81) ** 2 + (grid[1] / 0.89) ** 2 + (grid[2] / 1.05) ** 2 < 1
    voxels = inside * np.random.default_rng(seed).uniform(100, 900, shape)
    affine = np.eye(4)
    affine[:3, :3] = STEPS[plane] @ np.diag([1, 1, 1.0 if plane == "sagittal" else 4.0])
    return Series(name, voxels.astype(np.int16), affine, Plane(plane), Weighting.T1)


def made_study() -> Study:
    series = tuple(made_series(f"series_{i}", shape, plane, i) for i, (shape, plane) in enumerate(SHAPES))
    return Study("benchmark", None, series, (), Context(description="mr brain"))


def make_weights(folder: Path, config: EncoderConfig, heads: int) -> None:
    """A converted folder with random weights; every head has the same numbers, in places of its own in the file."""
    torch.manual_seed(0)
    towers = Towers(config)
    widths = head_widths(config)
    layers = [(torch.randn(b, a) / a**0.5).half() for a, b in itertools.pairwise(widths)]
    names = {"diagnosis": heads, "referral": REFERRALS}
    groups = {kind: HeadGroup(tuple(f"{kind}_{i}" for i in range(n)), (0.0,) * n, HIDDEN, separate=True) for kind, n in names.items()}
    levels = ("none", "low", "medium", "high")
    groups["priority"] = HeadGroup(levels, (0.0,) * 4, (), separate=False)
    entries = [Entry(name, tuple(t.shape), t.dtype, t.detach) for name, t in towers.state_dict().items()]
    priority = {"weight": torch.randn(4, widths[0]), "bias": torch.zeros(4)}
    entries += [Entry(f"heads.priority.layers.0.{kind}", tuple(t.shape), t.dtype, t.detach) for kind, t in priority.items()]
    separate = [
        Entry(f"{kind}.{name}.{i}.{part}", tuple(t.shape), t.dtype, t.detach)
        for kind in names
        for name in groups[kind].names
        for i, weight in enumerate(layers)
        for part, t in (("weight", weight), ("bias", torch.zeros(len(weight))))
    ]
    save_released(folder, config, {TOWERS: entries, HEADS: separate}, groups, {"made_by": "benchmarks/encode.py", "random": True})


def head_widths(config: EncoderConfig) -> tuple[int, ...]:
    return (config.study.registers * config.study.width, *HIDDEN, 1)


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; emulation is slower than float32."""
    return bool({"avx512_bf16", "amx_bf16"} & set(machine()["flags"]))


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    found = re.search(r"flags\s*:\s*(.+)", text)
    return {
        "processor": name[1] if name else platform.processor(),
        "flags": [flag for flag in FLAGS if found and flag in found[1].split()],
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def peak_mb() -> int:
    """Peak memory of this process alone, mapped files included."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else 0


def plot(report: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (bars, growth) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    arms = {name: arm["study_s"] for name, arm in report["arms"].items() if "study_s" in arm}
    drawn = bars.barh(list(arms), list(arms.values()), color="#4477aa")
    bars.bar_label(drawn, [f"{s:.0f} s" for s in arms.values()], padding=3)
    bars.invert_yaxis()
    bars.set(title="One study of three series, all heads", xlabel="seconds", xlim=(0, 1.15 * max(arms.values())))
    rows = report["arms"]["growth"]["rows"]
    growth.scatter([row["kept"] for row in rows], [row["s"] for row in rows], color="#4477aa")
    for row in rows:
        growth.annotate(
            f"{row['series']} x {row['slices']}", (row["kept"], row["s"]), textcoords="offset points", xytext=(5, -4), fontsize=8
        )
    growth.set(title=f"Series x slices, {report['arms']['growth']['precision']}", xlabel="kept tokens", ylabel="seconds", xlim=0, ylim=0)
    figure.savefig(path, dpi=120)


def _speedup(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    whole = results["official"]["study_s"]
    return {name: round(whole / arm["study_s"], 2) for name, arm in results.items() if "study_s" in arm and name != "official"}


def _in_own_process(arm: str, weights: Path, options: argparse.Namespace) -> dict[str, Any]:
    print(f"{arm} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.encode", "--arm", arm, "--weights", str(weights), "--out", options.out]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="benchmarks/results", help="folder for encode.json and encode.png")
    parser.add_argument("--small", action="store_true", help="toy sizes, to try the script")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="N tokens a series, one thread's processor time: for busy machines"
    )
    parser.add_argument("--arm", choices=sorted(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
