"""The populations that ship are whole, small, good, and of the families that they say they are."""

from pathlib import Path

import pytest
import torch

from weightspace import zoo
from weightspace.execute.stack import run_stacked
from weightspace.zoo.data import load_dataset, shift_dataset
from weightspace.zoo.recipe import load_recipe

HOME = Path(__file__).resolve().parents[2] / "model_zoo" / "populations"
LIMITS = {"mlp_digits": (768, 6e6), "lineage": (6 * 12, 4e6)}


@pytest.mark.parametrize("name", LIMITS)
def test_every_weight_is_the_one_of_the_manifest_and_the_recipe_is_the_one_that_ships(name):
    least, most = LIMITS[name]
    population = zoo.load(name)
    assert population.verify() >= least
    assert sum(path.stat().st_size for path in (HOME / name).rglob("*") if path.is_file()) < most
    assert (HOME / name / "recipe.yaml").read_text() == load_recipe(name).text
    assert not population.frame()["diverged"].any()


def test_digits_are_learned_and_the_stored_networks_score_what_the_manifest_says():
    population, data = zoo.load("mlp_digits"), load_dataset("digits")
    last = population.frame(where=[("snapshot", "==", 2)])
    assert len(last) >= 256 and last["test_accuracy"].median() > 0.9
    for rows, tensors in population.batches(last):
        module = population.module(rows["architecture"].iloc[0]).eval()
        outputs = run_stacked(module, {name: t.float() for name, t in tensors.items()}, data.x_test)
        found = (outputs.argmax(-1) == data.y_test).double().mean(1)
        torch.testing.assert_close(found, torch.tensor(rows["test_accuracy"].to_numpy()).double(), atol=0.01, rtol=0)


def test_every_descendant_names_parents_of_its_own_tree_that_are_there():
    frame = zoo.load("lineage").frame().set_index("id")
    recipe = load_recipe("lineage")
    assert frame.groupby("run").size().min() >= 12 and frame["run"].nunique() >= 6
    for identity, row in frame[frame["operation"] != "train"].iterrows():
        parents = frame.loc[row["parent"].split(" ")]
        assert parents["node"].tolist() == list(recipe.tree[row["node"]].parents), identity
        assert set(parents["run"]) == {row["run"]}


@pytest.mark.parametrize("node", ["relabelled_root", "relabelled_child", "relabelled_grandchild"])
def test_relabelled_copies_have_other_weights_and_the_same_function(node):
    population = zoo.load("lineage")
    everything, copies = population.frame().set_index("id"), population.frame(where=[("node", "==", node)])
    for rows, tensors in population.batches(copies):
        parents = everything.loc[rows["parent"]].reset_index()
        module, originals = population.module(rows["architecture"].iloc[0]).eval().double(), population.stack(parents)
        x = shift_dataset(load_dataset("digits"), str(rows["shift"].iloc[0])).x_test.double()
        answers, expected = (
            run_stacked(module, {n: t.double() for n, t in s.items()}, x) for s in (tensors, originals)
        )
        torch.testing.assert_close(answers, expected, rtol=1e-9, atol=1e-9)
        assert not any(
            torch.equal(a, b) for a, b in zip(tensors["layers.0.weight"], originals["layers.0.weight"], strict=True)
        )
