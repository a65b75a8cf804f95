from __future__ import annotations

import numpy as np
import pytest

from weightspace.generate.coordinates import Coordinates


def test_places_and_vectors_are_inverse_on_what_is_kept():
    rng = np.random.default_rng(0)
    basis, inside = rng.standard_normal((3, 10)), rng.standard_normal((50, 3))
    vectors = (inside @ basis + 1).astype(np.float32)
    coordinates = Coordinates.fit(vectors, share=0.999999)
    assert len(coordinates.scale) == 3
    np.testing.assert_allclose(coordinates.vectors(coordinates.places(vectors)), vectors, atol=1e-4)


def test_places_have_deviation_one():
    vectors = np.random.default_rng(1).standard_normal((400, 6)).astype(np.float32) * np.arange(1, 7)
    places = Coordinates.fit(vectors).places(vectors.astype(np.float32))
    np.testing.assert_allclose(places.std(0), 1, atol=0.01)


@pytest.mark.parametrize("rows", [2, 3])
def test_few_rows_span_fewer_components_than_there_are_rows(rows):
    vectors = np.random.default_rng(2).standard_normal((rows, 9)).astype(np.float32)
    assert len(Coordinates.fit(vectors).scale) <= rows - 1
