"""Several processes that share one piece of work, as `torchrun` starts them; alone, a team of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process among those that share its work.

    What all must do in step: `add_up`, `gather`, `tell`. Alone they return what they are given.

    Args:
        rank: Its number.
        world: How many there are.
        device: Where it computes.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0

    def part(self, steps: range) -> range:
        """Return the consecutive steps that are this process's, about as many as any other's.

        Example:
            >>> [list(Team(rank, 2).part(range(0, 10, 2))) for rank in (0, 1)]
            [[0, 2], [4, 6, 8]]
        """
        return steps[len(steps) * self.rank // self.world : len(steps) * (self.rank + 1) // self.world]

    def deal(self, sizes: Sequence[float]) -> list[int]:
        """Return which pieces are this process's, in order: the largest first, each to whom has least.

        Example:
            >>> [Team(rank, 2).deal([3.0, 9.0, 4.0, 1.0]) for rank in (0, 1)]
            [[1], [0, 2, 3]]
        """
        loads, owners = [0.0] * self.world, [0] * len(sizes)
        for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
            owners[i] = loads.index(min(loads))
            loads[owners[i]] += sizes[i]
        return [i for i, owner in enumerate(owners) if owner == self.rank]

    def add_up(self, tensor: Tensor) -> Tensor:
        """Return the sum of the tensors of all processes, the same in each; in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, thing: T) -> list[T]:
        """Return the things of all processes, in their order."""
        found: list[Any] = [thing]
        if self.world > 1:
            found = [None] * self.world
            dist.all_gather_object(found, thing)
        return found

    def tell(self, make: Callable[[], T]) -> T:
        """Return what the first process makes; an error of its is raised in all."""
        if self.world == 1:
            return make()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = make()
            except Exception as error:  # or the others would wait for ever
                told[1] = error
        dist.broadcast_object_list(told)
        if told[1] is not None:
            raise told[1]
        return told[0]


ALONE = Team()


@contextmanager
def processes(device: str) -> Iterator[Team]:
    """Yield the team of the processes that `torchrun` started; a team of one elsewhere.

    Several may share an accelerator: small networks keep none busy. NCCL wants one process each, so Gloo adds up then.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Team(device=device)
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    shared = device == "cpu"
    if device != "cpu":
        count = torch.cuda.device_count()
        device, shared = f"cuda:{local % count}", int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > count
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if shared else "cpu:gloo,cuda:nccl")
    try:
        yield Team(rank, world, device)
        dist.barrier()  # who is done early must not leave while others still work
    finally:
        dist.destroy_process_group()
