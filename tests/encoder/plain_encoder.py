"""Another encoder, one class wide (docs/OPEN_ENCODERS.md): grey-level quantiles stand for what a foreign network would see."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from encoder.errors import StudyError, WeightsError
from encoder.features import Score, StudyFeatures
from encoder.precision import Asked
from encoder.study import Study

DIAGNOSES = ("meningioma", "arachnoid_cyst")
WIDTH = 16


class PlainEncoder:
    """Its folder holds encoder.json with the kind and one number, which is all its weights."""

    def __init__(self, shift: float, digest: str) -> None:
        self.shift, self.hash = shift, digest

    @classmethod
    def load(cls, folder: Path, precision: Asked) -> PlainEncoder:
        if precision == "bfloat16":
            raise WeightsError("A plain encoder computes in float32; use --precision float32 or auto.")
        stated = (folder / "encoder.json").read_text()
        return cls(float(json.loads(stated)["shift"]), hashlib.sha256(stated.encode()).hexdigest())

    @property
    def trained_heads(self) -> frozenset[str]:
        return frozenset(DIAGNOSES)

    def encode(self, study: Study) -> StudyFeatures:
        series = [one for one in study.series if one.voxels.any()]
        if not series:
            raise StudyError(f"Study {study.key}: expected a series with signal, found none.")
        rows = np.stack([np.quantile(s.voxels / s.voxels.max(), np.linspace(0, 1, WIDTH)) for s in series]).astype(np.float32)
        mean = rows.mean(0) - rows.mean()
        return StudyFeatures(
            embedding=mean / np.linalg.norm(mean),
            registers=rows.mean(0)[None],
            sequences=rows,
            names=tuple(one.name for one in series),
            scores=tuple(Score(name, float(20 * rows[:, k].mean()) + self.shift, None) for k, name in enumerate(DIAGNOSES, start=8)),
            referral=(),
            priority=(),
            locations=(),
            out_of_distribution=None,
            encoder=self.hash,
        )


def install(site_packages: Path) -> None:
    """What `pip install` of a package with this class would leave: its entry point's metadata."""
    folder = site_packages / "plain_encoder-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-encoder\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[prima.encoders]\nplain = plain_encoder:PlainEncoder.load\n")


def write_weights(folder: Path, shift: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "encoder.json").write_text(json.dumps({"kind": "plain", "shift": shift}))
    return folder
