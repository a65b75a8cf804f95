"""Do the units that an encoder's gradients name matter, to the encoder and to the network itself?

    python -m benchmarks.inspect.attribute POPULATION --encoder FOLDER --data-dir DIR --json

Of 100 held-out networks (the last snapshot of a run, at least twice as good as chance): the change of what is told with
the highest tenth of the units taken away, over that with random ones (bar: 3 by the gradient methods; leave-one-out is
the yardstick); and the rank correlation of a unit's part with the accuracy that the network itself loses on its test
data without that unit (bar: 0.6). Four questions: the predicted test accuracy, how far the answers to the encoder's
learned inputs stay the same, how far those to 256 training inputs without labels do, and the accuracy on 1,024 labelled
training inputs, blurred.

How far anyone could get is printed beside it: the rank correlation between losses on two halves of the test data (and
what that makes of all of it, by Spearman and Brown, square root), what the answers to the test inputs without labels
tell, and what one reads off without an encoder (the size of the outgoing weights, chance).
"""

import argparse
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import ConstantInputWarning, spearmanr
from torch import Generator

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.errors import EncoderError
from weightspace.execute.module import to_module
from weightspace.execute.stack import run_stacked
from weightspace.graph.build import build_graph
from weightspace.graph.layout import Side
from weightspace.graph.symmetry.gates import Gates
from weightspace.inspect.attribute import attribute
from weightspace.inspect.collection import population_checkpoints
from weightspace.inspect.deletion import deletion_curve
from weightspace.inspect.question import Question, ask_accuracy, ask_answers, ask_predictor
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.store import Population, find_population

GRADIENTS, YARDSTICK = ("integrated", "gradient"), "leave-one-out"
SHARE, RATIO, CORRELATION, UNLABELLED, REAL, LABELLED = 0.1, 3.0, 0.6, 500, 256, 1024
QUESTIONS = ("accuracy", "answers", "answers to real inputs", "accuracy on labelled inputs")


def pick(population: Population, count: int) -> tuple[list[str], str]:
    """Return ids of held-out networks that have something to lose, and the dataset that most of them know."""
    frame = population.frame()
    frame = frame[(frame["split"] == "test") & ~frame["diverged"] & (frame["operation"] == "train")]
    name = str(frame["dataset"].astype(str).mode()[0])
    classes = {int(population.architecture(str(a))["signature"]["outputs"]) for a in frame["architecture"].unique()}
    last = frame[frame["dataset"] == name].sort_values("epoch").groupby("run").tail(1)
    last = last[last["test_accuracy"] > 2 / max(classes)]
    return list(last.sample(min(count, len(last)), random_state=0)["id"]), name


