"""One small population, built once, and what is trained on it."""

from dataclasses import replace

import pytest

from weightspace.encode.network import SweepConfig
from weightspace.train.config import TrainConfig
from weightspace.train.data import load_corpus
from weightspace.zoo.build import Site
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import parse_recipe

SMALL = SweepConfig(
    width=8,
    pairs=6,
    waves=4,
    features=12,
    stage=10,
    latent=34,
    signals=4,
    depths=3,
    probes=6,
    hidden=24,
    fixed=24,
    answers=4,
    picture=4,
)
RECIPE = {
    "name": "small_mlp",
    "family": "mlp",
    "runs": 48,
    "seed": 1,
    "snapshots": [0, 3],
    "batch_size": 128,
    "sample": {
        "dataset": "digits",
        "width": 8,
        "depth": 1,
        "activation": {"choice": ["relu", "tanh"]},
        "optimizer": "adam",
        "learning_rate": {"log_uniform": [3.0e-4, 3.0e-2]},
    },
}


@pytest.fixture(scope="session")
def population(tmp_path_factory):
    return populate(parse_recipe(RECIPE), Site(tmp_path_factory.mktemp("small_mlp")))


@pytest.fixture(scope="session")
def corpus(population):
    return load_corpus([population], inputs=6)


@pytest.fixture
def config(population):
    config = TrainConfig("small", (str(population.folder),), sizes=SMALL, steps=6, groups=2, batch_size=12, inputs=6)
    return replace(config, warmup=2)
