"""Dated studies of one patient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from made_phantoms import every_sequence

import phantom
from phantom.report import compose, with_noise


def grown(name: str) -> tuple[phantom.Phantom, phantom.Phantom]:
    """A first study of the disease and one in which it has grown."""
    for seed in range(20):
        first = phantom.sample(seed, name)
        if "grown" in phantom.courses(first, 6):
            return first, phantom.follow_up(first, 6, "grown")
    raise AssertionError(name)


def test_a_stable_disease_is_the_same_in_a_new_acquisition() -> None:
    first = phantom.sample(3, "meningioma", mirror=True)
    later = phantom.follow_up(first, 12, "stable")
    assert later.lesions == first.lesions
    assert later.anatomy == first.anatomy
    assert later.style != first.style
    assert (later.mirror, later.patient.sex, later.patient.age) == (True, first.patient.sex, first.patient.age + 1)
    assert later.date.isoformat() == "2020-12-31"


@pytest.mark.parametrize("name", ["meningioma", "high_grade_glioma", "arachnoid_cyst"])
def test_growth_is_in_the_masks_and_in_the_words(name: str) -> None:
    first, later = grown(name)
    style = every_sequence(1, 64)
    affine, shape = phantom.scanner.geometry(style, "axial")
    volumes = [phantom.labels(p, affine, shape).lesions[name].sum() for p in (first, later)]
    assert volumes[1] > 1.3 * volumes[0]
    sizes = [p.lesions[0].size_mm for p in (first, later)]
    words = [
        s.text for s in compose(later).sentences if s.section == "findings" and f"from {sizes[0]:.0f} mm to {sizes[1]:.0f} mm" in s.text
    ]
    assert len(words) == 1
    assert compose(later).comparison == "Study of 1 January 2020."
    assert later.prior is not None
    assert [change.course for change in later.prior.changes] == ["grown"]


def test_what_has_resolved_is_neither_seen_nor_asserted() -> None:
    first = next(p for p in (phantom.sample(seed, "subdural_hematoma") for seed in range(9)) if p.acquired)
    later = phantom.follow_up(first, 8, "resolved")
    assert later.diagnoses == ()
    assert not [s for s in compose(later).sentences if s.subject == "subdural_hematoma" and not s.negated]
    assert phantom.truth(later).priority in ("none", "low", "medium")
    next_one = phantom.follow_up(later, 3, "stable")
    assert next_one.diagnoses == ()


def test_a_disease_takes_only_its_own_courses() -> None:
    malformation = phantom.sample(2, "multiple_sclerosis")
    with pytest.raises(phantom.NoSuchCourse, match="multiple_sclerosis"):
        phantom.follow_up(malformation, 6, "resolved")
    acute = next(p for p in (phantom.sample(seed, "large_vessel_stroke") for seed in range(9)) if p.lesions[0].stage == "acute")
    assert phantom.courses(acute, 6) == ()
    assert phantom.courses(acute, 0) == ("stable",)
    assert phantom.courses(phantom.sample(1, "normal"), 6) == ("stable",)


def test_growth_ends_before_the_head_does() -> None:
    patient = phantom.sample(5, "high_grade_glioma")
    for _ in range(6):
        if "grown" not in phantom.courses(patient, 3):
            break
        patient = phantom.follow_up(patient, 3, "grown")
    assert 1.5 < patient.growth[0] <= 2.0


def test_noise_in_a_report_is_recorded_and_wrong() -> None:
    drawn = phantom.sample(4, "meningioma")
    report = compose(drawn)
    noisy, wrong = with_noise(report, drawn, 0.5)
    assert wrong
    assert {s.text for s in noisy.sentences} - {s.text for s in report.sentences} == set(wrong)
    names = {fact.name for fact in phantom.truth(drawn).findings}
    assert not {s.subject for s in noisy.sentences if s.text in wrong} & names
    assert with_noise(report, drawn, 0.0) == (report, ())


def test_prima_phantom_writes_dated_visits_of_one_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assistant.commands.phantom import phantom as command

    command(tmp_path, studies=1, seed=2, diagnosis="meningioma", visits=2, mirror=False, report_noise=0.3, as_json=True)
    folders = [Path(json.loads(line)["study"]) for line in capsys.readouterr().out.splitlines()]
    assert [folder.name for folder in folders] == ["phantom-00000002-visit1", "phantom-00000002-visit2"]
    said = [json.loads((folder / "truth.json").read_text()) for folder in folders]
    assert said[0]["prior"] is None
    assert said[1]["prior"]["study"] == folders[0].name
    assert set(said[1]["prior"]["course"]) == {"meningioma"}
    assert all(
        sentence in folder.joinpath("report.txt").read_text()
        for folder, one in zip(folders, said, strict=True)
        for sentence in one["report_noise"]
    )
    images = [pydicom.dcmread(next(folder.rglob("*.dcm")), stop_before_pixels=True) for folder in folders]
    assert images[0].PatientID == images[1].PatientID
    assert images[0].StudyInstanceUID != images[1].StudyInstanceUID
    assert images[0].StudyDate < images[1].StudyDate
    assert np.all([one["date"].replace("-", "") == image.StudyDate for one, image in zip(said, images, strict=True)])
