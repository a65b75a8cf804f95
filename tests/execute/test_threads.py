"""Work side by side: the same results in the same order, and threads are given back."""

from __future__ import annotations

from contextvars import ContextVar
from threading import get_ident

import pytest
import torch
from torch import Generator, Tensor

from weightspace.encode.network import SweepConfig, SweepNetwork
from weightspace.execute.threads import (
    all_threads,
    one_thread,
    one_thread_back,
    side_by_side,
    slopes_side_by_side,
    spare_threads,
)

HERE = ContextVar("here", default=0)


@pytest.fixture
def four_threads(set_threads):
    set_threads(4)


def test_an_operation_has_one_thread_within_and_as_many_as_before_after(four_threads):
    with pytest.raises(KeyError), one_thread():
        assert (torch.get_num_threads(), spare_threads()) == (1, 4)
        with one_thread():
            assert (torch.get_num_threads(), spare_threads()) == (1, 4)
        assert (torch.get_num_threads(), spare_threads()) == (1, 4)
        raise KeyError
    assert (torch.get_num_threads(), spare_threads()) == (4, 1)


@pytest.mark.parametrize("gradients", [True, False])
def test_parts_keep_their_order_and_what_holds_outside(four_threads, gradients):
    def look(part: int) -> tuple[object, ...]:
        inner = side_by_side(lambda _: get_ident(), [0, 1])
        alone = spare_threads() == torch.get_num_threads() == 1 and set(inner) == {get_ident()}
        return part, HERE.get(), torch.is_grad_enabled(), alone

    token = HERE.set(7)
    with one_thread(), torch.set_grad_enabled(gradients):
        assert side_by_side(look, range(9)) == [(i, 7, gradients, True) for i in range(9)]
    HERE.reset(token)


def test_parts_are_done_one_after_the_other_where_no_thread_is_to_spare(four_threads):
    assert set(side_by_side(lambda _: get_ident(), range(5))) == {get_ident()}
    with one_thread():
        assert get_ident() not in side_by_side(lambda _: get_ident(), range(5))


def test_the_error_of_the_first_part_is_raised(four_threads):
    def fail(part: int) -> None:
        raise ValueError(f"part {part}")

    with one_thread(), pytest.raises(ValueError, match="part 0"):
        side_by_side(fail, range(3))


class Seen(torch.autograd.Function):
    threads: list[int]

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        Seen.threads.append(torch.get_num_threads())
        return grad


def test_operations_have_one_thread_from_there_to_the_end_of_the_way_back(four_threads):
    Seen.threads = []
    x = torch.ones(3, requires_grad=True)
    Seen.apply(one_thread_back(Seen.apply(x))).sum().backward()
    assert Seen.threads == [4, 1] and torch.get_num_threads() == 4
    assert torch.equal(x.grad, torch.ones(3))
    fixed = torch.ones(3)
    assert one_thread_back(fixed) is fixed


def test_an_encoder_leaves_threads_as_they_were(four_threads, monkeypatch):
    from tests.encode.networks import perceptron
    from weightspace.checkpoint.checkpoint import Checkpoint
    from weightspace.encode.encoder import Encoder

    network = SweepNetwork(SweepConfig(), generator=Generator().manual_seed(0)).double()
    encoder = Encoder("four", network)
    checkpoints = [Checkpoint(perceptron(20, 40, 30, 7, seed=seed)) for seed in range(8)]
    alone = torch.stack([encoder.encode(c).vector for c in checkpoints])
    monkeypatch.setattr("weightspace.encode.stacked.WORTH", 1)
    found, _ = encoder.encode_stack(*checkpoints)
    torch.testing.assert_close(found.vector.float(), alone)
    monkeypatch.setattr("weightspace.nn.tiles.TILE", 100)
    torch.set_num_threads(1)
    single = encoder.encode(checkpoints[0]).vector
    torch.set_num_threads(4)
    torch.testing.assert_close(encoder.encode(checkpoints[0]).vector, single)
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("second", [True, False])
def test_slopes_taken_side_by_side_are_those_of_one_after_the_other(four_threads, second):
    g = Generator().manual_seed(0)
    shared = torch.randn(3, generator=g, dtype=torch.float64).requires_grad_()
    others = [torch.randn(3, generator=g, dtype=torch.float64).requires_grad_(second) for _ in range(5)]
    ways = [torch.randn(3, generator=g, dtype=torch.float64) for _ in range(5)]
    whole = [each for each in (shared, *others) if each.requires_grad]

    def call(part: tuple[Tensor, ...]) -> Tensor:
        return (part[0] * part[1]).sin() + part[0].detach()

    def slopes() -> tuple[Tensor, ...]:
        made = slopes_side_by_side(call, [(shared, other) for other in others])
        return torch.autograd.grad(sum((m * way).sum() for m, way in zip(made, ways, strict=True)), whole)

    expected = slopes()
    with one_thread():
        found = slopes()
    torch.testing.assert_close(found, expected)
    assert all(slope.abs().sum() > 0 for slope in found)


def test_one_large_piece_has_all_threads_to_itself(four_threads):
    with one_thread():
        with all_threads():
            assert (torch.get_num_threads(), spare_threads()) == (4, 1)
        assert (torch.get_num_threads(), spare_threads()) == (1, 4)
    with all_threads():
        assert (torch.get_num_threads(), spare_threads()) == (4, 1)
