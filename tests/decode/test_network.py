"""A decoder emits weights that fit any graph, other ones for other latents, and every parameter of it matters."""

import pytest
import torch
from torch import Generator, nn

from tests.encode.networks import GRAPHS
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.decode.target import Target
from weightspace.execute.stack import run_stacked
from weightspace.graph.trace import trace_graph
from weightspace.nn.cosines import tap_cosines
from weightspace.nn.tiles import as_matrix
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

SMALL = DecoderConfig(latent=7, width=12, rank=5, layers=2)


def network() -> DecoderNetwork:
    return DecoderNetwork(SMALL, generator=Generator().manual_seed(0)).double()


def latents(models: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(models, SMALL.latent, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", GRAPHS)
def test_weights_fit_the_graph_and_differ_from_latent_to_latent(name):
    graph = GRAPHS[name]
    found = network()(latents(3), Target.of(graph))
    assert set(found) == {edge.tensor for edge in Target.of(graph).plan.edges}
    for tensor, weight in found.items():
        shape = tuple(graph.length(term) for term in graph.blocks[tensor].dims)
        assert weight.shape == (3, *shape) and weight.isfinite().all()
        assert not weight[0].equal(weight[1])


@pytest.mark.parametrize("name", GRAPHS)
def test_blocks_are_stored_as_the_encoder_reads_them(name):
    graph = GRAPHS[name]
    target = Target.of(graph)
    for edge in target.plan.edges:
        matrix = torch.randn(2, *edge.sizes, generator=Generator().manual_seed(1))
        assert as_matrix(target.stored(edge, matrix), edge.order, edge.sizes).equal(matrix)


@pytest.mark.parametrize(
    "family, options",
    [
        ("smallcnn", {"width": 6, "activation": "gelu"}),
        ("resnet_bn", {"width": 4, "depth": 8}),
        ("mlp", {"width": 9, "depth": 3, "activation": "relu"}),
    ],
)
def test_decoded_networks_run(family, options):
    signature = Signature((1, 20, 20), 10)
    module = build_network(family, signature, options).double().eval()
    inputs = torch.randn(4, 1, 20, 20, generator=Generator().manual_seed(0), dtype=torch.float64)
    found = network()(latents(3), Target.of(trace_graph(module, (inputs,))))
    rest = {n: t.expand(3, *t.shape) for n, t in module.state_dict().items() if n not in found}
    answers = run_stacked(module, found | rest, inputs)
    assert answers.shape == (3, 4, 10) and answers.isfinite().all()
    assert (answers[:, 0] - answers[:, 1]).abs().max() > 1e-6  # inputs are not lost on the way


def test_units_of_one_axis_are_told_apart():
    target = Target.of(trace_graph(nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 2)), (torch.zeros(2, 9),)))
    weight = network()(latents(1), target)["0.weight"][0]
    alike = torch.corrcoef(weight) - torch.eye(8)
    assert alike.abs().max() < 0.999


def test_every_parameter_can_be_learned():
    decoder, total = network(), torch.zeros((), dtype=torch.float64)
    for graph in GRAPHS.values():
        total = total + sum(weight.square().sum() for weight in decoder(latents(2), Target.of(graph)).values())
    total.backward()
    assert {n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0} == set()


def test_numbers_that_hardly_vary_do_not_explode():
    decoder, vectors = network(), latents(5)
    vectors[:, 0] = 3.0
    decoder.standardise(vectors)
    target = Target.of(GRAPHS["mlp"])
    moved = vectors + torch.eye(SMALL.latent, dtype=torch.float64)[0] * 1e-9
    before, after = decoder(vectors, target), decoder(moved, target)
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-4)


def test_vectors_are_seen_in_a_metric_at_mean_square_one():
    decoder, vectors = network(), latents(9)
    metric = torch.zeros(SMALL.latent, SMALL.latent, dtype=torch.float64)
    metric[1, 1], metric[2, 2] = 1.0, 4.0
    decoder.standardise(vectors)
    decoder.look(vectors, metric)
    x = (vectors - decoder.mean) / decoder.spread
    seen = x @ decoder.view
    torch.testing.assert_close(seen.square().mean(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(seen[:, 2] / x[:, 2], 2 * seen[:, 1] / x[:, 1])
    assert seen[:, 0].abs().max() < 1e-9
    target, moved = Target.of(GRAPHS["mlp"]), vectors + torch.eye(SMALL.latent, dtype=torch.float64)[0]
    before, after = decoder(vectors, target), decoder(moved, target)
    for name in before:
        torch.testing.assert_close(after[name], before[name])
    told = decoder(vectors + torch.eye(SMALL.latent, dtype=torch.float64)[2], target)
    assert any(not torch.allclose(told[name], before[name], atol=1e-3) for name in before)


def test_taps_have_codes_of_their_own():
    for kernel in ((3, 3), (5,), (2, 3, 2)):
        codes = tap_cosines(kernel, 12)
        apart = torch.cdist(codes, codes) + 10 * torch.eye(len(codes), dtype=torch.float64)
        assert apart.min() > 0.1
    assert tap_cosines((), 12).shape == (1, 12)


def test_blocks_are_never_loud_beyond_measure():
    target = Target.of(GRAPHS["mlp"])
    found = network()(1e6 * latents(3), target)
    assert max(weight.abs().max() for weight in found.values()) < 1e3
