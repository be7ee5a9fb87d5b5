"""A study knows the patient by a keyed pseudonym alone."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from made_dicom import STUDY, edit, voxels_of, write_series

from encoder.errors import StudyError
from encoder.identity import pseudonyms
from encoder.reading import read_study
from encoder.study import Context

IDENTITY = ("Mueller", "Hans", "PID-4711", "4711", STUDY, "19700601", "20240310", "ACC-99", "1.2.826")


def test_nothing_in_a_study_names_the_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    description = "T2 Mueller Hans for PID-4711"
    files = write_series(tmp_path / "t2", voxels_of(), SeriesDescription=description, ProtocolName="head", AccessionNumber="ACC-99")
    others = write_series(tmp_path / "loc", voxels_of(), number=2, SeriesDescription="localizer MUELLER", AccessionNumber="ACC-99")
    for file in (*files, *others):
        edit(
            file,
            StudyDescription="MRI brain, Mueller, ACC-99",
            ReasonForTheRequestedProcedure="Mr Mueller, fell on 10/03/2024 and 20240310",
        )
    files[0].write_bytes(files[0].read_bytes()[:-10])
    with caplog.at_level(logging.DEBUG):
        study = read_study(tmp_path)
    told = repr([dataclasses.replace(series, voxels=np.zeros(0)) for series in study.series])
    told += repr((study.key, study.patient, study.excluded, study.context)) + caplog.text
    assert not [word for word in IDENTITY if word.lower() in told.lower()]
    assert study.context.indication == "Mr ___, fell on ___ and ___"
    assert study.series[0].name == "T2_________for____-head-Protocol"


def test_errors_do_not_name_the_patient(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(), SeriesDescription="localizer Mueller")
    with pytest.raises(StudyError) as caught:
        read_study(tmp_path)
    assert not [word for word in IDENTITY if word in str(caught.value)]


def test_pseudonyms_depend_on_the_site_key(tmp_path: Path) -> None:
    write_series(tmp_path / "study", voxels_of())
    here, there = (read_study(tmp_path / "study", home=tmp_path / site) for site in ("here", "there"))
    again = read_study(tmp_path / "study", home=tmp_path / "here")
    assert here.key == again.key != there.key
    assert here.patient == again.patient != there.patient


def test_two_studies_of_one_patient_share_the_patient_alone(tmp_path: Path) -> None:
    write_series(tmp_path / "a", voxels_of(seed=1), StudyInstanceUID="1.2.1")
    write_series(tmp_path / "b", voxels_of(seed=2), StudyInstanceUID="1.2.2")
    one, two = read_study(tmp_path / "a"), read_study(tmp_path / "b")
    assert one.patient == two.patient
    assert one.key != two.key


def test_the_site_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = pseudonyms(tmp_path / "site")
    assert (tmp_path / "site" / "site.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["site.key"]
    assert pseudonyms(tmp_path / "site") == first
    assert first.key.hex() not in repr(first)


def test_a_damaged_site_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "site.key").write_bytes(b"short")
    with pytest.raises(StudyError, match=r"Expected 32 bytes in .*site\.key; found 5"):
        pseudonyms(tmp_path)


def test_a_site_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="PRIMA_HOME"):
        pseudonyms(tmp_path / "file" / "site")


def test_identifiers_of_different_kinds_do_not_collide(tmp_path: Path) -> None:
    names = pseudonyms(tmp_path)
    assert len({names.of("a", "bc"), names.of("ab", "c"), names.of("a", "b", "c"), names.of("abc")}) == 4


@pytest.mark.parametrize(
    ("age", "birth", "date", "expected"),
    [
        ("045Y", "", "20240310", 45.0),
        ("006M", "", "20240310", 0.5),
        ("010D", "", "20240310", 0.03),
        ("", "19700601", "20240310", 53.0),
        ("", "20240310", "20240310", None),
        ("000Y", "", "20240310", None),
        ("", "", "20240310", None),
        ("", "20300101", "20240310", None),
    ],
)
def test_age_comes_from_the_tag_or_the_dates(tmp_path: Path, age: str, birth: str, date: str, expected: float | None) -> None:
    write_series(tmp_path, voxels_of(), PatientAge=age, PatientBirthDate=birth, StudyDate=date)
    assert read_study(tmp_path).context.age == expected


def test_what_is_given_stands_before_what_files_say(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(), PatientAge="045Y", StudyDescription="MRI head")
    said = read_study(tmp_path).context
    assert said == Context(age=45.0, sex="F", description="MRI head")
    assert read_study(tmp_path, Context(age=50.0, indication="seizure")).context == dataclasses.replace(
        said, age=50.0, indication="seizure"
    )
