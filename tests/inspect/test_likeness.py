"""Stages are compared by name, or else by depth."""

import pytest
import torch

from weightspace.encode.latent import Latent
from weightspace.errors import EncoderError
from weightspace.inspect.likeness import compare_stages


def latent(**stages) -> Latent:
    return Latent(torch.zeros(2), {}, {name: torch.tensor(values) for name, values in stages.items()})


def test_stages_of_one_name_meet_wherever_they_stand():
    first, second = latent(a=[1.0, 0.0], b=[0.0, 1.0]), latent(b=[0.0, 2.0], a=[0.0, 3.0])
    found = compare_stages(first, second)
    assert [(s.stage, s.other, s.cosine) for s in found] == [("a", "a", 0.0), ("b", "b", 1.0)]


def test_others_meet_at_the_same_share_of_the_depth():
    first = latent(a=[1.0], b=[1.0], c=[1.0])
    second = latent(p=[1.0], q=[1.0], r=[1.0], s=[1.0], t=[-1.0])
    assert [(s.stage, s.other) for s in compare_stages(first, second)] == [("a", "p"), ("b", "r"), ("c", "t")]
    assert [s.cosine for s in compare_stages(first, second)] == [1, 1, -1]
    assert compare_stages(latent(only=[1.0]), second)[0].other == "p"


def test_stages_of_two_encoders_are_not_compared():
    with pytest.raises(EncoderError, match="stage 'a' has 2 numbers and 'a' 1"):
        compare_stages(latent(a=[1.0, 0.0]), latent(a=[1.0]))
