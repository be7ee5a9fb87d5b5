"""Training on a hospital's own studies: gradients that do not depend on how a step is parted, resuming, stopping, sampling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_training import cached_studies, gradients, gradients_of_a_process, learner, short, small_config
from safetensors.numpy import save_file
from torch import nn

from assistant.errors import UsageError
from assistant.train.site.cache import CachedStudy, split
from assistant.train.site.clip import accumulate
from assistant.train.site.config import TextTraining, load_config
from assistant.train.site.heads import Column, Heads, HeadsLearner, Labelled
from assistant.train.site.loop import METRICS, Run, rate_at, train
from assistant.train.site.manifest import Entry
from assistant.train.site.names import matching
from assistant.train.site.patients import attraction
from assistant.train.site.processes import Processes
from assistant.train.site.sampling import Studies, findings, told
from assistant.train.site.text_tower import begin_text_tower, open_text_tower
from assistant.train.site.tokenizer import TokenizerLearner
from encoder.errors import WeightsError
from encoder.tokenizer import VQVAE
from encoder.weights import read_weights

ALONE = Processes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cached studies and an untrained text tower."""
    home = tmp_path_factory.mktemp("studies")
    reports = [one.entry.report for one in cached_studies(home)]
    torch.manual_seed(0)
    begin_text_tower(home / "text", TextTraining("bert", 200, 160), reports, small_config().network.study.out, None)
    return home


def assert_same(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-6, rtol=2e-4, msg=lambda m, name=name: f"{name}: {m}")


def test_micro_batches_give_the_gradient_of_the_whole_batch(folder: Path) -> None:
    """Accumulation without gathered negatives would have 4 studies to tell apart, not 8."""
    whole, parted = gradients(learner(folder, ALONE, 8, 1)), gradients(learner(folder, ALONE, 4, 2))
    assert_same(parted, whole)
    assert whole["temperature"] != 0
    assert not [name for name in whole if name.startswith("towers.tokenizer.")]
    apart = learner(folder, ALONE, 4, 1)  # the plain sum over two separate halves is another gradient
    assert not torch.allclose(gradients(apart)["temperature"], whole["temperature"], rtol=1e-2)


