"""A population that ships, as the peers see it."""

import pandas as pd
import pytest
import torch
from torch import Generator

from benchmarks.encoder.data import PeerError, Wanted, load_splits, read_networks, show_inputs, strata
from benchmarks.encoder.drawn import describe_network, draw_networks
from weightspace import zoo


@pytest.fixture(scope="module")
def splits():
    return load_splits("mlp_digits", Wanted(runs=12))


def test_no_run_is_in_two_splits_and_the_cap_holds(splits):
    runs = [set(each.frame["run"]) for each in splits.values()]
    assert not (runs[0] & runs[1] or runs[0] & runs[2] or runs[1] & runs[2])
    assert [len(each) for each in runs] == [12, 12, 12]
    assert all(len(each) == 36 for each in splits.values())


def test_a_row_holds_the_weights_and_the_accuracy_of_its_checkpoint(splits):
    population, networks = zoo.load("mlp_digits"), splits["test"]
    for group in networks.groups[:3]:
        row = int(group.rows[1])
        checkpoint = population.checkpoint(networks.frame["id"][row])
        assert all(torch.equal(tensor[1], checkpoint.tensors[name]) for name, tensor in group.weights.items())
        assert float(networks.target[row]) == pytest.approx(networks.frame["test_accuracy"][row])


def test_tensors_come_in_the_order_of_the_data_flow(splits):
    for group in splits["train"].groups:
        names = list(group.architecture.layout.shapes)
        assert names[:2] == ["layers.0.weight", "layers.0.bias"]
        assert group.architecture.layout.shapes[names[-1]] == (10,)


@pytest.mark.parametrize("generator", [None, Generator().manual_seed(0)])
def test_batches_hold_every_row_once(splits, generator):
    networks = splits["train"]
    rows = torch.cat([batch.rows for batch in networks.batches(16, generator)])
    assert torch.equal(rows.sort().values, torch.arange(len(networks)))


def test_shuffled_batches_mix_architectures_but_few():
    options = [{"width": 2 + i, "depth": 1, "activation": "relu"} for i in range(20)]
    every = [describe_network({"family": "mlp", "options": each}, (3,), 2) for each in options]
    networks = draw_networks(every, 5, generator=Generator().manual_seed(0))
    first, again = (list(networks.batches(20, generator)) for generator in [Generator().manual_seed(0)] * 2)
    assert all(len(batch.groups) == 4 and len(batch.rows) == 20 for batch in first)
    assert first[0].rows.tolist() != again[0].rows.tolist()


def test_implicit_networks_are_shown_places_of_their_images():
    images = torch.rand(300, 1, 20, 30, generator=Generator().manual_seed(0))
    assert torch.equal(show_inputs(images, {"mlp"}), images[:256])
    places = show_inputs(images, {"siren"})
    assert places.shape == (256, 2) and len(places.unique(dim=0)) == 256
    for column, size in zip(places.T, (20, 30), strict=True):
        assert torch.isin(column, torch.linspace(-1, 1, size)).all() and len(column.unique()) == size


def test_rows_without_finite_weights_or_target_are_left_out():
    population = zoo.load("mlp_digits")
    rows = population.frame().head(6)
    rows = rows.assign(target=[0.1, float("nan"), 0.3, 0.4, 0.5, 0.6])
    assert len(read_networks(population, rows)) == 5
    with pytest.raises(PeerError, match="no network of 1 rows"):
        read_networks(population, rows.iloc[1:2])


def test_strata_share_all_but_the_mantissa_of_the_learning_rate():
    frame = pd.DataFrame({"learning_rate": [1e-3, 9e-3, 1e-2, 2e-3, 2e-3], "optimizer": list("aaaab"), "run": range(5)})
    assert strata(frame).tolist() == [0, 0, 1, 0, 2]
    assert strata(frame, ["optimizer"]).tolist() == [0, 0, 0, 0, 1]
    assert strata(frame, ["absent"]).tolist() == [0] * 5


def test_classes_are_numbered_over_the_whole_population():
    found = load_splits("mlp_digits", Wanted("optimizer", classify=True, runs=12))
    assert found["train"].frame.attrs["classes"] == 3
    assert set(found["test"].target.tolist()) <= {0, 1, 2}


def test_an_unknown_target_is_named():
    with pytest.raises(PeerError, match="no column 'wisdom'"):
        load_splits("mlp_digits", Wanted("wisdom"))
