"""Places move all alike and a little; other inputs stay."""

import torch
from torch import Generator

from weightspace.train.views import draw_move, moved


def test_places_are_moved_by_one_map_near_to_none():
    places = torch.rand(40, 2, generator=Generator().manual_seed(0)) * 2 - 1
    found = moved(places, draw_move((2,), 0.04, Generator().manual_seed(1)))
    known = torch.cat([places, torch.ones(40, 1)], 1)
    fitted = torch.linalg.lstsq(known, found).solution
    torch.testing.assert_close(known @ fitted, found)
    apart = fitted - torch.cat([torch.eye(2), torch.zeros(1, 2)])
    assert 0.005 < apart.abs().max() < 0.2
    assert not found.equal(moved(places, draw_move((2,), 0.04, Generator().manual_seed(2))))
    assert moved(places, draw_move((2,), 0.0, Generator().manual_seed(1))).equal(places)


def test_images_and_rows_of_many_numbers_stay():
    for inputs in (torch.ones(5, 1, 8, 8), torch.ones(5, 4)):
        drawn = draw_move(inputs.shape[1:], 0.04, Generator().manual_seed(0))
        assert drawn is None and moved(inputs, drawn) is inputs
