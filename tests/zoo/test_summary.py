"""What a population holds, by hand."""

import pandas as pd
import pytest
import torch

from weightspace.zoo.append import Part, append_parts, describe_shapes
from weightspace.zoo.summary import summarise_population

ACCURACY = [0.10, 0.50, 0.11, 0.60, 0.10, 0.70, 0.90, 0.10]
RUNS, SNAPSHOTS = [0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 0, 1, 1, 0]  # rows in any order


def write(folder, architecture=None, **columns):
    tensors = {"w": torch.ones(8, 3, 2), "b": torch.ones(8, 3)}
    known = {"shapes": describe_shapes(tensors)} | (architecture or {})
    rows = pd.DataFrame({"id": [f"n{i}" for i in range(8)], "run": RUNS} | columns)
    return append_parts(folder, "0.safetensors", [Part(rows, tensors, known)])


def test_final_networks_count_by_hand(tmp_path):
    known = {"family": "mlp", "options": {"width": 3}, "signature": {"inputs": [2], "outputs": 10}}
    population = write(
        tmp_path,
        known,
        snapshot=SNAPSHOTS,
        dataset="d",
        test_accuracy=[0.10, 0.50, 0.11, 0.119, 0.10, 0.70, 0.90, 0.10],
        diverged=[False] * 5 + [True, False, False],
        split=["train"] * 6 + ["test"] * 2,
    )
    found = summarise_population(population)
    assert (found["checkpoints"], found["runs"], found["recipe"]) == (8, 4, None)
    assert found["splits"] == {"train": {"runs": 3, "checkpoints": 6}, "test": {"runs": 1, "checkpoints": 2}}
    (kind,) = found["architectures"]
    assert (kind["weights"], kind["checkpoints"], kind["options"]) == (9, 8, {"width": 3})
    (row,) = found["datasets"]  # finals 0.5, 0.119, 0.7 (diverged), 0.9
    assert row["networks"] == 4 and (row["collapsed"], row["divergent"]) == (0.25, 0.25)
    assert [row["quantiles"][key] for key in ("min", "median", "max")] == pytest.approx([0.119, 0.5, 0.9])


def test_a_population_with_next_to_nothing_known_is_summarised(tmp_path):
    found = summarise_population(write(tmp_path))
    assert found["splits"] == {} and found["checkpoints"] == 8
    (row,) = found["datasets"]
    assert row == {
        "dataset": "",
        "networks": 8,
        "measure": None,
        "quantiles": None,
        "collapsed": None,
        "divergent": None,
    }


def test_chance_is_not_guessed(tmp_path):
    (row,) = summarise_population(write(tmp_path, test_accuracy=ACCURACY, epoch=SNAPSHOTS))["datasets"]
    assert row["collapsed"] is None and row["quantiles"]["min"] == pytest.approx(0.5)
