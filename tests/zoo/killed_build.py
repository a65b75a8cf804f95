"""Build a population in processes that are killed again and again, then once more to the end.

Started by `test_populate.py`, with the recipe on standard input and two folders as arguments. Each build is a fork of
this process, which has imported all it needs and started no thread. In the first folder kills come at random moments,
in the second by a process's own hand while it writes each kind of file: before, half written, and after.
"""

import os
import random
import shutil
import signal
import sys
import time
from functools import partial
from itertools import product
from pathlib import Path

import yaml

from weightspace.checkpoint import whole
from weightspace.zoo.build import Site
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import Recipe, parse_recipe

FILES = ("recipe.yaml", ".pt", ".safetensors", "architectures.json", "manifest.parquet")


def die_while_writing(kind: str, moment: str) -> None:
    """Kill this process when it first writes a file of a kind."""
    sync, here = whole._sync, False

    def stop(path: Path) -> None:
        nonlocal here
        if (here and moment == "after") or (path.is_file() and kind in path.name and moment != "after"):
            if moment != "after":
                os.truncate(path, path.stat().st_size // 2 if moment == "half" else 0)
            os.kill(os.getpid(), signal.SIGKILL)
        here = path.is_file() and kind in path.name
        sync(path)

    whole._sync = stop


def attempt(recipe: Recipe, folder: Path, prepare=lambda: None, delay: float | None = None) -> bool:
    """Build in a fork; tell whether it was killed before it finished."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            prepare()
            populate(recipe, Site(folder, save_every=0.02))
            status = 0
        finally:
            os._exit(status)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the build failed by itself"
    return os.WIFSIGNALED(status)


def kill_at_random(recipe: Recipe, folder: Path, times: int) -> None:
    draw, kills = random.Random(0), 0
    while kills < times:
        if attempt(recipe, folder, delay=draw.uniform(0.02, 0.3)):
            kills += 1
        else:  # it was too fast: begin again
            shutil.rmtree(folder)
    assert not attempt(recipe, folder)


def kill_while_writing(recipe: Recipe, folder: Path) -> None:
    for kind, moment in product(FILES, ("before", "half", "after")):
        assert attempt(recipe, folder, partial(die_while_writing, kind, moment)), f"no {kind} was written"
    assert not attempt(recipe, folder)


if __name__ == "__main__":
    wanted = parse_recipe(yaml.safe_load(sys.stdin.read()))
    kill_at_random(wanted, Path(sys.argv[1]), 10)
    kill_while_writing(wanted, Path(sys.argv[2]))
