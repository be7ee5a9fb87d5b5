"""Features of cached studies, for training the adapter: what `Encoder.encode` gives, computed from cached token rows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from assistant.train.corpus import load_corpus
from assistant.train.encoder import chunks
from assistant.train.studies import load_shard
from encoder.encoder import Encoder
from encoder.features import Score
from encoder.locate import TokenView, find_place
from encoder.model import ModelOutput, embed, read_out
from encoder.token_head import TokenEvidence

NEIGHBOURS = 6
BATCH = 16


@torch.inference_mode()
def export_features(
    encoder: Encoder, shards: list[Path], rows: Path, folder: Path, *, cut: float, device: torch.device = torch.device("cpu")
) -> None:
    """Write features.safetensors and features.json: one row a study, with its places, and its neighbours above similarity `cut`."""
    corpus, _ = load_corpus(shards, rows, device)
    towers, readout = copy.deepcopy(encoder.towers).to(device), copy.deepcopy(encoder.readout).to(device)
    centres = np.concatenate([load_shard(path).centres for path in shards])
    arrays: dict[str, list[NDArray[Any]]] = {k: [] for k in ("embedding", "registers", "sequences_mean", "score", "probability")}
    studies: list[dict[str, Any]] = []
    for chosen in chunks(len(corpus.studies), BATCH):
        batch, index, _ = corpus.batch(chosen, None)
        out = to_cpu(read_out(readout, *embed(towers, batch), batch))
        read = [_scores(encoder, logits) for logits in out.scores.double().numpy()]
        arrays["embedding"].append(torch.nn.functional.normalize(out.clip.float(), dim=1).numpy())
        arrays["registers"].append(out.registers.float().numpy())
        arrays["sequences_mean"].append(torch.stack([s.mean(0) for s in torch.split(out.sequences, batch.counts)]).numpy())
        arrays["score"].append(np.array([[s.score for s in scores] for scores in read], np.float32))
        arrays["probability"].append(np.array([[s.probability for s in scores] for scores in read], np.float32))
        for study, scores, part in zip(chosen, read, _parts(batch.lengths, batch.counts), strict=True):
            places = _places(encoder, out, centres[index[part]], part, scores)
            studies.append({**corpus.studies[study], "locations": places})
    joined = {name: np.concatenate(parts) for name, parts in arrays.items()}
    seeds = np.array([s["seed"] for s in studies], np.int64)
    _add_neighbours(studies, joined["embedding"], seeds, cut)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({**joined, "seed": seeds}, folder / "features.safetensors")
    (folder / "features.json").write_text(json.dumps({"encoder": encoder.hash, "heads": list(encoder.card.heads), "studies": studies}))


def to_cpu(output: ModelOutput) -> ModelOutput:
    """The same output on the CPU."""
    evidence = TokenEvidence(**{name: value.cpu() for name, value in vars(output.evidence).items()})
    rest = {name: value.cpu() for name, value in vars(output).items() if name != "evidence"}
    return ModelOutput(**rest, evidence=evidence)


def _scores(encoder: Encoder, logits: NDArray[np.float64]) -> list[Score]:
    columns = encoder.card.labels.diagnoses
    return [head.read(name, float(logits[columns.index(name)])) for name, head in encoder.card.heads.items()]


def _parts(lengths: list[int], counts: list[int]) -> Iterator[slice]:
    """Where the tokens of each study lie in the packed batch."""
    series = start = 0
    for count in counts:
        end = start + sum(lengths[series : series + count])
        yield slice(start, end)
        series, start = series + count, end


def _places(encoder: Encoder, out: ModelOutput, centres: NDArray[np.float32], part: slice, scores: list[Score]) -> list[dict[str, Any]]:
    labels, owner = encoder.card.labels, np.zeros(len(centres), np.int64)
    regions, offsets = out.evidence.regions[part].softmax(1).numpy(), out.evidence.offsets[part].numpy()
    found = []
    for score in scores:
        if score.possible:
            shown = out.evidence.lesions[part, labels.diagnoses.index(score.name)].sigmoid().numpy()
            place = find_place(TokenView(centres, owner, shown, regions, offsets), labels.regions)
            if place:
                found.append({"diagnosis": score.name, "side": place.side, "region": place.region, "confidence": place.confidence})
    return found


def _add_neighbours(studies: list[dict[str, Any]], embedding: NDArray[np.float32], seeds: NDArray[np.int64], cut: float) -> None:
    """Rows of the most similar studies, never the same patient nor its mirror image."""
    similarity = embedding @ embedding.T
    similarity[seeds[:, None] == seeds[None]] = -1
    for row, study in enumerate(studies):
        best = np.argsort(-similarity[row])[:NEIGHBOURS]
        best = best[similarity[row][best] >= cut]
        study |= {"neighbours": best.tolist(), "similarities": similarity[row][best].tolist()}
