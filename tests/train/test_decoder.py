"""A decoder learns to answer as the encoded networks do, in their architecture and in others."""

import pytest
import torch
from torch import Generator

from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.decode.target import Target
from weightspace.execute.stack import run_stacked
from weightspace.graph.trace import trace_graph
from weightspace.train.decoder import MOST, DecoderTraining, Encoded, behaviour_loss
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

SIGNATURE = Signature((5,), 3)


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def group(width: int, models: int = 12) -> Encoded:
    """Networks whose latents are numbers that their last layer is made of."""
    module = build_network("mlp", SIGNATURE, {"width": width, "depth": 1, "activation": "tanh"}).eval()
    vectors = draw(models, 6, seed=width)
    weights = {n: draw(*t.shape, seed=1).expand(models, *t.shape) / 2 for n, t in module.state_dict().items()}
    name = next(n for n, t in weights.items() if t.shape[1:] == (3, width))
    mix = draw(6, 3 * width, seed=2)
    weights[name] = (vectors @ mix).view(models, 3, width) / 2
    return Encoded(vectors, Target.of(trace_graph(module, (torch.zeros(2, 5),))), module, weights)


def agreement(network: DecoderNetwork, encoded: Encoded, into: Encoded, vectors: torch.Tensor) -> float:
    inputs = draw(100, 5, seed=9)
    with torch.no_grad():
        answers = run_stacked(into.module, network(vectors, into.target), inputs)
    return float((answers.argmax(2) == encoded.answer(inputs).argmax(2)).float().mean())


def test_decoded_networks_learn_to_agree_also_in_another_width():
    groups = [group(4), group(7)]
    network = DecoderNetwork(DecoderConfig(latent=6, width=32, rank=8, layers=1), generator=Generator().manual_seed(0))
    training = DecoderTraining(network, groups, draw(400, 5, seed=3), learning_rate=5e-3)
    before = agreement(network, groups[0], groups[0], groups[0].vectors)
    for step in range(150):
        training.advance(step / 150, networks=8, images=32)
    own, other = (agreement(network, groups[0], into, groups[0].vectors) for into in groups)
    wrong = agreement(network, groups[0], groups[0], groups[0].vectors.flip(0))
    assert min(own, other) > max(before, wrong, 0.45) + 0.15


def test_the_same_answers_cost_nothing_and_others_a_bounded_price():
    logits = draw(4, 10, 3, seed=0)
    assert behaviour_loss(logits, logits).abs() < 1e-6
    assert behaviour_loss(logits + 5, logits).abs() < 1e-4  # softmax does not see a common summand
    worse = [float(behaviour_loss(logits + size * draw(4, 10, 3, seed=1), logits)) for size in (0.1, 1.0)]
    assert 0 < worse[0] < worse[1]
    assert behaviour_loss(1e4 * draw(4, 10, 3, seed=1), logits) < MOST + 5


def test_an_update_depends_on_the_seed_alone():
    def losses(seed: int) -> list[float]:
        config = DecoderConfig(latent=6, width=8, rank=4, layers=1)
        network = DecoderNetwork(config, generator=Generator().manual_seed(0))
        training = DecoderTraining(network, [group(4), group(7)], draw(50, 5, seed=3), seed=seed)
        return [training.advance(step / 3) for step in range(3)]

    assert losses(0) == pytest.approx(losses(0), abs=0)
    assert losses(0) != losses(1)
