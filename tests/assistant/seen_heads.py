"""A hospital in miniature: heads of 8 x 8 x 4 voxels with a bright quadrant each disease, and an encoder that measures it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from assistant.evaluate.cache import Cache
from assistant.evaluate.cohort import Intake
from encoder.features import OutOfDistribution, Priority, Score, StudyFeatures
from encoder.study import Acquisition, Context, Plane, Series, Study, Weighting

DISEASES = ("high_grade_glioma", "low_grade_glioma", "arachnoid_cyst", "colloid_cyst")  # one a quadrant
SEQUENCES = (Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.DWI)
VENDORS = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips")
LEVELS = (Priority.NONE, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
URGENCY = dict(zip(DISEASES, (Priority.HIGH, Priority.MEDIUM, Priority.LOW, Priority.LOW), strict=True))


def written(folder: Path, studies: int, seed: int = 0, sites: tuple[str, ...] = ("north", "south")) -> Path:
    """Study folders whose truth.json says everything; one study in five is normal, the patient tells nothing of the disease."""
    rng = np.random.default_rng(seed)
    for number in range(studies):
        disease = None if number % 5 == 4 else DISEASES[number % 5]
        urgency = URGENCY[disease].value if disease else "none"
        truth = {
            "diagnoses": [disease] if disease else [],
            "findings": [],
            "referral": ["neurosurgery"] if disease else [],
            "priority": urgency,
            "site": str(rng.choice(sites)),
            "age": int(rng.integers(20, 90)),
            "sex": str(rng.choice(["F", "M"])),
            "vendor": str(rng.choice(VENDORS)),
            "seed": seed * 10_000 + number,
        }
        (folder / f"s{number:04d}").mkdir(parents=True)
        (folder / f"s{number:04d}" / "truth.json").write_text(json.dumps(truth))
    return folder


def read(path: Path, noise: Callable[[str], float] = lambda _: 3.0, lacks: Callable[[str], bool] = lambda _: False) -> Study:
    """The study of a folder. noise, lacks: of a site, its noise and whether it acquires no DWI."""
    truth = json.loads((path / "truth.json").read_text())
    rng = np.random.default_rng(truth["seed"])
    series = []
    for weighting in SEQUENCES:
        values = 100 + noise(truth["site"]) * rng.standard_normal((8, 8, 4))
        for disease in truth["diagnoses"]:
            k = DISEASES.index(disease)
            values[4 * (k // 2) :, 4 * (k % 2) :][:4, :4] += 1.0 if weighting in (Weighting.FLAIR, Weighting.DWI) else 0.3
        if weighting is not Weighting.DWI or not lacks(truth["site"]):
            acquisition = Acquisition(manufacturer=truth["vendor"], field_strength=1.5)
            series.append(Series(f"AX {weighting.value}", values, np.eye(4), Plane.AXIAL, weighting, acquisition))
    context = Context(age=truth["age"], sex=truth["sex"], description="MR brain")
    return Study(f"key-{truth['seed']}", f"patient-{truth['seed']}", tuple(series), (), context)


@dataclass
class QuadrantEncoder:
    """Scores a disease by how bright its quadrant is, over all series; noise makes it err. seen: keys encoded."""

    hash: str = "q" * 64
    trained_heads: frozenset[str] = frozenset(DISEASES)
    flags_above: float = np.inf
    seen: list[str] = field(default_factory=list)

    def encode(self, study: Study) -> StudyFeatures:
        self.seen.append(study.key)
        volumes = [series.voxels.astype(float) for series in study.series]
        bright = [np.mean([volume[4 * (k // 2) :, 4 * (k % 2) :][:4, :4].mean() - volume.mean() for volume in volumes]) for k in range(4)]
        chances = [1 / (1 + np.exp(-np.clip(12 * b - 3, -20, 20))) for b in bright]
        spread = float(np.mean([volume.std() for volume in volumes]))
        level = int(np.argmax([1 - max(chances), chances[2] + chances[3], chances[1], chances[0]]))
        return StudyFeatures(
            embedding=np.eye(1, 4, dtype=np.float32)[0],
            registers=np.ones((2, 4), np.float32),
            sequences=np.ones((len(volumes), 4), np.float32),
            names=tuple(series.name for series in study.series),
            scores=tuple(Score(name, float(b) - 0.25, float(p)) for name, b, p in zip(DISEASES, bright, chances, strict=True)),
            referral=(Score("neurosurgery", float(max(bright)) - 0.3, float(max(chances))),),
            priority=tuple((one, 0.7 if k == level else 0.1) for k, one in enumerate(LEVELS)),
            locations=(),
            out_of_distribution=OutOfDistribution(spread, self.flags_above, spread > self.flags_above),
            encoder=self.hash,
        )


def intake(encoder: QuadrantEncoder | None = None, cache: Path | None = None, how: Callable[[Path], Study] = read) -> Intake:
    weights = encoder or QuadrantEncoder()
    return Intake(weights, how, Cache(cache, weights.hash))
