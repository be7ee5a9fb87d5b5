"""The processes that train together, and what each computes on: one alone, or those that `torchrun` started."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from assistant.device import fastest
from assistant.errors import UsageError
from encoder.precision import Asked, settled

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """rank: which of `size` processes this is. precision: of the forward pass; weights stay in float32."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    asked: Asked = "float32"

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` items that every process knows; raises UsageError where they do not part evenly."""
        if count % self.size:
            raise UsageError(f"Expected a count that {self.size} processes can share, found {count}.")
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def autocast(self, module: nn.Module) -> AbstractContextManager[object]:
        """Mixed precision where it was asked for, or where "auto" finds that it pays for a network of this size."""
        precision = settled(self.asked, sum(p.numel() for p in module.parameters()), self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bfloat16")

    @torch.no_grad()
    def gather(self, rows: Tensor) -> list[Tensor]:
        """Every process's rows (n, ...), n of its own, in order of rank; without gradients."""
        if self.size == 1:
            return [rows]
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(self.size)]
        distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        lengths = [int(count) for count in counts]
        padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(parts, padded)
        return [part[:length] for part, length in zip(parts, lengths, strict=True)]

    @torch.no_grad()
    def sum_gradients(self, module: nn.Module) -> None:
        """Each parameter's gradient becomes the sum over processes; one that no process used stays without."""
        if self.size == 1:
            return
        parameters = [p for p in module.parameters() if p.requires_grad]
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        distributed.all_reduce(used)
        for parameter, count in zip(parameters, used.tolist(), strict=True):
            if count:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                distributed.all_reduce(parameter.grad)

    @torch.no_grad()
    def mean(self, *tensors: Tensor) -> None:
        """Replace each tensor by its mean over processes."""
        if self.size > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor.div_(self.size)

    @torch.no_grad()
    def same(self, module: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def agreed(self, value: float) -> float:
        """The first process's value: decisions must not differ by a rounding."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)

    def together(self, own: object) -> list[object]:
        """Every process's (small) object, in order of rank; also the place where they wait for each other."""
        if self.size == 1:
            return [own]
        found: list[object] = [None] * self.size
        distributed.all_gather_object(found, own)
        return found


def start(device: str | None = None, precision: Asked = "auto") -> Processes:
    """Join the other processes where `torchrun` started several. device: cuda where there is one, unless told.

    Raises UsageError for a device that is not there, WeightsError for a word that is no precision.
    """
    settled(precision, 0, CPU)  # a wrong word is told before an hour of reading
    chosen = device or fastest().type
    if chosen not in ("cpu", "cuda") or (chosen == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"--device: expected cpu, or cuda on a machine with a GPU, found {chosen!r}.")
    size, rank, local = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0)))
    place = torch.device("cuda", local) if chosen == "cuda" else CPU
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if size > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Processes(rank, size, place, precision)


def stop(*, failed: bool = False) -> None:
    """Leave the group, so that no process waits for one that has ended; unless one failed, together.

    A process that tears its connections down while another still uses them is at times aborted by gloo.
    """
    if distributed.is_available() and distributed.is_initialized():
        if not failed:
            distributed.barrier()
        distributed.destroy_process_group()
