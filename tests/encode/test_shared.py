"""Processes that share checkpoints get the latents that one alone does, and each does a part of the work."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import BrokenBarrierError, get_ident

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.encode.networks import perceptron
from tests.encode.teams import run_together
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode import many, weights
from weightspace.encode.encoder import Encoder
from weightspace.errors import DeviceMemoryError
from weightspace.execute.processes import Team
from weightspace.latents.table import LatentTable
from weightspace.nn import message


def apart(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """In double precision: a fingerprint magnifies rounding."""
    return Encoder("exact", Encoder.from_pretrained().network.double())


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr("weightspace.nn.tiles.TILE", 100)


@pytest.fixture
def calls(monkeypatch, encoder):
    """How many numbers each process measured, and how many it multiplied."""
    found: dict[tuple[int, str], int] = {}
    measure, tiles = weights.measure, message.tiles

    def count(name: str, numbers: int) -> None:
        found[get_ident(), name] = found.get((get_ident(), name), 0) + numbers

    def counted_measure(weight, *rest):
        count("measured", weight.numel())
        return measure(weight, *rest)

    def counted_tiles(*given, **more):
        for tile in tiles(*given, **more):
            count("multiplied", tile.weight.numel())
            yield tile

    monkeypatch.setattr(weights, "measure", counted_measure)
    monkeypatch.setattr(message, "tiles", counted_tiles)
    return found


@pytest.mark.parametrize("world", [2, 3])
def test_a_team_gets_the_latent_of_one(encoder, small_tiles, monkeypatch, world):
    tensors = perceptron(20, 40, 30, 7)
    tensors["2.weight"][3, 4] = torch.nan
    alone = encoder.encode(Checkpoint(tensors))
    for latent in run_together(monkeypatch, lambda team: encoder.share(team).encode(Checkpoint(tensors)), world):
        assert latent.nonfinite == alone.nonfinite == 1
        assert apart(latent.vector, alone.vector) < 1e-6
        for name, states in alone.units.items():
            torch.testing.assert_close(latent.units[name], states, rtol=1e-4, atol=1e-5)


def test_each_process_does_a_part(encoder, small_tiles, monkeypatch, calls, set_threads):
    set_threads(1)  # each thread stands for a process
    checkpoint = Checkpoint(perceptron(20, 40, 41, 42, 7))
    encoder.encode(checkpoint)
    alone = dict(calls)
    calls.clear()
    run_together(monkeypatch, lambda team: encoder.share(team).encode(checkpoint))
    for name in ("measured", "multiplied"):
        (whole,) = (count for (_, each), count in alone.items() if each == name)
        parts = [count for (_, each), count in calls.items() if each == name]
        assert len(parts) == 2 and sum(parts) == whole and max(parts) < 0.7 * whole


def test_what_is_not_told_shows(encoder, small_tiles, monkeypatch):
    checkpoint = Checkpoint(perceptron(20, 40, 30, 7))
    monkeypatch.setattr(Team, "add_up", lambda self, tensor: tensor)
    found = run_together(monkeypatch, lambda team: encoder.share(team).encode(checkpoint))
    assert apart(found[0].vector, encoder.encode(checkpoint).vector) > 1e-2


def folder_of(path):
    """Two checkpoints that are shared, five that are not, and one that cannot be read."""
    for i in range(2):
        save_file(perceptron(20, 60 + i, 7, seed=i), path / f"large{i}.safetensors")
    for i in range(5):
        save_file(perceptron(20, 4, 7, seed=i), path / f"small{i}.safetensors")
    (path / "bad.safetensors").write_bytes(b"\xff" * 6000)
    return path


def test_files_are_shared_by_size_and_all_rows_come_to_all(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(many, "SHARED", 5000)
    folder, seen = folder_of(tmp_path), []
    real = Encoder.encode_stack
    monkeypatch.setattr(
        Encoder,
        "encode_stack",
        lambda self, *c: seen.append((self.how.team.world, get_ident(), len(c))) or real(self, *c),
    )
    alone = encoder.encode_many(folder)
    seen.clear()
    tables = run_together(monkeypatch, lambda team: encoder.share(team).encode_many(folder))
    for table in tables:
        assert table["id"].tolist() == alone["id"].tolist() and table["error"].tolist() == alone["error"].tolist()
        np.testing.assert_allclose(table.vectors, alone.vectors, rtol=1e-4, atol=1e-6)
    together, own = ([call for call in seen if (call[0] == 2) is shared] for shared in (True, False))
    assert len(together) == 4 and sum(count for _, _, count in own) == 5 and len({who for _, who, _ in own}) == 2


def test_what_one_process_finds_in_the_cache_none_computes(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(many, "SHARED", 5000)
    (tmp_path / "in").mkdir()
    folder = folder_of(tmp_path / "in")
    first = encoder.encode_many(folder, cache=tmp_path / "cache")
    monkeypatch.setattr(Encoder, "encode_stack", lambda self, *c: 1 / 0)
    for table in run_together(
        monkeypatch, lambda team: encoder.share(team).encode_many(folder, cache=tmp_path / "cache")
    ):
        assert table.data == first.data


def test_a_process_that_runs_out_of_memory_ends_the_others(encoder, small_tiles, monkeypatch):
    monkeypatch.setattr(many, "SHARED", 1)
    checkpoint, real = Checkpoint(perceptron(20, 40, 30, 7)), message.tiles
    started = {}

    def full(*given, **more):
        if started.setdefault("who", get_ident()) == get_ident():
            raise torch.OutOfMemoryError
        return real(*given, **more)

    monkeypatch.setattr(message, "tiles", full)
    with pytest.raises((DeviceMemoryError, BrokenBarrierError)):
        run_together(monkeypatch, lambda team: encoder.share(team).encode_many([checkpoint]))


def test_torchrun_writes_the_table_of_one_process(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    large = perceptron(600, 3000, 2500, 10)
    large["2.weight"][5, 6] = torch.nan
    save_file(large, folder / "large.safetensors")
    for seed in range(3):
        save_file(perceptron(20, 4, 7, seed=seed), folder / f"small{seed}.safetensors")
    (folder / "bad.safetensors").write_bytes(b"\xff" * 60)
    assert (folder / "large.safetensors").stat().st_size > many.SHARED
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "weightspace", "embed", str(folder), "-o"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name, call in (("one", [sys.executable]), ("two", launch)):
        run = subprocess.run(
            [*call, *command, str(tmp_path / f"{name}.parquet")], capture_output=True, text=True, env=environment
        )
        assert run.returncode == 1, run.stderr[-2000:]
        assert run.stderr.count("bad.safetensors: ") == 1
    one, two = (LatentTable.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    for name in ("id", "path", "sha256", "weights", "nonfinite", "error"):
        assert two.data[name].to_pylist() == one.data[name].to_pylist()
    assert two.data["nonfinite"].to_pylist() == [None, 1, 0, 0, 0]
    fixed = Encoder.from_pretrained().network.config.fixed
    for start, most in ((0, 1e-5), (fixed, 1e-6)):  # the fingerprint among the fixed numbers magnifies rounding
        ours, theirs = (table.vectors[table.fine][:, start:] for table in (two, one))
        assert (np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max() < most