def test_two_processes_give_the_gradient_of_one(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    torch.multiprocessing.spawn(gradients_of_a_process, (str(tmp_path), 2, 2, 2), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (read_weights(tmp_path / f"gradients-{rank}.safetensors") for rank in (0, 1))
    assert_same(first, gradients(learner(folder, ALONE, 8, 1)))
    assert_same(second, first)


def test_dropout_drops_the_same_in_both_passes() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"rows": nn.functional.dropout(self.layer(x), 0.5)}

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return (rows @ rows.T).tanh().sum()

    torch.manual_seed(0)
    module, parts = Dropping(), [torch.randn(3, 6), torch.randn(2, 6)]
    torch.manual_seed(1)
    loss(torch.cat([module(part)["rows"] for part in parts])).backward()  # type: ignore[no-untyped-call]
    wanted = module.layer.weight.grad.clone()  # type: ignore[union-attr]
    module.zero_grad()
    torch.manual_seed(1)
    accumulate(module, parts, lambda found: {"loss": loss(found["rows"])}, ALONE)
    torch.testing.assert_close(module.layer.weight.grad, wanted)


def test_mixed_precision_gives_about_the_same_gradient_to_the_same_weights(folder: Path) -> None:
    exact, mixed = (gradients(learner(folder, Processes(asked=asked), 4, 2)) for asked in ("float32", "bfloat16"))
    name = "towers.study.clip.weight"
    assert mixed[name].dtype == torch.float32
    assert not torch.equal(mixed[name], exact[name])
    assert nn.functional.cosine_similarity(mixed[name].flatten(), exact[name].flatten(), dim=0) > 0.98


def test_training_tells_studies_apart(folder: Path, tmp_path: Path) -> None:
    """Eight random studies against their reports: at the start one in eight is right."""
    made = learner(folder, ALONE, 4, 2, series_dropout=0.0, name_dropout=0.0)
    schedule = replace(made.config.schedule, steps=60, rate=3e-3, warm_up=4, validate_every=60)
    made.validation = made.training
    before = made.validate(0)
    progress = train(made, schedule, replace(run_of(tmp_path), save_minutes=9.0), ALONE)
    after = progress.history[-1]
    assert before["recall_at_1"] < 0.5
    assert after["validation_recall_at_1"] > 0.9
    assert after["validation_loss"] < 0.5 < before["loss"]


class Killed(Exception):
    """Stands for the power cut."""


def run_of(folder: Path) -> Run:
    return Run(folder, "one", 0, 0.0, "test")


def trained(folder: Path, home: Path, die_at: int | None = None) -> dict[str, torch.Tensor]:
    """Six steps, a validation every second; every step is saved."""
    made = learner(folder, ALONE, 2, 2)
    step = made.step

    def step_or_die(number: int) -> Mapping[str, float]:
        if number == die_at:
            raise Killed
        return step(number)

    made.step = step_or_die  # type: ignore[method-assign]
    train(made, made.config.schedule, run_of(home), ALONE)
    return made.pair.state_dict()


def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    wanted = trained(folder, tmp_path / "whole")
    for killed_at in (3, 4):  # between validations, and just after one
        home = tmp_path / f"killed-{killed_at}"
        with pytest.raises(Killed):
            trained(folder, home, die_at=killed_at)
        torch.manual_seed(99)  # another process has another generator
        found = trained(folder, home)
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
        assert (home / METRICS).read_text() == (tmp_path / "whole" / METRICS).read_text()
        assert (home / "metrics.svg").read_bytes() == (tmp_path / "whole" / "metrics.svg").read_bytes()
    untrained = learner(folder, ALONE, 2, 2).pair.state_dict()
    assert not torch.equal(wanted["towers.study.registers"], untrained["towers.study.registers"])


def test_a_checkpoint_of_other_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path)
    made = learner(folder, ALONE, 2, 2)
    with pytest.raises(UsageError, match="--restart"):
        train(made, made.config.schedule, replace(run_of(tmp_path), fingerprint="another"), ALONE)


