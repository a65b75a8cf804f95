import pytest
import torch
from torch import Generator

from weightspace.encode.network import SweepConfig, learned_numbers
from weightspace.encode.predictor import LEVEL, Predictor, flatten_predictions

CLASSES = {"activation": ["gelu", "relu", "tanh"]}


def fitted(seed: int = 0, networks: int = 400) -> tuple[Predictor, torch.Tensor, dict[str, torch.Tensor]]:
    """A predictor that reads coordinate 0 as the accuracy and coordinates 1 to 3 as the activation; noisy truth."""
    predictor = Predictor(
        SweepConfig(latent=6), CLASSES, {"test_accuracy": (0.5, 0.1)}, generator=Generator().manual_seed(seed)
    )
    heads = predictor.heads
    for parameter in heads.parameters():
        parameter.data.zero_()
    starts = dict(zip(heads.widths, torch.tensor([0, *heads.widths.values()]).cumsum(0).tolist(), strict=False))
    draw = Generator().manual_seed(seed)
    vectors = torch.randn(3, networks, 6, generator=draw)
    (head,) = heads.heads
    head.first.data[:, :6] = 100 * torch.eye(6)  # silu(100 x) / 100 is x above 0; both signs below
    head.first.data[:, 6:12] = -100 * torch.eye(6)
    for column, coordinate in [(starts["test_accuracy"], 0)] + [(starts["activation"] + i, 1 + i) for i in range(3)]:
        head.second.data[coordinate, column], head.second.data[6 + coordinate, column] = 0.01, -0.01
    truth = 0.5 + 0.1 * vectors[..., 0] + 0.05 * torch.randn(3, networks, generator=draw)
    names = torch.distributions.Categorical(logits=vectors[..., 1:4])
    torch.manual_seed(seed)
    targets = [{"test_accuracy": t, "activation": n} for t, n in zip(truth, names.sample().float(), strict=True)]
    predictor.calibrate(vectors[0], vectors[1], targets[1])
    return predictor, vectors[2], targets[2]


def test_numbers_come_back_in_their_own_unit():
    predictor, vectors, _ = fitted()
    torch.testing.assert_close(predictor(vectors)["test_accuracy"], 0.5 + 0.1 * vectors[:, 0], rtol=1e-4, atol=1e-4)


def test_weights_and_answers_are_read_apart_and_their_mean_is_told():
    predictor = Predictor(
        SweepConfig(latent=7, answers=2, probes=1), {}, {"epoch": (0.0, 1.0)}, generator=Generator().manual_seed(0)
    )
    vector = torch.randn(4, 7, generator=Generator().manual_seed(1))
    silent = torch.cat([vector[:, :5], torch.zeros(4, 2)], 1)
    assert predictor.heads(vector)["epoch"].shape == (4, 4, 1)
    weights, answers = predictor.heads(vector)["epoch"][1::2, :, 0]
    torch.testing.assert_close(predictor(vector)["epoch"], (weights + answers) / 2)
    torch.testing.assert_close(predictor(silent)["epoch"], weights)  # not run: its weights alone
    mixed = torch.cat([vector[:2], silent[2:]])
    torch.testing.assert_close(predictor(mixed)["epoch"][2:], weights[2:])


@pytest.mark.parametrize(("of_weights", "expected"), [(True, 0.0), (False, 1.0)])
def test_what_told_held_out_networks_better_counts_more(of_weights, expected):
    predictor, vector, columns = read_twice()
    targets = {name: column[:, 0 if of_weights else 1] for name, column in columns.items()}
    predictor.calibrate(vector, vector, targets)
    assert all(abs(predictor.shares[name] - expected) < 0.06 for name in ("epoch", "trained"))
    torch.testing.assert_close(predictor(vector)["epoch"], targets["epoch"], rtol=0, atol=0.2)
    silent = torch.cat([vector[:, :5], torch.zeros(len(vector), 2)], 1)
    torch.testing.assert_close(predictor(silent)["epoch"], columns["epoch"][:, 0])  # its weights alone, whatever counts


def test_where_no_held_out_network_was_run_nothing_is_weighed():
    predictor, vector, columns = read_twice()
    silent = torch.cat([vector[:, :5], torch.zeros(len(vector), 2)], 1)
    predictor.calibrate(vector, silent, {name: column[:, 1] for name, column in columns.items()})
    assert predictor.shares == {}
    torch.testing.assert_close(predictor(vector)["epoch"], columns["epoch"].mean(1))


