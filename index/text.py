"""Words into the space of the study embeddings: the text tower that was trained beside the encoder."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexStoreError

UNSAFE = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py"}


class TextTower:
    """A SentenceTransformer directory, opened when first asked: importing the library takes seconds.

    Raises IndexStoreError where the folder is no such directory, or holds pickles or code.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        try:
            modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
            foreign = [module["type"] for module in modules if not module["type"].startswith("sentence_transformers.")]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise IndexStoreError(
                f"{folder}: expected a SentenceTransformer directory with modules.json, found none that can be read."
            ) from error
        unsafe = sorted(path.name for path in folder.rglob("*") if path.suffix in UNSAFE)
        if foreign or unsafe:
            raise IndexStoreError(
                f"{folder}: expected safetensors and the library's own modules, found {unsafe + foreign}. Save it with safetensors."
            )

    def __call__(self, text: str) -> NDArray[np.float32]:
        """Unit vector (d,) of the text."""
        with self._lock:
            vector = self._model.encode(text, convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vector, dtype=np.float32)

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(self.folder), device="cpu", local_files_only=True, trust_remote_code=False)
