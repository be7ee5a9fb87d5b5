"""What more training studies bring, and what a vendor's style costs that training never saw: short trainings of equal length.

    python -m benchmarks.short_trainings --out benchmarks/results/short_trainings.json --picture docs/pictures/training-size.svg

Each training begins from nothing but the tokenizer of `--encoder`, on studies that `prima train demo --root` has cached (made where they
are missing), takes the same steps, and is judged on the studies of calibration. A killed run resumes; results stay in `--root`.
200 steps are too few to tell anything (docs/LOG.md).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
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
from assistant.train.calibrate import head_outputs
from assistant.train.corpus import load_corpus, tokenise
from assistant.train.encoder import Corpus, Plan, targets, train_encoder
from assistant.train.reports import report_wordings
from assistant.train.studies import SHARD, make_shards, names
from assistant.train.text_tower import build_text_tower
from benchmarks.training_size import draw
from encoder.config import preset
from encoder.encoder import Encoder
from encoder.model import Labels, Model
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


def trained(corpus: Corpus, tokenizer: Encoder, plan: Plan, checkpoint: Path) -> Model:
    """An encoder trained on the corpus from nothing but the tokenizer."""
    config = preset("tiny")
    torch.manual_seed(plan.seed)
    model = Model(config, Labels(names(), tokenizer.card.labels.specialties, tuple(REGIONS)))
    model.towers.tokenizer.load_state_dict(tokenizer.towers.tokenizer.state_dict())
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


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--encoder", type=Path, default=None, help="whose tokenizer is taken; None = the shipped one")
    parser.add_argument("--sizes", type=int, nargs="*", default=[250, 500, 1000, 2000])
    parser.add_argument("--without", nargs="*", default=["Philips"], help="vendors to leave out, each in a training of its own")
    parser.add_argument("--studies", type=int, default=1000, help="of the trainings with and without a vendor")
    parser.add_argument("--held-out", type=int, default=demo.Recipe().calibration_studies, help="studies of calibration that judge")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path, default=None, help="where the curve over the sizes is drawn")
    given = parser.parse_args()
    begun = given.encoder or demo.Packages.below(None).encoder
    encoder = Encoder.read(begun)
    recipe, config, device = demo.Recipe(), preset("tiny"), fastest()
    where = demo.stages(recipe, given.root, begun)
    most = -(-max([*given.sizes, given.studies * 2]) // SHARD) * SHARD
    most = min(most, recipe.training_studies)
    training = make_shards(where.shards, recipe.first_training_seed, most, config, mirrored=True)
    calibration = make_shards(where.shards, recipe.first_calibration_seed, given.held_out, config)
    tokenise([*training, *calibration], encoder.towers.tokenizer.to(device), config, where.rows)
    (corpus, _), (held_out, _) = (load_corpus(shards, where.rows, device) for shards in (training, calibration))
    truth = targets(list(held_out.studies), encoder.card.labels.specialties).diagnoses.numpy() > 0
    vendor, held_out_vendor = vendors(corpus.studies), vendors(held_out.studies)
    plan, everyone = Plan(minutes=1e6, steps=given.steps), np.ones(len(truth), bool)
    results: dict[str, Any] = {"steps": given.steps, "held_out_studies": len(truth), "sizes": {}, "without": {}}

    def scores_of(name: str, keep: NDArray[np.int64]) -> NDArray[np.float64]:
        kept = given.root / "short" / f"{name}-{given.steps}.npy"
        if not kept.exists():
            model = trained(some(corpus, keep), encoder, plan, kept.with_suffix(".safetensors"))
            np.save(kept, head_outputs(model, held_out).scores)
        found: NDArray[np.float64] = np.load(kept)
        return found

    for size in given.sizes:
        found = judged(scores_of(f"first-{size}", np.arange(2 * size)), truth, everyone)  # each study with its mirror image
        results["sizes"][str(size)] = found
        print(size, found, flush=True)
    for name in given.without:
        others, theirs = np.flatnonzero(vendor != name)[: 2 * given.studies], held_out_vendor == name
        without = judged(scores_of(f"without-{name}", others), truth, theirs)
        within = judged(scores_of(f"first-{given.studies}", np.arange(2 * given.studies)), truth, theirs)
        results["without"][name] = {"studies": int(theirs.sum()), "left out": without, "seen": within}
        print(name, results["without"][name], flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if given.picture:
        draw(
            [(int(size), {"result": found, "floor": {}, "noise": {}}) for size, found in results["sizes"].items()],
            "mean AUROC",
            given.picture,
        )


if __name__ == "__main__":
    main()
