"""Cosines, statistics, standardising and messages, by hand and against outside references."""

import math

import numpy as np
import pytest
import torch
from torch import Generator

from weightspace.nn.cosines import FREQUENCIES, kernel_cosines, slot_cosines
from weightspace.nn.message import KernelMessage, small_waves
from weightspace.nn.readout import GAIN, Correlation, asinh
from weightspace.nn.spectral import spectral_norm
from weightspace.nn.statistics import tensor_statistics
from weightspace.nn.tiles import as_matrix
from weightspace.nn.units import UnitUpdate, root_mean_square, standardise


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def test_cosines_of_a_kernel_of_two_by_hand():
    channels, cosines = kernel_cosines((2,))
    assert [FREQUENCIES[i] for i in channels] == [(0, 0, 0), (1, 0, 0)]
    torch.testing.assert_close(cosines, torch.tensor([[0.5, 0.5], [0.5, -0.5]], dtype=torch.float64))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_kernels_of_all_sizes_share_the_first_channel_which_is_the_mean(size):
    channels, cosines = kernel_cosines((size, size))
    kernel = draw(size * size)
    assert channels[0] == 0
    assert float(kernel @ cosines[:, 0]) == pytest.approx(float(kernel.mean()))


def test_cosines_are_orthogonal():
    for kernel in ((5,), (3, 3), (3, 5, 7)):
        _, cosines = kernel_cosines(kernel)
        expected = torch.eye(cosines.shape[1], dtype=torch.float64) / math.prod(kernel)
        torch.testing.assert_close(cosines.T @ cosines, expected)


def test_one_slot_has_no_wave():
    assert not slot_cosines(torch.zeros(3, dtype=torch.long), 1, 3).any()


def test_the_spectral_norm_is_reached_from_below():
    found = float(spectral_norm((2 * torch.eye(4, dtype=torch.float64))[None, :, :, None], torch.float64)[0])
    assert found == pytest.approx(2)
    weight = draw(20, 12)
    largest, found = float(torch.linalg.matrix_norm(weight, 2)), spectral_norm(weight[None, :, :, None], torch.float64)
    assert 0.9 * largest < float(found[0]) <= largest * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(1, 9, 1), (5, 3, 7), (21, 4, 1), (6, 6, 1)])
def test_the_spectral_norm_from_products_of_rows_is_that_of_the_matrix(monkeypatch, shape):
    weight = draw(2, *shape)
    found = spectral_norm(weight, torch.float64)
    assert not spectral_norm(torch.zeros_like(weight), torch.float64).any()
    monkeypatch.setattr("weightspace.nn.spectral.GRAM", 0)
    torch.testing.assert_close(found, spectral_norm(weight, torch.float64), rtol=1e-12, atol=0)


def test_statistics_by_hand():
    weight = torch.tensor([[1.0, -1.0], [3.0, 1.0]], dtype=torch.float64)
    found, rms = tensor_statistics(weight[None, :, :, None], torch.float64)
    root = math.sqrt(3)
    assert float(rms[0]) == pytest.approx(root)
    expected = [math.log10(2 * root), math.log10(2 * math.sqrt(2)), 1 / root]
    expected += [math.asinh(x / root) for x in (-1, -1, 1, 1, 3)]
    np.testing.assert_allclose(found[0, :8], expected, atol=1e-7)


def test_standardised_messages_have_mean_zero_and_mean_square_one_in_each_segment():
    segment = torch.tensor([0, 0, 0, 1, 1])
    pool = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.float64)
    pool = pool / pool.sum(1, keepdim=True)
    told, _ = standardise(draw(2, 5, 3) * 7 + 3, pool, segment)
    for rows in (slice(0, 3), slice(3, 5)):
        torch.testing.assert_close(told[:, rows].mean(1), torch.zeros(2, 3, dtype=torch.float64), atol=1e-12, rtol=0)
        torch.testing.assert_close(told[:, rows].square().mean((1, 2)), torch.ones(2, dtype=torch.float64))


def test_what_is_constant_up_to_rounding_becomes_nothing():
    m = torch.full((1, 7, 3), 1 / 3, dtype=torch.float64) * (1 + 1e-16 * draw(1, 7, 3))
    told, _ = standardise(m, None, None)
    assert told.abs().max() < 1e-6


def test_a_linear_message_is_its_equation():
    message = KernelMessage(4, generator=Generator().manual_seed(0)).double()
    weight, h = draw(3, 5), draw(5, 4, seed=1)
    a, b = message.mixer[0], message.mixer[-1]
    expected = (weight @ (h @ a) + weight.abs() @ (h @ b)) / 5
    found = message.between(weight[None, :, :, None], h[None], kernel=(), back=False, split=None)
    torch.testing.assert_close(found[0], expected)
    back = message.between(weight.T[None, :, :, None], h[None], kernel=(), back=True, split=None)
    torch.testing.assert_close(back, found)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("outs", [2, 9])
