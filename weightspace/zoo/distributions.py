"""Distributions that a recipe may draw a value from, by the names of the literature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any, final

import numpy as np

from weightspace.errors import RecipeError


class Distribution(ABC):
    """Where one sampled value comes from. Subclasses are final."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, drawn: Mapping[str, Any], layer: int = 0) -> Any:
        """Return one value; `drawn` are those drawn before it, `layer` the position in a list a layer."""

    @property
    @abstractmethod
    def support(self) -> tuple[Any, ...]:
        """All values for a choice, the two ends for a range."""


@final
@dataclass(frozen=True)
class Choice(Distribution):
    """One of `values`, each as likely; a constant is a choice of one."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise RecipeError("a choice needs at least one value")

    def draw(self, rng: np.random.Generator, drawn: Mapping[str, Any], layer: int = 0) -> Any:
        """Return one of the values."""
        return self.values[int(rng.integers(len(self.values)))]

    @property
    def support(self) -> tuple[Any, ...]:
        """All values."""
        return self.values


@final
@dataclass(frozen=True)
class Uniform(Distribution):
    """Even over [low, high]; whole numbers with `whole`, evenly spread logarithms with `logarithmic`."""

    low: float
    high: float
    logarithmic: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if self.whole and not all(float(bound).is_integer() for bound in (self.low, self.high)):
            raise RecipeError(f"bounds [{self.low}, {self.high}] must be whole numbers")
        if not self.low <= self.high or (self.logarithmic and self.low <= 0):
            least = "0 < low <= high" if self.logarithmic else "low <= high"
            raise RecipeError(f"bounds [{self.low}, {self.high}] must satisfy {least}")

    def draw(self, rng: np.random.Generator, drawn: Mapping[str, Any], layer: int = 0) -> float | int:
        """Return a number between the bounds."""
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        u = float(rng.random())
        if self.logarithmic:
            return exp(log(self.low) + u * (log(self.high) - log(self.low)))
        return self.low + u * (self.high - self.low)

    @property
    def support(self) -> tuple[int | float, int | float]:
        """Both bounds."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@final
@dataclass(frozen=True)
class Given(Distribution):
    """Another distribution for each value of a key drawn before."""

    key: str
    cases: Mapping[str, Distribution]

    def draw(self, rng: np.random.Generator, drawn: Mapping[str, Any], layer: int = 0) -> Any:
        """Return a value from the distribution of the drawn case."""
        if self.key not in drawn:
            raise RecipeError(f"given {self.key}: sample.{self.key} must stand above it")
        case = str(drawn[self.key])
        if case not in self.cases:
            raise RecipeError(f"given {self.key}: no case for {case!r}, only for {sorted(self.cases)}")
        return self.cases[case].draw(rng, drawn, layer)

    @property
    def support(self) -> tuple[Any, ...]:
        """Those of all cases."""
        return tuple(value for case in self.cases.values() for value in case.support)


@final
@dataclass(frozen=True)
class PerLayer(Distribution):
    """One value a layer, as many as the `depth` drawn before."""

    each: Distribution

    def draw(self, rng: np.random.Generator, drawn: Mapping[str, Any], layer: int = 0) -> tuple[Any, ...]:
        """Return `depth` values."""
        if "depth" not in drawn:
            raise RecipeError("per_layer needs 'depth' to be sampled before it")
        return tuple(self.each.draw(rng, drawn, i) for i in range(drawn["depth"]))

    @property
    def support(self) -> tuple[Any, ...]:
        """That of one layer."""
        return self.each.support


@final
@dataclass(frozen=True)
class EarlierLayer(Distribution):
    """-1 (none) or the index of an earlier, not adjacent layer, each as likely."""

    def draw(self, rng: np.random.Generator, drawn: Mapping[str, Any], layer: int = 0) -> int:
        """Return the source of a skip into `layer`."""
        return int(rng.integers(-1, max(layer - 1, 0)))

    @property
    def support(self) -> tuple[int, ...]:
        """The least value."""
        return (-1,)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _bounds(value: Any, **kind: bool) -> Uniform:
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
        raise RecipeError(f"{value!r} must be two finite numbers, [low, high] (YAML reads 1e-3 as text: write 1.0e-3)")
    return Uniform(float(value[0]), float(value[1]), **kind)


def _given(value: Any) -> Given:
    if not isinstance(value, dict) or len(value) != 1:
        raise RecipeError(f"{value!r} must name one key and the distribution of each of its values")
    ((key, cases),) = value.items()
    if not isinstance(cases, dict) or not cases:
        raise RecipeError(f"given {key}: {cases!r} must be a mapping of its values, each with a distribution")
    return Given(key, {str(case): read_distribution(spec) for case, spec in cases.items()})


def _choice(value: Any) -> Choice:
    if not isinstance(value, list):
        raise RecipeError(f"{value!r} must be a list of values")
    return Choice(tuple(value))


READERS: dict[str, Callable[[Any], Distribution]] = {
    "constant": lambda v: Choice((v,)),
    "choice": _choice,
    "uniform": _bounds,
    "log_uniform": lambda v: _bounds(v, logarithmic=True),
    "uniform_integer": lambda v: _bounds(v, whole=True),
    "given": _given,
    "per_layer": lambda v: PerLayer(EarlierLayer() if v == "earlier_layer" else read_distribution(v)),
}


def read_distribution(spec: Any) -> Distribution:
    """Return the distribution that a recipe spells: `{log_uniform: [1.0e-4, 0.1]}`, or a bare value for a constant.

    Raises:
        RecipeError: The name is unknown or its bounds are out of order.

    Example:
        >>> read_distribution({"choice": ["relu", "tanh"]}).support
        ('relu', 'tanh')
    """
    if not isinstance(spec, dict):
        return Choice((tuple(spec) if isinstance(spec, list) else spec,))
    if len(spec) != 1 or next(iter(spec)) not in READERS:
        raise RecipeError(f"{spec!r} is no distribution; write one of {', '.join(READERS)} with its values")
    ((name, value),) = spec.items()
    return READERS[name](value)
