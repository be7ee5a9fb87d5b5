"""Pseudonyms: what stands for a patient, a study or a series outside the files that name them.

The site key is 32 random bytes in `site.key` under the site's data folder: the `home` argument, else $PRIMA_HOME, else
$XDG_DATA_HOME/prima-assistant, else ~/.local/share/prima-assistant. It is made on first use, readable by its owner alone.
Whoever holds the key and a list of identifiers can link them to pseudonyms; losing it makes old pseudonyms unlinkable.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from encoder.errors import StudyError

KEY_BYTES = 32
PSEUDONYM_CHARACTERS = 24  # 96 bits: no two studies of a site meet by chance


@dataclass(frozen=True, repr=False)
class Pseudonyms:
    """A keyed hash of identifiers; without the key neither computable nor reversible."""

    key: bytes

    def of(self, kind: str, *identifiers: str) -> str:
        """Hexadecimal pseudonym of identifiers of one kind ("study", "patient", "series")."""
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        message = "".join(f"{len(part)}:{part}" for part in (kind, *identifiers))
        return hmac.new(self.key, message.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:PSEUDONYM_CHARACTERS]


def data_home(home: Path | None = None) -> Path:
    """The site's data folder (module docstring says where)."""
    if home is not None:
        return Path(home)
    if named := os.environ.get("PRIMA_HOME"):
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "prima-assistant"


def pseudonyms(home: Path | None = None) -> Pseudonyms:
    """Pseudonyms under this site's key; makes the key on first use. Raises StudyError where it cannot be kept or is damaged."""
    path = data_home(home) / "site.key"
    try:
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        raise StudyError(
            f"Expected a place for the site key; {path} cannot be used ({type(error).__name__}). Set PRIMA_HOME to a writable folder."
        ) from error
    if len(key) != KEY_BYTES:
        raise StudyError(f"Expected {KEY_BYTES} bytes in {path}; found {len(key)}. Restore it from a backup, or delete it to start anew.")
    return Pseudonyms(key)


def _make(path: Path) -> None:
    """Write a new key beside its place, then link it there: two first users at once end with one key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".site.key.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
