"""Sliders: probes read what is wanted, by the smallest move among known networks."""

import numpy as np
import pytest

from weightspace.app.steering import Slider, Steering, fit_steering
from weightspace.errors import ExplorerError
from weightspace.latents.table import LatentTable


def made(rows=120, latent=6, **columns):
    """Rows whose latents say `level` (a line) and nothing of `noise`; ten rows a run."""
    g = np.random.default_rng(0)
    vectors = g.normal(size=(rows, latent)) @ np.diag([3.0, 1, 1, 1, 0.5, 0.1])
    level = vectors @ np.array([1.0, -1, 0, 0.5, 0, 0]) + 0.1 * g.normal(size=rows)
    told = {"level": level.tolist(), "noise": g.normal(size=rows).tolist(), "run": [f"r{i // 10}" for i in range(rows)]}
    named = [{"id": f"net{i}", "path": f"{i}", "vector": v} for i, v in enumerate(vectors.tolist())]
    return LatentTable.from_rows(named, encoder="e", graph_version=1, latent=latent).assign(told | columns)


@pytest.fixture(scope="module")
def steering():
    return fit_steering(made())


def test_what_is_not_written_in_latents_gets_no_slider(steering):
    found = [slider.column for slider in steering.sliders]
    assert found == ["level"]
    assert 0.9 < steering.sliders[0].score <= 1


def test_a_slider_of_magnitudes_reads_logarithms():
    level = np.array(made()["level"])
    (slider,) = (s for s in fit_steering(made(rate=(10.0**level).tolist())).sliders if s.column == "rate")
    assert slider.logarithmic and slider.low == pytest.approx(np.quantile(level, 0.01))
    vectors = made().vectors.astype(float)
    assert np.corrcoef([slider.read(v) for v in vectors], level)[0, 1] > 0.99


def test_numbers_that_are_names_and_twins_of_tests_are_passed_over():
    level = made()["level"].tolist()
    others = dict.fromkeys(("seed", "row", "width", "train_score", "predicted_level", "test_score"), level)
    found = {slider.column for slider in fit_steering(made().assign(others)).sliders}
    assert found == {"level", "test_score"}


def two(seed=0, latent=5):
    """Two sliders and a covariance, drawn."""
    g = np.random.default_rng(seed)
    half = g.normal(size=(latent, latent))
    sliders = [Slider(name, False, -1.0, 1.0, 0.9, g.normal(size=latent), g.normal()) for name in "ab"]
    return Steering(tuple(sliders), half @ half.T + 0.1 * np.eye(latent)), g.normal(size=latent), g


@pytest.mark.parametrize("seed", range(5))
def test_probes_read_what_is_wanted(seed):
    steering, vector, g = two(seed)
    wanted = dict(zip("ab", g.normal(size=2), strict=True))
    assert steering.read(steering.move(vector, wanted)) == pytest.approx(wanted)
    one = steering.move(vector, {"a": 0.25})
    assert steering.read(one)["a"] == pytest.approx(0.25)
    assert steering.read(one)["b"] != pytest.approx(steering.read(vector)["b"]), "what is not named may follow"


@pytest.mark.parametrize("seed", range(5))
def test_no_other_move_is_smaller(seed):
    steering, vector, g = two(seed)
    move = steering.move(vector, {"a": 2.0}) - vector
    inverse = np.linalg.inv(steering.covariance)
    weights = steering.sliders[0].weights
    for _ in range(20):
        aside = g.normal(size=len(vector))
        other = move + aside - weights * (aside @ weights) / (weights @ weights)
        assert steering.sliders[0].read(vector + other) == pytest.approx(2.0)
        assert move @ inverse @ move < other @ inverse @ other
    straight = weights * (move @ weights) / (weights @ weights)
    assert move @ inverse @ move < straight @ inverse @ straight, "the probe's own weights are a longer way"


def test_nothing_wanted_moves_nothing():
    steering, vector, _ = two()
    np.testing.assert_array_equal(steering.move(vector, {}), vector)
    np.testing.assert_allclose(steering.move(vector, steering.read(vector)), vector)


def test_what_is_no_slider_is_named():
    steering, vector, _ = two()
    with pytest.raises(ExplorerError, match="no slider c; there are a, b"):
        steering.move(vector, {"c": 1.0})
    with pytest.raises(ExplorerError, match="no finite number"):
        steering.move(vector, {"a": float("nan")})
    with pytest.raises(ExplorerError, match="there are none"):
        Steering((), steering.covariance).move(vector, {"a": 1.0})
