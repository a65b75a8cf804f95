"""A compressed file stands alone, and a broken one is named."""

import dataclasses
import json
import zlib

import pytest
import torch
from torch import nn

from weightspace.checkpoint.load import load_checkpoint
from weightspace.decode.codec.codec import Compression
from weightspace.decode.codec.file import MAGIC, pack_checkpoint, read_compressed, unpack_checkpoint, write_compressed
from weightspace.errors import CheckpointError, CodecError
from weightspace.execute.module import from_module, to_module


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return from_module(nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4)), (torch.zeros(2, 12),))


@pytest.fixture(scope="module")
def parts(net):
    return pack_checkpoint(net, Compression(8))


def test_a_file_gives_a_checkpoint_that_runs(net, parts, tmp_path):
    write_compressed(tmp_path / "net.wsz", parts)
    found, x = read_compressed(tmp_path / "net.wsz"), torch.randn(50, 12, generator=torch.Generator().manual_seed(0))

    assert dict(found.metadata) == dict(net.metadata)
    torch.testing.assert_close(to_module(found)(x), to_module(net)(x), atol=0.02, rtol=0)


def test_tied_weights_stay_tied():
    tied = dataclasses.replace(load_checkpoint({"a.weight": torch.ones(9, 9).tril()}), shared={"b.weight": "a.weight"})

    assert dict(unpack_checkpoint(b"".join(pack_checkpoint(tied, Compression(8)))).shared) == {"b.weight": "a.weight"}


def test_an_existing_file_stays(parts, tmp_path):
    (tmp_path / "net.wsz").write_text("mine")

    with pytest.raises(CheckpointError, match="exists"):
        write_compressed(tmp_path / "net.wsz", parts)
    assert (tmp_path / "net.wsz").read_text() == "mine"


def test_every_flipped_byte_of_head_and_weights_is_noticed_or_harmless(net, parts):
    data, whole = b"".join(parts), unpack_checkpoint(b"".join(parts))
    for i in range(0, len(data), 3):
        try:
            found = unpack_checkpoint(data[:i] + bytes([data[i] ^ 0x11]) + data[i + 1 :])
        except CodecError:
            continue
        assert {n: t.shape for n, t in found.tensors.items()} == {n: t.shape for n, t in whole.tensors.items()}


def head(tensors):
    told = {"tensors": tensors, "metadata": {}, "shared": {}, "left_out": {}}
    packed = zlib.compress(json.dumps(told).encode())
    return MAGIC + len(packed).to_bytes(4, "little") + packed


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no compressed checkpoint"),
        (b"PK\x03\x04", "no compressed checkpoint"),
        (MAGIC, "head is damaged"),
        (head([["w", "linear", [2**20, 2**20], [0]]]) + b"x" * 100, "cannot hold 1099511627776 weights"),
        (head([["w", "linear", [-1], []]]), r"tensor 'w' of shape \[-1\]"),
        (head([["w", "linear", [4, 4], [7]]]), r"rows \[7\]"),
        (head([["w", "linear", [4, 4], [0]]]), "cut off"),
        (head("no list"), "head is damaged"),
    ],
)
def test_files_that_are_not_sound_are_named(data, match):
    with pytest.raises(CodecError, match=match):
        unpack_checkpoint(data)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CodecError, match="cannot be read"):
        read_compressed(tmp_path / "none.wsz")
