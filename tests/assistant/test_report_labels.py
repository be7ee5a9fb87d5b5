"""Labels and summaries from the words of a report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tiny_llm import save_tiny
from typer.testing import CliRunner

from assistant.cli import app
from assistant.commands.label import simulated
from assistant.errors import UsageError
from assistant.labelled import from_manifest
from assistant.report_labels import agreement, labels_of
from assistant.reported import statements
from assistant.summary import summarise

RING = "FINDINGS:\nRing-enhancing mass of the left temporal lobe.\nIMPRESSION:\nDifferential includes abscess and metastasis."


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("report", "present", "uncertain"),
    [
        ("No acute infarct or haemorrhage. Old lacunar infarct in the left thalamus.", "lacunar_stroke", ""),
        ("IMPRESSION: Metastasis cannot be excluded.", "", "brain_metastasis"),
        ("IMPRESSION: Meningioma versus dural metastasis.", "", "meningioma brain_metastasis"),
        ("IMPRESSION: Glioblastoma?", "", "high_grade_glioma"),
        ("Most likely high grade glioma. Lymphoma is a differential consideration.", "high_grade_glioma", "lymphoma"),
        ("White matter changes, likely small vessel disease; demyelination is less likely.", "small_vessel_disease", "multiple_sclerosis"),
        ("No change in the known left frontal meningioma.", "meningioma", ""),
        ("Previously seen subdural haematoma has resolved.", "", ""),
        ("Shunt catheter in place. The ventricles are decompressed.", "catheter", ""),
        # the impression outranks the findings, but a denial of something acute leaves the old
        ("FINDINGS: Midline shift of 2 mm.\nIMPRESSION: No midline shift.", "", ""),
        ("FINDINGS: Possible lymphoma.\nIMPRESSION: Lymphoma.", "lymphoma", ""),
        ("FINDINGS: Subacute parenchymal haematoma.\nIMPRESSION: No acute haemorrhage.", "intracranial_hemorrhage", ""),
        # request, technique and comparison do not count
        ("HISTORY: glioblastoma\nTECHNIQUE: meningioma protocol\nCOMPARISON: cavernoma\nFINDINGS: Normal study.", "", ""),
        ("History of multiple sclerosis. Normal brain.", "", ""),
        ("Comparison is made with the study of a metastasis. Normal brain.", "", ""),
        ("Compared with the study of 2019, the meningioma has grown.", "meningioma", ""),
        ("Favor vestibular schwannoma over meningioma. Recommend biopsy to exclude lymphoma.", "schwannoma", "meningioma"),
        ("FINDINGS: Lacune. Metastases.\nIMPRESSION: Metastases. Lacune.", "brain_metastasis lacunar_stroke", ""),
        ("Subarachnoid haemorrhage has largely resolved. The oedema has resolved.", "subarachnoid_hemorrahage", ""),
        # operated
        ("Status post craniotomy for resection of meningioma. No recurrence.", "craniotomy resection_cavity", ""),
        ("Status post resection of glioblastoma with residual enhancing tumour.", "high_grade_glioma resection_cavity", ""),
        ("Postoperative changes of craniectomy. New subdural collection under the flap.", "subdural_hematoma craniotomy", ""),
        # diagnoses before findings, and those of the impression first
        ("FINDINGS: Oedema. Cavernoma.\nIMPRESSION: Meningioma.", "meningioma cavernoma edema", ""),
    ],
)
def test_what_a_report_asserts_and_what_it_leaves_open(report: str, present: str, uncertain: str) -> None:
    found = labels_of(report)
    assert (found.present, found.uncertain) == (tuple(present.split()), tuple(uncertain.split()))


def test_every_label_stands_on_a_sentence_of_the_report() -> None:
    found = labels_of("FINDINGS:\n1. A mass with oedema.\n2. No shift.\nIMPRESSION:\n1. Typical meningioma of the falx.\n2. Oedema.")
    assert found.evidence() == {"meningioma": "Typical meningioma of the falx.", "edema": "Oedema."}


def test_labels_of_simulated_reports_agree_with_their_truth() -> None:
    """Each missed or invented name is a wording that the lexicon, or a truth that the report, lacks."""
    listed = simulated(7000, 24)
    rows = agreement([labels_of(one.report) for one in listed], [one.truth or frozenset() for one in listed])
    right, wrong = sum(row.right for row in rows), sum(row.missed + row.invented for row in rows)
    assert right > 40
    assert wrong <= 0.05 * right


def test_a_model_is_asked_about_the_uncertain_only_and_heard_only_within_them() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "brain abscess: present\nbrain_metastasis: absent\nlymphoma: present\nI think it is a tumour."

    found = labels_of(RING, ask)
    assert (found.present, found.uncertain) == (("brain_abscess",), ())
    assert found.refused == ("lymphoma: present", "I think it is a tumour.")
    assert "brain_abscess; brain_metastasis" in asked[0]
    labels_of("IMPRESSION: Meningioma.", ask)
    assert len(asked) == 1


def test_a_summary_says_each_finding_once_and_nothing_normal() -> None:
    report = (
        "TECHNIQUE:\nT1 and T2.\nFINDINGS:\nA 12 mm dural-based mass of the left convexity. Local mass effect. A cyst without enhancement. "
        "There is central restricted diffusion. No infarct. The ventricles are normal.\nIMPRESSION:\n1. Meningioma of the left convexity.\n"
        "2. There is local mass effect.\n3. No midline shift."
    )
    assert summarise(report).text() == (
        "1. A 12 mm dural-based mass of the left convexity.\n2. Local mass effect.\n3. A cyst without enhancement.\n"
        "4. There is central restricted diffusion.\n5. Meningioma of the left convexity."
    )
    assert summarise("FINDINGS:\nNo infarct.\nIMPRESSION:\nNormal brain.").items == ("Normal brain.",)


@pytest.mark.parametrize(
    "aside",
    [
        "The cyst does not enhance.",
        "Stable since 2019.",
        "The lesion has increased from 3 to 4 mm.",
        "A bleed may be missed without SWI images.",
    ],
)
def test_a_summary_leaves_comparisons_limits_and_what_a_lesion_is_not(aside: str) -> None:
    assert summarise(f"FINDINGS:\nA cyst of the left convexity. {aside}").items == ("A cyst of the left convexity.",)


def test_a_models_summary_counts_where_it_invents_nothing() -> None:
    assert summarise(RING, lambda _: "1. Ring-enhancing mass.\n2. Abscess or metastasis.").by == "model"
    invented = summarise(RING, lambda _: "1. Glioblastoma.")
    assert invented.by == "rules"
    assert invented.refused == "not in the report: high_grade_glioma"
    assert summarise(RING, lambda _: "Sure!").refused == "no numbered list"


def test_statements_leave_numbering_and_asides() -> None:
    said = statements("Clinical question of headache. T1 images were obtained. No shift. 4 mm nodule. IMPRESSION: 1. A. cyst\n2) Normal.")
    assert [(s.section, s.text) for s in said] == [
        ("findings", "No shift."),
        ("findings", "4 mm nodule."),
        ("impression", "A. cyst"),
        ("impression", "Normal."),
    ]


def test_a_list_gets_labels_that_an_evaluation_can_read(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.txt").write_text(RING)
    rows = [("scan/a", "a.txt", "61"), ("scan/b", "IMPRESSION: Meningioma, with oedema.", "")]
    with (tmp_path / "reports" / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "report", "age"), *rows])
    told = run("label", tmp_path / "reports" / "list.csv", "--out", tmp_path / "labels.csv", "--explain")
    assert "brain_abscess (uncertain, impression): Differential includes abscess and metastasis." in told
    first, second = from_manifest(tmp_path / "labels.csv")
    assert (first.diagnoses, first.age) == (frozenset(), 61)
    assert (second.main, second.diagnoses) == ("meningioma", {"meningioma", "edema"})
    assert second.path.resolve() == (tmp_path / "reports/scan/b").resolve()
    with (tmp_path / "labels.csv").open() as file:
        written = list(csv.DictReader(file))
    assert written[0]["uncertain"] == "brain_abscess;brain_metastasis"
    assert (tmp_path / written[0]["report"]).read_text() == RING
    assert json.loads(written[1]["evidence"])["edema"] == "Meningioma, with oedema."
    assert "Ring-enhancing" in run("summarise", tmp_path / "labels.csv")


def test_a_long_report_in_one_line_is_no_name_of_a_file_and_what_is_no_text_is_told(tmp_path: Path) -> None:
    """Between 256 and 500 characters it ended the command with "File name too long"."""
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "report"), ("s", "Meningioma of the falx. " + "The ventricles are normal. " * 12)])
    run("label", tmp_path / "list.csv", "--out", tmp_path / "labels.csv")
    assert from_manifest(tmp_path / "labels.csv")[0].main == "meningioma"
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "report.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        run("label", "--studies", tmp_path, "--explain")


def test_a_folder_is_checked_against_its_truth(tmp_path: Path) -> None:
    for number, name in enumerate(("meningioma", "cavernoma")):
        (tmp_path / f"s{number}").mkdir()
        (tmp_path / f"s{number}" / "report.txt").write_text("IMPRESSION:\nMeningioma.")
        (tmp_path / f"s{number}" / "truth.json").write_text(json.dumps({"diagnoses": [name], "findings": []}))
    told = json.loads(run("label", "--studies", tmp_path, "--check", "--json"))["check"]
    assert (told["meningioma"]["precision"], told["meningioma"]["recall"]) == (0.5, 1.0)
    assert (told["cavernoma"]["precision"], told["cavernoma"]["recall"]) == (None, 0.0)
    assert "invented" in run("label", "--studies", tmp_path, "--check")
    run("summarise", "--studies", tmp_path, "--out", tmp_path / "said.csv")
    assert "1. Meningioma.,rules" in (tmp_path / "said.csv").read_text()


def test_a_language_model_that_answers_nothing_of_use_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "report.txt").write_text(RING)
    said = json.loads(run("label", "--studies", tmp_path, "--llm", save_tiny(tmp_path / "lm"), "--json"))
    assert said["studies"][0]["uncertain"] == ["brain_abscess", "brain_metastasis"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["label"], "Nothing to do"),
        (["label", "--check"], "Where are the reports"),
        (["label", "--studies", "{here}/nowhere", "--check"], "no such file"),
        (["label", "--studies", "{here}", "--check"], "report.txt, found none"),
        (["label", "{here}/list.csv", "--check"], "path and report"),
        (["label", "--phantoms", "3", "--explain"], "checked only"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "list.csv").write_text("path,labels\na,\n")
    with pytest.raises(UsageError, match=told):
        run(*[argument.format(here=tmp_path) for argument in arguments])
