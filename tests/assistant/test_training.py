"""Training data and the training loop, at toy size."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import phantom
from assistant.train.corpus import load_corpus, tokenise
from assistant.train.encoder import Plan, targets, train_encoder
from assistant.train.reports import report_wordings, told
from assistant.train.studies import EVERYTHING, Emphasis, Shard, _Labels, _mirror, as_study, load_shard, make_shard, names
from assistant.train.text_tower import build_text_tower
from encoder.config import preset
from encoder.model import Labels, Model
from encoder.volume import canonical
from phantom.atlas import REGIONS


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards") / "0000005m.safetensors"
    make_shard(path, range(5, 7), preset("tiny"), mirrored=True)
    return path


def tokens_of(shard: Shard, study: int) -> NDArray[np.intp]:
    ends = np.concatenate([[0], np.cumsum(shard.lengths)])
    series = np.concatenate([[0], np.cumsum(shard.counts)])
    return np.arange(ends[series[study]], ends[series[study + 1]])


def axial(shard: Shard, study: int) -> NDArray[np.intp]:
    """Only these come to lie on one another in a mirror image: the slices of a sagittal series are cut elsewhere."""
    tokens = tokens_of(shard, study)
    return tokens[shard.planes[tokens] == 0]


def test_a_mirror_image_has_the_same_lesions_on_the_other_side(shard: Path) -> None:
    loaded = load_shard(shard)
    assert [s["mirror"] for s in loaded.studies] == [False, True, False, True]
    for study in (0, 2):
        own, mirrored = axial(loaded, study), axial(loaded, study + 1)
        np.testing.assert_array_equal(loaded.lesions[own].astype(int).sum(0), loaded.lesions[mirrored].astype(int).sum(0))
        seen = loaded.lesions[own].any(1)
        assert seen.any()
        x = (loaded.centres[own] + loaded.offsets[own])[seen, 0].mean()
        flipped = loaded.lesions[mirrored].any(1)
        assert x == pytest.approx(-(loaded.centres[mirrored] + loaded.offsets[mirrored])[flipped, 0].mean(), abs=0.5)


def test_lesion_tokens_lie_on_the_side_that_the_truth_tells(shard: Path) -> None:
    loaded = load_shard(shard)
    told_sides = 0
    for study, facts in enumerate(loaded.studies):
        part = tokens_of(loaded, study)
        for finding in facts["findings"]:
            shown = loaded.lesions[part][:, names().index(finding["name"])]
            if finding["side"] in ("left", "right") and shown.any():
                x = np.average(loaded.centres[part, 0] + loaded.offsets[part, 0], weights=shown)
                assert (x > 0) == (finding["side"] == "left")  # LPS
                told_sides += 1
    assert told_sides


def test_an_emphasis_keeps_what_it_names_and_a_share_of_the_rest() -> None:
    often = Emphasis(("cavernoma",), others=0.3, redress=2.0)
    assert all(often.keeps(seed, ["meningioma", "cavernoma"]) for seed in range(50))
    others = [often.keeps(seed, ["meningioma"]) for seed in range(2000)]
    assert others == [often.keeps(seed, ["meningioma"]) for seed in range(2000)]
    assert np.mean(others) == pytest.approx(0.3, abs=0.03)
    assert all(EVERYTHING.keeps(seed, []) for seed in range(50))
    chances = often.chances([{"diagnoses": ["cavernoma"]}, {"diagnoses": []}, {"diagnoses": ["glioma"]}])
    assert chances.tolist() == pytest.approx([0.2, 0.4, 0.4])
    assert len({often.mark, EVERYTHING.mark, Emphasis(("cavernoma",), others=0.5).mark}) == 3


def test_a_shard_holds_what_its_emphasis_keeps(tmp_path: Path) -> None:
    drawn = {seed: phantom.sample(seed).diagnoses for seed in range(5, 8)}
    meant = Emphasis(tuple(drawn[6][:1]), others=0.0)
    assert [meant.keeps(seed, names) for seed, names in drawn.items()] == [False, True, False]
    path = tmp_path / "shard.safetensors"
    make_shard(path, range(5, 8), preset("tiny"), emphasis=meant)
    assert [study["seed"] for study in load_shard(path).studies] == [6]


def test_a_child_makes_its_parent_true_and_normal_has_no_label() -> None:
    glioma = {"diagnoses": ["high_grade_glioma"], "findings": [{"name": "edema"}], "referral": ["neurosurgery"], "priority": "high"}
    normal = {"diagnoses": [], "findings": [], "referral": [], "priority": "none"}
    found = targets([glioma, normal], ("neurosurgery",))
    assert {n for n, y in zip(names(), found.diagnoses[0], strict=True) if y} == {"high_grade_glioma", "glioma", "edema"}
    assert found.diagnoses[1].sum() == 0
    assert found.priority.tolist() == [3, 0]


def test_wordings_of_one_report_differ_and_mirrors_swap_sides() -> None:
    facts = [{"seed": 5, "mirror": False}, {"seed": 5, "mirror": True}]
    own, mirrored = report_wordings(facts)
    assert len(set(own)) == 4
    swap = {"left": "right", "right": "left"}
    flipped = [re.sub(r"\b(left|right)\b", lambda w: swap[w[0]], sentence.lower()) for sentence in own[0]]
    assert flipped == [sentence.lower() for sentence in mirrored[0]]
    assert sorted(told(own[:1], np.random.default_rng(0)).split()) == sorted(" ".join(own[0]).split())


def test_training_killed_and_resumed_ends_as_an_uninterrupted_one(shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset("tiny")
    torch.manual_seed(0)
    whole = Model(config, Labels(names(), ("neurosurgery",), tuple(REGIONS)))
    killed = copy.deepcopy(whole)
    tokenise([shard], whole.towers.tokenizer, config, tmp_path / "rows")
    corpus, _ = load_corpus([shard], tmp_path / "rows")
    reports = report_wordings(corpus.studies)
    tower = build_text_tower((s for wordings in reports for w in wordings for s in w), config.study.out, vocabulary=200)
    other_tower, before = copy.deepcopy(tower), {n: p.clone() for n, p in whole.named_parameters()}
    plan = Plan(minutes=1e6, steps=4, batch=2, whole_batch=2, save_every=0)
    train_encoder(whole, tower, corpus, reports, plan, tmp_path / "whole.safetensors")
    moved = {n for n, p in whole.named_parameters() if not p.equal(before[n])}
    assert any(n.startswith("towers.sequence.") for n in moved)
    assert not any(n.startswith("towers.tokenizer.") for n in moved)

    calls = iter(range(5))
    with monkeypatch.context() as patch:
        patch.setattr("assistant.train.encoder.told", lambda *a: told(*a) if next(calls) < 4 else pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception, match="killed"):  # in the third step of two studies
            train_encoder(killed, other_tower, corpus, reports, plan, tmp_path / "killed.safetensors")
    train_encoder(killed, other_tower, corpus, reports, plan, tmp_path / "killed.safetensors")
    for (name, one), other in zip(whole.named_parameters(), killed.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=name, rtol=1e-4, atol=1e-5)


def test_a_text_tower_learns_the_same_words_every_time() -> None:
    """A training that was killed goes on with the words it began with; the trainer itself breaks ties by chance."""
    sentences = [sentence.text for seed in range(12) for sentence in phantom.report.compose(phantom.sample(seed), 0).sentences]
    seen = {build_text_tower(iter(sentences), 16, vocabulary=150).tokenizer.backend_tokenizer.to_str() for _ in range(4)}
    assert len(seen) == 1
    tokenizer = build_text_tower(iter(sentences), 16, vocabulary=150).tokenizer
    assert "".join(piece.removeprefix("##") for piece in tokenizer.tokenize("A left Frontal mass.")) == "aleftfrontalmass."
    assert tokenizer.tokenize("\N{SNOWMAN}") == ["[UNK]"]


def test_labels_of_a_mirror_image_are_those_of_its_head_flipped() -> None:
    """They are flipped instead of drawn anew, which must come to the same."""
    spec = preset("tiny").patch
    drawn, image = phantom.sample(4, "meningioma"), phantom.sample(4, "meningioma", mirror=True)
    volumes = [canonical(series, spec) for series in as_study(drawn).series]
    images = [_mirror(volume) for volume in volumes]
    flipped, anew = _Labels(drawn, spec).mirrored(image, images, volumes), _Labels(image, spec)
    assert flipped.seen
    for volume in images:
        (lesions, regions, centres), (own, its_regions, its_centres) = flipped.cells(volume), anew.cells(volume)
        assert np.abs(lesions.astype(int) - own).max() <= 2  # a voxel at the edge of a mask may fall either way
        assert (regions == its_regions).mean() > 0.99
        there = np.isfinite(centres).all(-1) & np.isfinite(its_centres).all(-1) & (own.sum(-1) > 6)
        assert np.abs(centres - its_centres)[there].max() < 0.5
