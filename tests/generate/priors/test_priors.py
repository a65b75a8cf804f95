"""Laws of every prior in the table."""

from __future__ import annotations

import pytest
import torch

from weightspace.generate.priors import PRIORS, flow, gan
from weightspace.generate.priors.prior import Points, energy_distance


@pytest.fixture(scope="module")
def parts():
    return make_points(400, 0), make_points(100, 1), make_points(300, 2)


@pytest.fixture(scope="module")
def fitted(parts):
    """Every prior; those that are trained, for less long than usual."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (flow, gan):
            patch.setattr(module, "UPDATES", 700)
        return {name: kind.fit(parts[0], parts[1], seed=0) for name, kind in PRIORS.items()}


def make_points(rows: int, seed: int) -> Points:
    """Places whose first number is the first code, and whose second is its square: no Gaussian."""
    draw = torch.Generator().manual_seed(seed)
    number = torch.randn(rows, 1, generator=draw)
    name = torch.nn.functional.one_hot(torch.randint(2, (rows,), generator=draw), 2).float()
    noise = 0.3 * torch.randn(rows, 3, generator=draw)
    places = torch.cat([number, number.square() - 1, 2 * name[:, :1] - 1], 1) + noise
    return Points(places, torch.cat([number, name], 1), torch.tensor([0, 1, 1]))


def ask(prior, points, mask, seed=0):
    known = torch.tensor(mask).expand(len(points), -1)
    return prior.sample(points.codes, known, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PRIORS)
def test_what_is_asked_for_comes_out(fitted, parts, name):
    fresh = parts[2]
    drawn = ask(fitted[name], fresh, [True, True, True])
    told = torch.corrcoef(torch.stack([drawn[:, 0], fresh.codes[:, 0]]))[0, 1]
    names = torch.corrcoef(torch.stack([drawn[:, 2], fresh.codes[:, 1]]))[0, 1]
    assert told > 0.85 and names > 0.8
    free = ask(fitted[name], fresh, [False, False, False])
    assert abs(torch.corrcoef(torch.stack([free[:, 0], fresh.codes[:, 0]]))[0, 1]) < 0.2


@pytest.mark.parametrize("name", PRIORS)
def test_one_property_alone_leaves_the_other_free(fitted, parts, name):
    drawn = ask(fitted[name], parts[2], [True, False, False])
    assert torch.corrcoef(torch.stack([drawn[:, 0], parts[2].codes[:, 0]]))[0, 1] > 0.8
    assert 0.2 < (drawn[:, 2] > 0).float().mean() < 0.8


@pytest.mark.parametrize("name", PRIORS)
def test_a_seed_says_what_is_drawn(fitted, parts, name):
    first, again, other = (ask(fitted[name], parts[2], [True] * 3, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_survives_as_numbers(fitted, parts, name):
    again = PRIORS[name].from_state({key: value.clone() for key, value in fitted[name].state().items()})
    mask = [True, False, False]
    torch.testing.assert_close(ask(again, parts[2], mask), ask(fitted[name], parts[2], mask), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["flow", "mixture", "gan"])
def test_what_is_no_gaussian_is_learned(fitted, parts, name):
    """The mean of the second number given the first is a parabola, which a Gaussian cannot have."""
    far = {}
    for kind in (name, "gaussian"):
        drawn = ask(fitted[kind], parts[2], [False] * 3)
        far[kind] = energy_distance(drawn, parts[2].places)
    assert far[name] < far["gaussian"]


def test_guidance_sharpens_what_is_asked(fitted, parts):
    fresh, known = parts[2], torch.tensor([[True, True, True]]).expand(300, -1)
    spread = []
    for guidance in (1.0, 2.5):
        drawn = fitted["flow"].sample(fresh.codes, known, generator=torch.Generator().manual_seed(0), guidance=guidance)
        slope = (drawn[:, 0] * fresh.codes[:, 0]).mean() / fresh.codes[:, 0].square().mean()
        spread.append(float(drawn[:, 0].sub(slope * fresh.codes[:, 0]).std()))
    assert spread[1] < spread[0]


def test_more_noise_to_begin_with_spreads_what_is_drawn(fitted, parts):
    fresh, known = parts[2], torch.tensor([[True, True, True]]).expand(300, -1)
    apart = []
    for temperature in (0.5, 1.0, 1.5):
        drawn = fitted["flow"].sample(
            fresh.codes, known, generator=torch.Generator().manual_seed(0), temperature=temperature
        )
        slope = (drawn[:, 0] * fresh.codes[:, 0]).mean() / fresh.codes[:, 0].square().mean()
        assert slope > 0
        apart.append(float(drawn[:, 0].sub(slope * fresh.codes[:, 0]).std()))
    assert apart[0] < apart[1] < apart[2]


def test_energy_distance_tells_shifted_samples_apart():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(500, 2, generator=draw), torch.randn(500, 2, generator=draw)
    assert abs(energy_distance(a, b)) < 0.02
    assert energy_distance(a, b + 1) > 0.2
