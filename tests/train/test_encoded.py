"""Numbers of latents are worth what they foretell of answers."""

import torch
from torch import Generator, Tensor

from tests.train.test_decoder import group
from weightspace.train.encoded import SHARP, Encoded, answers_metric, scaled


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def answering(vectors: Tensor, slopes: Tensor, inputs: Tensor) -> Encoded:
    """Networks whose answers hang on their latents by a matrix."""
    plain = group(4)
    answers = (3 + vectors @ slopes).view(len(vectors), len(inputs), 3)
    return Encoded(vectors, answers, inputs, plain.own, plain.menu)


def metric_of(groups: list[Encoded]) -> Tensor:
    every = torch.cat([one.vectors for one in groups])
    return answers_metric(groups, lambda vectors: (vectors - every.mean(0)) / every.std(0))


def test_scaled_logits_are_centred_and_of_one_size():
    told = scaled(5 * draw(3, 10, 4) + 7)
    torch.testing.assert_close(told.mean(2), torch.zeros(3, 10), rtol=0, atol=1e-5)
    torch.testing.assert_close(told.square().mean((1, 2)).sqrt(), torch.full((3,), SHARP))


def test_what_answers_follow_weighs_and_what_they_do_not_follow_does_not():
    vectors, inputs = draw(300, 6), draw(8, 5, seed=1)
    slopes = torch.zeros(6, 24)
    slopes[1], slopes[4] = draw(24, seed=2), 0.5 * draw(24, seed=3)
    metric = metric_of([answering(vectors, slopes, inputs)])
    torch.testing.assert_close(metric, metric.T)
    told = metric.diagonal()
    assert told[1] > 2 * told[4] > 10 * told[[0, 2, 3, 5]].max()
    plain = group(4)
    blind = metric_of([Encoded(vectors, draw(300, 8, 3, seed=5), inputs, plain.own, plain.menu)])
    assert blind.trace() < 0.2 * metric.trace()


def test_pools_count_by_their_networks():
    first, second = draw(300, 6), draw(30, 6, seed=4)
    one, other = torch.zeros(6, 24), torch.zeros(6, 24)
    one[1], other[2] = draw(24, seed=2), draw(24, seed=2)
    groups = [answering(first, one, draw(8, 5, seed=1)), answering(second, other, draw(8, 5, seed=2))]
    told = metric_of(groups).diagonal()
    assert told[1] > 5 * told[2] > 5 * told[3]
