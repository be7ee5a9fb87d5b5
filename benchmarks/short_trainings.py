"""What more training studies bring, what a vendor's style costs that training never saw, and what larger tokens cost: short trainings.

    python -m benchmarks.short_trainings --out benchmarks/results/short_trainings.json --picture docs/pictures/training-size.svg

Each training begins from nothing but a tokenizer, on studies that `prima train demo --root` has cached (made where they are missing),
takes the same steps, and is judged on the studies of calibration. Tokens of the shipped size come from the tokenizer of `--encoder`;
other sizes from one trained here. A killed run resumes; results stay in `--root`. Meant for a GPU: on two cores a step takes seconds, and
200 steps are too few to tell anything (docs/LOG.md).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import phantom
from assistant.device import fastest
from assistant.evaluate.intervals import FEWEST, Bootstrap
from assistant.evaluate.metrics import mean_auroc, pooled_auroc
from assistant.train import demo
from assistant.train.calibrate import diagnoses_of, head_outputs
from assistant.train.corpus import load_corpus, tokenise
from assistant.train.encoder import Corpus, Plan, train_encoder
from assistant.train.reports import report_wordings
from assistant.train.studies import SHARD, make_shards, names
from assistant.train.text_tower import build_text_tower
from encoder.config import EncoderConfig, preset
from encoder.encoder import Encoder
from encoder.model import Labels, Model
from encoder.tokenizer import VQVAE
from phantom.atlas import REGIONS


def vendors(studies: Sequence[dict[str, Any]]) -> NDArray[np.str_]:
    """Of each study."""
    of_seed = {seed: phantom.sample(seed).style.vendor for seed in {study["seed"] for study in studies}}  # a mirror image has the same
    return np.array([of_seed[study["seed"]] for study in studies])


def some(corpus: Corpus, keep: NDArray[np.int64]) -> Corpus:
    """The corpus with only some of its studies."""
    series = np.concatenate([np.arange(corpus.first_series[s], corpus.first_series[s + 1]) for s in keep])
    tokens = torch.from_numpy(np.concatenate([np.arange(corpus.starts[s], corpus.starts[s + 1]) for s in series]))
    lengths, counts = np.diff(corpus.starts)[series], np.diff(corpus.first_series)[keep]
    return replace(
        corpus,
        **{name: getattr(corpus, name)[tokens.to(corpus.rows.device)] for name in ("rows", "lesions", "regions", "offsets")},
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        first_series=np.concatenate([[0], np.cumsum(counts)]),
        studies=tuple(corpus.studies[s] for s in keep),
    )


def of_patch(edge: int) -> EncoderConfig:
    """The tiny preset with tokens of another in-plane edge, told in as many numbers."""
    tiny = preset("tiny")
    latent = round(tiny.tokenizer.latent * (tiny.patch.patch / edge) ** 2)
    return replace(tiny, patch=replace(tiny.patch, patch=edge), tokenizer=replace(tiny.tokenizer, latent=latent))


def trained(corpus: Corpus, tokenizer: VQVAE, config: EncoderConfig, plan: Plan, checkpoint: Path) -> Model:
    """An encoder trained on the corpus from nothing but the tokenizer."""
    torch.manual_seed(plan.seed)
    model = Model(config, Labels(names(), demo.specialties(corpus.studies), tuple(REGIONS)))
    model.towers.tokenizer.load_state_dict(tokenizer.state_dict())
    reports = report_wordings(corpus.studies, processes=2)
    tower = build_text_tower((sentence for wordings in reports for w in wordings for sentence in w), config.study.out)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    train_encoder(model, tower, corpus, reports, plan, checkpoint)
    return model.eval()


def judged(scores: NDArray[np.float64], truth: NDArray[np.bool_], who: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean and pooled AUROC over the names with enough positives among the studies `who`."""
    scores, truth = scores[who], truth[who]
    enough = (truth.sum(0) >= FEWEST) & ((~truth).sum(0) >= FEWEST)
    bootstrap = Bootstrap(int(who.sum()))
    measures = {"mean AUROC": mean_auroc, "pooled AUROC": pooled_auroc}
    found = {name: bootstrap(partial(measure, truth[:, enough], scores[:, enough])) for name, measure in measures.items()}
    return {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in found.items()} | {"names": int(enough.sum())}


@dataclass(frozen=True)
class Cut:
    """Studies cut to tokens of one size: those to learn from, each with its mirror image, and those that judge."""

    config: EncoderConfig
    tokenizer: VQVAE
    corpus: Corpus
    held_out: Corpus


def cut(edge: int, most: int, given: argparse.Namespace) -> Cut:
    """Make or find studies and rows of tokens of this edge, in folders of their own."""
    begun = given.encoder or demo.Packages.below(None).encoder
    recipe, config, device, where = demo.Recipe(), of_patch(edge), fastest(), demo.stages(demo.Recipe(), given.root, begun)
    shipped = config == preset("tiny")
    end = "" if shipped else f"-patch{edge}"
    shards, rows = (folder.with_name(folder.name + end) for folder in (where.shards, where.rows))
    training = make_shards(shards, recipe.first_training_seed, most, config, mirrored=True)
    calibration = make_shards(shards, recipe.first_calibration_seed, given.held_out, config)
    if shipped:
        tokenizer = Encoder.read(begun).towers.tokenizer
    else:
        tokenizer = demo.trained_tokenizer(given.root / f"tokenizer{end}", training, config, recipe)
    tokenise([*training, *calibration], tokenizer.to(device), config, rows)
    (corpus, _), (held_out, _) = (load_corpus(paths, rows, device) for paths in (training, calibration))
    return Cut(config, tokenizer, corpus, held_out)


