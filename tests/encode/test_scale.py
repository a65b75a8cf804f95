"""Checkpoints larger than what may be held: streamed from their files, and the same latent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator

from tests.encode.networks import perceptron
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode import batch
from weightspace.encode.encoder import Encoder
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel

CHILD = """
import json, sys, torch
from weightspace.encode.encoder import Encoder
def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))
torch.set_num_threads(1)
encoder = Encoder("random-sweep", Encoder.from_pretrained().network.float())
encoder.encode(sys.argv[2])
before = status("VmRSS")
latent = encoder.encode(sys.argv[1])
print(json.dumps([1024 * (status("VmHWM") - before), latent.nonfinite]))
"""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.from_pretrained()


@pytest.fixture(scope="module")
def exact() -> Encoder:
    """In double precision: a fingerprint magnifies rounding."""
    return Encoder("exact", Encoder.from_pretrained().network.double())


def tile(monkeypatch, numbers: int) -> None:
    monkeypatch.setattr("weightspace.nn.tiles.TILE", numbers)


def test_the_size_of_a_tile_does_not_show(exact, monkeypatch):
    checkpoint = Checkpoint(perceptron(20, 40, 30, 7))
    vectors = []
    for numbers in (100, 150, 200):
        tile(monkeypatch, numbers)
        vectors.append(exact.encode(checkpoint).vector)
    torch.testing.assert_close(vectors[1], vectors[0])
    torch.testing.assert_close(vectors[2], vectors[0])


def test_relabelling_a_streamed_checkpoint_keeps_its_vector(exact, monkeypatch):
    tile(monkeypatch, 100)
    checkpoint = Checkpoint(perceptron(20, 40, 30, 7))
    graph = build_graph(checkpoint)
    other = relabel(checkpoint, graph, random_permutations(graph, generator=Generator().manual_seed(1)))
    assert not torch.equal(other.tensors["1.weight"], checkpoint.tensors["1.weight"])
    torch.testing.assert_close(exact.encode(other).vector, exact.encode(checkpoint).vector)


def test_shards_are_one_checkpoint(encoder, monkeypatch, tmp_path):
    tile(monkeypatch, 100)
    tensors = perceptron(20, 40, 30, 7)
    save_file(tensors, tmp_path / "whole.safetensors")
    files = {name: f"model-{1 + i % 2:05}-of-00002.safetensors" for i, name in enumerate(tensors)}
    folder = tmp_path / "shards"
    folder.mkdir()
    for file in set(files.values()):
        save_file({n: t for n, t in tensors.items() if files[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    one, many = encoder.encode(tmp_path / "whole.safetensors"), encoder.encode(folder)
    torch.testing.assert_close(many.vector, one.vector)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_streamed_half_precision_is_what_the_same_numbers_are_in_single(encoder, monkeypatch, dtype):
    tile(monkeypatch, 100)
    tensors = {name: tensor.to(dtype) for name, tensor in perceptron(20, 40, 30, 7).items()}
    half = encoder.encode(Checkpoint(tensors)).vector
    single = encoder.encode(Checkpoint({name: tensor.float() for name, tensor in tensors.items()})).vector
    other = encoder.encode(Checkpoint(perceptron(20, 40, 30, 7, seed=1))).vector
    assert (half - single).norm() < 0.05 * (half - other).norm()


def test_streamed_weights_that_are_not_finite_are_counted_and_count_as_zero(encoder, monkeypatch):
    tile(monkeypatch, 100)
    healthy, sick = perceptron(20, 40, 30, 7), perceptron(20, 40, 30, 7)
    for weights, values in ((healthy, (0.0, 0.0)), (sick, (float("nan"), float("-inf")))):
        weights["1.weight"][3, 4], weights["2.weight"][5, 0] = values
    found = encoder.encode(Checkpoint(sick))
    assert found.nonfinite == 2
    torch.testing.assert_close(found.vector, encoder.encode(Checkpoint(healthy)).vector)
    assert encoder.encode_stack(Checkpoint(healthy), Checkpoint(sick), Checkpoint(healthy))[1] == [0, 2, 0]


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_large_tensors_are_searched_for_what_is_not_finite_only_where_there_is_some(encoder, monkeypatch, stored):
    tile(monkeypatch, 100)
    searched, search = [], batch._not_finite
    monkeypatch.setattr(batch, "_not_finite", lambda whole: searched.append(whole.shape) or search(whole))
    weights = {name: tensor.to(stored) for name, tensor in perceptron(20, 40, 30, 7).items()}
    assert encoder.encode(Checkpoint(weights)).nonfinite == 0 and not searched
    weights["1.weight"][3, 4] = float("nan")
    assert encoder.encode(Checkpoint(weights)).nonfinite == 1
    assert searched == [(1, *weights["1.weight"].shape)]


def test_a_large_checkpoint_waits_for_no_other(encoder, monkeypatch):
    monkeypatch.setattr("weightspace.encode.many.ALONE", 1000)
    sources = [Checkpoint(perceptron(20, n, 3, seed=s), source=f"{n}-{s}") for s in range(2) for n in (5, 50)]
    calls, whole = [], encoder.encode_stack
    monkeypatch.setattr(encoder, "encode_stack", lambda *c: calls.append([x.source for x in c]) or whole(*c))
    assert encoder.encode_many(sources).fine.all()
    assert sorted(calls) == [["5-0", "5-1"], ["50-0"], ["50-1"]]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's status file")
def test_little_memory_is_needed_whatever_the_size(tmp_path):
    tensors = {name: tensor.bfloat16() for name, tensor in perceptron(2048, *[4096, 2048] * 3, 10).items()}
    size = sum(tensor.numel() for tensor in tensors.values())
    save_file(tensors, tmp_path / "large.safetensors")
    save_file(
        {name: tensor.bfloat16() for name, tensor in perceptron(64, 600, 600).items()}, tmp_path / "small.safetensors"
    )
    command = [sys.executable, "-c", CHILD, str(tmp_path / "large.safetensors"), str(tmp_path / "small.safetensors")]
    peak, _ = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert size > 50_000_000 and peak < size
