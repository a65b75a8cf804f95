"""Tensors of more than a tile: what is read off tile by tile is what the whole says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor

from weightspace.nn.histogram import Histogram
from weightspace.nn.message import KernelMessage
from weightspace.nn.pages import let_go
from weightspace.nn.statistics import QUANTILES, tensor_statistics
from weightspace.nn.tiles import cut_of, pieces, tiles


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr("weightspace.nn.tiles.TILE", 64)
    monkeypatch.setattr("weightspace.nn.tiles.STACK", 64)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 2, 1, 3), (3, 0, 2, 1)])
def test_tiles_cover_every_weight_once_however_it_is_stored(tiny, layout, gradients):
    stored = draw(*([2, 7, 30, 3][d] for d in layout)).float()
    weight = stored.permute([layout.index(d) for d in range(4)])
    found = torch.zeros_like(weight, dtype=torch.float64)
    with torch.set_grad_enabled(gradients):
        for tile in tiles(weight, torch.float64):
            assert tile.stored.numel() <= 2 * 30 * 3
            found[:, tile.outs, tile.ins] += tile.weight
    assert torch.equal(found, weight.double())
    assert torch.equal(torch.cat([piece.flatten() for piece in pieces(stored)]), stored.flatten())


def test_a_tensor_is_cut_so_that_a_tile_lies_together_in_memory():
    assert cut_of(draw(1, 5, 6, 1)) == 1
    assert cut_of(draw(1, 6, 5, 1).transpose(1, 2)) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_quantiles_from_counts_are_those_of_sorted_numbers(dtype):
    numbers = draw(5000).to(dtype)
    histogram = Histogram(dtype, numbers.device)
    for part in numbers.split(1234):
        histogram.add(part, part.double())
    found = histogram.quantiles(QUANTILES)
    expected = np.sort(numbers.double().numpy())[[0, 1249, 2499, 3749, 4999]]
    np.testing.assert_allclose(found, expected, atol=0 if dtype.itemsize == 2 else 3e-3)
    assert found[0] == expected[0] and found[-1] == expected[-1]


@pytest.mark.parametrize("value", [0.0, -1.7, 1.0])
def test_equal_numbers_have_one_quantile(value):
    histogram = Histogram(torch.float32, torch.device("cpu"))
    histogram.add(torch.full((9,), value), torch.full((9,), value))
    assert histogram.quantiles(QUANTILES).tolist() == [torch.tensor(value).item()] * 5


@pytest.mark.parametrize("transposed", [False, True])
def test_streamed_statistics_are_close_to_the_whole_ones_and_know_no_order(monkeypatch, transposed):
    weight = draw(1, 40, 60, 1) + 0.3 * draw(1, 40, 1, 1, seed=1) * draw(1, 1, 60, 1, seed=2)
    weight = weight.transpose(1, 2) if transposed else weight
    whole, size = tensor_statistics(weight, torch.float64)
    monkeypatch.setattr("weightspace.nn.tiles.TILE", 200)
    found, rms = tensor_statistics(weight, torch.float64)
    torch.testing.assert_close(rms, size)
    torch.testing.assert_close(found[:, [0, 1, 2, 3, 7]], whole[:, [0, 1, 2, 3, 7]])
    torch.testing.assert_close(found[:, 4:7], whole[:, 4:7], atol=5e-3, rtol=0)
    assert 0.85 * whole[0, 8] < found[0, 8] < 1.02 * whole[0, 8]
    rows, columns = (torch.randperm(n, generator=Generator().manual_seed(3)) for n in weight.shape[1:3])
    other = weight[:, rows][:, :, columns]
    other = other.transpose(1, 2).contiguous().transpose(1, 2) if transposed else other.contiguous()
    again, _ = tensor_statistics(other, torch.float64)
    torch.testing.assert_close(again, found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_streamed_zeros_and_constants_say_what_they_are(tiny, value):
    found, rms = tensor_statistics(torch.full((1, 20, 30, 1), value), torch.float32)
    assert torch.isfinite(found).all() and rms.item() == value
    assert found[0, 8].item() == pytest.approx(value, rel=1e-5)


def test_rows_that_add_up_to_zero_are_no_start_but_the_norm_is_found(tiny):
    weight = draw(1, 40, 30, 1) * (1 + torch.arange(40)[:, None, None])
    weight = weight - weight.mean(2, keepdim=True)
    largest = torch.linalg.matrix_norm(weight[0, :, :, 0], 2) / weight.square().sum().sqrt()
    found, _ = tensor_statistics(weight, torch.float64)
    assert 0.7 * largest < found[0, 8] <= largest * (1 + 1e-9)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kernel", [(), (3,)])
def test_a_streamed_message_is_the_whole_one_and_passes_over_what_is_not_finite(monkeypatch, back, transposed, kernel):
    message = KernelMessage(4, generator=Generator().manual_seed(0)).double()
    weight = draw(1, 20, 30, *(kernel or (1,)))
    weight[0, 2, 3, -1] = weight[0, 17, 0, 0] = 0.0
    h = draw(1, 20 if back else 30, 4, seed=1)
    sick = weight.clone()
    sick[0, 2, 3, -1], sick[0, 17, 0, 0] = torch.nan, -torch.inf
    sick, well = (x.transpose(1, 2).contiguous().transpose(1, 2) if transposed else x for x in (sick, weight))
    with torch.no_grad():
        whole = message.between(weight, h, kernel=kernel, back=back, split=None)
        monkeypatch.setattr("weightspace.nn.tiles.TILE", 200)
        found = [message.between(x, h, kernel=kernel, back=back, split=None) for x in (sick, well, sick)]
    for told in found:
        torch.testing.assert_close(told, whole)
    assert torch.equal(found[0], found[2])


def test_letting_go_loses_nothing(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": draw(300, 400)}, path)
    with safe_open(path, "pt") as file:
        mapped = file.get_tensor("a")
    held, memory = mapped.clone(), draw(300, 400)
    let_go(mapped)
    assert torch.equal(mapped, held)
    mapped += 1
    let_go(mapped)
    let_go(memory)
    assert torch.equal(mapped, held + 1) and torch.equal(memory, held)


def test_quantiles_of_widened_bfloat16_are_exact_and_of_others_estimated():
    numbers = draw(1000).float()
    for weight, exact in ((numbers.bfloat16().float(), True), (numbers, False)):
        histogram = Histogram(torch.float32, weight.device)
        for part in weight.split(300):
            histogram.add(part, part)
        wanted = weight.sort().values[[249, 499, 749]].double()
        found = histogram.quantiles((0.25, 0.5, 0.75))
        assert found.equal(wanted) == exact
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=0)
