"""A decoder learns to answer as the encoded networks do, in their architecture and in others."""

import dataclasses

import pytest
import torch
from torch import Generator

from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.execute.stack import run_stacked
from weightspace.train.decoder import MOST, DecoderTraining, behaviour_loss
from weightspace.train.encoded import Encoded
from weightspace.train.into import Choice, Into, Menu
from weightspace.zoo.architecture import family_program
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

SIGNATURE = Signature((5,), 3)
CHOICES = (Choice("mlp", (1,), (4, 7), 1.0),)
SMALL = DecoderConfig(latent=6, trunk=32, stories=1, width=32, waves=8, rank=8, layers=1)


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def group(width: int, models: int = 12) -> Encoded:
    """Networks whose latents are numbers that their last layer is made of."""
    options = {"width": width, "depth": 1, "activation": "tanh"}
    module = build_network("mlp", SIGNATURE, options).eval()
    vectors = draw(models, 6, seed=width)
    weights = {n: draw(*t.shape, seed=1).expand(models, *t.shape) / 2 for n, t in module.state_dict().items()}
    name = next(n for n, t in weights.items() if t.shape[1:] == (3, width))
    mix = draw(6, 3 * width, seed=2)
    weights[name] = (vectors @ mix).view(models, 3, width) / 2
    inputs = draw(400, 5, seed=3)
    own = Into.of(family_program("mlp", options, SIGNATURE), module)
    return Encoded(vectors, run_stacked(module, weights, inputs), inputs, own, Menu(SIGNATURE, CHOICES))


def agreement(network: DecoderNetwork, encoded: Encoded, into: Into, vectors: torch.Tensor) -> float:
    with torch.no_grad():
        answers = run_stacked(into.module, network(vectors, into.target), encoded.inputs)
    return float((answers.argmax(2) == encoded.answers.argmax(2)).float().mean())


def test_decoded_networks_learn_to_agree_also_in_a_width_that_was_never_seen():
    groups = [group(4), group(7)]
    training = DecoderTraining(DecoderNetwork(SMALL, generator=Generator().manual_seed(0)), groups, learning_rate=5e-3)
    before = agreement(training.average, groups[0], groups[0].own, groups[0].vectors)
    for step in range(250):
        training.advance(step / 250, networks=8, images=32)
    unseen = groups[0].menu.into("mlp", {"width": 12, "depth": 1, "activation": "tanh"})
    own, other = (agreement(training.average, groups[0], into, groups[0].vectors) for into in (groups[0].own, unseen))
    wrong = agreement(training.average, groups[0], groups[0].own, groups[0].vectors.flip(0))
    assert min(own, other) > max(before, wrong, 0.45) + 0.1


def test_the_same_answers_cost_nothing_and_others_a_bounded_price():
    logits = draw(4, 10, 3, seed=0)
    assert behaviour_loss(logits, logits).abs() < 1e-6
    assert behaviour_loss(logits + 5, logits).abs() < 1e-4  # softmax does not see a common summand
    worse = [float(behaviour_loss(logits + size * draw(4, 10, 3, seed=1), logits)) for size in (0.1, 1.0)]
    assert 0 < worse[0] < worse[1]
    assert behaviour_loss(1e4 * draw(4, 10, 3, seed=1), logits) < 1.5 * MOST + 5


def test_networks_that_are_hardly_sure_count_as_much():
    logits = draw(4, 10, 3, seed=0)
    wrong = draw(4, 10, 3, seed=1)
    assert behaviour_loss(1e-2 * wrong, 1e-2 * logits) > 0.5 * behaviour_loss(wrong, logits)
    assert behaviour_loss(1e-2 * logits, logits) < 0.3 * behaviour_loss(1e-2 * wrong, logits)


def test_an_update_depends_on_the_seed_alone():
    def losses(seed: int) -> list[float]:
        network = DecoderNetwork(SMALL, generator=Generator().manual_seed(0))
        training = DecoderTraining(network, [group(4), group(7)], seed=seed)
        return [float(training.advance(step / 3)) for step in range(3)]

    assert losses(0) == pytest.approx(losses(0), abs=0)
    assert losses(0) != losses(1)


def test_a_stopped_training_goes_on_as_if_it_had_not_been():
    def begin() -> DecoderTraining:
        return DecoderTraining(DecoderNetwork(SMALL, generator=Generator().manual_seed(0)), [group(4), group(7)])

    whole, stopped, again = begin(), begin(), begin()
    for step in range(4):
        whole.advance(step / 4)
    for step in range(2):
        stopped.advance(step / 4)
    again.restore(stopped.state)
    for step in range(2, 4):
        again.advance(step / 4)
    for ours, theirs in zip(again.average.parameters(), whole.average.parameters(), strict=True):
        assert ours.equal(theirs)


def test_a_network_that_answers_all_alike_is_drawn_seldom():
    encoded = group(4)
    encoded.answers[0] = torch.tensor([1.0, 0.0, 0.0])
    assert encoded.telling[0] == pytest.approx(0.1)
    assert encoded.telling[1:].min() > 0.1


def test_a_decoded_network_that_says_nothing_still_learns():
    silent = torch.zeros(2, 4, 3, requires_grad=True)
    behaviour_loss(silent, torch.randn(2, 4, 3, generator=Generator().manual_seed(0))).backward()
    assert silent.grad is not None and silent.grad.isfinite().all() and silent.grad.any()


def test_an_update_that_goes_wrong_does_not_end_the_training():
    wrong = group(4)
    training = DecoderTraining(DecoderNetwork(SMALL, generator=Generator().manual_seed(0)), [wrong])
    wrong.answers[:] = torch.nan
    before = [p.clone() for p in training.network.parameters()]
    assert training.advance(0.5).isnan()
    for ours, theirs in zip(training.network.parameters(), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


def test_noise_on_latents_counts_in_their_deviations():
    def loss(noise: float, size: float) -> float:
        encoded = group(4)
        encoded = dataclasses.replace(encoded, vectors=size * encoded.vectors)
        network = DecoderNetwork(SMALL, generator=Generator().manual_seed(0))
        return float(DecoderTraining(network, [encoded], noise=noise).advance(0.0))

    assert loss(0.5, 1.0) != loss(0.0, 1.0)
    assert loss(0.5, 100.0) == pytest.approx(loss(0.5, 1.0), rel=0.05)
