"""From study folders and manifests to an index."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_cases import DIM, ENCODER, SEQ_DIM, make

from encoder.errors import StudyError
from encoder.features import Localisation, StudyFeatures
from encoder.study import Context, Plane, Series, Side, Study, Weighting
from index.building import Intake, Listed, age_band, build, case_of, extend, from_folder, from_manifest
from index.errors import IndexStoreError
from index.store import CaseIndex

REPORT = "FINDINGS\nA mass.\n\nIMPRESSION\nMeningioma.\n"


def study(path: Path) -> Study:
    if path.name == "broken":
        raise StudyError(f"{path}: no MRI series.")
    rng = np.random.default_rng(len(path.name))
    series = tuple(
        Series(name, rng.normal(size=(16, 16, 4)), np.diag([1.0, 1, 5, 1]), Plane.AXIAL, weighting)
        for name, weighting in (("T1", Weighting.T1), ("FLAIR", Weighting.FLAIR))
    )
    return Study(f"{path.name}-key-0123456789", None, series, (), Context(age=54.0, sex="F"))


def features(_: Study) -> StudyFeatures:
    case = make(3)
    place = Localisation("meningioma", Side.LEFT, "frontal lobe", "T1", 2, (0.0, 0.0, 0.0), 0.9)
    return StudyFeatures(
        case.embedding, np.zeros((2, 4), np.float32), case.sequence_vectors[:2], ("T1", "FLAIR"), (), (), (), (place,), None, ENCODER
    )


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "report.txt").write_text(REPORT)
        (root / name / "truth.json").write_text(json.dumps({"diagnoses": ["meningioma"]}))
    return root


def test_a_folder_of_studies_becomes_an_index_and_grows(tmp_path: Path) -> None:
    root = folders(tmp_path / "studies", "a", "broken", "c")
    told: list[str] = []
    index, done = build(tmp_path / "i", from_folder(root), Intake(study, features, told.append), ENCODER, "test")
    assert (done.added, done.known, len(done.skipped), len(told)) == (2, 0, 1, 3)
    assert "no MRI series" in done.skipped[0][1]
    case = index.get("akey01234567")
    assert (case.diagnoses, case.report.impression, case.age_band, case.sex) == (("meningioma",), "Meningioma.", "50-59", "F")
    assert [caption for caption, _ in case.pictures] == ["T1, slice 3 of 4", case.pictures[1][0]]  # where the encoder saw something
    assert index.verify().ok
    folders(root, "d")
    again = extend(CaseIndex.open(tmp_path / "i", ENCODER), from_folder(root), Intake(study, features))
    assert (again.added, again.known) == (1, 2)
    assert len(index) == 3


def test_nothing_is_left_behind_where_no_study_can_be_read(tmp_path: Path) -> None:
    root = folders(tmp_path / "studies", "broken")
    with pytest.raises(IndexStoreError, match="no MRI series"):
        build(tmp_path / "i", from_folder(root), Intake(study, features), ENCODER, "test")
    assert not (tmp_path / "i").exists()
    with pytest.raises(IndexStoreError, match=r"report\.txt"):
        list(from_folder(tmp_path / "i2"))


def test_a_manifest_names_studies_reports_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMA_HOME", str(tmp_path / "home"))
    (tmp_path / "one.txt").write_text(REPORT)
    manifest = tmp_path / "list.csv"
    second_report = '"Findings: normal.\nImpression: normal."'
    rows = ["path,report,labels,age,sex,patient", "s1,one.txt,meningioma;edema,91,M,MRN 123", f"s2,{second_report},,,,MRN 123"]
    manifest.write_text("\n".join(rows))
    first, second = from_manifest(manifest)
    assert first == Listed(tmp_path / "s1", REPORT, ("meningioma", "edema"), 91.0, "M", "MRN 123")
    assert second.diagnoses == ()
    index, _ = build(tmp_path / "i", [first, second], Intake(study, features), ENCODER, "test")
    cases = list(index)
    assert cases[0].age_band == "90+"
    assert cases[0].patient == cases[1].patient
    assert not [file for file in (tmp_path / "i").iterdir() if b"MRN 123" in file.read_bytes()]


FAULTY = {"report": "path,text\na,b\n", "line 2": "path,report\n,x\n", "years": "path,report,age\na,x,old\n"}


@pytest.mark.parametrize("told", list(FAULTY))
def test_a_faulty_manifest_says_where(tmp_path: Path, told: str) -> None:
    (tmp_path / "list.csv").write_text(FAULTY[told])
    with pytest.raises(IndexStoreError, match=told):
        list(from_manifest(tmp_path / "list.csv"))


@pytest.mark.parametrize(("age", "band"), [(None, None), (0.5, "0-9"), (49.9, "40-49"), (89, "80-89"), (90, "90+"), (101, "90+")])
def test_ages_become_bands(age: float | None, band: str | None) -> None:
    assert age_band(age) == band


def test_a_study_without_a_patient_is_its_own(tmp_path: Path) -> None:
    one = study(tmp_path / "x")
    case = case_of(one, features(one), make(1).report, ("meningioma",), id="phantom-1", source="phantom:seed=1", marked=[("FLAIR", 0)])
    assert case.patient == one.key
    assert (case.id, case.pictures[0][0]) == ("phantom-1", "FLAIR, slice 1 of 4")
    assert case_of(replace(one, patient="p"), features(one), make(1).report, ()).patient == "p"
    index = CaseIndex.create(tmp_path / "i", ENCODER, DIM, SEQ_DIM)
    index.add([case])
    assert index.get("phantom-1").pictures == case.pictures
