"""A study's tokens as the rows that the sequence transformer reads, tokenised once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from assistant.train.site.cache import CutStudy
from assistant.train.site.processes import Processes
from assistant.train.studies import as_tokens
from encoder.config import PatchSpec
from encoder.networks import token_rows
from encoder.tokenizer import CHUNK, VQVAE


class Tokenise:
    """CutStudy -> `rows` (n, 289) float16, in the order of its tokens; `fill` keeps them."""

    def __init__(self, tokenizer: VQVAE, spec: PatchSpec, processes: Processes) -> None:
        self.tokenizer = tokenizer.eval().to(processes.device)
        self.spec, self.processes = spec, processes

    @torch.inference_mode()
    def __call__(self, cut: CutStudy) -> Mapping[str, NDArray[np.float16]]:
        parts: list[tuple[NDArray[np.int64], torch.Tensor]] = []
        for plane in np.unique(cut.planes):
            index = np.nonzero(cut.planes == plane)[0]
            parts += [(some, self._rows(cut, some, int(plane))) for some in np.split(index, range(CHUNK, len(index), CHUNK))]
        rows = np.empty((len(cut.values), parts[0][1].shape[1]), np.float16)
        for some, found in parts:
            rows[some] = found.half().cpu().numpy()
        return {"rows": rows}

    def _rows(self, cut: CutStudy, index: NDArray[np.int64], plane: int) -> torch.Tensor:
        tokens = as_tokens(torch.from_numpy(cut.values[index]).to(self.processes.device), plane)[:, None]
        with self.processes.autocast(self.tokenizer):
            latents = self.tokenizer.encode(tokens).float()
        return token_rows(latents, torch.from_numpy(cut.positions[index]), plane, self.spec)