def read_twice() -> tuple[Predictor, torch.Tensor, dict[str, torch.Tensor]]:
    """A predictor, vectors, and what weights and answers tell of each property `(networks, 2)`; names as 0 or 1."""
    sizes = SweepConfig(latent=7, answers=2, probes=1)
    classes = {"trained": ["False", "True"]}
    predictor = Predictor(sizes, classes, {"epoch": (0.0, 1.0)}, generator=Generator().manual_seed(0))
    vector = torch.randn(300, 7, generator=Generator().manual_seed(1))
    with torch.no_grad():
        for head in predictor.heads.heads:
            head.second.mul_(30)  # sure of themselves
        told = predictor.heads(learned_numbers(vector, 0))
    columns = {"epoch": told["epoch"][1::2, :, 0].T, "trained": told["trained"][1::2].argmax(2).T.float()}
    return predictor, vector, columns


def test_intervals_and_choices_hold_the_truth_as_often_as_they_say():
    predictor, vectors, targets = fitted()
    told = predictor.predict(vectors)
    inside = [t.intervals["test_accuracy"] for t in told]
    hits = [low <= y <= high for (low, high), y in zip(inside, targets["test_accuracy"].tolist(), strict=True)]
    names = [CLASSES["activation"][int(i)] for i in targets["activation"]]
    likely = [name in t.choices["activation"] for t, name in zip(told, names, strict=True)]
    for share in (sum(hits) / len(hits), sum(likely) / len(likely)):
        assert abs(share - LEVEL) < 0.05
    assert any(len(t.choices["activation"]) > 1 for t in told) and any(len(t.choices["activation"]) == 1 for t in told)


def test_networks_of_each_dataset_have_margins_of_their_own():
    classes = {"dataset": ["sure", "unsure"]}
    predictor = Predictor(
        SweepConfig(latent=2), classes, {"generalisation_gap": (0.0, 1.0)}, generator=Generator().manual_seed(0)
    )
    (head,) = predictor.heads.heads
    for parameter in head.parameters():
        parameter.data.zero_()
    columns = torch.tensor([0, *predictor.heads.widths.values()]).cumsum(0).tolist()
    starts = dict(zip(predictor.heads.widths, columns, strict=False))
    head.first.data[1, 0] = 100.0
    head.second.data[0, starts["dataset"] + 1] = 1.0  # the second number above 0: unsure
    draw = Generator().manual_seed(0)
    vectors = torch.randn(2, 600, 2, generator=draw)
    unsure = (vectors[..., 1] > 0).float()
    truth = torch.randn(2, 600, generator=draw) * (0.1 + unsure)
    predictor.calibrate(vectors[0], vectors[0], {"generalisation_gap": truth[0], "dataset": unsure[0]})
    told = predictor.predict(vectors[1])
    for kind in (0.0, 1.0):
        pairs = [(t, y) for t, y, k in zip(told, truth[1].tolist(), unsure[1].tolist(), strict=True) if k == kind]
        held = [t.intervals["generalisation_gap"][0] <= y <= t.intervals["generalisation_gap"][1] for t, y in pairs]
        assert abs(sum(held) / len(held) - LEVEL) < 0.06
    assert predictor.margins[1, 0] > 5 * predictor.margins[0, 0]


def test_without_calibration_nothing_is_sure():
    predictor = Predictor(SweepConfig(latent=6), CLASSES, {"epoch": (1.0, 1.0)}, generator=Generator().manual_seed(0))
    told = predictor.predict(torch.zeros(1, 6))[0]
    low, high = told.intervals["epoch"]
    assert low <= -1 and high > 1e300 and set(told.choices["activation"]) == set(CLASSES["activation"])


def test_a_vector_like_no_other_is_novel():
    predictor, vectors, _ = fitted()
    assert float((predictor.novelty(vectors) > 1).float().mean()) < 0.05
    assert float(predictor.novelty(torch.full((1, 6), 9.0))) > 2


def test_columns_of_a_table():
    predictor, vectors, _ = fitted()
    row = flatten_predictions(predictor.predict(vectors[:1])[0])
    numbers = ["predicted_test_accuracy", "test_accuracy_low", "test_accuracy_high"]
    assert list(row) == [*numbers, "predicted_activation", "activation_likely", "novelty"]
    assert row["test_accuracy_low"] < row["predicted_test_accuracy"] < row["test_accuracy_high"]
    assert str(row["activation_likely"]).split()[0] == row["predicted_activation"]


def test_small_calibration_sets_give_no_false_certainty():
    predictor, _, _ = fitted(networks=5)
    assert predictor.margins.isinf().all()


@pytest.mark.parametrize("value", [float("nan")])
def test_unknown_targets_leave_margins_open(value):
    predictor, vectors, _ = fitted()
    predictor.margins.fill_(torch.inf)
    predictor.calibrate(vectors, vectors, {"test_accuracy": torch.full((len(vectors),), value)})
    assert predictor.margins.isinf().all()
