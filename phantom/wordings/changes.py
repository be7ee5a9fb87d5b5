"""How a report compares a disease with the study before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """What a comparison calls a disease. plural: whether `what` is one. several: the word for more than one focus, "" where it stays.

    placed: whether it has one place that can be said.
    """

    what: str
    plural: bool = False
    placed: bool = True
    several: str = ""

    def of(self, count: int) -> tuple[str, bool]:
        """The word for so many foci, and whether it is a plural."""
        return (self.several, True) if count > 1 and self.several else (self.what, self.plural)


LESION, MASS, INFARCT = Noun("lesion", several="lesions"), Noun("mass", several="masses"), Noun("infarct", several="infarcts")
NOUNS = {
    **dict.fromkeys(
        (
            "high_grade_glioma", "low_grade_glioma", "lymphoma", "meningioma", "schwannoma", "pineal_tumor", "germ_cell_tumor",
            "craniopharyngioma", "brainstem_glioma", "ependymoma", "medulloblastoma", "pilocytic_astrocytoma",
        ),
        MASS,
    ),
    "brain_abscess": Noun("abscess"),
    "intracranial_hemorrhage": Noun("hematoma"),
    "subdural_hematoma": Noun("subdural collection"),
    "arachnoid_cyst": Noun("cyst"),
    "colloid_cyst": Noun("cyst"),
    "rathkes_cleft_cyst": Noun("cyst"),
    "large_vessel_stroke": INFARCT,
    "lacunar_stroke": INFARCT,
    "encephalomalacia": Noun("defect"),
    "resection_cavity": Noun("cavity"),
    "arteriovenous_malformation": Noun("vascular malformation"),
    "cerebral_aneurysm": Noun("aneurysm", placed=False),
    "small_vessel_disease": Noun("white matter change", placed=False),
    "multiple_sclerosis": Noun("plaques", plural=True, placed=False),
    "diffuse_axonal_injury": Noun("foci of axonal injury", plural=True, placed=False),
    "subarachnoid_hemorrahage": Noun("subarachnoid blood", placed=False),
    "intraventricular_hemorrhage": Noun("intraventricular blood", placed=False),
    "moyamoya": Noun("collateral vessels", plural=True, placed=False),
    "neurosarcoid": Noun("meningeal nodules", plural=True, placed=False),
    "viral_encephalitis": Noun("cortical signal change", placed=False),
    "intracranial_hypotension": Noun("dural thickening", placed=False),
    "heterotopia": Noun("heterotopic gray matter", placed=False),
    "dysgenesis_corpus_callosum": Noun("callosal dysgenesis", placed=False),
    "dandy_walker_malformation": Noun("posterior fossa cyst", placed=False),
    "chiari_malformation": Noun("tonsillar position", placed=False),
    "catheter": Noun("catheter", placed=False),
    "craniotomy": Noun("bone flap", placed=False),
}  # fmt: skip
"""By name of the taxonomy; any other is a lesion."""
CHANGES = {
    "grown": (
        "Compared with the study of {date}, the {what}{where} {has} increased from {before} to {now}.",
        "The {what}{where} {has} grown since {date}, from {before} to {now}.",
        "Interval growth of the {what}{where} from {before} to {now} since {date}.",
    ),
    "stable": (
        "Compared with the study of {date}, the {what}{where} {is} unchanged.",
        "The {what}{where} {is} stable since {date}.",
        "No change of the {what}{where} since {date}.",
    ),
    "resolved": (
        "The {what}{where} of the study of {date} {is} no longer seen.",
        "Compared with the study of {date}, the {what}{where} {has} resolved.",
        "The {what}{where} seen on {date} {has} resolved.",
    ),
}
"""{where}: a space and the place, or nothing."""
CHANGES_IMPRESSION = {
    "grown": ("Progression of the {what} since {date}.", "Interval growth of the {what} since {date}."),
    "stable": ("No change of the {what} since {date}.", "Stable {what} since {date}."),
    "resolved": ("Resolution of the {what} since {date}.", "The {what} {has} resolved since {date}."),
}
