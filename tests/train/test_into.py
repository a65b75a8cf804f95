"""Architectures to decode into are drawn by size of input, and held-out widths never."""

import torch
from torch import Generator

from weightspace.train.into import WIDTHS, Menu, place
from weightspace.zoo.families.signature import Signature


def test_small_images_and_rows_get_perceptrons_large_images_convolutions_too():
    assert {c.family for c in Menu.of(Signature((1, 8, 8), 10)).choices} == {"mlp"}
    assert {c.family for c in Menu.of(Signature((64,), 10)).choices} == {"mlp"}
    assert {c.family for c in Menu.of(Signature((1, 16, 16), 10)).choices} == {"mlp", "smallcnn"}


def test_held_out_widths_are_never_drawn():
    menu, draw = Menu.of(Signature((6,), 2)), Generator().manual_seed(0)
    drawn = {next(iter(menu.draw(draw).target.shapes.values()))[0] for _ in range(30)}
    assert len(drawn) > 3 and drawn <= set(WIDTHS) and not {12, 24} & set(WIDTHS)


def test_large_architectures_are_decoded_in_smaller_numbers():
    menu = Menu.of(Signature((1, 16, 16), 10))
    small, large = (menu.into("mlp", {"width": width, "depth": 1}) for width in (8, 256))
    assert small.together == 1 and 0.2 < large.together < 0.6
    assert menu.into("mlp", {"width": 8, "depth": 1}) is small


def test_images_are_placed_in_other_sizes():
    image = torch.linspace(0, 1, 8).expand(2, 1, 8, 8)
    assert place(image, (1, 8, 8)) is image
    larger = place(image, (3, 16, 16))
    assert larger.shape == (2, 3, 16, 16)
    assert (larger.mean() - image.mean()).abs() < 1e-4 and larger[..., 0].mean() < larger[..., -1].mean()
