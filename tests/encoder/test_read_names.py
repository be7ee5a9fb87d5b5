"""Names as the published encoder builds them; weighting and selection from names and tags."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_dicom import voxels_of, write_series

from encoder.errors import StudyError
from encoder.facts import Facts, words_of
from encoder.naming import file_name, sanitise, series_name, unique
from encoder.reading import read_study
from encoder.selection import reason_against
from encoder.study import Acquisition, Weighting
from encoder.weighting import weighting_of


@pytest.mark.parametrize(
    ("description", "protocol", "name"),
    [
        ("AX T2", "Brain+C", "AX_T2-Brain_plus_C-Protocol"),
        ("T2*", "T2*", "T2_star_"),
        ("t1 (mpr)", "", "t1__mpr_"),
        ("", "head/neck", "head_neck-Protocol"),
        ("", "", "UNK-0123abcd"),
    ],
)
def test_series_names(description: str, protocol: str, name: str) -> None:
    assert series_name(description, protocol, "0123abcd4567") == name


def test_plus_and_star_are_spelled_out_first() -> None:
    assert sanitise("T1+C*3") == "T1_plus_C_star_3"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("study2_FLAIR", "FLAIR"),
        (
            "MRHR_T1_AX_POST_GAD_OtherEXample_TCGA-FG-6692_MRHR_T1_AX_POST_GAD_SE_13_se2d1r_t1c",
            "T1_AX_POST_GAD_SE_se2d1r_t1c",
        ),
        ("MUELLER_HANS_1970-06-01_t2_tse_sag", "t2_tse_sag"),
        ("sub-01_ses-02_T1w", "T1w"),
        ("mueller", ""),
    ],
)
def test_only_words_about_the_sequence_are_taken_from_file_names(stem: str, name: str) -> None:
    assert file_name(stem) == name


def test_names_are_cited_so_they_differ() -> None:
    assert unique(["T1", "T2", "T1", "T1"]) == ["T1", "T2", "T1_2", "T1_3"]


@pytest.mark.parametrize(
    ("name", "weighting"),
    [
        ("AX T1", Weighting.T1),
        ("t1_mprage_sag_p2_iso", Weighting.T1),
        ("Ax FSPGR BRAVO", Weighting.T1),
        ("AX T1 POST", Weighting.T1_POST),
        ("T1_AX_POST_GAD", Weighting.T1_POST),
        ("t1 tse +c", Weighting.T1_POST),
        ("AX T1+C", Weighting.T1_POST),
        ("Sag T1 MPRAGE Gd", Weighting.T1_POST),
        ("post contrast t1_vibe", Weighting.T1_POST),
        ("T1 pre contrast", Weighting.T1),
        ("T1 without contrast", Weighting.T1),
        ("AX T2 TSE", Weighting.T2),
        ("t2_space_sag", Weighting.T2),
        ("AX FLAIR", Weighting.FLAIR),
        ("t2_tirm_tra_dark-fluid", Weighting.FLAIR),
        ("AX T2 FLAIR post", Weighting.FLAIR),
        ("AX T1 FLAIR", Weighting.T1),
        ("DWI b1000", Weighting.DWI),
        ("ep2d_diff_3scan_trace", Weighting.DWI),
        ("ep2d_diff_3scan_trace_ADC", Weighting.ADC),
        ("AX DTI 30 dir", Weighting.DWI),
        ("dwi_b0", Weighting.T2),
        ("SWI_Images", Weighting.SWI),
        ("AX T2* GRE", Weighting.SWI),
        ("t2_fl2d_tra_hemo", Weighting.SWI),
        ("AX PD TSE", Weighting.PD),
        ("TOF_3D_multi-slab", Weighting.MRA),
        ("3DpCASL", Weighting.PERFUSION),
        ("ep2d_perf", Weighting.PERFUSION),
        ("EPI PE=AP", Weighting.UNKNOWN),
        ("", Weighting.UNKNOWN),
    ],
)
def test_weighting_from_names(name: str, weighting: Weighting) -> None:
    assert weighting_of(Facts(words=words_of(name))) is weighting


@pytest.mark.parametrize(
    ("sequence", "tr", "te", "ti", "weighting"),
    [
        ("SE", 500, 12, None, Weighting.T1),
        ("SE SK", 4500, 100, None, Weighting.T2),
        ("SE", 2500, 20, None, Weighting.PD),
        ("SE IR", 9000, 120, 2500, Weighting.FLAIR),
        ("GR MP IR", 2300, 3, 900, Weighting.T1),
        ("GR", 30, 20, None, Weighting.SWI),
        ("EP GR", 2500, 30, None, Weighting.UNKNOWN),
    ],
)
def test_weighting_from_times_where_names_are_stripped(sequence: str, tr: float, te: float, ti: float | None, weighting: Weighting) -> None:
    facts = Facts(words="", sequence=frozenset(sequence.split()), acquisition=Acquisition(tr=tr, te=te, ti=ti))
    assert weighting_of(facts) is weighting


def test_contrast_agent_makes_a_t1_a_post_contrast_one_and_leaves_others() -> None:
    given = Acquisition(contrast_agent=True)
    assert weighting_of(Facts(words="ax t1", acquisition=given)) is Weighting.T1_POST
    assert weighting_of(Facts(words="ax t2", acquisition=given)) is Weighting.T2
    assert weighting_of(Facts(words="ax flair", acquisition=given)) is Weighting.FLAIR


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (Facts(words="localizer"), "localizer or calibration scan"),
        (Facts(words="aahead scout mpr sag"), "localizer or calibration scan"),
        (Facts(words="3 plane loc"), "localizer or calibration scan"),
        (Facts(words="t2", image_type=frozenset({"ORIGINAL", "LOCALIZER"})), "localizer or calibration scan"),
        (Facts(words="gre field mapping"), "field map, made to correct other series"),
        (Facts(words="dti", image_type=frozenset({"DERIVED", "FA"})), "derived map of a parameter"),
        (Facts(words="dti", image_type=frozenset({"DERIVED", "ADC"})), None),
        (Facts(words="dwi", image_type=frozenset({"DERIVED", "TRACEW"})), None),
        (Facts(words="t2", colour=True), "colour image, derived"),
        (Facts(words="swi", image_type=frozenset({"MNIP"})), "projection of other images"),
        (Facts(words="", modality="SR", sop_class="1.2.840.10008.5.1.4.1.1.88.22"), "no MR image: Enhanced SR"),
        (Facts(words="", modality="PT", sop_class="1.2.840.10008.5.1.4.1.1.128"), "modality PT, not MR"),
        (Facts(words="t1 mprage"), None),
    ],
)
def test_reasons(facts: Facts, reason: str | None) -> None:
    assert reason_against(facts) == reason


def test_stripped_of_text_tags_a_series_is_still_read(tmp_path: Path) -> None:
    times = {"RepetitionTime": 4500, "EchoTime": 100, "ScanningSequence": "SE"}
    write_series(tmp_path, voxels_of(), SeriesDescription=None, ProtocolName=None, ImageType=None, **times)
    (series,) = read_study(tmp_path).series
    assert series.name.startswith("UNK-")
    assert series.weighting is Weighting.T2


def test_a_localizer_alone_is_no_study(tmp_path: Path) -> None:
    write_series(tmp_path, voxels_of(), SeriesDescription="survey")
    with pytest.raises(StudyError, match="localizer"):
        read_study(tmp_path)
