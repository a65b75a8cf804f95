"""The properties that an encoder learns to predict: one line each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Property:
    """A property that manifests record.

    Args:
        column: Its column; a population without it does without the property.
        prepare: From column values to what is predicted.
        restore: From a predicted number back to the column's unit.
        classes: Whether it is a name instead of a number.
        weight: Of its loss in training.
    """

    column: str
    prepare: Callable[[pd.Series], pd.Series]
    restore: Callable[[float], float] = float
    classes: bool = False
    weight: float = 0.1


def _same(values: pd.Series) -> pd.Series:
    return values


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _epochs(value: float) -> float:
    return math.expm1(min(value, 700.0))


def _power(value: float) -> float:
    return 10.0 ** min(max(value, -300.0), 300.0)


PROPERTIES = {
    "test_accuracy": Property("test_accuracy", _same, _share, weight=1.0),
    "generalisation_gap": Property("generalisation_gap", _same),
    "epoch": Property("epoch", np.log1p, _epochs),
    "learning_rate": Property("learning_rate", np.log10, _power),
    "train_fraction": Property("train_fraction", _same, _share),
    "dataset": Property("dataset", lambda values: values.astype(str), classes=True),
    "activation": Property("activation", lambda values: values.astype(str), classes=True),
    "optimizer": Property("optimizer", lambda values: values.astype(str), classes=True),
    "trained": Property("epoch", lambda values: (values > 0).astype(str), classes=True),
    "wiring": Property("wiring", lambda values: values.astype(str), classes=True),
    "label": Property("label", lambda values: values.astype("Int64").astype(str), classes=True, weight=1.0),
}


WIRINGS = ["shuffled", "whole"]
"""Of networks: whether the entries of each tensor were shuffled. No manifest records it; training makes the former."""


def find_classes(frames: Sequence[pd.DataFrame]) -> dict[str, list[str]]:
    """Return the names that each property of names takes in these manifests, sorted; two at least."""
    found: dict[str, list[str]] = {}
    for name, known in PROPERTIES.items():
        if known.classes:
            values = [known.prepare(frame[known.column]) for frame in frames if known.column in frame]
            names = sorted(set(pd.concat(values).dropna())) if values else []
            if len(names) > 1:
                found[name] = names
    return found


def read_targets(frame: pd.DataFrame, classes: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Return each property of each row: a number, or the number of its name; NaN where it is not recorded."""
    targets: dict[str, np.ndarray] = {}
    for name, known in PROPERTIES.items():
        if known.column not in frame or (known.classes and name not in classes):
            continue
        values = known.prepare(frame[known.column])
        if known.classes:
            values = values.map({label: i for i, label in enumerate(classes[name])})
        targets[name] = values.to_numpy(np.float32, na_value=np.nan)
    return targets
