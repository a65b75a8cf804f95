"""Two processes played by two threads, so that tests see what each of them does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local
from typing import TypeVar

from weightspace.execute import processes
from weightspace.execute.processes import Team

T = TypeVar("T")


class Meeting:
    """What `torch.distributed` does for `Team`, among threads; one that fails sets the others free."""

    def __init__(self, world: int) -> None:
        self.here, self.slots, self.barrier = local(), [None] * world, Barrier(world, timeout=60)

    def exchange(self, thing):
        self.slots[self.here.rank] = thing
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found

    def all_reduce(self, tensor):
        tensor.copy_(sum(self.exchange(tensor.clone())))

    def all_gather_object(self, found, thing):
        found[:] = self.exchange(thing)

    def broadcast_object_list(self, told):
        told[:] = self.exchange(list(told))[0]


def run_together(monkeypatch, work: Callable[[Team], T], world: int = 2) -> list[T]:
    """Return what `work` gives in each process."""
    meeting = Meeting(world)
    monkeypatch.setattr(processes, "dist", meeting)

    def one(rank: int) -> T:
        meeting.here.rank = rank
        try:
            return work(Team(rank, world))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(world) as pool:
        return [future.result() for future in [pool.submit(one, rank) for rank in range(world)]]
