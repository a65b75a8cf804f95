"""Pictures that networks stand for, and what is read off them."""

import pytest
import torch
from torch import Generator

from weightspace.nn.pictures import PictureMap, picture_places, picture_side
from weightspace.nn.probes import ROWS, ProbeBank
from weightspace.zoo.families.siren import pixel_places


def test_a_picture_is_asked_for_where_the_data_of_implicit_networks_has_it():
    torch.testing.assert_close(picture_places(28).float(), pixel_places(28, 28))
    bank = ProbeBank(96, plane=True, generator=Generator().manual_seed(0))
    asked = bank((2,))
    assert asked.shape == (picture_side(ROWS * 96) ** 2, 2) and asked.dtype == bank.row.dtype
    assert len(bank((3,))) == ROWS * 96 and len(ProbeBank(96, generator=Generator().manual_seed(0))((2,))) == ROWS * 96


@pytest.mark.parametrize("probes", range(2, 130))
def test_the_number_of_places_tells_a_picture_from_rows_and_images(probes):
    assert picture_side(ROWS * probes) ** 2 not in (probes, ROWS * probes)


@pytest.mark.parametrize("side", [5, 7, 8, 19])
@pytest.mark.parametrize("outputs", [1, 3, 20])
def test_every_side_and_number_of_outputs_is_read(side, outputs):
    told = PictureMap(side, 6, 4, generator=Generator().manual_seed(0)).eval()
    answers = torch.randn(3, side**2, outputs, generator=Generator().manual_seed(1))
    found = told(answers)
    assert found.shape == (3, 6) and found.isfinite().all()
    torch.testing.assert_close(found[:1], told(answers[:1]))


def test_a_part_means_the_same_wherever_it_is():
    """Convolutions move with a picture, edges aside; a matrix on places would not."""
    told, spot = PictureMap(48, 6, 4, generator=Generator().manual_seed(0)).eval(), torch.zeros(2, 48, 48)
    spot[0, 20:24, 20:24] = spot[1, 24:28, 24:28] = torch.randn(4, 4, generator=Generator().manual_seed(1))
    maps = []
    told.norms[-1].register_forward_hook(lambda *found: maps.append(found[2]))
    told(spot.flatten(1)[..., None])
    torch.testing.assert_close(maps[0][0, :, 2:-3, 2:-3], maps[0][1, :, 3:-2, 3:-2], rtol=1e-4, atol=1e-4)
    assert (maps[0][0] - maps[0][1]).abs().max() > 0.1


def test_silent_networks_are_read_as_something_finite_with_a_slope():
    told = PictureMap(7, 6, 4, generator=Generator().manual_seed(0))
    answers = torch.zeros(2, 49, 1, requires_grad=True)
    found = told(answers)
    found.square().sum().backward()
    assert found.isfinite().all() and answers.grad is not None and answers.grad.isfinite().all()
