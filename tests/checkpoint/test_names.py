"""Plain names: nothing is lost, and stripping twice is stripping once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from weightspace.checkpoint.names import plain_names

PART = st.sampled_from(["module", "_orig_mod", "model", "base_model", "a", "weight", ""])
NAMES = st.lists(st.lists(PART, min_size=1, max_size=4).map(".".join), unique=True, max_size=5)


@settings(deadline=None, derandomize=True)
@given(names=NAMES)
def test_no_two_names_become_one(names):
    plain = plain_names(names)
    assert list(plain) == names and len(set(plain.values())) == len(names)


@settings(deadline=None, derandomize=True)
@given(names=st.lists(st.sampled_from(["a.weight", "b.weight", "model.c", "d"]), min_size=1, unique=True))
def test_wrappers_are_undone(names):
    wrapped = [f"module._orig_mod.{name}" for name in names]
    assert list(plain_names(wrapped).values()) == list(plain_names(names).values())


def test_a_compiled_part_inside_is_unwrapped():
    assert plain_names(["encoder._orig_mod.weight"]) == {"encoder._orig_mod.weight": "encoder.weight"}


def test_a_module_inside_a_network_keeps_its_name():
    assert plain_names(["encoder.module.weight"]) == {"encoder.module.weight": "encoder.module.weight"}


def test_collisions_stay_as_they_are():
    assert plain_names(["module.a", "a"]) == {"module.a": "module.a", "a": "a"}
    assert plain_names(["module.model.a", "model.a"])["model.a"] == "model.a"