@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_waves_at_hand_give_the_same_message(back, outs, kernel):
    message = KernelMessage(4, generator=Generator().manual_seed(0)).double()
    weight, h = draw(3, outs, 5, math.prod(kernel)), draw(3, outs if back else 5, 4, seed=1)
    scale = draw(3, seed=2).abs()
    found = message.across(small_waves(weight, kernel, scale), h, kernel=kernel, back=back)
    whole = message.between(weight, h, kernel=kernel, back=back, split=None)
    torch.testing.assert_close(found, whole * scale[:, None, None])


def test_a_grouped_message_is_that_of_each_group_alone():
    message = KernelMessage(4, generator=Generator().manual_seed(0)).double()
    weight, h = draw(1, 6, 2, 3), draw(1, 4, 4, seed=1)
    index = torch.arange(6).reshape(2, 3)
    found = message.between(weight, h, kernel=(3,), back=False, split=("out", index))
    for g in range(2):
        alone = message.between(weight[:, index[g]], h[:, 2 * g : 2 * g + 2], kernel=(3,), back=False, split=None)
        torch.testing.assert_close(found[:, 3 * g : 3 * g + 3], alone)


def test_correlation_sees_a_shuffle_at_every_width():
    correlation = Correlation(4, 8, generator=Generator().manual_seed(0)).double()
    for width in (16, 1024):
        h, order = draw(1, width, 4), torch.randperm(width, generator=Generator().manual_seed(0))
        together, apart = (asinh(GAIN * correlation(h, m, None, None)) for m in (h, h[:, order]))
        torch.testing.assert_close(asinh(GAIN * correlation(h[:, order], h[:, order], None, None)), together)
        assert (together - apart).norm() > 1


def test_slopes_written_by_hand_are_the_slopes():
    for function in (root_mean_square, asinh, lambda m: standardise(m, None, None)):
        assert torch.autograd.gradcheck(function, draw(2, 3, 4).requires_grad_())
    nearly_constant = (1 + 1e-6 * draw(1, 5, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: standardise(m, None, None), nearly_constant, eps=1e-9, rtol=1e-3)


@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("nested", [False, True])
def test_the_slope_of_an_update_is_the_slope_for_one_state_and_for_many(models, nested):
    update = UnitUpdate(3, 2, generator=Generator().manual_seed(0)).double()
    inputs = [draw(models, 4, 3), draw(2, 4, 3, seed=1), draw(2, 4, 3, seed=2) if nested else None, draw(2, 6, seed=3)]
    inputs = [x if x is None else x.requires_grad_() for x in inputs]
    parameters = {name: p for name, p in update.named_parameters() if name != "context"}

    def changed(*values):
        return torch.func.functional_call(update, dict(zip(parameters, values, strict=True)), tuple(inputs))

    assert torch.autograd.gradcheck(lambda *x: update(*x), inputs)
    if nested:
        assert torch.autograd.gradcheck(changed, tuple(parameters.values()))
    with torch.no_grad():
        still = update(*inputs)
    torch.testing.assert_close(update(*inputs), still)


def test_one_segment_is_told_apart_like_many():
    pool, segment = torch.full((1, 7), 1 / 7, dtype=torch.float64), torch.zeros(7, dtype=torch.long)
    m = (draw(2, 7, 3) + 5).requires_grad_()
    slopes = []
    for told, mean in (standardise(m, None, None), standardise(m, pool, segment)):
        (told * draw(2, 7, 3, seed=1)).sum().add(mean.square().sum()).backward()
        slopes.append((told.detach(), mean.detach(), m.grad))
        m.grad = None
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_the_inverse_hyperbolic_sine_is_that_of_the_library():
    x = torch.tensor([0.0, -0.0, 1e-30, -1e-4, 0.3, -7.0, 1e8], dtype=torch.float64)
    torch.testing.assert_close(asinh(x), x.asinh(), rtol=1e-14, atol=0)


def test_a_tensorflow_kernel_becomes_the_same_matrix():
    oihw = draw(1, 4, 3, 5, 5)
    hwio = oihw.permute(0, 3, 4, 2, 1)
    assert torch.equal(as_matrix(hwio, (3, 2, 0, 1), (4, 3, 25)), as_matrix(oihw, (0, 1, 2, 3), (4, 3, 25)))
