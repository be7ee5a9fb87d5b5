"""Give a trained encoder its operating points, probabilities and out-of-distribution statistics, on studies kept out of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from assistant.train.encoder import Corpus, chunks, targets
from encoder.calibration import FEWEST, best_threshold, fit_platt, fit_temperature
from encoder.config import EncoderConfig
from encoder.encoder import Card, Encoder, Head
from encoder.model import Model
from encoder.outliers import Outliers


@dataclass(frozen=True)
class HeadOutputs:
    """Logits of a corpus: scores (n, names), referral (n, specialties), priority (n, 4)."""

    scores: NDArray[np.float64]
    referral: NDArray[np.float64]
    priority: NDArray[np.float64]


@torch.inference_mode()
def head_outputs(model: Model, corpus: Corpus, batch: int = 16) -> HeadOutputs:
    """Run every study of a corpus with all its tokens."""
    model.eval()
    outs = [model(corpus.batch(chosen, None)[0]) for chosen in chunks(len(corpus.studies), batch)]
    scores, referral, priority = (
        torch.cat([getattr(o, name) for o in outs]).double().cpu().numpy() for name in ("scores", "referral", "priority")
    )
    return HeadOutputs(scores, referral, priority)


def diagnoses_of(corpus: Corpus) -> NDArray[np.bool_]:
    """What is true of each study: (studies, names)."""
    truth: NDArray[np.bool_] = targets(list(corpus.studies), ()).diagnoses.numpy() > 0
    return truth


def calibrate(
    model: Model,
    config: EncoderConfig,
    corpus: Corpus,
    outputs: HeadOutputs,
    training_rows: NDArray[np.float32],
    held_out_rows: list[NDArray[np.float32]],
    provenance: dict[str, Any],
) -> Encoder:
    """The model as an encoder on the CPU: thresholds, Platt scaling, priority temperature and outlier statistics fitted on `corpus`.

    outputs: of the model on the corpus.
    """
    labels = model.labels
    truth = targets(list(corpus.studies), labels.specialties)
    outliers = Outliers.fit(training_rows, held_out_rows)
    card = Card(
        config=config,
        labels=labels,
        heads=_heads(labels.diagnoses, outputs.scores, truth.diagnoses.numpy() > 0),
        referral=_heads(labels.specialties, outputs.referral, truth.referral.numpy() > 0),
        priority_temperature=fit_temperature(outputs.priority, truth.priority.numpy()),
        outlier_threshold=outliers.threshold,
        provenance=provenance,
    )
    return Encoder(card, model.towers.cpu(), model.readout.cpu(), outliers)


def _heads(names: tuple[str, ...], logits: NDArray[np.float64], truth: NDArray[np.bool_]) -> dict[str, Head]:
    heads = {}
    for k, name in enumerate(names):
        if truth[:, k].sum() >= FEWEST:
            threshold = best_threshold(logits[:, k], truth[:, k])
            platt = fit_platt(logits[:, k] - threshold, truth[:, k])
            heads[name] = Head(threshold, platt.slope, platt.intercept)
    return heads
