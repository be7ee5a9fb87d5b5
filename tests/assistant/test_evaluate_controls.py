"""A result stands beside its controls or not at all; what the image does not carry is seen in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from seen_heads import DISEASES, QuadrantEncoder, intake, read, written

from assistant.errors import UsageError
from assistant.evaluate import questions
from assistant.evaluate.altered import NAMELESS, noise, only, permuted, swapped, widened, without_description, without_names
from assistant.evaluate.cache import NO_VOXELS
from assistant.evaluate.cohort import IMAGE_CONTROLS, NOISE, NORMAL, SWAPPED, Cohort, gather
from assistant.evaluate.evaluation import Control, Controls, Evaluation, judge
from assistant.evaluate.intervals import Estimate
from assistant.evaluate.telling import told
from assistant.evaluate.workers import several
from assistant.labelled import Labelled, from_folder, from_manifest, require
from encoder.config import preset
from encoder.errors import StudyError
from encoder.features import StudyFeatures
from encoder.study import Context, Plane, Series, Study, Weighting
from encoder.volume import canonical

STUDIES = 120
QUESTIONS = (questions.diagnosis, questions.referral, questions.priority, questions.fairness)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Labelled, ...]:
    return from_folder(written(tmp_path_factory.mktemp("studies"), STUDIES))


@pytest.fixture(scope="module")
def cohort(labelled: Sequence[Labelled]) -> Cohort:
    return gather(labelled, intake(), controls=80, ablations=60)


@pytest.fixture(scope="module")
def result(cohort: Cohort) -> Evaluation:
    return judge(questions.diagnosis(), cohort, draws=200)


def test_an_encoder_that_looks_is_good_and_its_controls_show_nothing(result: Evaluation) -> None:
    assert result.headline["mean AUROC"].value > 0.9
    assert result.studies == STUDIES
    for control in (result.controls.noise, result.controls.swapped, result.controls.normal):
        assert control.studies == 80
        assert control.figures["pooled AUROC"].value == pytest.approx(0.5, abs=0.12)
    assert not result.controls.noise.above_chance
    assert result.controls.floor.figures["pooled AUROC"].value == pytest.approx(0.5, abs=0.12)
    assert result.above_floor["pooled AUROC"].low > 0.2
    assert set(result.by_name) == set(DISEASES)
    assert result.details["names_in_the_mean"] == list(DISEASES)


class Peeking(QuadrantEncoder):
    """Knows its patients: reads the answer off the study's description instead of the image."""

    def encode(self, study: Study) -> StudyFeatures:
        features = super().encode(study)
        told = (study.context.description or "").split()
        return replace(features, scores=tuple(replace(s, score=1.0 * (s.name in told), probability=None) for s in features.scores))


def test_an_encoder_that_reads_the_answer_beside_the_image_is_exposed(labelled: Sequence[Labelled]) -> None:
    def telling(path: Path) -> Study:
        study = read(path)
        answer = from_folder(path)[0].main or ""
        return replace(study, context=replace(study.context, description=answer))

    found = judge(questions.diagnosis(), gather(labelled, intake(Peeking(), how=telling), controls=80), draws=100)
    assert found.headline["pooled AUROC"].value == 1
    assert found.controls.noise.above_chance
    assert found.controls.swapped.above_chance
    assert found.controls.normal.above_chance
    assert found.controls.floor.above_chance  # the description's words are in the floor
    assert found.by_name[DISEASES[0]]["ECE"].reason == "these weights carry no calibration"
    assert told(found).count("ABOVE CHANCE") == 4


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_result_is_told_without_every_control(cohort: Cohort, question: object) -> None:
    text = told(judge(question(), cohort, draws=100))
    for control in ("noise images", "another patient's images", "images of normal studies", "everything but the voxels"):
        assert text.index("RESULT") < text.index(control)


