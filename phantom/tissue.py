"""The one table of tissue physics: relaxation times, density and diffusion at 3 T (textbook values; PHANTOM.md of the project's design)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """T1, T2, T2* in ms at 3 T; pd relative to water; adc in 10^-3 mm2/s; t1_post: T1 after gadolinium where the tissue enhances.

    fat: suppressed in diffusion imaging.
    """

    t1: float
    t2: float
    pd: float
    adc: float
    t2_star: float
    t1_post: float | None = None
    fat: bool = False


TISSUES: dict[str, Tissue] = {
    # normal
    "grey": Tissue(1400, 95, 0.82, 0.85, 50),
    "white": Tissue(850, 72, 0.70, 0.75, 45),
    "csf": Tissue(4200, 1800, 1.0, 3.0, 500),
    "deep grey": Tissue(1250, 80, 0.79, 0.80, 30),
    "fat": Tissue(320, 70, 0.80, 0.1, 30, fat=True),
    "bone": Tissue(1000, 5, 0.03, 0.0, 2),
    "marrow": Tissue(380, 60, 0.45, 0.1, 15, fat=True),
    "muscle": Tissue(1300, 40, 0.75, 1.2, 25, 900),
    "water": Tissue(4000, 1200, 1.0, 3.0, 400),
    "gland": Tissue(1100, 85, 0.82, 1.0, 40, 400),
    "dura": Tissue(1000, 45, 0.55, 0.9, 30, 550),
    "vessel": Tissue(1600, 9, 0.28, 1.5, 14, 300),
    # oedema and gliosis
    "vasogenic oedema": Tissue(1500, 165, 0.86, 1.45, 90),
    "gliosis": Tissue(1450, 150, 0.85, 1.2, 80),
    "white matter disease": Tissue(1150, 145, 0.84, 1.05, 75),
    "demyelination": Tissue(1600, 165, 0.86, 1.15, 85),
    "active demyelination": Tissue(1600, 165, 0.86, 1.0, 85, 480),
    "cavity": Tissue(4000, 1300, 1.0, 2.6, 450),
    # tumours
    "high-grade tumour": Tissue(1550, 125, 0.86, 0.95, 60, 370),
    "low-grade tumour": Tissue(1800, 190, 0.90, 1.4, 110),
    "metastatic tumour": Tissue(1450, 118, 0.86, 0.95, 60, 340),
    "meningioma": Tissue(1350, 93, 0.84, 0.86, 55, 300),
    "schwannoma": Tissue(1650, 150, 0.88, 1.2, 75, 320),
    "cellular tumour": Tissue(1400, 92, 0.84, 0.60, 55, 330),
    "adenoma": Tissue(1450, 105, 0.84, 0.90, 55, 470),
    "necrosis": Tissue(2600, 350, 0.95, 2.2, 150),
    "cyst fluid": Tissue(3700, 1300, 1.0, 2.9, 450),
    "calcification": Tissue(1000, 25, 0.3, 0.5, 6),
    "dural tail": Tissue(1200, 80, 0.75, 0.9, 40, 330),
    "microadenoma": Tissue(1450, 105, 0.84, 0.90, 55, 680),
    "craniopharyngioma": Tissue(1450, 125, 0.86, 1.1, 65, 350),
    "cholesterol fluid": Tissue(520, 260, 0.95, 1.6, 100),
    "pineal tumour": Tissue(1400, 96, 0.84, 0.90, 55, 350),
    "germinoma": Tissue(1380, 94, 0.84, 0.58, 55, 320),
    "colloid": Tissue(560, 88, 0.83, 0.80, 40),
    "inspissated colloid": Tissue(700, 40, 0.75, 0.7, 25),
    "mucoid cyst fluid": Tissue(520, 210, 0.93, 1.4, 60),
    "serous cyst fluid": Tissue(2400, 420, 0.97, 2.2, 150),
    # low pressure
    "thick dura": Tissue(1250, 118, 0.86, 0.95, 52, 330),
    "subdural effusion": Tissue(2600, 700, 0.98, 2.5, 300),
    "pontine tumour": Tissue(1750, 165, 0.89, 1.25, 90),
    "ependymal tumour": Tissue(1700, 128, 0.87, 1.05, 65, 620),
    "enhancing ependymal tumour": Tissue(1650, 125, 0.86, 1.0, 60, 340),
    "embryonal tumour": Tissue(1550, 103, 0.85, 0.56, 55, 480),
    "enhancing embryonal tumour": Tissue(1500, 103, 0.85, 0.56, 55, 330),
    "pilocytic nodule": Tissue(1650, 150, 0.88, 1.5, 75, 310),
    "protein-rich cyst fluid": Tissue(2300, 420, 0.97, 2.4, 105),
    # infection
    "pus": Tissue(2200, 300, 0.95, 0.55, 120),
    "capsule": Tissue(1000, 58, 0.80, 0.8, 22, 330),
    "inflamed cortex": Tissue(1700, 145, 0.87, 0.66, 75),
    "enhancing inflamed cortex": Tissue(1700, 145, 0.87, 0.66, 75, 600),
    "granuloma": Tissue(1350, 112, 0.84, 0.90, 55, 320),
    # ischaemia, injury, flow
    "acute infarct": Tissue(1550, 135, 0.86, 0.42, 80),
    "contused brain": Tissue(1500, 140, 0.86, 0.72, 40),
    "axonal injury": Tissue(1350, 132, 0.86, 0.50, 60),
    "flowing blood": Tissue(1600, 20, 0.75, 1.5, 12, 150),
    "slow leptomeningeal flow": Tissue(2100, 700, 1.0, 2.6, 220, 800),
    # blood by age
    "acute blood": Tissue(1250, 34, 0.86, 0.55, 10),
    "early subacute blood": Tissue(450, 45, 0.86, 0.6, 15),
    "late subacute blood": Tissue(400, 250, 0.90, 1.2, 70),
    "ventricular blood": Tissue(1300, 90, 0.95, 0.55, 9),
    "blood-stained csf": Tissue(1900, 600, 1.0, 2.2, 14),
    "chronic subdural fluid": Tissue(1500, 420, 0.95, 2.0, 200),
    "subacute subdural fluid": Tissue(520, 260, 0.92, 1.3, 90),
    "haemosiderin": Tissue(1300, 14, 0.75, 0.5, 6),
    "acute subdural blood": Tissue(1150, 40, 0.86, 0.6, 12),
    # surgery
    "surgical cavity": Tissue(3600, 1100, 1.0, 2.6, 400),
    "protein-rich surgical cavity": Tissue(2500, 600, 0.98, 2.2, 180),
    "scar": Tissue(1400, 75, 0.70, 1.1, 35, 420),
    "bone flap": Tissue(900, 15, 0.08, 0.1, 5, fat=True),
    "swollen scalp": Tissue(1250, 95, 0.80, 1.5, 50),
    "tube": Tissue(1000, 5, 0.02, 0.0, 1),
}


def at_field(tissue: Tissue, tesla: float) -> Tissue:
    """The tissue at another field: below 2 T, T1 of everything but water is about 17 % shorter and T2* longer."""
    if tesla > 2:
        return tissue
    shorter = 0.83 if tissue.t1 < 3000 else 1.0
    post = tissue.t1_post
    return Tissue(tissue.t1 * shorter, tissue.t2 * 1.05, tissue.pd, tissue.adc, tissue.t2_star * 1.4, post and post * 0.9, tissue.fat)
