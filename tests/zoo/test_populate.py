import errno
import hashlib
import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.zoo.families_table import small_recipe
from weightspace import zoo
from weightspace.errors import ZooError
from weightspace.zoo import append, build
from weightspace.zoo.build import Progress, Site
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import parse_recipe

RECIPE = small_recipe("mlp", runs=10, snapshots=[0, 1, 4], stack=4)
RECIPE["sample"] = RECIPE["sample"] | {"width": {"choice": [6, 8]}}


def bytes_of(folder: Path) -> dict[str, str]:
    """Hash of every file by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("population")
    return populate(parse_recipe(RECIPE), Site(folder))


def test_the_same_recipe_gives_the_same_bytes(undisturbed, tmp_path):
    populate(parse_recipe(RECIPE), Site(tmp_path))
    assert bytes_of(tmp_path) == bytes_of(undisturbed.folder)
    assert set(bytes_of(tmp_path)) > {"manifest.parquet", "recipe.yaml", "architectures.json"}
    assert not any(name.startswith("work") for name in bytes_of(tmp_path))


def test_processes_build_one_population_between_them(undisturbed, tmp_path):
    shares = [populate(parse_recipe(RECIPE), Site(tmp_path / str(i), share=(i, 3))) for i in range(3)]
    together = append.merge_populations(tmp_path / "all", shares).frame(["id", "sha256"])
    assert sorted(together.itertuples(index=False)) == sorted(
        undisturbed.frame(["id", "sha256"]).itertuples(index=False)
    )
    assert all(len(share.frame(["id"])) for share in shares)


def test_another_seed_gives_other_weights(undisturbed, tmp_path):
    other = populate(parse_recipe(RECIPE | {"seed": 1}), Site(tmp_path))
    assert not set(other.frame()["sha256"]) & set(undisturbed.frame()["sha256"])


def test_rows_tell_what_the_weights_do(undisturbed):
    frame = undisturbed.frame(where=[("snapshot", "==", 2)])
    data = zoo.data.load_dataset("wine")
    for rows, tensors in undisturbed.batches(frame, size=3):
        module = undisturbed.module(rows["architecture"].iloc[0]).eval()
        for i, accuracy in enumerate(rows["test_accuracy"]):
            module.load_state_dict({name: tensor[i].float() for name, tensor in tensors.items()})
            found = (module(data.x_test).argmax(-1) == data.y_test).float().mean().item()
            assert found == pytest.approx(accuracy, abs=1 / len(data.y_test) + 1e-6)  # stored in half precision


def test_a_run_stays_in_one_part_of_the_split(undisturbed):
    frame = undisturbed.frame(["run", "split", "dataset_split"])
    assert (frame.groupby("run")["split"].nunique() == 1).all() and set(frame["split"]) <= {
        "train",
        "validation",
        "test",
    }


def test_training_stopped_anywhere_goes_on_to_the_same_bytes(undisturbed, tmp_path, monkeypatch):
    calls, advance = 0, build.StackTraining.advance

    def stumble(self):
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(build.StackTraining, "advance", stumble)
    stops = 0
    while True:
        try:
            populate(parse_recipe(RECIPE), Site(tmp_path, save_every=0.0))
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 5 and bytes_of(tmp_path) == bytes_of(undisturbed.folder)


@pytest.mark.slow
def test_a_build_killed_ten_times_and_at_every_kind_of_file_ends_with_the_same_bytes(tmp_path):
    recipe = parse_recipe(RECIPE | {"snapshots": [0, 2, 30], "runs": 12})
    whole = bytes_of(populate(recipe, Site(tmp_path / "whole")).folder)
    folders = [tmp_path / "at_random", tmp_path / "while_writing"]
    run = subprocess.run(
        [sys.executable, "-m", "tests.zoo.killed_build", *map(str, folders)],
        input=recipe.text,
        text=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert [bytes_of(folder) == whole for folder in folders] == [True, True]


def test_a_full_disk_is_named_and_what_was_finished_stays(undisturbed, tmp_path, monkeypatch):
    save, calls = append.save_file, 0

    def fill(tensors, path):
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path)

    monkeypatch.setattr(append, "save_file", fill)
    with pytest.raises(ZooError, match=r"00001.safetensors: cannot be written .*No space left.*make room"):
        populate(parse_recipe(RECIPE), Site(tmp_path))
    assert zoo.load(tmp_path).verify() > 0
    monkeypatch.setattr(append, "save_file", save)
    populate(parse_recipe(RECIPE), Site(tmp_path))
    assert bytes_of(tmp_path) == bytes_of(undisturbed.folder)


def test_a_disk_that_takes_more_and_more_is_named_each_time_and_ends_with_the_same_bytes(undisturbed, tmp_path):
    """The system itself refuses files beyond a size."""
    before, named = resource.getrlimit(resource.RLIMIT_FSIZE), set()
    try:
        for size in (50, 1000, *range(2_000, 60_000, 2_000)):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
            try:
                populate(parse_recipe(RECIPE), Site(tmp_path))
                break
            except ZooError as error:
                found = re.search(r"([\w.-]+): cannot be written .*; make room and start again", str(error))
                named.add(Path(found[1]).suffix)
                assert not list(tmp_path.rglob("*.tmp"))
                assert not (tmp_path / "manifest.parquet").exists() or zoo.load(tmp_path).verify() > 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert named == {".yaml", ".pt"} and bytes_of(tmp_path) == bytes_of(undisturbed.folder)


def test_a_divergent_network_is_marked_and_keeps_finite_weights(tmp_path):
    sample = {"dataset": "wine", "optimizer": "sgd", "learning_rate": {"choice": [0.01, 90.0]}, "init_scale": 30.0}
    recipe = parse_recipe(small_recipe("mlp", runs=8, snapshots=[3], sample=sample))
    population = populate(recipe, Site(tmp_path))
    frame = population.frame()
    assert set(frame[frame.diverged]["learning_rate"].round(2)) == {90.0}
    assert all(bool(t.isfinite().all()) for t in population.stack(frame).values())


def test_a_folder_of_another_recipe_is_refused(undisturbed):
    with pytest.raises(ZooError, match="population of another recipe"):
        populate(parse_recipe(RECIPE | {"runs": 3}), Site(undisturbed.folder))


def test_progress_tells_speed_and_time_left(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(build, "TELL_EVERY", 0.0)
    populate(replace(parse_recipe(RECIPE), snapshots=(20.0,)), Site(tmp_path, progress=told.append))
    assert told and all(p.total == 10 and 0 < p.done <= 10 for p in told)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert Progress(4.0, 10, 2.0, begun_at=2.0).networks_per_second == 1.0
    assert Progress(4.0, 10, 2.0, begun_at=2.0).seconds_left == 6.0


def test_a_shared_start_is_shared(tmp_path):
    sample = {"dataset": "wine", "width": 6, "shared_init": {"choice": [True, False]}}
    frame = populate(parse_recipe(small_recipe("mlp", runs=12, snapshots=[0], sample=sample)), Site(tmp_path)).frame()
    assert frame[frame.shared_init]["sha256"].nunique() == 1
    assert frame[~frame.shared_init]["sha256"].is_unique and torch.is_grad_enabled()
