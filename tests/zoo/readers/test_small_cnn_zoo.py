"""The Small CNN Zoo: TensorFlow's kernels under PyTorch's names, and the same function."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from tests.zoo.readers.laws import check_everything_is_understood, check_relabelling_keeps, check_runs_lie_in_one_split
from tests.zoo.readers.miniature import (
    SMALL_CNN,
    STEPS,
    keras_variables,
    normal,
    write_layout,
    write_small_cnn_zoo,
)
from weightspace.errors import ZooError
from weightspace.zoo.readers import import_zoo, recognise
from weightspace.zoo.readers.small_cnn_zoo import read_layout

NAMES = {  # of the family, by TensorFlow's
    "sequential/conv2d/": "convs.0.",
    "sequential/conv2d_1/": "convs.1.",
    "sequential/conv2d_2/": "convs.2.",
    "sequential/dense/": "head.",
}


def keras_function(variables, activation, images):
    """The network as Keras defines it, summed over the places of the window; channels of the images come last."""
    x = images
    for layer in ("conv2d", "conv2d_1", "conv2d_2"):
        kernel = torch.from_numpy(variables[f"sequential/{layer}/kernel:0"])
        out = (x.shape[1] - 3) // 2 + 1, (x.shape[2] - 3) // 2 + 1
        total = torch.from_numpy(variables[f"sequential/{layer}/bias:0"])
        for i in range(3):
            for j in range(3):
                window = x[:, i : i + 2 * out[0] - 1 : 2, j : j + 2 * out[1] - 1 : 2]
                total = total + window @ kernel[i, j]
        x = activation(total)
    x = x.mean((1, 2))
    return x @ torch.from_numpy(variables["sequential/dense/kernel:0"]) + torch.from_numpy(
        variables["sequential/dense/bias:0"]
    )


def torch_function(tensors, activation, images):
    x = images
    for i in range(3):
        x = activation(F.conv2d(x, tensors[f"convs.{i}.weight"], tensors[f"convs.{i}.bias"], stride=2))
    return x.mean((-2, -1)) @ tensors["head.weight"].T + tensors["head.bias"]


@pytest.fixture
def zoo(tmp_path):
    matrix = write_small_cnn_zoo(tmp_path / "mnist")
    assert recognise(tmp_path / "mnist") == "small_cnn_zoo"
    return matrix, import_zoo(tmp_path / "mnist", tmp_path / "out")


def test_the_network_computes_what_keras_computed(zoo):
    matrix, population = zoo
    images = normal(9, 4, 28, 28, 1).double()
    for row, (run, step) in enumerate((run, step) for run in range(4) for step in STEPS):
        activation = torch.relu if run % 2 else torch.tanh
        checkpoint = population.checkpoint(f"/dir/{run}/{step}")
        tensors = {name: tensor.double() for name, tensor in checkpoint.tensors.items()}
        wanted = keras_function(keras_variables(matrix[row]), activation, images)
        torch.testing.assert_close(torch_function(tensors, activation, images.permute(0, 3, 1, 2)), wanted)


def test_every_number_of_the_matrix_is_there_once(zoo):
    matrix, population = zoo
    for row in (0, 5, 11):
        tensors = population.checkpoint(f"/dir/{row // 3}/{STEPS[row % 3]}").tensors
        assert sum(t.numel() for t in tensors.values()) == 4970 and {t.dtype for t in tensors.values()} == {
            torch.float32
        }
        assert np.array_equal(
            np.sort(np.concatenate([t.numpy().ravel() for t in tensors.values()])), np.sort(matrix[row])
        )


def test_the_module_of_the_population_is_the_same_network(zoo):
    _, population = zoo
    images = normal(3, 2, 1, 28, 28).double()
    for row in population.frame().to_dict("records"):
        module = population.module(row["architecture"]).double()
        tensors = {n: t.double() for n, t in population.checkpoint(row["id"]).tensors.items()}
        wanted = torch_function(tensors, getattr(torch, row["activation"]), images)
        torch.testing.assert_close(functional_call(module, tensors, (images,)), wanted)


def test_names_suffice_for_the_graph_and_relabelling_keeps_the_function(zoo):
    _, population = zoo
    check_everything_is_understood(population)
    images = normal(4, 2, 1, 28, 28).double()
    check_relabelling_keeps(population, lambda tensors: torch_function(tensors, torch.tanh, images))


def test_properties_are_ours(zoo):
    _, population = zoo
    frame = population.frame().set_index("id")
    row = frame.loc["/dir/1/20"]
    told = {"epoch": 20, "activation": "relu", "dataset": "mnist", "init": "he_normal", "optimizer": "adam", "seed": 42}
    assert {name: row[name] for name in told} == told
    numbers = {"learning_rate": 0.002, "test_accuracy": 0.14, "train_loss": 2.0, "l2_penalty": 1e-5, "dropout": 0.25}
    assert {name: row[name] for name in numbers} == pytest.approx(numbers)
    assert frame["generalisation_gap"].to_numpy() == pytest.approx(np.full(12, 0.1))
    assert frame.loc[["/dir/2/0", "/dir/2/86"], "run"].nunique() == 1 and frame["run"].nunique() == 4
    check_runs_lie_in_one_split(population)


def test_the_split_of_nfn_is_kept_where_its_file_is_there(tmp_path):
    runs = 20
    write_small_cnn_zoo(tmp_path / "zoo", runs=runs)
    order = np.random.default_rng(1).permutation(3 * runs)
    (tmp_path / "zoo" / "mnist_split.csv").write_text("\n".join(map(str, order)) + "\n")

    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame()

    final = [int(row) // 3 for row in order if row % 3 == 2]  # runs, in the order of their last checkpoints
    learned = list(range(10))
    random.Random(0).shuffle(learned)
    wanted = {final[i]: "train" for i in learned[:8]} | {final[i]: "validation" for i in learned[8:]}
    wanted |= {run: "test" for run in final[10:]}
    assert {
        int(name.split("/")[-1]): split for name, split in zip(frame["run_name"], frame["split"], strict=True)
    } == wanted
    check_runs_lie_in_one_split(import_zoo(tmp_path / "zoo", tmp_path / "out"))


def test_networks_that_are_not_finite_are_kept_and_marked(tmp_path):
    matrix = write_small_cnn_zoo(tmp_path / "zoo")
    matrix[4, 17], matrix[7, 0] = np.nan, np.inf
    np.save(tmp_path / "zoo" / "weights.npy", matrix)
    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame()
    assert set(frame["id"][frame["diverged"]]) == {"/dir/1/20", "/dir/2/20"} and len(frame) == 12


def test_an_index_column_half_precision_and_byte_order_do_not_matter(tmp_path):
    matrix = write_small_cnn_zoo(tmp_path / "zoo", index=True)
    np.save(tmp_path / "zoo" / "weights.npy", matrix.astype(">f2"))
    population = import_zoo(tmp_path / "zoo", tmp_path / "out")
    bias = population.checkpoint("/dir/0/0").tensors["convs.0.bias"]
    assert bias.dtype == torch.float16 and np.array_equal(bias.numpy(), matrix[0, :16].astype("f2"))


def test_a_layout_in_another_order_leads_to_the_same_names(tmp_path):
    write_layout(tmp_path, dict(reversed(SMALL_CNN.items())))
    found = read_layout(tmp_path / "layout.csv", 4970)
    assert list(found) == [f"{new}{part}" for new in NAMES.values() for part in ("weight", "bias")]
    assert found["head.weight"] == (0, 160, (16, 10)) and found["convs.0.bias"] == (4954, 4970, (16,))


def damage_rows(folder):
    np.save(folder / "weights.npy", np.zeros((3, 4970), "f4"))


def damage_matrix(folder):
    np.save(folder / "weights.npy", np.array([["a"]], dtype=object), allow_pickle=True)


def damage_header(folder):
    pd.DataFrame({"step": [1], "test_accuracy": [0.1]}).to_csv(folder / "metrics.csv.gz")


def damage_gzip(folder):
    (folder / "metrics.csv.gz").write_bytes((folder / "metrics.csv.gz").read_bytes()[:80])


def damage_variable(folder):
    write_layout(folder, {name.replace("dense", "lstm"): shape for name, shape in SMALL_CNN.items()})


def damage_shape(folder):
    text = (folder / "layout.csv").read_text()
    (folder / "layout.csv").write_text(text.replace("(3, 3, 1, 16)", "__import__('os').getcwd()"))


def damage_sizes(folder):
    text = (folder / "layout.csv").read_text()
    (folder / "layout.csv").write_text(text.replace("(3, 3, 1, 16)", "(3, 3, 2, 16)"))


def damage_cover(folder):
    write_layout(folder, dict(list(SMALL_CNN.items())[:-1]))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (damage_rows, r"weights\.npy has 3 rows, the metrics have 12"),
        (damage_matrix, r"weights\.npy: not a readable matrix .*Python objects"),
        (damage_header, r"metrics\.csv\.gz: has no columns \['modeldir', 'config\.activation'\]"),
        (damage_gzip, r"metrics\.csv\.gz: not a readable table"),
        (damage_variable, r"the variable 'sequential/lstm/bias:0' is not known"),
        (damage_shape, r"'sequential/conv2d/kernel:0' has no readable place or shape"),
        (damage_sizes, r"of \(3, 3, 2, 16\) cannot lie in columns \(16, 160\)"),
        (damage_cover, "do not cover the 4970 columns"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, damage, text):
    write_small_cnn_zoo(tmp_path / "zoo")
    damage(tmp_path / "zoo")
    with pytest.raises(ZooError, match=text):
        import_zoo(tmp_path / "zoo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_split_of_another_dataset_is_named(tmp_path):
    write_small_cnn_zoo(tmp_path / "zoo")
    (tmp_path / "zoo" / "svhn_split.csv").write_text("0\n1\n2\n")
    with pytest.raises(ZooError, match="does not name each of 12 rows once"):
        import_zoo(tmp_path / "zoo", tmp_path / "out")
