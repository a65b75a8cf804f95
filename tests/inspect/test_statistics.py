"""Statistics of a tensor against numpy in float64, and their laws."""

import numpy as np
import pytest
import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Span
from weightspace.inspect.statistics import QUANTILES, checkpoint_statistics, tensor_statistics


def _draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn])
@pytest.mark.parametrize("shape", [(7,), (5, 3), (4, 3, 2, 2), (600, 700)])
def test_numpy_in_float64_says_the_same(shape, dtype):
    tensor = _draw(*shape, dtype=dtype)
    expected = tensor.double().numpy()

    s = tensor_statistics("w", tensor, view="o" + "k" * (len(shape) - 1))

    np.testing.assert_allclose(s.mean, expected.mean(), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(s.std, expected.std(), rtol=1e-12)
    np.testing.assert_allclose(s.quantiles, np.quantile(expected, QUANTILES), rtol=1e-12)
    if len(shape) == 1:
        assert s.spectral_norm is None and s.stable_rank is None
    else:
        singular = np.linalg.svd(expected.reshape(shape[0], -1), compute_uv=False)
        np.testing.assert_allclose(s.spectral_norm, singular[0], rtol=1e-10)
        np.testing.assert_allclose(s.stable_rank, (singular**2).sum() / singular[0] ** 2, rtol=1e-10)


def test_the_view_decides_what_a_row_is():
    tensor = _draw(3, 3, 4, 5)  # kernel first, as TensorFlow stores it: (height, width, in, out)
    matrix = tensor.permute(3, 2, 0, 1).reshape(5, -1).double().numpy()

    s = tensor_statistics("w", tensor, view="kkio")

    np.testing.assert_allclose(s.spectral_norm, np.linalg.norm(matrix, 2), rtol=1e-10)
    assert abs(s.spectral_norm - tensor_statistics("w", tensor, view="ookk").spectral_norm) > 0.01


@pytest.mark.parametrize("side", [6, 600])
def test_an_orthogonal_matrix_has_norm_one_and_full_rank(side):
    matrix, _ = torch.linalg.qr(_draw(side, side, dtype=torch.float64))
    s = tensor_statistics("w", 3 * matrix, view="oi")
    assert s.spectral_norm == pytest.approx(3, rel=1e-10)
    assert s.stable_rank == pytest.approx(side, rel=1e-9)


def test_an_outer_product_has_stable_rank_one():
    u, v = _draw(700, 1, seed=1, dtype=torch.float64), _draw(1, 650, seed=2, dtype=torch.float64)
    s = tensor_statistics("w", u @ v, view="oi")
    assert s.spectral_norm == pytest.approx((u.norm() * v.norm()).item(), rel=1e-10)
    assert s.stable_rank == pytest.approx(1, rel=1e-9)


def test_tiny_and_huge_scales_neither_vanish_nor_overflow():
    matrix = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    for scale in (1e-200, 1e200):
        s = tensor_statistics("w", matrix * scale, view="oi")
        assert s.spectral_norm == pytest.approx(4 * scale, rel=1e-12)
        assert s.stable_rank == pytest.approx(25 / 16, rel=1e-12)


def test_numbers_that_are_not_finite_are_counted_and_left_out():
    tensor = torch.tensor([[1.0, float("nan")], [float("inf"), 3.0]])
    s = tensor_statistics("w", tensor, view="oi")
    assert (s.nonfinite, s.mean, s.std) == (2, 2.0, 1.0)
    assert s.quantiles == (1.0, 1.5, 2.0, 2.5, 3.0)
    assert s.spectral_norm is None and s.stable_rank is None


def test_zeros_have_norm_zero_and_no_rank():
    s = tensor_statistics("w", torch.zeros(4, 3), view="oi")
    assert (s.spectral_norm, s.stable_rank) == (0.0, None)


def test_nothing_has_no_mean():
    s = tensor_statistics("w", torch.zeros(0, 3), view="oi")
    assert np.isnan([s.mean, s.std, *s.quantiles]).all()
    assert s.spectral_norm is None


def test_whole_numbers_are_described_exactly():
    s = tensor_statistics("steps", torch.tensor([2**40, 2**40 + 2]), view="o")
    assert (s.mean, s.std) == (2.0**40 + 1, 1.0)


def test_a_checkpoint_gives_a_row_a_tensor_with_the_views_of_its_graph():
    axes = {"h": Axis("h", 2, "hidden"), "x": Axis("x", 3, "input")}
    block = Block("w", "linear", (Span(5), Leaf("x"), Leaf("h")), "kio", 30)
    graph = ParameterGraph(axes, {"w": block}, (), "infer")
    tensors = {"w": _draw(5, 3, 2), "steps": torch.tensor(7)}

    rows = list(checkpoint_statistics(Checkpoint(tensors), graph))

    assert [row.name for row in rows] == ["w", "steps"]
    matrix = tensors["w"].permute(2, 0, 1).reshape(2, -1).double().numpy()
    np.testing.assert_allclose(rows[0].spectral_norm, np.linalg.norm(matrix, 2), rtol=1e-10)
    assert (rows[1].mean, rows[1].spectral_norm) == (7.0, None)
