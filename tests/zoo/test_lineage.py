from pathlib import Path

import pytest
import torch

from weightspace import zoo
from weightspace.zoo.build import Site
from weightspace.zoo.data import SHIFTS, load_dataset, shift_dataset
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import parse_recipe

TREE = {
    "child": {"finetune": "root", "shift": "noise", "epochs": 1},
    "other": {"finetune": "root", "shift": "negative", "epochs": 1},
    "pruned": {"prune": "child", "share": 0.5},
    "quantised": {"quantise": "root", "bits": 8},
    "merged": {"merge": ["child", "other"]},
    "relabelled": {"relabel": "child"},
}
RECIPE = {
    "name": "family_tree",
    "family": "mlp",
    "runs": 3,
    "snapshots": [2],
    "sample": {"dataset": "digits", "width": 10, "learning_rate": 0.01},
    "storage": "fp32",
    "tree": TREE,
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return populate(parse_recipe(RECIPE), Site(tmp_path_factory.mktemp("trees")))


def stack_of(trees, node):
    return trees.stack(trees.frame(where=[("node", "==", node)]))


def test_every_descendant_names_its_parents(trees):
    frame = trees.frame().set_index("id")
    assert len(frame) == 3 * 7
    for node, spec in TREE.items():
        named = next(
            value for key, value in spec.items() if key in ("finetune", "prune", "quantise", "merge", "relabel")
        )
        for identity, row in frame[frame.node == node].iterrows():
            parents = row["parent"].split(" ")
            assert [frame.loc[parent, "node"] for parent in parents] == (named if isinstance(named, list) else [named])
            assert {frame.loc[parent, "run"] for parent in parents} == {row["run"]}, identity
    assert frame[frame.node == "root"]["parent"].isna().all()


def test_a_relabelled_copy_computes_the_same_and_has_other_weights(trees):
    module, x = trees.module(trees.frame()["architecture"].iloc[0]).double(), load_dataset("digits").x_test.double()
    before, after = stack_of(trees, "child"), stack_of(trees, "relabelled")
    for i in range(3):
        answers = [
            torch.func.functional_call(module, {n: t[i].double() for n, t in tensors.items()}, (x,))
            for tensors in (before, after)
        ]
        torch.testing.assert_close(answers[0], answers[1], rtol=1e-9, atol=1e-9)
        assert not torch.equal(before["layers.0.weight"][i], after["layers.0.weight"][i])
        torch.testing.assert_close(before["layers.0.weight"][i].sort(0)[0], after["layers.0.weight"][i].sort(0)[0])


def test_half_of_each_matrix_is_pruned_and_the_rest_stays(trees):
    before, after = stack_of(trees, "child")["layers.0.weight"], stack_of(trees, "pruned")["layers.0.weight"]
    assert ((after == 0).flatten(1).sum(1) == 320).all()
    assert torch.equal(after[after != 0], before[after != 0])
    assert before[after == 0].abs().max() <= before.abs().max()


def test_quantised_rows_have_at_most_255_levels_and_stay_near(trees):
    before, after = stack_of(trees, "root")["layers.1.weight"], stack_of(trees, "quantised")["layers.1.weight"]
    step = before.abs().amax(2, keepdim=True) / 127
    torch.testing.assert_close((after / step).round(), after / step, rtol=0, atol=1e-3)
    assert ((after - before).abs() <= step / 2 + 1e-6).all() and not torch.equal(before, after)


def test_a_merged_network_is_the_mean_of_its_parents(trees):
    parents = [stack_of(trees, node)["layers.0.bias"] for node in ("child", "other")]
    torch.testing.assert_close(stack_of(trees, "merged")["layers.0.bias"], (parents[0] + parents[1]) / 2)


def test_children_move_from_their_parent_and_stay_nearer_to_it_than_to_other_roots(trees):
    root, child = (stack_of(trees, node)["layers.0.weight"].flatten(1) for node in ("root", "child"))
    apart = torch.cdist(child, root)
    assert (apart.diagonal() > 0).all() and (apart.argmin(1) == torch.arange(3)).all()


@pytest.mark.parametrize("shift", sorted(set(SHIFTS) - {"none"}))
def test_every_shift_changes_the_data_and_nothing_else_changes_it(shift):
    data = load_dataset("digits")
    shifted, again = shift_dataset(data, shift), shift_dataset(data, shift)
    assert torch.equal(shifted.x, again.x) and not torch.equal(shifted.x, data.x)
    assert shifted.outputs == data.outputs and len(shifted.x) == len(shifted.y)


def test_folders_are_found_by_path(trees):
    assert len(zoo.load(Path(trees.folder))) == 21