def test_an_evaluation_cannot_be_made_without_controls(result: Evaluation, labelled: Sequence[Labelled]) -> None:
    parts = {name: getattr(result, name) for name in result.__dataclass_fields__ if name != "controls"}
    with pytest.raises(TypeError, match="controls"):
        Evaluation(**parts)
    with pytest.raises(TypeError, match="missing"):
        Controls(noise=result.controls.noise)  # type: ignore[call-arg]
    nothing = Control(3, {}, {"mean AUROC": Estimate.missing("2 positive studies", 3)}, above_chance=False)
    with pytest.raises(UsageError, match="noise control could not be computed on 3 studies"):
        replace(result, controls=replace(result.controls, noise=nothing))
    with pytest.raises(UsageError, match="--controls"):
        judge(questions.diagnosis(), gather(labelled, intake(), controls=3), draws=100)


def test_ablations_are_compared_on_the_same_studies(result: Evaluation) -> None:
    """The encoder ignores names, order and description; T1 alone shows the disease far less."""
    for name in ("without sequence names", "without study description", "series order permuted"):
        assert result.ablations[name].difference["pooled AUROC"].value == pytest.approx(0, abs=1e-6)
    assert result.ablations["T1 alone"].difference["pooled AUROC"].high < 0
    assert result.ablations["T1 post-contrast alone"].studies == 0
    assert result.ablations["T1 post-contrast alone"].figures["pooled AUROC"].value is None


def test_too_few_positives_are_no_number(labelled: Sequence[Labelled]) -> None:
    rare = [one for one in labelled if DISEASES[0] not in one.diagnoses] + [one for one in labelled if DISEASES[0] in one.diagnoses][:3]
    found = judge(questions.diagnosis(), gather(rare, intake(), controls=80), draws=100)
    assert {figure.value for figure in found.by_name[DISEASES[0]].values()} == {None}
    assert "positive studies: 3" in str(found.by_name[DISEASES[0]]["AUROC"].reason)
    assert DISEASES[0] not in found.details["names_in_the_mean"]
    assert "not computed (positive studies: 3" in told(found)


def test_missing_labels_are_refused_by_name(labelled: Sequence[Labelled]) -> None:
    with pytest.raises(UsageError, match="priority"):
        judge(questions.priority(), gather([replace(labelled[0], priority=None), *labelled[1:40]], intake(), controls=40))
    with pytest.raises(UsageError, match="referral"):
        judge(questions.referral(), gather([replace(labelled[0], referral=None), *labelled[1:40]], intake(), controls=40))
    with pytest.raises(UsageError, match="at least 5"):
        judge(questions.diagnosis(), gather([one for one in labelled if one.normal], intake(), controls=20))


def test_a_wider_field_of_view_moves_nothing_and_makes_tokens_wider() -> None:
    rng = np.random.default_rng(0)
    turned = np.array([[0.0, 0, -5, 30], [0.6, 0.8, 0, -7], [-0.8, 0.6, 0, 11], [0, 0, 0, 1]])
    series = Series("T1", rng.permutation(64 * 48 * 20).astype(np.uint16).reshape(64, 48, 20), turned, Plane.SAGITTAL, Weighting.T1)
    study = Study("S", None, (series,), (), Context())
    wide = widened(1.5)(study).series[0]
    assert wide.voxels.shape == (96, 72, 20)
    place = np.argwhere(wide.voxels == wide.voxels.max())[0]
    before = np.argwhere(series.voxels == series.voxels.max())[0]
    assert (wide.affine[:3, :3] @ place + wide.affine[:3, 3]) == pytest.approx(turned[:3, :3] @ before + turned[:3, 3])
    spec = preset("tiny").patch
    spacings = [np.linalg.norm(canonical(one, spec).affine[:3, :2], axis=0) for one in (series, wide)]
    assert spacings[1] == pytest.approx(1.5 * spacings[0], rel=0.02)
    empty = replace(study, series=(replace(series, voxels=NO_VOXELS),))
    assert widened(1.5)(empty).series[0].voxels.size == 0


def test_a_name_without_a_head_is_listed(labelled: Sequence[Labelled]) -> None:
    found = judge(questions.diagnosis(), gather(labelled[:60], intake(), controls=60), draws=100)
    assert ("glioma", "labelled, but these weights have no head for it") in found.not_assessed  # the parent of both gliomas