@torch.no_grad()
def losses(network: Checkpoint, data: Dataset) -> dict[str, np.ndarray]:
    """Return what the network loses without each unit: accuracy (and of halves of the data), and its answers."""
    weights = {n: t.float() if t.is_floating_point() else t for n, t in network.tensors.items()}
    gates, module = Gates.of(build_graph(network), Side.READ), to_module(network).float()
    units = len(gates.units)
    alone = {name: tensor[None] for name, tensor in weights.items()}
    versions = gates.apply(alone, torch.cat([torch.ones(1, units), 1 - torch.eye(units)]))
    parts = [run_stacked(module, versions, x) for x in data.x_test.split(250)]
    right = (torch.cat([p.argmax(2) for p in parts], 1) == data.y_test).double()
    logits = torch.cat(parts[: UNLABELLED // 250], 1).double().log_softmax(2)
    size = gates.collect({n: w.double().square() for n, w in weights.items()}).sqrt()
    order = torch.randperm(right.shape[1], generator=Generator().manual_seed(0))
    halves = {"losses": right, "half": right[:, order[::2]], "other half": right[:, order[1::2]]}
    found = {name: each.mean(1)[0] - each.mean(1)[1:] for name, each in halves.items()}
    found["answers without labels"] = (logits[0].exp() * (logits[0] - logits[1:])).sum(2).mean(1)
    chance = torch.rand(units, generator=Generator().manual_seed(0))
    return {n: v.numpy() for n, v in (found | {"outgoing weights": size, "chance": chance}).items()}


def correlate(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation; NaN where one side is constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(a, b).statistic)


def put(encoder: Encoder, network: Checkpoint, data: Dataset, names: list[str]) -> dict[str, Question]:
    """Return the questions of these names, less those for answers where the encoder does not run networks."""
    shown = torch.randperm(len(data.x), generator=Generator().manual_seed(0))[:LABELLED]
    ways: dict[str, Callable[[], Question]] = {
        "accuracy": lambda: ask_predictor(encoder, "test_accuracy"),
        "answers": lambda: ask_answers(encoder, network),
        "answers to real inputs": lambda: ask_answers(encoder, network, data.x[:REAL]),
        "accuracy on labelled inputs": lambda: ask_accuracy(encoder, network, data.x[shown], data.y[shown]),
    }
    return {name: ways[name]() for name in names if encoder.run or not name.startswith("answers")}


def measure(
    encoder: Encoder, network: Checkpoint, data: Dataset, names: list[str], found: dict[str, list[float]]
) -> None:
    """Add what one network shows."""
    lost = losses(network, data)
    for name in ("answers without labels", "outgoing weights", "chance"):
        found[f"{name}: correlation"].append(correlate(lost[name], lost["losses"]))
    found["halves: correlation"].append(correlate(lost["half"], lost["other half"]))
    for asked, question in put(encoder, network, data, names).items():
        for method in (*GRADIENTS, YARDSTICK):
            name = f"{asked}, {method}"
            try:
                told = attribute(encoder, network, question, method=method)
            except EncoderError:  # slopes that are not finite: counted by how few networks are left
                continue
            (row,) = deletion_curve(encoder, network, question, told, shares=(SHARE,))
            parts = np.array([unit.part for unit in told.units])
            found[f"{name}: correlation"].append(correlate(parts, lost["losses"]))
            found[f"{name}: top"].append(abs(row.top))
            found[f"{name}: random"].append(row.random)


def report(found: dict[str, list[float]]) -> dict[str, Any]:
    """Return means and deviations over the networks."""
    told: dict[str, Any] = {}
    for name in dict.fromkeys(key.partition(":")[0] for key in found):
        values = np.array(found[f"{name}: correlation"])
        known = values[np.isfinite(values)]
        told[name] = {"correlation": float(known.mean()), "spread": float(known.std()), "networks": len(known)}
        if f"{name}: top" in found:
            top, random = (float(np.mean(found[f"{name}: {side}"])) for side in ("top", "random"))
            told[name] |= {"change": top, "random_change": random, "ratio": top / random}
    half = told["halves"]["correlation"]
    told["halves"]["all_inputs_could_reach"] = (2 * half / (1 + half)) ** 0.5 if half > 0 else 0.0
    return told


def main() -> int:
    """Print the figures; exit status 1 if no gradient method reaches both bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("population")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=QUESTIONS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    population, encoder = find_population(options.population), Encoder.from_pretrained(options.encoder)
    ids, name = pick(population, options.networks)
    data = load_dataset(name, None if options.data_dir is None else str(options.data_dir))
    found: dict[str, list[float]] = defaultdict(list)
    for network in population_checkpoints(population, ids).values():
        measure(encoder, network, data, options.questions, found)
    told = report(found)
    by_gradients = [told[key] for key in told if key.endswith(GRADIENTS)]
    met = {
        "deletion": max(one["ratio"] for one in by_gradients) >= RATIO,
        "correlation": max(one["correlation"] for one in by_gradients) >= CORRELATION,
    }
    about = {"population": population.folder.name, "dataset": name, "encoder": encoder.id, "networks": len(ids)}
    print(json.dumps(about | {"inputs": len(data.x_test)} | told | {"met": met}, indent=None if options.json else 2))
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
