from __future__ import annotations

import numpy as np
import pytest

from tests.generate.tables import make_table
from weightspace.errors import GeneratorError
from weightspace.generate.codes import Code, read_codes, write_asked


def test_reading_undoes_writing():
    table = make_table()
    for code in read_codes(table, np.arange(len(table)), None):
        values = table[code.name]
        again = code.read(code.write(list(values)))
        if code.names:
            assert [str(v) for v in again] == [str(v) for v in values], code.name
        else:
            np.testing.assert_allclose(again, values.astype(float), rtol=1e-5)


def test_what_is_a_name_what_a_number_and_what_no_property():
    table = make_table()
    codes = {code.name: code for code in read_codes(table, np.arange(len(table)), None)}
    assert set(codes) == {"test_accuracy", "activation", "width", "learning_rate", "architecture"}
    assert codes["width"].names == ("16", "32")
    assert codes["activation"].names == ("relu", "tanh")
    assert codes["learning_rate"].logarithmic and not codes["test_accuracy"].logarithmic


@pytest.mark.parametrize(("name", "said"), [("family", "mlp in every row"), ("depth", "no property 'depth'")])
def test_a_property_that_tells_nothing_is_named(name, said):
    with pytest.raises(GeneratorError, match=said):
        read_codes(make_table(), np.arange(60), [name])


def test_what_is_not_asked_for_is_not_known():
    codes = [Code("a", ("x", "y")), Code("b", (), 1.0, 2.0)]
    written, known = write_asked({"b": np.array([5.0, 1.0])}, codes, 2)
    assert written.tolist() == [[0, 0, 2], [0, 0, 0]]
    assert known.tolist() == [[False, False, True]] * 2