def test_out_of_distribution_is_counted_and_calls_nothing(labelled: Sequence[Labelled]) -> None:
    found = judge(questions.priority(), gather(labelled, intake(QuadrantEncoder(flags_above=50.0)), controls=80), draws=100)
    assert found.flagged == 0
    assert found.controls.noise.flagged == 80  # noise is foreign, and said to be
    assert found.controls.noise.figures["kappa"].value is None
    assert found.headline["kappa"].value > 0.5
    assert sum(map(sum, found.details["confusion"])) == STUDIES


class Headless(QuadrantEncoder):
    """Weights without any trained head."""

    def encode(self, study: Study) -> StudyFeatures:
        return replace(super().encode(study), scores=(), referral=(), priority=())


def test_weights_without_a_head_have_no_figure_for_it(labelled: Sequence[Labelled]) -> None:
    cohort = gather(labelled, intake(Headless()), controls=80)
    for question in (questions.diagnosis(), questions.referral()):
        with pytest.raises(UsageError, match="name that has a head"):
            judge(question, cohort, draws=100)
    found = judge(questions.priority(), cohort, draws=100)  # no rule has a score to stand on: all are "none"
    assert set(found.headline) == {"kappa"}
    assert found.headline["kappa"].value == 0
    assert "head alone" not in found.by_name
    assert "kappa" in told(found)


def test_what_is_encoded_is_encoded_once_and_kept(labelled: Sequence[Labelled], tmp_path: Path) -> None:
    first, second = QuadrantEncoder(), QuadrantEncoder()
    reads: list[Path] = []

    def counted(path: Path) -> Study:
        reads.append(path)
        return read(path)

    some = labelled[:30]
    one = gather(some, intake(first, tmp_path, counted), controls=12, ablations=10)
    assert reads
    reads.clear()
    two = gather(some, intake(second, tmp_path, counted), controls=12, ablations=10)
    assert (reads, second.seen) == ([], [])
    for name in (*IMAGE_CONTROLS, *one.ablations):
        pairs = zip((one.controls | one.ablations)[name], (two.controls | two.ablations)[name], strict=True)
        for mine, theirs in (*zip(one.members, two.members, strict=True), *pairs):
            assert mine.features.scores == theirs.features.scores
            assert mine.features.priority == theirs.features.priority
            assert [s.name for s in mine.study.series] == [s.name for s in theirs.study.series]
            assert mine.study.context == theirs.study.context
    for damaged in (*list(tmp_path.rglob("*.json"))[:3], *list(tmp_path.rglob("*.safetensors"))[:3]):
        damaged.write_bytes(b"{")
    gather(some, intake(QuadrantEncoder(), tmp_path), controls=12, ablations=10)  # a damaged file is no file
    other = QuadrantEncoder(hash="r" * 64)
    gather(some[:12], intake(other, tmp_path), controls=0)
    assert len(other.seen) == 12  # other weights, other features
    assert not list(tmp_path.rglob("*.part"))
    assert not any("s0001" in path.read_text(errors="ignore") for path in tmp_path.rglob("*.json"))


def test_several_processes_find_what_one_finds(labelled: Sequence[Labelled], cohort: Cohort) -> None:
    with several(intake, 2) as each:
        shared = gather(labelled, intake(), controls=80, ablations=60, each=each)
    assert [m.labels for m in shared.members] == [m.labels for m in cohort.members]
    for name in (*IMAGE_CONTROLS, *cohort.ablations):
        arms = ((one.controls | one.ablations)[name] for one in (cohort, shared))
        for mine, theirs in zip(*arms, strict=True):
            assert mine.labels == theirs.labels
            assert mine.features.scores == theirs.features.scores


def ended(*_: object) -> None:
    os._exit(9)


def test_a_process_that_is_killed_ends_the_evaluation_with_a_word() -> None:
    with pytest.raises(UsageError, match="lower --processes"), several(intake, 2) as each:
        list(each(ended, [0]))


def test_a_changed_study_is_encoded_anew(tmp_path: Path) -> None:
    folder = written(tmp_path / "studies", 12, seed=5)
    gather(from_folder(folder), intake(QuadrantEncoder(), tmp_path / "cache"), controls=0)
    (folder / "s0003" / "more").write_text("another file")
    again = QuadrantEncoder()
    gather(from_folder(folder), intake(again, tmp_path / "cache"), controls=0)
    assert again.seen == ["key-50003"]


