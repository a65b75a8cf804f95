from __future__ import annotations

import numpy as np
import pytest

from tests.generate.tables import LATENT, make_table
from weightspace.errors import GeneratorError
from weightspace.generate.generator import Generator
from weightspace.latents.table import LatentTable
from weightspace.zoo.architecture import architecture_of

PROGRAMS = {
    f"mlp {name}": architecture_of(f"mlp:width=3,depth=1,activation={name},inputs=4,classes=2").to_json()
    for name in ("relu", "tanh")
}


@pytest.fixture(scope="module")
def generator():
    return Generator.fit(make_table(), programs=PROGRAMS, prior="gaussian")


def test_latents_have_what_was_asked(generator):
    low, high = (generator.sample(64, condition=f"test_accuracy={a}", seed=0).vectors[:, 0] for a in (0.2, 0.8))
    assert abs(low.mean() - 1.0) < 0.3 and abs(high.mean() - 4.0) < 0.3


def test_a_latent_becomes_the_architecture_of_the_network_nearest_to_it(generator):
    for name in ("relu", "tanh"):
        sample = generator.sample(32, condition={"activation": name}, seed=0)
        assert np.mean([text == PROGRAMS[f"mlp {name}"] for text in sample.architectures]) > 0.9


def test_a_sample_is_said_by_its_seed(generator):
    first, again, other = (generator.sample(4, condition="width=16", seed=s).vectors for s in (3, 3, 4))
    assert np.array_equal(first, again) and not np.allclose(first, other)


def test_held_out_rows_are_not_learned_from(generator):
    table = make_table()
    held = set(table["id"][table["split"] == "validation"])
    assert held and not held & set(generator.rows.ids)


def test_without_a_split_whole_runs_are_held_out():
    table = make_table()
    data = table.data.drop_columns(["split"])
    generator = Generator.fit(LatentTable(data), programs=PROGRAMS, prior="gaussian")
    assert 0.8 < len(generator.rows) / len(table) < 0.95
    runs = dict(zip(table["id"], table["run"], strict=True))
    kept = {runs[identity] for identity in generator.rows.ids}
    assert sum(run in kept for run in runs.values()) == len(generator.rows)


@pytest.mark.parametrize("prior", ["gaussian", "neighbours"])
def test_a_folder_gives_the_same_generator_back(tmp_path, prior):
    made = Generator.fit(make_table(), programs=PROGRAMS, prior=prior, properties=["test_accuracy", "activation"])
    again = Generator.from_pretrained(made.save(tmp_path / "mine"))
    asked = {"test_accuracy": (0.5, None), "activation": "relu"}
    first, second = (g.sample(8, condition=asked, seed=1) for g in (made, again))
    np.testing.assert_allclose(first.vectors, second.vectors, rtol=1e-3, atol=1e-3)
    assert first.architectures == second.architectures
    with pytest.raises(GeneratorError, match="holds a generator already"):
        made.save(tmp_path / "mine")


@pytest.mark.parametrize("break_it", [b"", b"{}", b'{"name": 1'])
def test_a_damaged_folder_is_named(tmp_path, generator, break_it):
    folder = generator.save(tmp_path / "mine")
    (folder / "config.json").write_bytes(break_it)
    with pytest.raises(GeneratorError, match="is no generator of this version"):
        Generator.from_pretrained(folder)


def test_an_unknown_name_is_named(tmp_path):
    with pytest.raises(GeneratorError, match="there is no generator 'nowhere'"):
        Generator.from_pretrained("nowhere")


def test_interpolation_begins_and_ends_where_it_is_told_and_keeps_the_length(generator):
    a, b = generator.rows.vectors[:2]
    way = generator.interpolate(a, b, 5)
    np.testing.assert_allclose(way[[0, -1]], [a, b], atol=1e-4)
    lengths = np.linalg.norm(generator.coordinates.standardise(way), axis=1)
    np.testing.assert_allclose(lengths, np.linspace(lengths[0], lengths[-1], 5), rtol=1e-4)
    straight = np.linalg.norm(generator.coordinates.standardise((a + b) / 2))
    assert straight < lengths[2]
    with pytest.raises(GeneratorError, match="take two at least"):
        generator.interpolate(a, b, 1)


def test_arithmetic_moves_what_sets_two_apart(generator):
    a, b, c = generator.rows.vectors[:3]
    np.testing.assert_allclose(generator.arithmetic(a, b, c) - c, a - b, atol=1e-6)
    np.testing.assert_allclose(generator.arithmetic(a, a, c), c, atol=1e-6)


def test_variations_lie_within_their_radius(generator):
    latent = generator.rows.vectors[0]
    near, far = (generator.variations(latent, radius, count=200, seed=0) for radius in (0.1, 1.0))
    off = [generator.coordinates.places(v) - generator.coordinates.places(latent[None]) for v in (near, far)]
    np.testing.assert_allclose([x.std() for x in off], [0.1, 1.0], rtol=0.1)
    np.testing.assert_allclose(generator.variations(latent, 0.0)[0], latent, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"count": 0}, "ask for one at least"),
        ({"count": 1, "guidance": 2.0}, "knows no guidance"),
        ({"count": 1, "temperature": 2.0}, "knows no temperature"),
        ({"count": 1, "temperature": 0.0}, "leaves nothing to draw"),
        ({"count": 1, "condition": "test_accuracy=7"}, "Nearest possible"),
    ],
)
def test_what_cannot_be_drawn_is_refused(generator, wrong, said):
    with pytest.raises(GeneratorError, match=said):
        generator.sample(wrong.pop("count"), **wrong)


def test_tables_that_are_too_small_or_priors_that_are_unknown_are_refused():
    with pytest.raises(GeneratorError, match=r"4 rows to learn from|12 rows to learn from"):
        Generator.fit(make_table(15), prior="gaussian")
    with pytest.raises(GeneratorError, match="there are flow, gan"):
        Generator.fit(make_table(), prior="diffusion")


def test_rows_without_a_latent_do_not_count():
    table = make_table()
    rows = [
        {"id": f"bad/{i}", "path": "", "vector": None if i else np.full(LATENT, np.nan, np.float32), "error": "odd"}
        for i in range(2)
    ]
    bad = LatentTable.from_rows(rows, encoder="made-up", graph_version=1, latent=LATENT)
    both = table.append(bad)
    data = both.assign({"split": [*table["split"], "train", "train"]})
    generator = Generator.fit(data, programs=PROGRAMS, prior="gaussian", properties=["test_accuracy"])
    assert len(generator.rows) == (table["split"] == "train").sum()


def test_without_programs_latents_are_not_given_an_architecture():
    with pytest.raises(GeneratorError, match="knows no architecture"):
        Generator.fit(make_table(), prior="gaussian").sample(1)
