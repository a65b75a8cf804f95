"""Zip archives: bombs, traversal and contradictions are refused before anything is unpacked."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightspace.checkpoint.archive import ROOM, open_archive, read_entry
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, UnsafeCheckpointError, WeightspaceError


def zipped(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name) if compression == zipfile.ZIP_STORED else name, data)
    return path


SUFFIXES = [".pt", ".npz", ".zip", ".keras"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bomb_is_refused_before_it_is_unpacked(suffix, tmp_path):
    path = zipped(tmp_path / f"x{suffix}", [("x/data.pkl", bytes(2 * ROOM))], zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < ROOM / 200
    with pytest.raises(UnsafeCheckpointError, match=rf"x\{suffix}: \d+ bytes would unpack to {2 * ROOM}: a zip bomb"):
        load_checkpoint(path)


def test_entries_that_overlap_are_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", [("a.pth", bytes(1000)), ("b.pth", bytes(1000))])
    content = bytearray(path.read_bytes())
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    content[second + 20 : second + 28] = struct.pack("<II", 90_000, 90_000)
    path.write_bytes(content)
    with pytest.raises(UnsafeCheckpointError, match=r"claim 91000 bytes"):
        open_archive(path)


@pytest.mark.parametrize(
    "name", ["../policy.pth", "/etc/policy.pth", "a/../../policy.pth", "..\\policy.pth", "C:\\p.pth"]
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_entry_that_points_outside_is_refused_and_nothing_is_written(name, suffix, tmp_path):
    path = zipped(tmp_path / f"x{suffix}", [("x/data.pkl", b""), (name, b"data")])
    with pytest.raises(UnsafeCheckpointError, match=r"points outside the archive"):
        load_checkpoint(path)
    assert os.listdir(tmp_path) == [path.name]


def test_a_name_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match=r"Duplicate"):
        path = zipped(tmp_path / "x.npz", [("a.npy", b""), ("a.npy", b"")])
    with pytest.raises(CheckpointError, match=r"'a.npy' stands twice"):
        load_checkpoint(path)


def test_a_damaged_entry_is_named(tmp_path):
    path = zipped(tmp_path / "x.zip", [("policy.pth", b"0123456789")])
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))
    with open_archive(path) as archive, pytest.raises(CheckpointError, match=r"policy.pth.*CRC"):
        read_entry(archive, "policy.pth")


def archive_bytes(suffix):
    file = io.BytesIO()
    if suffix == ".npz":
        np.savez_compressed(file, a=np.ones((2, 3)), b=np.arange(4))
    else:
        inner = io.BytesIO()
        torch.save({"w": torch.ones(3)}, inner)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("policy.pth", inner.getvalue())
            archive.writestr("data", "{}")
    return file.getvalue()


CONTENT = {suffix: archive_bytes(suffix) for suffix in (".npz", ".zip")}


@settings(deadline=None, derandomize=True)
@given(
    suffix=st.sampled_from(list(CONTENT)),
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    near_end=st.booleans(),
    cut=st.integers(0, 3),
)
def test_no_damage_raises_anything_but_our_errors(suffix, damage, near_end, cut, tmp_path_factory):
    content = bytearray(CONTENT[suffix])
    for place, byte in damage:
        content[int((0.7 + 0.3 * place if near_end else place) * (len(content) - 1))] = byte
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"x{suffix}"
    path.write_bytes(content[: len(content) - cut])
    try:
        load_checkpoint(path)
    except WeightspaceError as error:
        assert str(path) in str(error)
    assert os.listdir(folder) == [path.name]
