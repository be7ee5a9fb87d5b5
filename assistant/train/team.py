"""Two processes that train one network on a CPU: each takes studies of its own in one thread, and they average their gradients.

Threads that share the small matrices of the tiny preset gain a quarter from a second core; a second process gains most of it.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from assistant.train.site.processes import Processes, stop


@contextmanager
def team(size: int) -> Iterator[Processes]:
    """Fork so that `size` processes go through the body; only the first comes out of it. Memory made before is shared.

    Raises RuntimeError in the first where another stopped.
    """
    if size == 1:
        yield Processes()
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        others: list[int] = []
        rank = 0
        for number in range(1, size):
            child = os.fork()
            if child == 0:
                rank = number
                break
            others.append(child)
        try:
            distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
            yield Processes(rank, size)
            stop()
        except BaseException:
            if rank:
                traceback.print_exc()
                os._exit(1)
            raise
        if rank:
            os._exit(0)
        for child in others:
            os.waitpid(child, 0)
    torch.set_num_threads(threads)
