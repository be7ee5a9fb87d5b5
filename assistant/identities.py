"""Who a pseudonym is: kept apart from everything else, sealed, opened only for an export or an authorised worklist.

The seal is Fernet (AES-128-CBC with HMAC-SHA256) under a key derived from the site key (`encoder.identity` says where that lies),
so a stolen database names nobody, and a lost site key leaves the identities closed for good: back it up apart from the database.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from assistant.database import Database, IdentityRow
from assistant.errors import UsageError
from encoder.identity import pseudonyms


def keep(database: Database, key: str, identity: Mapping[str, str], home: Path | None = None) -> None:
    """Seals what names a study's person (names, ids, UIDs, accession, dates) under its pseudonym; a later call replaces it."""
    sealed = _seal(home).encrypt(json.dumps(dict(identity), sort_keys=True).encode())
    with database.begin() as rows:
        rows.merge(IdentityRow(key=key, sealed=sealed))


def who(database: Database, key: str, home: Path | None = None) -> dict[str, str] | None:
    """Opens the identity of a pseudonym, None if none is kept; raises UsageError under another site key."""
    with database.begin() as rows:
        row = rows.get(IdentityRow, key)
    if row is None:
        return None
    try:
        found: dict[str, str] = json.loads(_seal(home).decrypt(row.sealed))
    except InvalidToken as error:
        raise UsageError("The identity was sealed with another site key. Restore `site.key` from its backup.") from error
    return found


def _seal(home: Path | None) -> Fernet:
    """The site key serves pseudonyms too, so the seal gets a key of its own from it."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"prima identities").derive(pseudonyms(home).key)
    return Fernet(base64.urlsafe_b64encode(derived))
