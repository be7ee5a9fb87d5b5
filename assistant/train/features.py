"""Features of cached studies, for training the adapter: what `Encoder.encode` gives, computed from cached token rows."""

from __future__ import annotations

import json
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
from encoder.model import ModelOutput, TokenBatch, embed, read_out
from encoder.locate import TokenView, find_place

NEIGHBOURS = 6


@torch.inference_mode()
def export_features(encoder: Encoder, shards: list[Path], rows: Path, folder: Path, *, cut: float) -> None:
    """Write features.safetensors and features.json: one row a study, its locations, and its neighbours above similarity `cut`."""
    corpus, _ = load_corpus(shards, rows)
    centres = np.concatenate([load_shard(path).centres for path in shards])
    arrays: dict[str, list[NDArray[Any]]] = {k: [] for k in ("embedding", "registers", "sequences_mean", "score", "probability")}
    studies = []
    card, labels = encoder.card, encoder.card.labels
    for chosen in chunks(len(corpus.studies), 16):
        batch, index, _ = corpus.batch(chosen, None)
        out = _run(encoder, batch)
        arrays["embedding"].append(torch.nn.functional.normalize(out.clip.float(), dim=1).numpy())
        arrays["registers"].append(out.registers.float().numpy())
        arrays["sequences_mean"].append(torch.stack([s.mean(0) for s in out.sequences.split(batch.counts)]).numpy())
        logits = out.scores.double().numpy()
        read = [[h.read(n, logits[r, labels.diagnoses.index(n)]) for n, h in card.heads.items()] for r in range(len(chosen))]
        arrays["score"].append(np.array([[s.score for s in row] for row in read], np.float32))
        arrays["probability"].append(
            np.array([[np.nan if s.probability is None else s.probability for s in row] for row in read], np.float32)
        )
        tokens = [sum(lengths) for lengths in _split(batch.lengths, batch.counts)]
        ends = np.cumsum(tokens)
        lesions, regions, offsets = (getattr(out.evidence, k).float() for k in ("lesions", "regions", "offsets"))
        lesions, regions = lesions.sigmoid(), regions.softmax(1)
        for row, study in enumerate(chosen):
            part = slice(ends[row] - tokens[row], ends[row])
            places = []
            for score in read[row]:
                if score.score > 0:
                    column = labels.diagnoses.index(score.name)
                    view = TokenView(
                        centres[index[part]],
                        np.zeros(tokens[row], np.int64),
                        lesions[part, column].numpy(),
                        regions[part].numpy(),
                        offsets[part].numpy(),
                    )
                    place = find_place(view, labels.regions)
                    if place:
                        places.append({"diagnosis": score.name, "side": place.side, "region": place.region, "confidence": place.confidence})
            facts = corpus.studies[study]
            studies.append(
                {"seed": facts["seed"], "diagnosis": None, "names": facts["names"], "weightings": facts["weightings"], "locations": places}
            )
    joined = {name: np.concatenate(parts) for name, parts in arrays.items()}
    similarity = joined["embedding"] @ joined["embedding"].T
    np.fill_diagonal(similarity, -1)
    for row, study_facts in enumerate(studies):
        best = np.argsort(-similarity[row])[:NEIGHBOURS]
        best = best[similarity[row][best] >= cut]
        study_facts |= {"neighbours": best.tolist(), "similarities": similarity[row][best].tolist()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({**joined, "seed": np.array([s["seed"] for s in studies], np.int64)}, folder / "features.safetensors")
    (folder / "features.json").write_text(json.dumps({"encoder": encoder.hash, "heads": list(card.heads), "studies": studies}))


def _run(encoder: Encoder, batch: TokenBatch) -> ModelOutput:
    return read_out(encoder.readout, *embed(encoder.towers, batch), batch)


def _split(lengths: list[int], counts: list[int]) -> list[list[int]]:
    ends = np.cumsum(counts)
    return [lengths[end - count : end] for end, count in zip(ends, counts, strict=True)]
