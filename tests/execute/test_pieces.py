"""What is cut into pieces is what was whole, and pieces shrink where memory runs out."""

import pytest
import torch
from torch import Generator, nn

from weightspace.execute import pieces
from weightspace.execute.pieces import in_pieces, run_in_pieces
from weightspace.execute.stack import run_stacked


@pytest.fixture
def networks():
    g = Generator().manual_seed(0)
    return nn.Linear(3, 2), {"weight": torch.randn(7, 2, 3, generator=g), "bias": torch.randn(7, 2, generator=g)}


def test_networks_and_inputs_in_pieces_answer_as_all_at_once(networks, monkeypatch):
    module, stacked = networks
    inputs = torch.randn(11, 3, generator=Generator().manual_seed(1))
    whole, sizes = run_stacked(module, stacked, inputs), []
    monkeypatch.setattr(pieces, "INPUTS", 4)
    monkeypatch.setattr(pieces, "NUMBERS", 30)
    real = run_stacked
    monkeypatch.setattr(
        pieces, "run_stacked", lambda m, w, x: sizes.append((len(w["weight"]), len(x))) or real(m, w, x)
    )
    torch.testing.assert_close(run_in_pieces(module, stacked, inputs), whole)
    assert {n for n, _ in sizes} == {2, 1} and {x for _, x in sizes} == {4, 3}
    chosen = run_in_pieces(module, stacked, inputs, lambda logits: logits.argmax(2))
    assert chosen.equal(whole.argmax(2)) and not chosen[0].equal(chosen[1])


def test_pieces_are_halved_until_they_fit():
    tried = []

    def run(some):
        tried.append(some.stop - some.start)
        if tried[-1] > 3:
            raise torch.OutOfMemoryError
        return list(range(some.start, some.stop))

    assert [n for piece in in_pieces(run, 20, 10) for n in piece] == list(range(20))
    assert tried[:3] == [10, 5, 3] and max(tried[2:]) == 3


def test_what_does_not_fit_alone_is_not_tried_for_ever():
    def run(_):
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        in_pieces(run, 5, 5)
