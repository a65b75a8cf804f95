"""A population built between processes is the population; what fails is left out, and nothing else."""

import pytest

from benchmarks.zoo.shares import Sharing, build_in_shares
from weightspace.errors import ZooError
from weightspace.zoo.build import Site
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import parse_recipe

RECIPE = {
    "name": "two_kinds",
    "family": "mlp",
    "runs": 6,
    "seed": 1,
    "snapshots": [0.5],
    "batch_size": 256,
    "sample": {
        "dataset": {"choice": ["digits", "mnist"]},
        "width": {"choice": [4, 6]},
        "depth": 1,
        "activation": "relu",
        "optimizer": "adam",
        "learning_rate": 1.0e-3,
    },
}


def recipe(**sample):
    return parse_recipe(RECIPE | {"sample": RECIPE["sample"] | sample})


def hashes(population):
    frame = population.frame()
    return dict(zip(frame["id"], frame["sha256"], strict=True))


@pytest.mark.slow
def test_processes_build_what_one_builds(tmp_path):
    alone = populate(recipe(dataset="digits"), Site(tmp_path / "alone"))
    shared = build_in_shares(recipe(dataset="digits"), tmp_path / "shared", Sharing(2))
    assert hashes(shared) == hashes(alone) and len(shared) == 6
    assert not list((tmp_path / "shared").glob("share0*"))


@pytest.mark.slow
def test_shares_that_fail_are_left_out(tmp_path):
    known = recipe(width=4)
    wanted = sum(known.draw_run(i)["dataset"] == "digits" for i in range(known.runs))
    found = build_in_shares(known, tmp_path / "shared", Sharing(1, data_dir=str(tmp_path)))
    assert set(found.frame()["dataset"]) == {"digits"} and 0 < len(found) == wanted < known.runs


def test_without_time_nothing_is_built_and_it_is_said(tmp_path):
    with pytest.raises(ZooError, match="none of"):
        build_in_shares(recipe(), tmp_path / "shared", Sharing(1, seconds=0))
