"""Identity lies sealed, apart, and opens only with the site's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant import identities
from assistant.database import Database
from assistant.errors import UsageError

NAME = {"PatientName": "Doe^Jane", "StudyDate": "20260101"}


def test_what_is_sealed_opens_again_and_is_not_in_the_file(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'prima.db'}")
    identities.keep(database, "key", NAME, tmp_path)
    identities.keep(database, "key", NAME, tmp_path)
    assert identities.who(database, "key", tmp_path) == NAME
    assert identities.who(database, "other", tmp_path) is None
    database.close()
    assert not any(b"Doe" in path.read_bytes() for path in tmp_path.iterdir())


def test_another_sites_key_does_not_open_it(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'prima.db'}")
    identities.keep(database, "key", NAME, tmp_path / "a")
    with pytest.raises(UsageError, match="another site key"):
        identities.who(database, "key", tmp_path / "b")
