"""The probe is a citizen of scikit-learn, and reads what is linear and nothing else."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from weightspace.errors import TableError
from weightspace.latents.probe import PropertyProbe


@parametrize_with_checks([PropertyProbe(), PropertyProbe("name")])
def test_scikit_learn_takes_it_for_its_own(estimator, check):
    check(estimator)


def test_it_reads_what_is_linear_and_not_what_is_not():
    g = np.random.default_rng(0)
    x = g.normal(size=(400, 3))
    for y, least, most in ((x[:, 0] - 2 * x[:, 1], 0.999, 1.0), (x[:, 0] * x[:, 1], -1.0, 0.1)):
        assert least <= PropertyProbe().fit(x[:200], y[:200]).score(x[200:], y[200:]) <= most
    names = np.where(x[:, 0] > 0, "up", "down")
    assert PropertyProbe("name").fit(x[:200], names[:200]).score(x[200:], names[200:]) > 0.95


def test_it_is_a_ridge_and_a_logistic_regression_on_standardised_columns():
    g = np.random.default_rng(1)
    x, z = g.normal(size=(60, 4)) * [1, 10, 100, 1000], g.normal(size=(5, 4))
    y = x[:, 0] + g.normal(size=60)
    theirs = make_pipeline(StandardScaler(), Ridge(0.5 * 60)).fit(x, y)
    np.testing.assert_allclose(PropertyProbe(penalty=0.5).fit(x, y).predict(z), theirs.predict(z))
    names = np.where(y > 0, "a", "b")
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.5 * 60), tol=1e-6)).fit(x, names)
    ours = PropertyProbe("name", 0.5).fit(x, names)
    np.testing.assert_allclose(ours.predict_proba(z), theirs.predict_proba(z), atol=1e-3)


def test_rows_twice_change_nothing():
    g = np.random.default_rng(3)
    x, y = g.normal(size=(30, 3)), g.normal(size=30)
    once, twice = PropertyProbe().fit(x, y), PropertyProbe().fit(np.r_[x, x], np.r_[y, y])
    np.testing.assert_allclose(once.predict(x), twice.predict(x))


def test_the_unit_of_a_column_does_not_matter_and_a_constant_one_is_ignored():
    g = np.random.default_rng(2)
    x, y = g.normal(size=(50, 3)), g.normal(size=50)
    scaled = np.c_[x * [1e-3, 1, 1e6] + 5, np.full(50, 7.0)]
    np.testing.assert_allclose(PropertyProbe().fit(x, y).predict(x), PropertyProbe().fit(scaled, y).predict(scaled))


def test_another_kind_is_refused():
    with pytest.raises(TableError, match="kind = 'colour'"):
        PropertyProbe("colour").fit(np.eye(3), [1, 2, 3])
    with pytest.raises(TableError, match="penalty = 0"):
        PropertyProbe(penalty=0.0).fit(np.eye(3), [1, 2, 3])


def test_a_number_has_no_probabilities():
    assert not hasattr(PropertyProbe(), "predict_proba")
