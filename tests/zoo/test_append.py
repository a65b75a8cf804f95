import errno
import resource
import shutil
from dataclasses import replace

import pytest

from tests.zoo.parts import make_part
from tests.zoo.test_populate import bytes_of
from weightspace import zoo
from weightspace.errors import ZooError
from weightspace.zoo import append
from weightspace.zoo.append import append_parts, merge_populations


@pytest.fixture
def population(tmp_path):
    append_parts(tmp_path / "a", "0.safetensors", [make_part(0), make_part(10, width=5)])
    return append_parts(tmp_path / "a", "1.safetensors", [make_part(20)])


def test_ids_are_there_once(population):
    with pytest.raises(ZooError, match=r"ids \['p/0', 'p/1', 'p/2'\] are there already"):
        append_parts(population.folder, "2.safetensors", [make_part(0)])
    assert len(zoo.load(population.folder)) == 9 and population.verify() == 9


def test_merging_keeps_every_checkpoint(population, tmp_path):
    other = append_parts(
        tmp_path / "b",
        "0.safetensors",
        [
            make_part(30).__class__(
                make_part(30).rows.assign(colour="red"), make_part(30).tensors, make_part(30).architecture
            )
        ],
    )
    both = merge_populations(tmp_path / "both", [population, other])
    assert both.verify() == 12
    assert both.checkpoint("p/31").tensors["b"].equal(make_part(30).tensors["b"][1])
    assert both.frame()["colour"].isna().sum() == 9


def test_merging_namesakes_keeps_both_and_a_failed_merge_leaves_nothing(population, tmp_path):
    namesake = append_parts(tmp_path / "elsewhere" / "a", "0.safetensors", [make_part(40)])
    assert merge_populations(tmp_path / "both", [population, namesake]).verify() == 12
    with pytest.raises(ZooError, match="are there already"):
        merge_populations(tmp_path / "twice", [population, population])
    with pytest.raises(ZooError, match="so it is no population"):
        zoo.load(tmp_path / "twice")


@pytest.mark.parametrize(
    "shard, start, text",
    [
        ("2.safetensors", 0, "ids .*'p/0'.* are there already"),
        ("1.safetensors", 30, r"the shard 1\.safetensors is there already"),
    ],
)
def test_what_cannot_be_added_leaves_every_byte(population, shard, start, text):
    before = bytes_of(population.folder)
    with pytest.raises(ZooError, match=text):
        append_parts(population.folder, shard, [make_part(start)])
    assert bytes_of(population.folder) == before and zoo.load(population.folder).verify() == 9
    append_parts(population.folder, "2.safetensors", [make_part(30)])
    assert zoo.load(population.folder).verify() == 12 and bytes_of(population.folder) != before


def test_columns_of_other_types_are_named(population, tmp_path):
    before, part = bytes_of(population.folder), make_part(30)
    odd = replace(part, rows=part.rows.assign(run=["x", "y", "z"]))
    with pytest.raises(ZooError, match=r"columns do not fit together .*run"):
        append_parts(population.folder, "2.safetensors", [odd])
    other = append_parts(tmp_path / "b", "0.safetensors", [odd])
    with pytest.raises(ZooError, match=r"columns do not fit together .*run"):
        merge_populations(population.folder, [other])
    assert bytes_of(population.folder) == before


@pytest.mark.parametrize("fails_at", ["first copy", "second copy", "missing shard"])
def test_a_merge_that_fails_leaves_every_byte(population, tmp_path, monkeypatch, fails_at):
    others = [
        append_parts(tmp_path / name, "0.safetensors", [make_part(start)]) for name, start in (("b", 30), ("c", 40))
    ]
    before, copy, calls = bytes_of(population.folder), shutil.copyfile, []

    def fill(path, draft):
        calls.append(path)
        if len(calls) == {"first copy": 1, "second copy": 2}.get(fails_at):
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(path, draft)

    monkeypatch.setattr(append.shutil, "copyfile", fill)
    if fails_at == "missing shard":
        (others[1].folder / "shards" / "0.safetensors").unlink()
    with pytest.raises(ZooError, match=r"No space left|missing or not readable"):
        merge_populations(population.folder, others)
    assert bytes_of(population.folder) == before and zoo.load(population.folder).verify() == 9
    assert merge_populations(population.folder, others[:1]).verify() == 12


@pytest.mark.parametrize("size, text", [(100, r"2\.safetensors"), (2000, r"manifest\.parquet")])
def test_a_disk_that_takes_no_larger_file_is_named_and_leaves_every_byte(population, size, text):
    before, limits = bytes_of(population.folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(ZooError, match=rf"{text}: cannot be written .*make room and start again"):
            append_parts(population.folder, "2.safetensors", [make_part(30)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert bytes_of(population.folder) == before  # this architecture was known
    assert append_parts(population.folder, "2.safetensors", [make_part(30)]).verify() == 12
