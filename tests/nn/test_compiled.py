"""Compiled loops tell of a large tensor what PyTorch does, tile by tile; where there are none, nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from weightspace.execute.threads import one_thread
from weightspace.nn import compiled
from weightspace.nn.compiled import WIDTH, Told, loopable, reflect, survey
from weightspace.nn.message import KernelMessage
from weightspace.nn.statistics import measure

needs_loops = pytest.mark.skipif(compiled._loops() is None, reason="the loops were not compiled at the installation")
HALVES = (torch.bfloat16, torch.float16)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights of two axes that lie in memory as the shape says; rows and columns differ."""
    generator = Generator().manual_seed(sum(shape))
    return (torch.randn(shape, generator=generator) * torch.linspace(0.5, 2, shape[-1]) + 0.1).to(dtype)


def laid_out(weight: Tensor, layout: str) -> Tensor:
    """`(1, outs, ins, taps)` views of what is stored."""
    if layout == "taps":
        return weight[None].unflatten(2, (-1, 3))
    return (weight.T if layout == "in first" else weight)[None, ..., None]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr("weightspace.nn.tiles.TILE", 512)
    monkeypatch.setattr("weightspace.nn.tiles.STACK", 512)


@pytest.fixture
def without_loops(monkeypatch):
    def call(function, *given):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "_loops", lambda: None)
            return function(*given)

    return call


@needs_loops
@pytest.mark.parametrize("layout", ["out first", "in first", "taps"])
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loops_measure_what_operations_do(layout, stored, dtype, without_loops):
    weight = laid_out(draw(301, 33, dtype=stored), layout)
    assert loopable(weight, dtype, cut=2 if layout == "in first" else 1) is not None
    found, plain = measure(weight, dtype), without_loops(measure, weight, dtype)
    exact = without_loops(measure, weight.double(), torch.float64)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-11, "atol": 1e-11}
    torch.testing.assert_close(found, plain, **close)
    torch.testing.assert_close(found[:, 3:8], plain[:, 3:8], rtol=0, atol=0)  # quantiles are of counts
    torch.testing.assert_close(found[:, [0, 1, 2, 8, 9, 10]].double(), exact[:, [0, 1, 2, 8, 9, 10]], **close)


@needs_loops
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
def test_what_is_not_finite_counts_as_zero(stored, without_loops):
    weight = draw(64, 33, dtype=stored)
    weight[3, 5], weight[3, 6], weight[63] = torch.nan, -torch.inf, torch.inf
    well = weight.nan_to_num(0.0, 0.0, 0.0)
    found, right, other = (
        measure(laid_out(each, "out first"), torch.float64) for each in (weight, well, draw(64, 33, dtype=stored))
    )
    assert torch.equal(found[:, :-1], right[:, :-1]) and not torch.equal(found[:, :-1], other[:, :-1])
    assert found[:, -1] == 1 and right[:, -1] == other[:, -1] == 0
    torch.testing.assert_close(found, without_loops(measure, laid_out(weight, "out first"), torch.float64))


@needs_loops
@pytest.mark.parametrize("stored", HALVES)
def test_every_bit_pattern_is_widened_to_its_number(stored):
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(stored)[:, None]
    counts, added = torch.zeros(1 << 16, dtype=torch.int64), torch.zeros(3, 1, dtype=torch.float64)
    told = Told()
    sums, _ = survey(patterns, counts, added, told, torch.float64)
    numbers = patterns[:, 0].double().nan_to_num(0.0, 0.0, 0.0)
    assert torch.equal(sums, numbers) and (counts == 1).all()
    assert (told.low, told.high) == (numbers.min(), numbers.max())


@needs_loops
def test_numbers_of_one_count_are_told_apart():
    for weight, alike in ((draw(20, 30).bfloat16().float(), True), (draw(20, 30), False)):
        told = Told()
        survey(
            weight,
            torch.zeros(1 << 16, dtype=torch.int64),
            torch.zeros(3, 30, dtype=torch.float64),
            told,
            torch.float32,
        )
        assert (told.left == 0) == alike and (told.low, told.high) == (weight.min(), weight.max())


@needs_loops
@pytest.mark.parametrize("few", [1, 2, 3])
def test_reflections_add_up_over_pieces(few):
    weight, directions = draw(41, 30), draw(few, 30).double()
    images = torch.zeros(3, 30, dtype=torch.float64)
    for piece in weight.split(7):
        reflect(piece, directions, images)
    torch.testing.assert_close(images[:few], directions @ weight.double().T @ weight.double())
    assert not images[few:].any()


@needs_loops
@pytest.mark.parametrize("layout", ["out first", "in first"])
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("sizes", [(131, 77), (64, 64), (3, 301)])
def test_loops_carry_the_messages_that_operations_do(layout, stored, back, sizes, without_loops):
    weight = laid_out(draw(*sizes, dtype=stored), layout)
    outs, ins = weight.shape[1:3]
    module = KernelMessage(WIDTH, generator=Generator().manual_seed(0))
    h = torch.randn(1, outs if back else ins, WIDTH, generator=Generator().manual_seed(1))

    def told(weight, precision=torch.float32):
        network = module.to(precision)
        with torch.no_grad():
            return network.between(weight, h.to(precision), kernel=(), back=back, split=None)

    exact = without_loops(told, weight.double(), torch.float64)
    found = told(weight)
    torch.testing.assert_close(found, without_loops(told, weight), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, told(weight.flip(1)), atol=1e-2)
    sick, well = weight.clone(), weight.clone()
    sick[0, 2, 1], well[0, 2, 1] = torch.nan, 0.0
    torch.testing.assert_close(told(sick), told(well), rtol=0, atol=0)


@needs_loops
def test_threads_share_the_rows_of_a_message(set_threads):
    weight, module = laid_out(draw(301, 77), "out first"), KernelMessage(WIDTH, generator=Generator().manual_seed(0))
    for back in (False, True):
        h = torch.randn(1, 301 if back else 77, WIDTH, generator=Generator().manual_seed(1))
        found = []
        for threads in (1, 3):
            set_threads(threads)
            with torch.no_grad(), one_thread():
                found.append(module.between(weight, h, kernel=(), back=back, split=None))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_what_loops_do_not_know_is_left_to_operations(monkeypatch):
    weight = laid_out(draw(64, 33), "out first")
    assert loopable(weight.double(), torch.float64, cut=1) is None
    assert loopable(weight, torch.bfloat16, cut=1) is None
    assert loopable(weight[:, :, ::2], torch.float32, cut=1) is None
    monkeypatch.setattr(compiled, "_loops", lambda: None)
    assert loopable(weight, torch.float32, cut=1) is None


@pytest.mark.parametrize("content", [None, b"of another machine"])
def test_a_missing_or_broken_library_is_done_without(content, tmp_path, monkeypatch):
    if content:
        (tmp_path / "loops.so").write_bytes(content)
    monkeypatch.setattr(compiled, "LOOPS", tmp_path / "loops.so")
    compiled._loops.cache_clear()
    weight = laid_out(draw(64, 33), "out first")
    assert compiled._loops() is None and torch.isfinite(measure(weight, torch.float32)).all()
    compiled._loops.cache_clear()
