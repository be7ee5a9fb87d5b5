"""Made-up cases with random vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.case import Case, ReportSections
from index.store import CaseIndex
from index.vectors import unit

ENCODER = "e" * 64
DIM, SEQ_DIM = 16, 12
LABELS = ("meningioma", "multiple_sclerosis", "acute_ischaemic_stroke", "hydrocephalus")
SEQUENCES = ("AX_T1", "AX_T2_FLAIR", "AX_DWI")
CENTRES = unit(np.random.default_rng(7).normal(size=(len(LABELS), DIM)).astype(np.float32))


def make(number: int, label: int | None = None, spread: float = 0.15, **changes: object) -> Case:
    """Case `number`: near the centre of its label, so that labels can be told from vectors."""
    rng = np.random.default_rng(number)
    label = number % len(LABELS) if label is None else label
    facts: dict[str, object] = {
        "id": f"case-{number}",
        "patient": f"patient-{number // 2}",
        "report": ReportSections(
            "MRI of the brain.", "None.", f"Study {number}. No haemorrhage.", f"Appearances of {LABELS[label].replace('_', ' ')}."
        ),
        "diagnoses": (LABELS[label],),
        "age_band": "50-59" if number % 2 else "60-69",
        "sex": "F" if number % 3 else "M",
        "sequences": SEQUENCES,
        "source": f"phantom:seed={number}",
        "pictures": (("AX_T1, slice 12", b"\x89PNG" + bytes([number % 256])),),
        "embedding": unit(CENTRES[label] + spread * rng.normal(size=DIM).astype(np.float32)),
        "sequence_vectors": rng.normal(size=(len(SEQUENCES), SEQ_DIM)).astype(np.float32),
    }
    return Case(**{**facts, **changes})  # type: ignore[arg-type]


def filled(folder: Path, count: int = 40) -> CaseIndex:
    """An index of cases 0..count-1."""
    index = CaseIndex.create(folder, ENCODER, DIM, SEQ_DIM, "test")
    index.add(make(i) for i in range(count))
    return index
