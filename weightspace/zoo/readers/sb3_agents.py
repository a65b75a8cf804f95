"""A folder of Stable-Baselines3 agents: zips with policy.pth, and `data` as JSON.

ppo/CartPole-v1_1/CartPole-v1.zip   as in RL Baselines3 Zoo; best_model.zip beside it is the same run
ppo-CartPole-v1.zip                 as on the Hugging Face Hub; results.json beside it holds mean_reward, std_reward
rl_model_10000_steps.zip            as the checkpoint callback writes them; all of one prefix are one run

Of `data` only plain numbers are taken; the Python objects pickled in it are not touched. `algorithm` and `environment`
come from the names of files and folders, and are empty where those do not tell.

Source: Raffin et al. (2021), "Stable-Baselines3: reliable reinforcement learning implementations", its documentation of
saved agents, and the trained agents of RL Baselines3 Zoo.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from weightspace.checkpoint.archive import open_archive, read_entry
from weightspace.checkpoint.formats.sb3 import POLICY
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, WeightspaceError
from weightspace.zoo.readers.files import Network, Row, as_number, read_files, read_json_file
from weightspace.zoo.readers.layout import Listing, Problem

NUMBERS = {
    "num_timesteps": "step",
    "learning_rate": "learning_rate",
    "gamma": "gamma",
    "batch_size": "batch_size",
    "n_envs": "environments",
    "seed": "seed",
}
RESULTS = {"mean_reward": "mean_reward", "std_reward": "std_reward"}
ALGORITHMS = "a2c ars ddpg dqn her ppo ppo_lstm ppo_mask qrdqn recurrent_ppo sac td3 tqc trpo crossq".split()
STEPS = re.compile(r"(?P<prefix>.*?)_?(?P<steps>\d+)_steps")
BEST = "best_model"


def matches(source: Path) -> bool:
    """Whether a zip in the folder holds a policy."""
    return source.is_dir() and any(map(_is_agent, source.rglob("*.zip")))


def _is_agent(path: Path) -> bool:
    try:
        with open_archive(path) as archive:
            return POLICY in archive.namelist()
    except (CheckpointError, OSError):
        return False


def list_zoo(source: Path) -> Listing:
    """List the zips."""
    problems: list[Problem] = []
    rows = [_row(path, source, problems) for path in sorted(source.rglob("*.zip"))]
    return Listing(pd.DataFrame(rows), lambda piece: read_files(piece, lambda row: _load(source, row)), tuple(problems))


def _row(path: Path, source: Path, problems: list[Problem]) -> dict[str, Any]:
    file = path.relative_to(source)
    name = run_name(path)
    algorithm, environment = read_names([*file.parts[:-1], name])
    told = dict.fromkeys(NUMBERS.values(), float("nan")) | dict.fromkeys(RESULTS.values(), float("nan"))
    try:
        told |= _numbers(path) | _results(path)
    except (WeightspaceError, OSError) as error:
        problems.append(Problem(file.as_posix(), f"{error} Its properties are missing."))
    return {
        "id": file.with_suffix("").as_posix(),
        "run_name": (file.parent / name).as_posix(),
        "bytes": path.stat().st_size,
        "_file": file.as_posix(),
        "algorithm": algorithm,
        "environment": environment,
        **told,
    }


def run_name(path: Path) -> str:
    """Return what is common to the checkpoints of one training: the name without its steps.

    `best_model` is that of the one other agent in its folder.
    """
    match = STEPS.fullmatch(path.stem)
    if match:
        return match["prefix"]
    if path.stem != BEST:
        return path.stem
    others = {run_name(other) for other in path.parent.glob("*.zip") if other.stem != BEST}
    return others.pop() if len(others) == 1 else BEST


def read_names(parts: list[str]) -> tuple[str, str]:
    """Return algorithm and environment as folders and file spell them, or empty text.

    Example:
        >>> read_names(["ppo", "CartPole-v1_1", "CartPole-v1"]), read_names(["a2c-Pendulum-v1"])
        (('ppo', 'CartPole-v1'), ('a2c', 'Pendulum-v1'))
    """
    algorithm, environment = "", ""
    for part in parts:
        first, _, rest = part.partition("-")
        if part.lower() in ALGORITHMS:
            algorithm = part.lower()
        elif first.lower() in ALGORITHMS and rest:
            algorithm, environment = first.lower(), rest
        elif re.fullmatch(r".*-v\d+(_\d+)?", part):
            environment = re.sub(r"(-v\d+)_\d+$", r"\1", part)
    return algorithm, environment


def _numbers(path: Path) -> dict[str, float]:
    with open_archive(path) as archive:
        if "data" not in archive.namelist():
            return {}
        try:
            data = json.loads(read_entry(archive, "data"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: `data` is not readable ({error}).") from None
    return _plain(data, NUMBERS)


def _results(path: Path) -> dict[str, float]:
    beside = path.parent / "results.json"
    return _plain(read_json_file(beside), RESULTS) if beside.is_file() else {}


def _plain(told: Any, names: dict[str, str]) -> dict[str, float]:
    values = {ours: told.get(theirs) for theirs, ours in names.items()} if isinstance(told, dict) else {}
    return {ours: as_number(value) for ours, value in values.items()}


def _load(source: Path, row: Row) -> Network:
    return Network(load_checkpoint(source / str(row["_file"])))
