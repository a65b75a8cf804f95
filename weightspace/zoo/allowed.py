"""What a recipe may sample: each hyper-parameter and architecture choice, its default and the values it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weightspace.zoo.families.activations import ACTIVATIONS
from weightspace.zoo.initialise import SCHEMES
from weightspace.zoo.update import RULES


@dataclass(frozen=True)
class Allowed:
    """Values that may be drawn for one key of `sample`.

    Args:
        default: Taken where the recipe does not name it; None where it must, or where the family has its own.
        low: Least allowed number, if it is one.
        high: Largest allowed number.
        whole: Whether a number must be whole.
        names: Allowed names, if it is a name.
        layers: Whether it is a list, one value a layer.
    """

    default: Any = None
    low: int | float | None = None
    high: int | float | None = None
    whole: bool = False
    names: tuple[str, ...] = ()
    layers: bool = False

    def allows(self, value: Any) -> bool:
        """Whether `value` may be drawn."""
        if self.layers:
            return isinstance(value, list | tuple) and all(map(self.allows_one, value))
        return self.allows_one(value)

    def allows_one(self, value: Any) -> bool:
        """Whether `value` may be drawn, for one layer if it is a list."""
        if self.names:
            return isinstance(value, str) and value in self.names
        if self.low is None or self.high is None:
            return isinstance(value, bool if isinstance(self.default, bool) else str)
        kinds = int if self.whole else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        each = "a list a layer, each " if self.layers else ""
        if self.names:
            return f"{each}one of {list(self.names)}"
        if self.low is None or self.high is None:
            return "true or false" if isinstance(self.default, bool) else "a name"
        return f"{each}a {'whole ' if self.whole else ''}number from {self.low} to {self.high}"


HYPERPARAMETERS = {
    "dataset": Allowed(),
    "optimizer": Allowed("adam", names=tuple(RULES)),
    "learning_rate": Allowed(1e-3, 0.0, 100.0),
    "weight_decay": Allowed(0.0, 0.0, 10.0),
    "dropout": Allowed(0.0, 0.0, 0.95),
    "train_fraction": Allowed(1.0, 1e-6, 1.0),
    "init": Allowed("torch", names=tuple(SCHEMES)),
    "init_scale": Allowed(1.0, 0.0, 100.0),
    "shared_init": Allowed(False),
}

ARCHITECTURE = {
    "width": Allowed(low=1, high=65_536, whole=True),
    "depth": Allowed(low=1, high=1000, whole=True),
    "heads": Allowed(low=1, high=1024, whole=True),
    "patch": Allowed(low=1, high=1024, whole=True),
    "frequency": Allowed(low=1e-3, high=1e4),
    "activation": Allowed(names=tuple(ACTIVATIONS)),
    "channels": Allowed(low=1, high=65_536, whole=True, layers=True),
    "kernels": Allowed(low=1, high=255, whole=True, layers=True),
    "activations": Allowed(names=tuple(ACTIVATIONS), layers=True),
    "skips": Allowed(low=-1, high=1000, whole=True, layers=True),
}
"""Of the families; which family takes which is in `zoo.families.FAMILIES`."""


def is_whole(value: Any, low: int, high: int = 2**53) -> bool:
    """Whether `value` is a whole number from `low` to `high`; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
