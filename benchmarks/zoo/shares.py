"""A population built by many processes, a few of its networks at a time: what is finished in time is kept.

Networks of many architectures keep no accelerator busy, and an operation that fails takes its process along (cuDNN
on stacks of four channels with kernels 7 and 5). A share whose process died is built once more, with deterministic
algorithms, which are others.
"""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from weightspace.errors import ZooError
from weightspace.zoo.append import merge_populations
from weightspace.zoo.build import Site
from weightspace.zoo.plan import plan_jobs
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import Recipe
from weightspace.zoo.store import Population

PAUSE = 1.0


@dataclass(frozen=True)
class Sharing:
    """How a population is built between processes.

    Args:
        processes: How many, over all accelerators that there are.
        data_dir: Folder of dataset files.
        device: `cpu` or `cuda`.
        seconds: Until nothing more is built.
        tries_algorithms: Whether cuDNN picks its algorithms by trying them.
    """

    processes: int
    data_dir: str | None = None
    device: str = "cpu"
    seconds: float = float("inf")
    tries_algorithms: bool = False


@dataclass
class Worker:
    """A process that builds shares, the line to it, and the share that it is at."""

    process: SpawnProcess
    line: Connection
    share: int


def build_in_shares(recipe: Recipe, folder: Path, how: Sharing) -> Population:
    """Build a population from nothing, in an order drawn at random; shares that fail twice are left out.

    Raises:
        ZooError: No share was finished.
    """
    shares = sum(map(len, plan_jobs(recipe)))
    finished = _finish(recipe, folder, shares, how)
    if not finished:
        raise ZooError(
            f"{folder}: none of {shares} shares was finished; allow more seconds, or see what processes say."
        )
    built = [folder / f"share{share:05d}" for share in sorted(finished)]
    population = merge_populations(folder, [Population(share) for share in built])
    for share in folder.glob("share?????"):
        shutil.rmtree(share)
    return population


def _finish(recipe: Recipe, folder: Path, shares: int, how: Sharing) -> list[int]:
    """Let processes build shares until none is left or time is over; return those that are finished."""
    todo = random.Random(recipe.seed).sample(range(shares), shares)
    finished, failed = list[int](), set[int]()
    workers: dict[int, Worker] = {}
    end = time.monotonic() + how.seconds
    while (todo or workers) and time.monotonic() < end:
        for number in set(range(how.processes)) - set(workers):
            if todo:
                workers[number] = _begin(number, (recipe, folder, shares, how))
                _hand(workers[number], todo, failed)
        ready = wait([worker.line for worker in workers.values()], min(PAUSE, end - time.monotonic()))
        for number, worker in [(n, w) for n, w in workers.items() if w.line in ready]:
            try:
                finished.append(worker.line.recv())
            except EOFError:  # the process died
                todo += [worker.share] * (worker.share not in failed)
                failed.add(worker.share)
                del workers[number]
                continue
            if todo:
                _hand(worker, todo, failed)
            else:
                worker.line.close()
                del workers[number]
    for worker in workers.values():
        worker.process.kill()
    return finished


def _begin(number: int, given: tuple[Recipe, Path, int, Sharing]) -> Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_build, args=(number, theirs, *given), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours, -1)


def _hand(worker: Worker, todo: list[int], failed: set[int]) -> None:
    worker.share = todo.pop(0)
    worker.line.send((worker.share, worker.share in failed))


def _build(number: int, line: Connection, recipe: Recipe, folder: Path, shares: int, how: Sharing) -> None:
    """Build shares as they are asked for, on the accelerator whose turn it is."""
    torch.backends.cudnn.benchmark = how.tries_algorithms
    if how.device == "cuda":
        torch.cuda.set_device(number % torch.cuda.device_count())
    while True:
        try:
            share, again = line.recv()
        except EOFError:
            return
        place = folder / f"share{share:05d}"
        shutil.rmtree(place, ignore_errors=True)
        populate(recipe, Site(place, how.data_dir, how.device, deterministic=again, share=(share, shares)))
        line.send(share)
