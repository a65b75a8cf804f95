"""Stored networks measured again: the manifest is held to what they do, on the data that each was trained on."""

import pandas as pd
import pytest
import torch

from weightspace.errors import ZooError
from weightspace.zoo.append import Part, append_parts, describe_shapes
from weightspace.zoo.build import Site
from weightspace.zoo.data import load_dataset, shift_dataset
from weightspace.zoo.evaluate import Choice, evaluate_population, measure_stack
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import parse_recipe
from weightspace.zoo.store import Population


def make_recipe(**changes):
    plain = {"name": "p", "family": "mlp", "runs": 2, "snapshots": [2], "storage": "fp32", "batch_size": 64}
    return parse_recipe(plain | {"sample": {"dataset": "digits", "width": 6, "depth": 1}} | changes)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two roots, each with a child on negatives and one on half of the classes."""
    nodes = {
        "negative": {"finetune": "root", "shift": "negative", "epochs": 2},
        "lower": {"finetune": "negative", "shift": "lower_classes", "epochs": 1},
    }
    sample = {"dataset": "digits", "width": 16, "learning_rate": 0.02}
    return populate(
        make_recipe(tree=nodes, sample=sample, snapshots=[4]), Site(tmp_path_factory.mktemp("zoo") / "tree")
    )


def test_each_network_is_tested_on_data_shifted_like_its_own(tree):
    found = evaluate_population(tree)
    assert found.verified == len(found.rows) == 6 and not found.problems
    assert found.rows["accuracy_deviation"].max() < 1e-6 and found.rows["loss_deviation"].max() < 1e-5


def test_without_the_shift_the_same_networks_do_otherwise(tree):
    rows = tree.frame(where=[("node", "==", "negative")])
    module, stack, data = tree.module(rows["architecture"].iloc[0]), tree.stack(rows), load_dataset("digits")
    recorded = torch.tensor(rows["test_accuracy"].to_numpy())
    right, _ = measure_stack(module, stack, shift_dataset(data, "negative"))
    wrong, _ = measure_stack(module, stack, data)
    torch.testing.assert_close(right, recorded)
    assert ((wrong - recorded).abs() > 0.1).all()


def test_accuracy_and_loss_by_hand():
    module = torch.nn.Linear(2, 2, bias=False)
    stack = {"weight": torch.stack([torch.eye(2), -torch.eye(2)]).half()}
    data = load_dataset("iris")
    data = type(data)(
        "two", data.x[:2, :2], data.y[:2], torch.tensor([[1.0, 0], [0, 1], [3, 0]]), torch.tensor([0, 1, 1]), 3
    )
    accuracy, loss = measure_stack(module, stack, data)
    assert accuracy.tolist() == pytest.approx([2 / 3, 1 / 3])
    up, down = torch.tensor([1.0, 1.0, 3.0]), torch.tensor([0.0, 0.0, 3.0])
    right = (torch.logaddexp(up, torch.zeros(3)) - up + down).mean()
    assert loss[0].item() == pytest.approx(right.item(), abs=1e-6)


def test_batches_do_not_matter(tree, monkeypatch):
    whole = evaluate_population(tree).rows.set_index("id")
    monkeypatch.setattr("weightspace.zoo.evaluate.MODELS", 1)
    monkeypatch.setattr("weightspace.zoo.evaluate.INPUTS", 7)
    parts = evaluate_population(tree).rows.set_index("id").loc[whole.index]
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-6, atol=1e-6)


def test_characters_are_answers_too_and_actions_are_not(tmp_path):
    text = make_recipe(family="gru_char", runs=1, snapshots=[0], sample={"dataset": "sums", "width": 4})
    (row,) = evaluate_population(populate(text, Site(tmp_path / "text"))).rows.to_dict("records")
    assert row["accuracy_deviation"] < 1e-5 and row["loss_deviation"] < 1e-4
    policy = make_recipe(family="policy", runs=1, snapshots=[0], sample={"dataset": "cartpole", "width": 4})
    found = evaluate_population(populate(policy, Site(tmp_path / "policy")))
    assert found.verified == 1 and found.rows.empty and not found.problems
    assert found.summarise()["datasets"] == []


def test_networks_known_by_shapes_or_without_a_dataset_are_named(tmp_path):
    tensors = {"w": torch.ones(2, 3)}
    rows = pd.DataFrame({"id": ["a", "b"], "run": [0, 1], "split": "train"})
    append_parts(tmp_path, "0.safetensors", [Part(rows, tensors, {"shapes": describe_shapes(tensors)})])
    found = evaluate_population(Population(tmp_path), Choice(dataset="digits"))
    ((name, error),) = found.problems
    assert found.verified == 2 and name == "digits" and "known by its shapes alone" in str(error)
    with pytest.raises(ZooError, match="no network is of the split 'test'"):
        evaluate_population(Population(tmp_path), Choice(split="test"))


def test_data_that_is_not_there_costs_that_data_alone(tmp_path):
    append = [("digits", 0), ("absent", 1)]
    whole = populate(make_recipe(runs=1), Site(tmp_path / "whole"))
    rows, (_, stack) = whole.frame(), next(whole.batches(whole.frame()))
    known = whole.architectures[rows["architecture"].iloc[0]]
    plain = rows[["run", "split", "test_accuracy", "test_loss"]]
    for name, number in append:
        part = Part(plain.assign(id=name, dataset=name), stack, known)
        append_parts(tmp_path / "both", f"{number}.safetensors", [part])
    found = evaluate_population(Population(tmp_path / "both"))
    assert found.rows["id"].tolist() == ["digits"] and found.rows["loss_deviation"].max() < 1e-5
    ((name, error),) = found.problems
    assert name == "absent" and "there is no file absent.npz" in str(error)
