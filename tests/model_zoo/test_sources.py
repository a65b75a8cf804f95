"""Every checkpoint that ships is the file its entry says, under a licence that allows it."""

import hashlib
import json
from importlib.resources import files

import pytest

ZOO = files("weightspace.model_zoo")
SOURCES = json.loads((ZOO / "sources.json").read_text(encoding="utf-8"))["checkpoints"]
ALLOWED = {"MIT", "BSD-2-Clause", "Apache-2.0", "CC0 / Apache-2.0", "public domain"}


def _checkpoints(folder):
    for entry in folder.iterdir():
        yield from [entry] if entry.is_file() else _checkpoints(entry)


@pytest.mark.parametrize("entry", SOURCES, ids=lambda entry: entry["id"])
def test_a_file_is_what_its_entry_says(entry):
    data = ZOO.joinpath(*entry["file"].split("/")).read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry["sha256"], entry["bytes"])


@pytest.mark.parametrize("entry", SOURCES, ids=lambda entry: entry["id"])
def test_a_licence_allows_it_and_its_text_is_here(entry):
    assert entry["licence"] in ALLOWED
    assert len(ZOO.joinpath(*entry["licence_text"].split("/")).read_text(encoding="utf-8")) > 200
    assert entry["source"] and entry["original"]


def test_every_file_has_an_entry_and_a_line():
    page = (ZOO / "SOURCES.md").read_text(encoding="utf-8")
    ids = [entry["id"] for entry in SOURCES]
    names = {entry["file"].rpartition("/")[2] for entry in SOURCES}
    assert {path.name for path in _checkpoints(ZOO / "checkpoints")} == names
    assert len(set(ids)) == len(ids) and all(f"| `{name}` |" in page for name in ids)


def test_they_are_few_and_small():
    assert 14 <= len(SOURCES) <= 18
    assert sum(entry["bytes"] for entry in SOURCES) < 3_000_000
