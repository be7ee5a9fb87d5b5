"""Released checkpoints are converted tensor by tensor, and nothing in them is ever run."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_checkpoint import OFFICIAL_TOKENIZER, Builder, Form, official_modules, write_full_model, write_tokenizer
from torch import nn

from encoder.checkpoint import read_checkpoint, stored_tensors
from encoder.convert import convert
from encoder.errors import WeightsError
from encoder.heads import SeparateHeads
from encoder.released import open_released
from encoder.weights import digest_of

# The empty classes have no source file, which old-format saving remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


def converted(folder: Path, form: Form, out: str = "out", **save: bool) -> tuple[nn.Module, Path]:
    """Make a release of the given form in `folder` and convert it."""
    full = write_full_model(folder / "full.pt", form, **save)
    return full, converted_again(folder, form, folder / "full.pt", out)


def converted_again(folder: Path, form: Form, source: Path, out: str = "out", **options: bool) -> Path:
    write_tokenizer(folder / "vqvae.pth", form)
    (folder / "tokenizer.json").write_text(json.dumps({"vqvae_config": OFFICIAL_TOKENIZER}))
    convert(source, folder / "vqvae.pth", folder / "tokenizer.json", folder / out, **options)
    return folder / out


FORMS = {
    "released": Form(),
    "__main__ names": Form(main_module=True),
    "DataParallel": Form(data_parallel=True),
    "three priorities": Form(levels=3),
    "one-step names": Form(two_step_names=False),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_released_form_converts_and_scores_as_its_own_heads_do(tmp_path: Path, form: Form) -> None:
    full, out = converted(tmp_path, form)
    weights = open_released(out, verify=True)
    assert weights.config == form.config
    towers = weights.towers()
    assert torch.equal(towers.sequence.registers, full.clipmodel.visual_model.innerViT.cls_token[0])
    pooled = torch.randn(2, form.config.study.registers * form.config.study.width)
    scores = weights.scorer("diagnosis")(pooled)
    for column, (head, index) in enumerate(full.diagnosisheads.values()):
        torch.testing.assert_close(scores[:, column], head(pooled)[:, index] - head.thresh)
    torch.testing.assert_close(weights.scorer("priority")(pooled), full.priorityhead(pooled))
    assert weights.heads["priority"].names == (("none", "low", "medium", "high") if form.levels == 4 else ("none", "low", "high"))


def test_streams_of_old_torch_give_the_same_weights_as_zips(tmp_path: Path) -> None:
    full, out = converted(tmp_path, Form(), _use_new_zipfile_serialization=False)
    registers = open_released(out).towers().study.registers
    assert torch.equal(registers, full.clipmodel.visual_model.outerViT.cls_token[0])


def test_separate_component_files_convert_to_the_same_scores(tmp_path: Path) -> None:
    """The official second form: CLIP in DataParallel, each head a file, tables of (file, column, threshold)."""
    form = Form()
    with official_modules(main=False) as classes:
        builder = Builder(classes, form)
        torch.save(nn.DataParallel(builder.clip()), tmp_path / "clip.pt")
        head, priority = builder.head(2), builder.head(4)
    torch.save(head, tmp_path / "head.pt")
    torch.save(priority, tmp_path / "priority.pt")
    (tmp_path / "diagnoses.json").write_text(json.dumps({"spine_syrinx": [0.9, [["head.pt", 1, 0.25]]]}))
    (tmp_path / "referral.json").write_text(json.dumps({"neurology": [0.9, [["head.pt", 0, -1.0]]]}))
    table = {"clip_ckpt": "clip.pt", "diagnosis_heads_json": "diagnoses.json", "referral_heads_json": "referral.json"}
    (tmp_path / "components.json").write_text(json.dumps({**table, "priority_head_ckpt": "priority.pt", "_comment": "as the sample"}))
    weights = open_released(converted_again(tmp_path, form, tmp_path / "components.json"))
    pooled = torch.randn(1, 36)
    torch.testing.assert_close(weights.scorer("diagnosis")(pooled), head(pooled)[:, 1:] - 0.25)
    torch.testing.assert_close(weights.scorer("referral")(pooled), head(pooled)[:, :1] + 1.0)


def test_half_precision_heads_are_half_the_size_and_nearly_as_right(tmp_path: Path) -> None:
    _full, out = converted(tmp_path, Form(hidden=(64, 32)))
    half = converted_again(tmp_path, Form(hidden=(64, 32)), tmp_path / "full.pt", "half", half_heads=True)
    assert (half / "heads.safetensors").stat().st_size < 0.6 * (out / "heads.safetensors").stat().st_size
    pooled = torch.randn(3, 36)
    exact, close = (open_released(folder).scorer("diagnosis")(pooled) for folder in (out, half))
    torch.testing.assert_close(close, exact, atol=2e-3, rtol=0)


def test_a_head_keeps_only_the_column_it_uses(tmp_path: Path) -> None:
    _, out = converted(tmp_path, Form())
    scorer = open_released(out).scorer("diagnosis")
    assert isinstance(scorer, SeparateHeads)
    last_weight, last_bias = scorer._layers("cyst_arachnoid_cyst")[-1]
    assert last_weight.shape == (1, 5)
    assert last_bias.shape == (1,)


class Hostile:
    """What an attacker would put into a checkpoint: unpickling it would make a file."""

    def __init__(self, victim: Path, call: object) -> None:
        self.victim, self.call = victim, call

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return self.call, (f"touch {self.victim}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_runs_a_command_is_refused_by_name_and_nothing_ran(tmp_path: Path, zipped: bool) -> None:
    victim = tmp_path / "ran"
    with official_modules(main=False) as classes:
        full = Builder(classes, Form()).full()
        full.surprise = Hostile(victim, os.system)
        torch.save(full, tmp_path / "full.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"posix\.system"):
        converted_again(tmp_path, Form(), tmp_path / "full.pt")
    assert not victim.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("symbol", ["builtins.eval", "subprocess.Popen", "importlib.import_module", "__main__.Anything", "torch.load"])
def test_symbols_outside_the_table_are_refused_without_importing_them(tmp_path: Path, symbol: str) -> None:
    module, _, name = symbol.rpartition(".")
    payload = f"c{module}\n{name}\n(S'1'\ntR.".encode()
    (tmp_path / "state.pth").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + payload)
    with pytest.raises(WeightsError, match=symbol.replace(".", r"\.")):
        read_checkpoint(tmp_path / "state.pth")


def test_a_tokenizer_file_is_read_as_carefully(tmp_path: Path) -> None:
    victim = tmp_path / "ran"
    write_full_model(tmp_path / "full.pt", Form())
    torch.save({"weight": Hostile(victim, os.system)}, tmp_path / "vqvae.pth")
    (tmp_path / "tokenizer.json").write_text(json.dumps(OFFICIAL_TOKENIZER))
    with pytest.raises(WeightsError, match=r"posix\.system"):
        convert(tmp_path / "full.pt", tmp_path / "vqvae.pth", tmp_path / "tokenizer.json", tmp_path / "out")
    assert not victim.exists()


def test_an_unknown_tensor_is_listed_and_nothing_is_written(tmp_path: Path) -> None:
    with official_modules(main=False) as classes:
        full = Builder(classes, Form()).full()
        full.clipmodel.visual_model.innerViT.new_layer = nn.Linear(2, 2)
        torch.save(full, tmp_path / "full.pt")
    with pytest.raises(WeightsError, match=r"innerViT\.new_layer\.weight"):
        converted_again(tmp_path, Form(), tmp_path / "full.pt")
    assert not (tmp_path / "out").exists()


def test_a_tensor_outside_the_towers_is_not_dropped_silently(tmp_path: Path) -> None:
    with official_modules(main=False) as classes:
        full = Builder(classes, Form()).full()
        full.m1.append(nn.Linear(3, 3))
        torch.save(full, tmp_path / "full.pt")
    with pytest.raises(WeightsError, match=r"m1\.2\.weight"):
        converted_again(tmp_path, Form(), tmp_path / "full.pt")


def test_a_missing_tensor_is_listed(tmp_path: Path) -> None:
    with official_modules(main=False) as classes:
        full = Builder(classes, Form()).full()
        del full.clipmodel.visual_model.outerViT.layernorm
        torch.save(full, tmp_path / "full.pt")
    with pytest.raises(WeightsError, match=r"missing study\.norm\.bias; missing study\.norm\.weight"):
        converted_again(tmp_path, Form(), tmp_path / "full.pt")


def test_a_tokenizer_of_other_sizes_is_refused(tmp_path: Path) -> None:
    form = Form()
    write_full_model(tmp_path / "full.pt", form)
    wide = replace(form.config.tokenizer, channels=(8, 8))
    write_tokenizer(tmp_path / "vqvae.pth", replace(form, config=replace(form.config, tokenizer=wide)))
    (tmp_path / "tokenizer.json").write_text(json.dumps(OFFICIAL_TOKENIZER))
    with pytest.raises(WeightsError, match=r"tokenizer\.encoder\.blocks\.0\.conv\.weight is"):
        convert(tmp_path / "full.pt", tmp_path / "vqvae.pth", tmp_path / "tokenizer.json", tmp_path / "out")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_truncated_checkpoint_is_a_typed_error(tmp_path: Path, keep: float) -> None:
    write_full_model(tmp_path / "full.pt", Form())
    whole = (tmp_path / "full.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(WeightsError):
        converted_again(tmp_path, Form(), tmp_path / "cut.pt")


def test_converted_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    _, out = converted(tmp_path, Form())
    before = digest_of(out)
    raw = bytearray((out / "towers.safetensors").read_bytes())
    raw[-1] ^= 1
    (out / "towers.safetensors").write_bytes(raw)
    assert digest_of(out) != before
    with pytest.raises(WeightsError, match="expected sha256"):
        open_released(out)


def test_a_folder_with_content_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(WeightsError, match="new or empty folder"):
        converted(tmp_path, Form())
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_views_into_one_storage_are_read_as_torch_sees_them(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    state = {"rows": base[1:3], "columns": base[:, ::2], "turned": base.T, "one": base[2, 3], "none": base[:0]}
    torch.save(state, tmp_path / "views.pth")
    for name, tensor in stored_tensors(read_checkpoint(tmp_path / "views.pth")):
        assert torch.equal(tensor.read(), state[name])


CONVERT_MEASURED = """
import re, sys
from pathlib import Path
from encoder.convert import convert

def peak():  # of this process alone; getrusage would count its parent's
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before, folder = peak(), Path(sys.argv[1])
convert(folder / "full.pt", folder / "vqvae.pth", folder / "tokenizer.json", folder / "out")
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_full_size_heads_stream_through_little_memory(tmp_path: Path) -> None:
    """Heads of the published size (10,240 -> 4,000 -> 1,000): the file is many tensors long, the memory under two tensors and 200 MB."""
    study = replace(Form().config.study, width=1024, registers=10)
    config = replace(
        Form().config,
        study=study,
        sequence=replace(Form().config.sequence, out=1024),
        description=replace(Form().config.description, out=1024),
    )
    form = Form(config=config, diagnoses=tuple(f"group_{i}" for i in range(4)), hidden=(4000, 1000))
    write_full_model(tmp_path / "full.pt", form)
    write_tokenizer(tmp_path / "vqvae.pth", form)
    (tmp_path / "tokenizer.json").write_text(json.dumps(OFFICIAL_TOKENIZER))
    largest = 10240 * 4000 * 4
    assert (tmp_path / "full.pt").stat().st_size > 5 * largest
    run = subprocess.run([sys.executable, "-c", CONVERT_MEASURED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 2 * largest + 200e6
