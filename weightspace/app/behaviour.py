"""What a network answers to the test part of a dataset, for the eye: accuracy, confusion, some single answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from weightspace.encode.answers import input_shape
from weightspace.errors import ExplorerError
from weightspace.execute.stack import run_stacked
from weightspace.graph.trace.program import Program
from weightspace.zoo.data import load_dataset, shift_dataset

MOST, MEASURED, EXAMPLES, CONFUSED = 1000, 512, 20, 3
"""Test inputs that networks are run on, training inputs that batch norms are measured on, single answers and confusions
that are shown."""


@dataclass(frozen=True, eq=False)
class Questions:
    """Labelled inputs that networks are held to.

    Args:
        name: Of the dataset, with its shift.
        x: Inputs.
        y: Labels.
        classes: How many there are.
        train: Some training inputs, without labels.
        of: How many inputs the test part has; these are drawn from them.
    """

    name: str
    x: Tensor
    y: Int[Tensor, " inputs"]
    classes: int
    train: Tensor
    of: int

    @property
    def chosen(self) -> list[int]:
        """Inputs whose answers are shown one by one: the first of each class, then the second, and so on."""
        seen = np.zeros(self.classes, int)
        turn = []
        for label in self.y.tolist():
            turn.append(seen[label])
            seen[label] += 1
        return np.argsort(turn, kind="stable")[:EXAMPLES].tolist()

    def check(self, program: Program) -> None:
        """Make sure that networks of a program take these inputs and tell these classes apart.

        Raises:
            ExplorerError: They don't.
        """
        shape, outputs = input_shape(program), program.values[program.outputs[0]].shape
        if shape != tuple(self.x.shape[1:]) or outputs[1:] != (self.classes,):
            raise ExplorerError(
                f"inputs of {self.name} are {tuple(self.x.shape[1:])} in {self.classes} classes; the network takes "
                f"{shape or 'others'} and answers with {outputs[1:]}."
            )

    def pictures(self) -> dict[str, Any]:
        """Return the chosen inputs as JSON's types: bytes of grey or coloured pixels; none where they are no images."""
        x = self.x[self.chosen]
        about: dict[str, Any] = {"dataset": self.name, "truth": self.y[self.chosen].tolist()}
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            return about | {"pixels": None}
        low, high = x.amin(), x.amax()
        pixels = ((x - low) * (255 / (high - low).clamp_min(1e-6))).round().byte().permute(0, 2, 3, 1).contiguous()
        packed = base64.b64encode(pixels.numpy().tobytes()).decode()
        _, height, width, channels = pixels.shape
        return about | {"pixels": packed, "height": height, "width": width, "channels": channels}


@lru_cache(maxsize=8)
def ask_of(dataset: str, shift: str = "none", data_dir: str | None = None) -> Questions:
    """Return test inputs of a dataset: all, or a thousand that are always the same.

    Raises:
        DataError: The dataset is not on this machine.
        ExplorerError: It has no one label for each input.
    """
    if dataset.startswith("hub:"):
        raise ExplorerError(f"{dataset} lies on a hub, and the explorer asks nobody: export it to a file (--data-dir).")
    data = shift_dataset(load_dataset(dataset, data_dir), shift)
    if data.y_test.ndim != 1 or data.y_test.is_floating_point():
        raise ExplorerError(f"{dataset} has no one label for each input, so there is no confusion to show.")
    draw = Generator().manual_seed(0)
    picked = torch.randperm(len(data.y_test), generator=draw)[:MOST].sort().values
    measured = torch.randperm(len(data.x), generator=draw)[:MEASURED]
    name = dataset if shift == "none" else f"{dataset} ({shift.replace('_', ' ')})"
    tested = data.x_test[picked], data.y_test[picked]
    return Questions(name, *tested, data.outputs, data.x[measured], len(data.y_test))


@torch.no_grad()
def answer(module: nn.Module, tensors: Mapping[str, Tensor], asked: Questions) -> Float[Tensor, "inputs classes"]:
    """Return the logits of one network in single precision."""
    stack = {name: (t.float() if t.is_floating_point() else t)[None] for name, t in tensors.items()}
    return run_stacked(module, stack, asked.x)[0]


def describe_answers(logits: Tensor, asked: Questions, original: Tensor | None = None) -> dict[str, Any]:
    """Return what the eye wants to know of a network's answers, as JSON's types.

    Args:
        logits: Of the network.
        asked: The questions.
        original: Logits of the network that it is to answer like.
    """
    chances = logits.double().softmax(1).nan_to_num()
    sure, said = chances.max(1)
    table = torch.zeros(asked.classes, asked.classes, dtype=torch.long)
    table.index_put_((asked.y, said), torch.ones_like(said), accumulate=True)
    wrong = table.clone().fill_diagonal_(0)
    most = wrong.flatten().argsort(descending=True, stable=True)[:CONFUSED]
    confused = [(*divmod(int(i), asked.classes), int(wrong.flatten()[i])) for i in most if wrong.flatten()[i]]
    told: dict[str, Any] = {
        "dataset": asked.name,
        "inputs": len(asked.y),
        "of": asked.of,
        "accuracy": float((said == asked.y).double().mean()),
        "confusion": table.tolist(),
        "confused": confused,
        "answers": [{"said": int(said[i]), "sure": float(sure[i])} for i in asked.chosen],
    }
    if original is not None:
        told["agreement"] = float((said == original.argmax(1)).double().mean())
    return told
