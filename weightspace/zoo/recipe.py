"""A recipe: how one population of networks is sampled and trained, as a YAML file says it.

name: smallcnn_mnist
family: smallcnn
runs: 2000
snapshots: [0.5, 2, 4]          # epochs; training ends at the last
sample:                         # drawn for each run, in this order
  dataset: mnist
  learning_rate: {log_uniform: [5.0e-4, 5.0e-2]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from weightspace.errors import RecipeError
from weightspace.zoo.allowed import ARCHITECTURE, HYPERPARAMETERS, is_whole
from weightspace.zoo.distributions import Distribution, is_number, read_distribution
from weightspace.zoo.families import FAMILIES
from weightspace.zoo.seeds import mix_seed
from weightspace.zoo.tree import TreeNode, read_tree


def _is_count(value: Any) -> bool:
    return is_whole(value, 1)


def _is_rising(value: Any) -> bool:
    numbers = isinstance(value, list) and all(is_number(v) and v >= 0 for v in value)
    return bool(value) and numbers and value == sorted(set(value))


# what each plain key of a recipe must be
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda v: isinstance(v, str) and v.isidentifier(), "letters, digits and underscores"),
    "family": (lambda v: isinstance(v, str) and v in FAMILIES, f"one of {sorted(FAMILIES)}"),
    "runs": (_is_count, "a whole number above 0"),
    "architectures": (_is_count, "a whole number above 0"),
    "snapshots": (_is_rising, "a rising list of epochs, 0 or more"),
    "sample": (lambda v: isinstance(v, dict), "a mapping of values to sample"),
    "seed": (lambda v: is_whole(v, 0), "a whole number, 0 or more"),
    "batch_size": (_is_count, "a whole number above 0"),
    "storage": (lambda v: v in ("fp16", "fp32"), "fp16 or fp32"),
    "stack": (_is_count, "a whole number above 0"),
    "score_on": (_is_count, "a whole number above 0"),
    "tree": (lambda v: isinstance(v, dict), "a mapping of node names"),
}


@dataclass(frozen=True)
class Recipe:
    """How one population is sampled and trained.

    Args:
        name: Of the population; letters, digits and underscores.
        family: One of `zoo.families.FAMILIES`.
        runs: Networks trained from scratch; with a `tree`, how many trees.
        architectures: How many are drawn, for runs to take in turn; None for one each run. Equal ones train together.
        snapshots: Epochs at which the weights are kept, rising; training ends at the last.
        sample: Distribution of each hyper-parameter and architecture choice, drawn in this order.
        seed: Of everything random.
        batch_size: Examples a step.
        storage: `fp16` or `fp32`.
        stack: Networks trained at once, at most.
        score_on: Training examples that training accuracy and loss are measured on, at most.
        tree: For a lineage: what becomes of each run, by name; see `zoo.tree`.
        source: File it was read from.
        text: The recipe as YAML.
    """

    name: str
    family: str
    runs: int
    snapshots: tuple[float, ...]
    sample: Mapping[str, Distribution]
    seed: int = 0
    architectures: int | None = None
    batch_size: int = 128
    storage: str = "fp16"
    stack: int = 512
    score_on: int = 5000
    tree: Mapping[str, TreeNode] = field(default_factory=dict)
    source: str = "memory"
    text: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        options = FAMILIES[self.family].options
        for key, distribution in self.sample.items():
            if key not in HYPERPARAMETERS and key not in options:
                raise RecipeError(
                    f"{self.source}: sample.{key} is not known; {self.family!r} takes "
                    f"{sorted([*HYPERPARAMETERS, *options])}."
                )
            allowed = HYPERPARAMETERS.get(key) or ARCHITECTURE[key]
            wrong = [v for v in distribution.support if not (allowed.allows(v) or allowed.allows_one(v))]
            if wrong:
                raise RecipeError(f"{self.source}: sample.{key} can be {wrong[0]!r}; it must be {allowed}.")
        if "dataset" not in self.sample:
            raise RecipeError(f"{self.source}: sample.dataset is missing; name a dataset, such as digits.")

    def draw_run(self, number: int) -> dict[str, Any]:
        """Return the choices of run `number`, its seed among them; they do not depend on how many runs there are."""
        seed = mix_seed(self.seed, self.name, number)
        rng = shared = np.random.default_rng(seed)
        if self.architectures is not None:
            shared = np.random.default_rng(mix_seed(self.seed, self.name, "architecture", number % self.architectures))
        options = FAMILIES[self.family].options
        defaults = {key: rule.default for key, rule in HYPERPARAMETERS.items()} | dict(options)
        drawn: dict[str, Any] = {}
        for key, distribution in self.sample.items():
            try:
                drawn[key] = distribution.draw(shared if key in options else rng, drawn)
            except RecipeError as error:
                raise RecipeError(f"{self.source}: sample.{key}: {error}.") from error
            allowed = HYPERPARAMETERS.get(key) or ARCHITECTURE[key]
            if not allowed.allows(drawn[key]):
                raise RecipeError(
                    f"{self.source}: sample.{key} is {drawn[key]!r} in run {number}; it must be {allowed}."
                )
        numbers = {k: float(v) for k, v in drawn.items() if k in HYPERPARAMETERS and HYPERPARAMETERS[k].low is not None}
        return {"run": number, "seed": seed} | defaults | drawn | numbers


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        names = [key.value for key, _ in node.value]
        twice = sorted({name for name in names if names.count(name) > 1}, key=str)
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys {twice} stand twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a YAML file, or one that ships with the package by its name.

    Raises:
        RecipeError: The file is missing or not YAML, or a key or value is wrong; file, key and value are named.
    """
    path = Path(path)
    if not path.suffix and not path.is_file():
        path = Path(str(files("weightspace.model_zoo"))) / "recipes" / f"{path}.yaml"
    try:
        text = path.read_text()
        content = yaml.load(text, _Loader)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); pass a YAML file or a shipped name.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: is not YAML: {error}") from error
    return parse_recipe(content, source=str(path), text=text)


def parse_recipe(content: Any, *, source: str = "memory", text: str = "") -> Recipe:
    """Return the recipe that a mapping spells.

    Raises:
        RecipeError: A key is unknown or missing, or a value is wrong.
    """
    if not isinstance(content, dict):
        raise RecipeError(f"{source}: must be a mapping with the keys {sorted(CHECKS)}.")
    unknown = sorted(set(map(str, content)) - set(CHECKS))
    missing = sorted({"name", "family", "runs", "snapshots", "sample"} - set(content))
    if unknown or missing:
        raise RecipeError(f"{source}: unknown keys {unknown}, missing keys {missing}; known are {sorted(CHECKS)}.")
    for key, value in content.items():
        good, wanted = CHECKS[key]
        if not good(value):
            raise RecipeError(f"{source}: {key} is {value!r}; it must be {wanted}.")
    sample = {
        key: _read(f"{source}: sample.{key}", partial(read_distribution, spec))
        for key, spec in content["sample"].items()
    }
    tree = _read(f"{source}: tree", partial(read_tree, content.get("tree", {})))
    read = {"snapshots": tuple(map(float, content["snapshots"])), "sample": sample, "tree": tree}
    text = text or yaml.safe_dump(content, sort_keys=False)
    return Recipe(**content | read | {"source": source, "text": text})


def _read(where: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}.") from error