def draw(results: dict[str, Any], out: Path) -> None:
    """Mean AUROC by training studies, by the size of a token, and of a vendor's studies with and without it in training; as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "short trainings"
    from matplotlib import pyplot

    panels = {
        "training studies": results["sizes"],
        "edge of a token, voxels": results["patches"],
        **{f"{name} in training": {k: found["of it"][k] for k in ("seen", "left out")} for name, found in results["without"].items()},
    }
    canvas, axes = pyplot.subplots(1, len(panels), figsize=(9, 3.5), sharey=True, width_ratios=[2, *[1] * (len(panels) - 1)], squeeze=False)
    for panel, (title, all_) in zip(axes[0], panels.items(), strict=True):
        found = {name: each for name, each in all_.items() if each["mean AUROC"]["value"] is not None}  # too few positives: no figure
        said = [each["mean AUROC"] for each in found.values()]
        middle = np.array([each["value"] for each in said])
        spread = np.array([[each["value"] - each["low"], each["high"] - each["value"]] for each in said]).reshape(-1, 2).T
        places = np.log2([float(size) for size in found]) if title == "training studies" else np.arange(len(found))
        line = "-" if title == "training studies" else ""
        panel.errorbar(places, middle, yerr=spread, marker="o", capsize=3, linestyle=line, color="#1f5fa8")
        panel.set_xticks(places, list(found))
        panel.margins(x=0.3 if not line else 0.05)
        panel.set_xlabel(title)
        panel.axhline(0.5, color="#dddddd", zorder=0)
    axes[0][0].set_ylabel("mean AUROC, simulated studies")
    canvas.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(out, metadata={"Date": None})
    pyplot.close(canvas)


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--encoder", type=Path, default=None, help="whose tokenizer is taken; None = the shipped one")
    parser.add_argument("--sizes", type=int, nargs="*", default=[250, 500, 1000, 1600])
    parser.add_argument("--without", nargs="*", default=["Philips"], help="vendors to leave out, each in a training of its own")
    parser.add_argument("--studies", type=int, default=1000, help="of the trainings with and without a vendor")
    parser.add_argument("--patches", type=int, nargs="*", default=[32], help="edges of other tokens, in voxels, each in a training")
    parser.add_argument("--patch-studies", type=int, default=500, help="of those trainings")
    parser.add_argument("--held-out", type=int, default=demo.Recipe().calibration_studies, help="studies of calibration that judge")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=64, help="studies a step; half of them once their series are whole")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path, default=None, help="where the curve over the sizes is drawn")
    given = parser.parse_args()
    most = -(-max([*given.sizes, given.studies * 2, given.patch_studies]) // SHARD) * SHARD
    own = cut(preset("tiny").patch.patch, most, given)
    plan = Plan(minutes=1e6, steps=given.steps, batch=given.batch, whole_batch=given.batch // 2)
    vendor, held_out_vendor = vendors(own.corpus.studies), vendors(own.held_out.studies)
    truth, everyone = diagnoses_of(own.held_out), np.ones(len(own.held_out.studies), bool)
    results: dict[str, Any] = {"steps": given.steps, "batch": given.batch, "held_out_studies": len(truth)}
    results |= {"sizes": {}, "without": {}, "patches": {}}

    def scores_of(name: str, cut: Cut, keep: NDArray[np.int64]) -> NDArray[np.float64]:
        kept = given.root / "short" / f"{name}-{given.steps}.npy"
        if not kept.exists():
            model = trained(some(cut.corpus, keep), cut.tokenizer, cut.config, plan, kept.with_suffix(".safetensors"))
            np.save(kept, head_outputs(model, cut.held_out).scores)
        found: NDArray[np.float64] = np.load(kept)
        return found

    for size in given.sizes:
        found = judged(scores_of(f"first-{size}", own, np.arange(2 * size)), truth, everyone)  # each study with its mirror image
        results["sizes"][str(size)] = found
        print(size, found, flush=True)
    for name in given.without:
        others, theirs = np.flatnonzero(vendor != name)[: 2 * given.studies], held_out_vendor == name
        seen = scores_of(f"first-{given.studies}", own, np.arange(2 * given.studies))
        left_out = scores_of(f"without-{name}", own, others)
        who = {"of it": theirs, "of the others": ~theirs}
        results["without"][name] = {
            group: {"studies": int(them.sum())} | {kind: judged(s, truth, them) for kind, s in (("seen", seen), ("left out", left_out))}
            for group, them in who.items()
        }
        print(name, results["without"][name], flush=True)
    for edge in given.patches:
        keep = np.arange(2 * given.patch_studies)
        other = cut(edge, given.patch_studies, given)
        results["patches"] |= {
            str(at.config.patch.patch): judged(scores_of(f"{name}-{given.patch_studies}", at, keep), truth, everyone)
            for name, at in (("first", own), (f"patch{edge}", other))
        }
        print(results["patches"], flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if given.picture:
        draw(results, given.picture)


if __name__ == "__main__":
    main()
