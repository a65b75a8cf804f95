import pytest
import torch

from weightspace.zoo.dropout import Dropout
from weightspace.zoo.families import FAMILIES, build_network
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.initialise import SCHEMES, draw_weights
from weightspace.zoo.layout import Layout

LAYOUT = Layout({"a.weight": (40, 50), "a.bias": (40,), "norm.weight": (40,), "b.weight": (20, 40, 3, 3)})
# standard deviation of a.weight, (out, in) = (40, 50), and of b.weight, 40 x 9 into 20 x 9
EXPECTED = {
    "torch": (1 / (3 * 50)) ** 0.5,
    "he_normal": (2 / 50) ** 0.5,
    "glorot_normal": (2 / 90) ** 0.5,
    "glorot_uniform": (2 / 90) ** 0.5,
    "normal": 0.05,
    "truncated_normal": 0.05 * 0.8796,
    "siren": (1 / 50) / 3**0.5,
}


@pytest.mark.parametrize("scheme", sorted(EXPECTED))
def test_each_scheme_has_its_spread(scheme):
    flat = draw_weights(LAYOUT, [scheme] * 8, [1.0, 2.0] * 4, list(range(8)))
    spread = LAYOUT.view(flat)["a.weight"].double().flatten(1).std(1)
    torch.testing.assert_close(spread[::2].mean().item(), EXPECTED[scheme], rtol=0.03, atol=0)
    torch.testing.assert_close(spread[1::2].mean().item(), 2 * EXPECTED[scheme], rtol=0.03, atol=0)


def test_orthogonal_weights_keep_lengths():
    flat = draw_weights(LAYOUT, ["orthogonal"] * 2, [1.0] * 2, [1, 2])
    a = LAYOUT.view(flat)["a.weight"].double()
    torch.testing.assert_close(a @ a.transpose(1, 2), torch.eye(40).double().expand(2, -1, -1), atol=1e-5, rtol=0)


def test_a_network_starts_the_same_in_any_company():
    together = draw_weights(LAYOUT, sorted(SCHEMES), [1.0] * len(SCHEMES), list(range(len(SCHEMES))))
    for i, scheme in enumerate(sorted(SCHEMES)):
        torch.testing.assert_close(together[[i]], draw_weights(LAYOUT, [scheme], [1.0], [i]), rtol=0, atol=1e-7)


def test_norm_scales_are_one_and_biases_zero():
    parts = LAYOUT.view(draw_weights(LAYOUT, ["he_normal"], [1.0], [0]))
    assert bool((parts["norm.weight"] == 1).all()) and not bool(parts["a.bias"].any())


def test_the_small_cnn_is_that_of_the_zoo():
    module = build_network("smallcnn", Signature((1, 28, 28), 10), FAMILIES["smallcnn"].options)
    assert Layout.of(module).size == 4970
    assert [tuple(p.shape) for p in module.parameters() if p.ndim == 4] == [(16, 1, 3, 3), *[(16, 16, 3, 3)] * 2]


def test_dropout_keeps_its_rate_and_its_mean_and_differs_between_networks():
    drop = Dropout().train()
    rates, phases = torch.tensor([0, 64, 128], dtype=torch.uint8), torch.tensor([0, 7, 99], dtype=torch.uint8)

    def run(rate, phase):
        return torch.func.functional_call(drop, {"rate": rate, "phase": phase}, (torch.ones(100_000),))

    drop.generator = torch.Generator().manual_seed(0)
    kept = torch.vmap(run, randomness="same")(rates, phases)

    torch.testing.assert_close((kept == 0).float().mean(1), torch.tensor([0, 0.25, 0.5]), atol=0.01, rtol=0)
    torch.testing.assert_close(kept.mean(1), torch.ones(3), atol=0.01, rtol=0)
    assert torch.equal(drop.eval()(torch.ones(5)), torch.ones(5))