def test_controls_take_the_image_and_leave_the_label(cohort: Cohort) -> None:
    for name in (SWAPPED, NORMAL):
        for member, whole in zip(cohort.controls[name], cohort.members, strict=False):
            assert member.labels == whole.labels
            assert member.study.patient == whole.study.patient
    assert len({m.labels.path for m in cohort.controls[NOISE]}) == 80


def test_alterations_do_what_they_say(labelled: Sequence[Labelled]) -> None:
    whole = read(labelled[0].path)
    before = [series.voxels.copy() for series in whole.series]
    noisy = noise(whole)
    assert all(abs(np.corrcoef(a.voxels.ravel(), b.voxels.ravel())[0, 1]) < 0.2 for a, b in zip(whole.series, noisy.series, strict=True))
    assert [s.name for s in noisy.series] == [s.name for s in whole.series]
    assert (noise(whole).series[0].voxels == noisy.series[0].voxels).all()
    assert {s.name for s in without_names(whole).series} == {NAMELESS}
    assert without_description(whole).context.description is None
    assert sorted(s.name for s in permuted(whole).series) == sorted(s.name for s in whole.series)
    other = replace(whole, key="other", series=whole.series[:1])
    assert (swapped(whole, other).key, len(swapped(whole, other).series)) == (whole.key, 1)
    assert [s.weighting for s in only(Weighting.FLAIR)(whole).series] == [Weighting.FLAIR]
    with pytest.raises(StudyError, match="SWI"):
        only(Weighting.SWI)(whole)
    assert all((a == b.voxels).all() for a, b in zip(before, whole.series, strict=True))


def test_studies_that_cannot_be_read_are_skipped_and_named(labelled: Sequence[Labelled]) -> None:
    lost = replace(labelled[0], path=labelled[0].path / "nowhere")
    found = gather([lost, *labelled[1:30]], intake(), controls=0)
    assert [path for path, _ in found.skipped] == [str(lost.path)]
    with pytest.raises(UsageError, match="could read none"):
        gather([lost], intake(), controls=0)


def test_a_manifest_says_the_same_as_a_folder(labelled: Sequence[Labelled], tmp_path: Path) -> None:
    rows = [f"{one.path},{one.main or ''},{';'.join(one.referral or ())},{one.priority},40,f,GE,3,{one.site}" for one in labelled]
    manifest = tmp_path / "list.csv"
    manifest.write_text("Path,Diagnoses,Referral,Priority,Age,Sex,Vendor,Field strength,Site\n" + "\n".join(rows))
    read_back = from_manifest(manifest)
    assert [(m.path, m.diagnoses, m.referral, m.priority, m.site) for m in read_back] == [
        (one.path, one.diagnoses, one.referral, one.priority, one.site) for one in labelled
    ]
    assert (read_back[0].age, read_back[0].sex, read_back[0].vendor, read_back[0].field_strength) == (40, "F", "GE", 3)
    member = gather(read_back[:2], intake(), controls=0).members[0]
    assert (member.study.context.age, member.study.context.sex) == (40, "F")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("diagnoses\nmeningioma\n", "column path"),
        ("path,diagnoses,age\nx,,old\n", r"line 2.*age in years"),
        ("path,diagnoses\n,\n", r"line 2.*a path"),
        ("path\nx\n", "its diagnoses, found none"),
        ("path,diagnoses,priority\nx,flu,low\n", r"names of the taxonomy.*flu"),
        ("path,diagnoses,priority\nx,,urgent\n", r"none, low.*urgent"),
        ("path,diagnoses,priority\nx,,not assessed\n", "none, low"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UsageError, match=told):
        require(from_manifest(tmp_path / "list.csv"), "diagnoses", "priority")


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    with pytest.raises(UsageError, match=r"truth\.json"):
        require(from_folder(tmp_path), "diagnoses")
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(UsageError, match="diagnoses"):
        from_folder(tmp_path)
