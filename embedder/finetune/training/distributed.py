"""Data-parallel training: several processes, each with a share of every batch.

Every process knows the whole batch and reads its share of the contents. Vectors are exchanged, so
that each process sees all of the negatives, and gradients are summed, so that the weights are those
of one process but for the order of float32 sums. (Gradient caching makes this simple: the loss is
taken on vectors that are cut off from the graph, and no gradient runs through the exchange.)
Left out: sharded weights; each process holds the whole model.

Shape legend: N = rows of all processes, D = numbers of a row
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""Processes that wait for the first one's own work give up after this; when one dies, `torchrun`
ends the others at once."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of a training."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> "Processes":
        """Join the processes that `torchrun` started; alone without it.

        Each gets a GPU of its own, which the device "cuda" then means.
        """
        if "WORLD_SIZE" not in os.environ:
            return cls()
        if not dist.is_initialized():
            backend = "gloo"
            if torch.cuda.is_available():
                backend = "cpu:gloo,cuda:nccl"
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            dist.init_process_group(backend, timeout=PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size())

    @staticmethod
    def leave() -> None:
        """End the exchange, after which this process is alone."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that keeps log and state."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1))  # not `barrier`, which keeps a GPU spinning

    def own(self, rows: Sequence[T]) -> Sequence[T]:
        """Return this process's share: every `size`-th row."""
        return rows[self.rank :: self.size]

    def gathered(self, own_MD: torch.Tensor, *, num_rows: int) -> torch.Tensor:
        """Return [N, D], the rows of all processes in their order, without a gradient."""
        if self.size == 1:
            return own_MD.detach()
        longest = -(-num_rows // self.size)
        padded = own_MD.new_zeros(longest, *own_MD.shape[1:])
        padded[: len(own_MD)] = own_MD.detach()
        shares = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(shares, padded)
        return torch.stack(shares, dim=1).flatten(0, 1)[:num_rows]

    def summed(self, value: torch.Tensor) -> torch.Tensor:
        """Return the value added up over the processes."""
        if self.size > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients of all processes; a missing one counts as 0 and becomes one."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
