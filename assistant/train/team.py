"""Two processes that train one network on a CPU: each takes studies of its own in one thread, and they average their gradients.

Threads that share the small matrices of the tiny preset gain a quarter from a second core; a second process gains most of it.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Team:
    """size: of processes; rank: which of them this is, 0 = the one that prints and keeps results."""

    size: int = 1
    rank: int = 0

    def mean(self, value: float) -> float:
        """Of a number that each has."""
        if self.size == 1:
            return value
        sum_of = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(sum_of)
        return float(sum_of) / self.size

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """In place; a parameter that had no part in a process's step counts as zero there."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat: Tensor = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        for parameter, part in zip(parameters, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            parameter.grad = part.view_as(parameter)


@contextmanager
def team(size: int) -> Iterator[Team]:
    """Fork so that `size` processes go through the body; only the first comes out of it. Memory made before is shared.

    Raises RuntimeError in the first where another stopped.
    """
    if size == 1:
        yield Team()
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        others: list[int] = []
        rank = 0
        for number in range(1, size):
            child = os.fork()
            if child == 0:
                rank = number
                break
            others.append(child)
        try:
            distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
            yield Team(size, rank)
        except BaseException:
            if rank:
                traceback.print_exc()
                os._exit(1)
            raise
        if rank:
            os._exit(0)
        distributed.destroy_process_group()
        for child in others:
            os.waitpid(child, 0)
    torch.set_num_threads(threads)