class Scripted:
    """A learner whose validation losses are written down; its weight is the number of steps."""

    def __init__(self, losses: list[float], step_loss: float = 1.0) -> None:
        self.module: nn.Module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)  # type: ignore[arg-type]
        self.losses, self.step_loss = losses, step_loss

    def step(self, step: int) -> Mapping[str, float]:
        self.module.weight.grad = torch.full((1, 1), -1.0 - step)  # type: ignore[union-attr, assignment]
        return {"loss": self.step_loss}

    def validate(self, step: int) -> Mapping[str, float]:
        return {"loss": self.losses[step // 2 - 1]}

    def after(self) -> None: ...

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...

    def saved(self) -> None: ...


def test_training_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    schedule = replace(
        short(small_config().clip.schedule, 20, 1), patience=2, optimiser="rmsprop", anneal=False, warm_up=0, weight_decay=0.0
    )
    made = Scripted([3.0, 2.0, 2.5, 2.4, 1.0])
    progress = train(made, schedule, run_of(tmp_path), ALONE)
    assert (progress.step, progress.best_step, progress.best) == (8, 4, 2.0)
    best = made.module.state_dict()["weight"]
    four = Scripted([3.0, 2.0])
    train(four, replace(schedule, steps=4), run_of(tmp_path / "four"), ALONE)
    assert torch.equal(best, four.module.state_dict()["weight"])
    again = train(made, schedule, run_of(tmp_path), ALONE)
    assert again.step == 8  # what has stopped does not go on


def test_a_loss_that_is_no_number_ends_the_run_with_a_word(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lower the rate"):
        train(Scripted([1.0], step_loss=float("nan")), short(small_config().clip.schedule, 2, 1), run_of(tmp_path), ALONE)
    with pytest.raises(UsageError, match="step 2: expected a finite validation loss"):
        train(Scripted([float("nan")]), short(small_config().clip.schedule, 2, 1), run_of(tmp_path), ALONE)


def test_the_rate_warms_up_and_anneals() -> None:
    schedule = replace(small_config().clip.schedule, steps=100, warm_up=10, rate=1.0, anneal=True)
    assert rate_at(0, schedule) == pytest.approx(0.1)
    assert rate_at(9, schedule) == pytest.approx(1.0)
    assert rate_at(55, schedule) == pytest.approx(0.5)
    assert rate_at(99, schedule) < 0.001


def test_a_step_draws_no_study_twice_and_abnormal_ones_more_often(folder: Path) -> None:
    studies = Studies(cached_studies(folder), replace(small_config().clip, abnormal=3.0), 0, torch.device("cpu"))
    drawn = np.concatenate([studies.drawn(step, 2) for step in range(2000)])
    assert all(len(set(studies.drawn(step, 8).tolist())) == 8 for step in range(5))
    abnormal = (drawn % 2 == 1).mean()
    assert 0.68 < abnormal < 0.78  # 3 : 1 among single draws, a little less in pairs without replacement
    assert (studies.drawn(7, 4) == studies.drawn(7, 4)).all()
    with pytest.raises(UsageError, match="lower batch"):
        studies.drawn(0, 9)


def test_dropouts_take_about_their_share_and_leave_something(folder: Path) -> None:
    config = replace(small_config().clip, series_dropout=0.5, token_dropout=0.25, name_dropout=0.5, most_tokens=0)
    studies = Studies(cached_studies(folder), config, 0, torch.device("cpu"))
    everyone = np.arange(8)
    whole = studies.whole(everyone).tokens
    seen = [studies.altered(everyone, step, 0).tokens for step in range(60)]
    series = sum(len(b.lengths) for b in seen) / (60 * len(whole.lengths))
    tokens = sum(sum(b.lengths) for b in seen) / sum(len(b.lengths) for b in seen) / (sum(whole.lengths) / len(whole.lengths))
    unknown = np.mean([name == "unk" for b in seen for name in b.names])
    assert all(min(b.counts) >= 1 and min(b.lengths) >= 1 for b in seen)
    assert 0.5 < series < 0.68  # of two or three series one always stays
    assert 0.7 < tokens < 0.8
    assert 0.42 < unknown < 0.58
    part = studies.altered(everyone[4:6], 3, 4)  # the place in the step decides, not the micro-batch
    assert part.texts == studies.altered(everyone, 3, 0).texts[4:6]


def test_findings_are_items_or_sentences_and_are_shuffled_whole() -> None:
    assert findings("1. mass of 1.5 cm 2. no shift") == ("mass of 1.5 cm", "no shift")
    assert findings("Mass in the left lobe. No shift.") == ("Mass in the left lobe.", "No shift.")
    items = tuple("abcdef")
    shuffled = {told(items, np.random.default_rng(seed)) for seed in range(9)}
    assert len(shuffled) > 5
    assert all(sorted(text.split()[1::2]) == list(items) and text.split()[::2] == [f"{n}." for n in range(1, 7)] for text in shuffled)
    assert told(items, None) == "1. a 2. b 3. c 4. d 5. e 6. f"


def test_no_patient_stands_on_both_sides_of_the_split(folder: Path) -> None:
    studies = cached_studies(folder)
    for seed in range(6):
        training, validation = split(studies, 0.3, seed)
        assert {one.patient for one in training}.isdisjoint({one.patient for one in validation})
        assert len(training) + len(validation) == len(studies)
        assert split(studies[::-1], 0.3, seed)[1][::-1] == validation
    told_sides = [replace(one, entry=replace(one.entry, split="validation" if k == 0 else "training")) for k, one in enumerate(studies)]
    with pytest.raises(UsageError, match="one side"):
        split(told_sides, 0.3, 0)  # studies 0 and 1 are of one patient


def test_attraction_equals_its_definition() -> None:
    vectors = nn.functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    owners, wanted = torch.tensor([0, 0, 1, 0, 2]), []
    for i in (0, 1, 3):
        others = [j for j in range(5) if j != i]
        weights = torch.stack([(vectors[i] @ vectors[j] / 0.1).exp() for j in others])
        shares = weights / weights.sum()
        wanted.append(torch.stack([-shares[k].log() for k, j in enumerate(others) if owners[j] == owners[i]]).mean())
    found = attraction(vectors, owners, 0.1)
    torch.testing.assert_close(found, torch.stack(wanted).mean())
    found.backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()
    assert attraction(vectors[:1], owners[:1], 0.1) == 0
    assert attraction(vectors, torch.arange(5), 0.1) == 0


def tokenizer_learner(home: Path, permute_axes: bool) -> TokenizerLearner:
    """On two studies of smooth random tokens, 24 each, of all three planes."""
    config, studies = small_config(), []
    for number in range(2):
        rng = np.random.default_rng(number)
        slope = rng.random((24, 1, 1, 1)) * np.linspace(0, 1, 16) + rng.random((24, 1, 16, 1)) * np.ones((1, 4, 1, 1))
        file = home / f"tokens-{number}.safetensors"
        save_file({"values": slope.astype(np.float16), "planes": np.arange(24, dtype=np.uint8) % 3}, file)
        studies.append(CachedStudy(Entry(file, ""), file, (24,), ("t1",), "mr", str(number)))
    training = replace(config.tokenizer, schedule=short(config.tokenizer.schedule, 40, 12, 2), permute_axes=permute_axes)
    torch.manual_seed(0)
    return TokenizerLearner(VQVAE(config.network.tokenizer), studies, studies, training, 0, ALONE)


def test_the_tokenizer_learns_to_restore_tokens(tmp_path: Path) -> None:
    made = tokenizer_learner(tmp_path, permute_axes=True)
    schedule = replace(made.config.schedule, steps=200, rate=3e-3, validate_every=20)
    history = train(made, schedule, replace(run_of(tmp_path / "run"), save_minutes=9.0), ALONE).history
    assert history[-1]["training_reconstruction"] < 0.6 * history[0]["training_reconstruction"]
    assert history[-1]["validation_unexplained"] < 0.8 < history[0]["validation_unexplained"]
    assert history[-1]["validation_codes"] > 4


def test_permuted_axes_are_the_same_voxels_seen_otherwise(tmp_path: Path) -> None:
    made = tokenizer_learner(tmp_path, permute_axes=True)
    drawn = made.judged[0]
    plain, turned = (list(made._turned(drawn, rng)) for rng in (None, np.random.default_rng(0)))
    assert [tuple(x.shape[2:]) for x in plain] == [(8, 16, 16), (16, 8, 16), (16, 16, 8)]
    sums = [torch.cat([x.sum((1, 2, 3, 4)) for x in parts]).sort().values for parts in (plain, turned)]
    torch.testing.assert_close(sums[0], sums[1])
    assert [len(x) for x in plain] != [len(x) for x in turned]


def test_a_name_shared_by_sequences_has_all_of_them_for_an_answer() -> None:
    """With one-to-one targets two series of one name would push each other's name away."""
    names = torch.eye(3)[[0, 0, 1]]
    labels, hot = torch.tensor([5, 5, 2]), torch.tensor(5.0)
    assert matching(names, names, labels, hot) < 1e-4
    assert matching(names[[2, 2, 0]], names, labels, hot) > 10


def test_each_head_is_kept_as_it_was_at_its_own_best_validation(tmp_path: Path) -> None:
    """Two heads, two validations: the first ranks best at step 1, the second at step 2."""
    columns = (Column("diagnosis", "meningioma"), Column("diagnosis", "glioma"))
    labels = np.array([[1, 0], [0, 1], [1, np.nan], [0, 0]], np.float32)
    side = Labelled(labels[:, :1] + np.array([[0.0], [0.1], [0.2], [0.3]], np.float32), labels, np.full(4, -1))
    config = replace(small_config().heads, hidden=())
    made = HeadsLearner(Heads(1, (), 2, False), columns, side, side, config, tmp_path / "kept", 0, ALONE)
    layer = made.network.labels[0]
    with torch.no_grad():
        for step, (first, second) in ((1, (1.0, 1.0)), (2, (-1.0, -1.0))):
            layer.weight.copy_(torch.tensor([[first], [second]]))
            layer.bias.fill_(step)
            made.validate(step)
    assert [made.best[f"diagnosis {c.name}"].step for c in columns] == [1, 2]
    groups, shared, entries = made.result()
    found = {entry.name: entry.read().tolist() for entry in entries}
    assert found["diagnosis.meningioma.0.weight"] == [[1.0]]
    assert found["diagnosis.glioma.0.weight"] == [[-1.0]]
    assert found["diagnosis.glioma.0.bias"] == [2.0]
    assert not shared
    assert 0 < groups["diagnosis"].thresholds[0] - 1 < 1.1  # between the negatives' logits and the positives'
    made.saved()
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_text_model_without_a_head_gets_the_published_one(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    words = ByteLevelBPETokenizer()
    words.train_from_iterator(["a mass in the left lobe"], vocab_size=280, special_tokens=["<|endoftext|>"], show_progress=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=words._tokenizer, eos_token="<|endoftext|>", model_max_length=64)
    GPT2Model(GPT2Config(vocab_size=280, n_positions=64, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path / "gpt")
    fast.save_pretrained(tmp_path / "gpt")
    begin_text_tower(tmp_path / "tower", load_config("prima").text, [], 24, tmp_path / "gpt")
    tower = open_text_tower(tmp_path / "tower")
    alone, padded = tower.encode(["left mass"])[0], tower.encode(["left mass", "a mass in the left lobe, and the left lobe"])[0]
    assert alone.shape == (24,)
    np.testing.assert_allclose(alone, padded, atol=1e-5)  # the last token, not the last place
    assert [type(module).__name__ for module in tower][1:] == ["Pooling", "LayerNorm", "Dense", "LayerNorm", "Normalize"]
    with pytest.raises(UsageError, match="16"):
        begin_text_tower(tmp_path / "other", load_config("prima").text, [], 16, tmp_path / "tower")


@pytest.mark.parametrize("name", ["tiny", "prima"])
def test_shipped_configs_are_read_strictly(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    assert config.clip.patient_weight == 0.03
    assert (config.clip.series_dropout, config.clip.token_dropout, config.clip.name_dropout) == (0.08, 0.03, 0.07)
    path = tmp_path / "own.json"
    path.write_text(config.to_json())
    assert load_config(str(path)) == config
    path.write_text(config.to_json().replace('"abnormal"', '"abnormel"'))
    with pytest.raises(WeightsError, match="abnormel"):
        load_config(str(path))
    with pytest.raises(UsageError, match="--config"):
        load_config("huge")


@pytest.mark.parametrize(
    ("part", "key", "value", "why"),
    [("clip", "abnormal", 0, "found 0"), ("clip", "name_dropout", 7, "dropouts .*7"), ("", "validation", 1, "share for validation")],
)
def test_a_configuration_that_cannot_be_trained_is_refused(part: str, key: str, value: float, why: str, tmp_path: Path) -> None:
    said = json.loads(load_config("tiny").to_json())
    (said[part] if part else said)[key] = value
    (tmp_path / "own.json").write_text(json.dumps(said))
    with pytest.raises(WeightsError, match=why):
        load_config(str(tmp_path / "own.json"))


def test_a_stage_without_steps_is_refused() -> None:
    """Heads of no step had no validation that they were best at: a KeyError, after every study had been read."""
    config = load_config("tiny")
    with pytest.raises(WeightsError, match="1 step"):
        replace(config, heads=replace(config.heads, schedule=replace(config.heads.schedule, steps=0)))
