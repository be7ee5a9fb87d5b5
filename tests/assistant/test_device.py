"""In which numbers a training computes."""

from __future__ import annotations

import pytest
import torch

from assistant.device import mixed


@pytest.mark.parametrize(("capabilities", "expected"), [({"avx2": True}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)])
def test_a_training_computes_in_bfloat16_only_where_the_processor_multiplies_it(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    one = torch.ones(2, 2)
    with mixed(torch.device("cpu")):
        assert (one @ one).dtype == expected
