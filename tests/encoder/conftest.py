"""What every test of the encoder stands on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def site_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A site key of the tests' own: no test touches the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIMA_HOME", str(tmp_path_factory.mktemp("prima-home")))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans, which are not part of the project."""
    folder = os.environ.get("PRIMA_TEST_DATA")
    if not folder:
        pytest.skip("PRIMA_TEST_DATA names no folder of real scans")
    return Path(folder)
