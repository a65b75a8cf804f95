"""A population's latents are those of its checkpoints, row by row, beside its manifest."""

import numpy as np
import pytest

from weightspace import zoo
from weightspace.encode.encoder import Encoder
from weightspace.errors import EncoderError, ZooError
from weightspace.zoo.embed import embed_population


@pytest.fixture(scope="module")
def population():
    return zoo.load("mlp_digits")


@pytest.fixture(scope="module")
def encoder():
    return Encoder.from_pretrained("random-sweep")  # in double precision


@pytest.fixture(scope="module")
def rows(population):
    """Networks of two and of three layers, mixed."""
    return population.frame().sort_values("id").iloc[::48]


def test_latents_and_stages_are_those_of_each_checkpoint(population, encoder, rows):
    found = embed_population(encoder, population, rows)
    assert found.table["id"].tolist() == rows["id"].tolist()
    assert len({len(encoder.encode(population.checkpoint(i)).stages) for i in rows["id"]}) == 2
    for place, identity in enumerate(rows["id"]):
        latent = encoder.encode(population.checkpoint(identity))
        np.testing.assert_allclose(found.table.vectors[place], latent.vector, rtol=1e-5, atol=1e-6)
        for name, said in found.stages.items():
            if name in latent.stages:
                np.testing.assert_allclose(said[place], latent.stages[name], rtol=1e-5, atol=1e-6)
            else:
                assert np.isnan(said[place]).all()


def test_the_manifest_stands_beside_the_latents(population, encoder, rows):
    table = embed_population(encoder, population, rows).table
    assert table["test_accuracy"].tolist() == pytest.approx(rows["test_accuracy"].tolist())
    assert table["activation"].tolist() == rows["activation"].tolist()
    assert table["run"].tolist() == [f"mlp_digits/{run}" for run in rows["run"]]
    rates = rows["learning_rate"]
    assert (
        table["learning_rate"].tolist() == [float(str(rate)) for rate in rates.to_numpy()] != rates.tolist()
    )  # 0.1, not 0.100000001
    assert not {"shard", "group", "row"} & set(table.columns)
    assert (table["sha256"] == rows["sha256"].to_numpy()).all() and table.fine.all()


def test_a_network_that_overflows_has_a_row_that_says_so(population, encoder, rows, monkeypatch):
    encode, bad = encoder.encode_stack, rows["id"].iloc[1]

    def refuse(*checkpoints):
        if bad in {checkpoint.source for checkpoint in checkpoints}:
            raise EncoderError("overflows")
        return encode(*checkpoints)

    monkeypatch.setattr(encoder, "encode_stack", refuse)
    found = embed_population(encoder, population, rows)
    assert np.flatnonzero(~found.table.fine).tolist() == [1] and found.table["error"][1] == "overflows"
    assert all(np.isnan(said[1]).all() for said in found.stages.values())


def test_progress_reaches_all_and_no_rows_are_an_error(population, encoder, rows):
    told = []
    embed_population(encoder, population, rows.iloc[:3], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)
    with pytest.raises(ZooError, match="no checkpoint to embed"):
        embed_population(encoder, population, rows.iloc[:0])
