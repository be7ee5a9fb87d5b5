"""Simulated brain MRI studies with known truth.

`sample` draws one, `follow_up` the patient's next; `render` scans it, `labels` and `truth` tell what is there,
`report.compose` reports it, `write` saves it.
"""

from phantom import report
from phantom.course import courses, follow_up
from phantom.errors import NoSuchCourse, PhantomError, UnknownDiagnosis
from phantom.files import write, write_nifti
from phantom.groundtruth import Finding, Labels, Truth, labels, truth
from phantom.lesions import DIAGNOSES
from phantom.scanner import Rendered, render
from phantom.signal import Weighting
from phantom.study import Patient, Phantom, Prior, sample

__all__ = [
    "DIAGNOSES",
    "Finding",
    "Labels",
    "NoSuchCourse",
    "Patient",
    "Phantom",
    "PhantomError",
    "Prior",
    "Rendered",
    "Truth",
    "UnknownDiagnosis",
    "Weighting",
    "courses",
    "follow_up",
    "labels",
    "render",
    "report",
    "sample",
    "truth",
    "write",
    "write_nifti",
]
