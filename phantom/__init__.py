"""Simulated brain MRI studies with known truth.

`sample` draws one, `render` scans it, `labels` and `truth` tell what is there, `report.compose` reports it, `write` saves it.
"""

from phantom import report
from phantom.errors import PhantomError, UnknownDiagnosis
from phantom.files import write, write_nifti
from phantom.groundtruth import Finding, Labels, Truth, labels, truth
from phantom.lesions import DIAGNOSES
from phantom.scanner import Rendered, render
from phantom.signal import Weighting
from phantom.study import Patient, Phantom, sample

__all__ = [
    "DIAGNOSES",
    "Finding",
    "Labels",
    "Patient",
    "Phantom",
    "PhantomError",
    "Rendered",
    "Truth",
    "UnknownDiagnosis",
    "Weighting",
    "labels",
    "render",
    "report",
    "sample",
    "truth",
    "write",
    "write_nifti",
]
