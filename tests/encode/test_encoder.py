"""Files in, one row each out: batches, failures, caches."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Generator

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode import many
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import SweepConfig, SweepNetwork
from weightspace.errors import EncoderError, WeightspaceError
from weightspace.latents.table import LatentTable

SMALL = SweepConfig(width=8, pairs=12, waves=32, features=16, stage=12, latent=24)


def perceptron(width: int, seed: int) -> dict[str, torch.Tensor]:
    g = Generator().manual_seed(seed)
    layers = {"0.weight": torch.randn(width, 3, generator=g), "0.bias": torch.randn(width, generator=g)}
    return layers | {"1.weight": torch.randn(2, width, generator=g), "1.bias": torch.randn(2, generator=g)}


@pytest.fixture
def encoder() -> Encoder:
    return Encoder("small", SweepNetwork(SMALL, generator=Generator().manual_seed(0)).double())


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        save_file(perceptron(5 if i < 3 else 7, i), tmp_path / f"net{i}.safetensors")
    return tmp_path


@pytest.fixture
def calls(encoder, monkeypatch):
    """Sizes of the batches that were really computed."""
    found, real = [], Encoder.encode_stack
    monkeypatch.setattr(Encoder, "encode_stack", lambda self, *c: found.append(len(c)) or real(self, *c))
    return found


def test_a_folder_gives_the_same_vectors_as_its_files_one_by_one(encoder, folder, calls):
    table = encoder.encode_many(folder)
    assert table["id"].tolist() == ["net0", "net1", "net2", "net3"]
    assert sorted(calls) == [1, 3]
    for path, vector in zip(table["path"], table.vectors, strict=True):
        np.testing.assert_allclose(vector, encoder.encode(path).vector.numpy(), rtol=1e-6)


def test_batches_are_no_larger_than_asked_and_progress_reaches_the_end(encoder, folder, calls):
    seen = []
    encoder.encode_many(folder, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert max(calls) == 2 and sum(calls) == 4
    assert seen[-1] == (4, 4) and seen == sorted(seen)


def test_little_is_held_at_once(encoder, folder, calls, monkeypatch):
    monkeypatch.setattr(many, "HELD", 20)
    table = encoder.encode_many(folder)
    assert table.fine.all() and max(calls) == 1


def test_a_bad_file_has_a_row_that_says_why_and_the_rest_goes_on(encoder, folder):
    (folder / "bad.safetensors").write_bytes(b"\xff" * 20)
    save_file({"steps": torch.tensor([3])}, folder / "counts.safetensors")
    save_file({"w": torch.zeros(0, 3)}, folder / "empty.safetensors")
    table = encoder.encode_many([folder, folder / "absent.safetensors"])
    failed = dict(zip(table["id"], table["error"], strict=True))
    assert table.fine.sum() == 4
    assert {name for name, error in failed.items() if error} == {"bad", "counts", "empty", "absent"}
    assert "nothing to embed" in failed["counts"] and "nothing to embed" in failed["empty"]
    assert np.isnan(table.vectors[~table.fine]).all()


def test_one_that_breaks_a_batch_does_not_take_the_others_along(encoder, folder, monkeypatch):
    real = Encoder.encode_stack

    def broken(self, *checkpoints):
        if any("net1" in c.source for c in checkpoints):
            raise RuntimeError("out of luck")
        return real(self, *checkpoints)

    monkeypatch.setattr(Encoder, "encode_stack", broken)
    table = encoder.encode_many(folder)
    assert table["error"].tolist() == ["", "out of luck", "", ""]


def test_a_second_run_computes_nothing(encoder, folder, calls, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    first = encoder.encode_many(folder, cache=cache)
    done = len(calls)
    assert encoder.encode_many(folder, cache=cache).data == first.data
    assert encoder.encode_many(folder, known=first).data == first.data
    assert len(calls) == done
    save_file(perceptron(5, 9), folder / "net9.safetensors")
    assert encoder.encode_many(folder, cache=cache).fine.sum() == 5
    assert calls[done:] == [1]


def test_an_interrupted_run_goes_on_where_it_stopped(encoder, folder, calls, tmp_path_factory, monkeypatch):
    cache, real = tmp_path_factory.mktemp("cache"), Encoder.encode_stack

    def interrupted(self, *checkpoints):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *checkpoints)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Encoder, "encode_stack", interrupted)
        encoder.encode_many(folder, batch_size=1, cache=cache)
    done = len(calls)
    assert encoder.encode_many(folder, batch_size=1, cache=cache).fine.all()
    assert done == 2 and len(calls) == 4


def test_rows_of_another_encoder_do_not_count(encoder, folder):
    other = Encoder("other", SweepNetwork(SMALL, generator=Generator().manual_seed(1)).double())
    table, theirs = encoder.encode_many(folder), other.encode_many(folder)
    assert encoder.id != other.id
    assert encoder.encode_many(folder, known=theirs).data == table.data


def test_a_damaged_cache_file_is_computed_again(encoder, folder, calls, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    first = encoder.encode_many(folder, cache=cache)
    for path in cache.rglob("*.json"):
        path.write_text("{")
    done = len(calls)
    assert encoder.encode_many(folder, cache=cache).data == first.data
    assert len(calls) > done


def test_a_full_disk_costs_the_cache_and_no_latent(encoder, folder, calls, tmp_path_factory, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("weightspace.checkpoint.whole._sync", full)
    with pytest.warns(UserWarning, match=r"rows cannot be kept \(No space left on device\)") as said:
        table = encoder.encode_many(folder, cache=cache)
    assert table.fine.all() and sorted(calls) == [1, 3] and len(said) == 1
    assert not list(cache.rglob("*.json"))


def test_weights_that_are_not_finite_are_counted(encoder):
    tensors = perceptron(5, 0)
    tensors["0.weight"][0, 0], tensors["1.bias"][1] = float("nan"), float("inf")
    table = encoder.encode_many([Checkpoint(tensors, source="sick"), Checkpoint(perceptron(5, 1), source="well")])
    assert table["nonfinite"].tolist() == [2, 0]
    assert np.isfinite(table.vectors).all()
    assert encoder.encode(Checkpoint(tensors)).nonfinite == 2


def test_half_precision_is_embedded_close_to_single(encoder):
    whole = perceptron(5, 0)
    half = Checkpoint({name: t.half() for name, t in whole.items()})
    a, b, c = (encoder.encode(x).vector for x in (Checkpoint(whole), half, Checkpoint(perceptron(5, 1))))
    assert (a - b).norm() < (a - c).norm()


def test_a_latent_names_its_axes_and_stages(encoder):
    checkpoint = Checkpoint(perceptron(5, 0))
    latent, graph = encoder.encode(checkpoint), encoder.architectures.of(checkpoint).graph
    assert {name: len(h) for name, h in latent.units.items()} == {name: graph.count(name) for name in graph.axes}
    assert set(latent.stages) <= {stage.name for stage in graph.stages}


def test_the_encoder_that_learned_nothing_is_named_for_what_it_is(folder):
    encoder = Encoder.from_pretrained("random-sweep")
    assert encoder.id.startswith("random-sweep-") and encoder.predictor is None
    vector = encoder.encode(folder / "net0.safetensors").vector
    assert vector.shape == (256,) and vector.dtype == torch.float32
    with pytest.raises(EncoderError, match="pass a folder that holds one, or zoo-256, random-sweep"):
        Encoder.from_pretrained("nobody")


def test_encoding_what_holds_no_weights_is_an_error(encoder):
    with pytest.raises(WeightspaceError, match="nothing to embed"):
        encoder.encode(Checkpoint({"steps": torch.tensor([1, 2])}))


def test_the_table_goes_through_a_file(encoder, folder):
    table = encoder.encode_many(folder)
    table.to_parquet(folder / "latents.parquet")
    assert LatentTable.read_parquet(folder / "latents.parquet").data == table.data


def test_tensors_without_numbers_beside_others_leave_the_latent_finite(encoder):
    full = perceptron(5, 0)
    found = encoder.encode(Checkpoint(full | {"head.weight": torch.zeros(0, 5), "head.bias": torch.zeros(0)}))
    assert found.vector.isfinite().all()


@pytest.mark.parametrize(
    "weight, text",
    [
        (torch.empty(3, 3, device="meta"), "'fc.weight' is on the meta device"),
        (torch.full((3, 3), 1e300, dtype=torch.float64), "its weights overflow torch.float64"),
    ],
)
def test_weights_that_have_no_latent_are_named_and_the_rest_goes_on(encoder, weight, text):
    bad = Checkpoint({"fc.weight": weight}, source="bad")
    with pytest.raises(EncoderError, match=text):
        encoder.encode(bad)
    table = encoder.encode_many([Checkpoint({"fc.weight": torch.ones(3, 3)}, source="good"), bad])
    assert table.fine.tolist() == [True, False] and table["error"][1]
