"""Everything that ships, trained at toy size from nothing: a chain that is killed on the way ends as one that was not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from encoder.encoder import Encoder
from index.store import CaseIndex

TOY = """
from assistant.train.adapter import AdapterConfig
from assistant.train.demo import Recipe, train_demo
from assistant.train.lm import LMConfig
from pathlib import Path
import sys
if __name__ == "__main__":
    recipe = Recipe(training_studies=40, calibration_studies=120, indexed_studies=10, tokenizer_steps=10, tokenizer_minutes=1e6,
                    encoder_steps=6, encoder_minutes=1e6)
    root = Path(sys.argv[1])
    adapter = AdapterConfig(steps=4, warm_up_steps=4, minutes=1e6)
    train_demo(recipe, root, root / "out", language=LMConfig(steps=4, minutes=1e6), adapter=adapter)
"""


def chain(folder: Path) -> subprocess.Popen[bytes]:
    script = folder / "toy.py"
    folder.mkdir(exist_ok=True)
    script.write_text(TOY, encoding="utf-8")
    return subprocess.Popen([sys.executable, str(script), str(folder)], start_new_session=True)


def kill(folder: Path, when: Callable[[], bool]) -> None:
    """The chain, with every process of its own, is killed as soon as something is there."""
    process = chain(folder)
    while not when():
        assert process.poll() is None, "the chain ended before it was killed"
        time.sleep(0.05)
    subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
    assert process.wait(30) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_chain_killed_twice_ends_as_one_that_was_not(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill(killed, lambda: len(list(killed.glob("shards-*/*.safetensors"))) >= 2)
    kept = {path: path.stat().st_mtime_ns for path in killed.glob("shards-*/*.safetensors")}
    kill(killed, lambda: bool(list(killed.glob("encoder-*/checkpoint.safetensors"))))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was made is not made again"
    assert chain(killed).wait() == 0
    assert chain(whole).wait() == 0
    ends_alike(killed, whole)


def ends_alike(killed: Path, whole: Path) -> None:
    """What is drawn and learned before the encoder is the same to the bit; from there on, up to the order in which sums are taken."""
    for kind in ("shards-*/*.safetensors", "tokenizer-*/tokenizer.safetensors", "lm-*/model.safetensors"):
        made, same = (sorted(folder.glob(kind)) for folder in (killed, whole))
        assert [path.name for path in made] == [path.name for path in same]
        assert all(one.read_bytes() == other.read_bytes() for one, other in zip(made, same, strict=True)), kind
    words = [(folder / "out" / "encoder" / "text" / "tokenizer.json").read_bytes() for folder in (killed, whole)]
    assert words[0] == words[1]
    for part in ("encoder/model.safetensors", "encoder/text/model.safetensors", "adapter/adapter_model.safetensors"):
        tensors, others = (load_file(folder / "out" / part) for folder in (killed, whole))
        assert_close({n: t.float() for n, t in tensors.items()}, {n: t.float() for n, t in others.items()}, rtol=0, atol=2e-3, msg=part)
    one, other = (Encoder.read(folder / "out" / "encoder") for folder in (killed, whole))
    assert one.trained_heads == other.trained_heads
    assert len(CaseIndex.open(killed / "out" / "index")) == len(CaseIndex.open(whole / "out" / "index")) == 10
