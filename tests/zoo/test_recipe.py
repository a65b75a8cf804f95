from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.zoo.families_table import small_recipe
from weightspace.errors import RecipeError
from weightspace.zoo.allowed import ARCHITECTURE
from weightspace.zoo.build import Site
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.families import FAMILIES
from weightspace.zoo.plan import group_key, make_module, plan_jobs
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).resolve().parents[2] / "model_zoo" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize(
    "change, text",
    [
        ({"colour": 1}, r"unknown keys \['colour'\]"),
        ({"family": "vgg"}, "family is 'vgg'; it must be one of"),
        ({"family": ["mlp"]}, r"family is \['mlp'\]; it must be one of"),
        ({"runs": 0}, "runs is 0; it must be a whole number above 0"),
        ({"runs": True}, "runs is True; it must be"),
        ({"seed": -1}, "seed is -1; it must be"),
        ({"snapshots": [float("inf")]}, r"snapshots is \[inf\]; it must be a rising list"),
        ({"snapshots": [3, 1]}, r"snapshots is \[3, 1\]; it must be a rising list"),
        ({"storage": "int8"}, "storage is 'int8'; it must be fp16 or fp32"),
        ({"sample": {"learning_rate": 0.1}}, "sample.dataset is missing"),
        ({"sample": {"dataset": "digits", "momentum": 1}}, "sample.momentum is not known"),
        ({"sample": {"dataset": "digits", "dropout": {"uniform": [0, 1.5]}}}, "sample.dropout can be 1.5; it must be"),
        ({"sample": {"dataset": "digits", "optimizer": "lion"}}, "sample.optimizer can be 'lion'"),
        ({"sample": {"dataset": "digits", "learning_rate": {"log_uniform": [0, 1]}}}, "0 < low <= high"),
        (
            {"sample": {"dataset": "digits", "learning_rate": {"gauss": [0, 1]}}},
            "sample.learning_rate: .* no distribut",
        ),
        ({"tree": {"a": {"prune": "b"}}}, "tree: a: prune of .*parents are"),
        ({"tree": {"a": {"prune": "root", "share": 2}}}, "share is 2; it must be a number in"),
        ({"tree": {"a": {"finetune": "root", "shift": "rain"}}}, "shift 'rain' is not known"),
        ({"tree": {"a": {"finetune": "root", "shift": ["noise"]}}}, r"shift \['noise'\] is not known"),
        ({"tree": {"a": {"merge": ["root", "root"]}}}, "several different ones for a merge"),
        ({"tree": {"root": {"prune": "root"}}}, "'root' is no name of a node"),
        ({"tree": {1: {"prune": "root"}}}, "1 is no name of a node"),
    ],
)
def test_a_wrong_recipe_names_file_key_and_value(change, text, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(small_recipe("mlp") | change))
    with pytest.raises(RecipeError, match=f"wrong.yaml: .*{text}"):
        load_recipe(path)


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("width", -3, "can be -3; it must be a whole number from 1 to 65536"),
        ("width", {"uniform_integer": [0, 8]}, "can be 0; it must be"),
        ("width", {"uniform_integer": [4.5, 8]}, "must be whole numbers"),
        ("width", {"uniform_integer": [4, float("inf")]}, "two finite numbers"),
        ("width", {"uniform": [4, 8]}, "can be 4.0; it must be a whole number"),
        ("width", {"choice": []}, "at least one value"),
        ("width", {"per_layer": {"choice": [4]}}, r"is \(4, 4\) in run 0; it must be a whole number"),
        ("depth", True, "can be True"),
        ("activation", {"choice": ["relu", "swish"]}, "can be 'swish'; it must be one of"),
        ("learning_rate", {"uniform": [0.1, float("nan")]}, "two finite numbers"),
        ("learning_rate", {"uniform": [0.2, 0.1]}, "must satisfy low <= high"),
        ("learning_rate", {"given": {"optimizer": [1]}}, "must be a mapping of its values"),
        ("learning_rate", {"given": {"init": {"torch": 0.1}}}, "sample.init must stand above it"),
        ("learning_rate", -0.1, "can be -0.1; it must be a number from 0.0 to 100.0"),
        ("optimizer", {"choice": ["adam", ["sgd"]]}, r"can be \['sgd'\]"),
        ("shared_init", "yes", "can be 'yes'; it must be true or false"),
        ("dataset", 3, "can be 3; it must be a name"),
    ],
)
def test_a_value_out_of_range_is_named_before_anything_is_drawn_from_it(key, value, text, tmp_path):
    path = tmp_path / "wrong.yaml"
    sample = {"dataset": "wine", "depth": 2} | {key: value}
    path.write_text(yaml.safe_dump(small_recipe("mlp", sample=sample)))
    with pytest.raises(RecipeError, match=rf"wrong\.yaml: sample\.{key}:? .*{text}"):
        plan_jobs(load_recipe(path))


def test_every_family_says_what_each_of_its_choices_may_be():
    for name, family in FAMILIES.items():
        for option, default in family.options.items():
            assert ARCHITECTURE[option].allows(default), (name, option)


@pytest.mark.parametrize(
    "content, text",
    [
        (b"name: a\nname: b\n", r"keys \['name'\] stand twice"),
        (b"sample: {width: 8, width: 16}\n", r"keys \['width'\] stand twice"),
        (b"name: \xff\n", "is not YAML"),
        (b"name: [", "is not YAML"),
        (b"- a\n", "must be a mapping"),
        (b"", "must be a mapping"),
    ],
)
def test_what_is_no_recipe_is_named(content, text, tmp_path):
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=rf"odd\.yaml: (.|\n)*{text}"):
        load_recipe(tmp_path / "odd.yaml")


def test_a_missing_file_is_named():
    with pytest.raises(RecipeError, match=r"nowhere\.yaml: cannot be read"):
        load_recipe("nowhere.yaml")


def test_a_family_that_does_not_fit_its_data_is_named():
    recipe = parse_recipe(small_recipe("smallcnn", sample={"dataset": "digits"}))
    with pytest.raises(RecipeError, match=r"'smallcnn' .* does not fit .*at least 15 x 15 pixels"):
        make_module(recipe, recipe.draw_run(0), load_dataset("digits").signature)


def test_a_run_does_not_depend_on_how_many_there_are():
    few, many = parse_recipe(small_recipe("mlp")), parse_recipe(small_recipe("mlp", runs=9))
    assert few.draw_run(3) == many.draw_run(3)
    assert few.draw_run(3) != few.draw_run(2)


def test_runs_take_few_architectures_in_turn_and_draw_the_rest_themselves():
    sample = {
        "dataset": "digits",
        "width": {"uniform_integer": [4, 400]},
        "learning_rate": {"log_uniform": [1e-4, 1.0]},
    }
    recipe = parse_recipe(small_recipe("mlp", sample=sample, architectures=3))
    runs = [recipe.draw_run(i) for i in range(9)]
    assert len({run["width"] for run in runs}) == 3 and len({run["learning_rate"] for run in runs}) == 9
    assert all(run["width"] == runs[i % 3]["width"] for i, run in enumerate(runs))
    own = parse_recipe(small_recipe("mlp", sample=sample))
    assert len({own.draw_run(i)["width"] for i in range(9)}) == 9


def test_values_stay_in_their_bounds_and_cases():
    rates = {"given": {"optimizer": {"sgd": {"log_uniform": [0.1, 1.0]}, "adam": {"log_uniform": [1e-4, 1e-3]}}}}
    sample = {"dataset": "digits", "optimizer": {"choice": ["sgd", "adam"]}, "learning_rate": rates}
    runs = [parse_recipe(small_recipe("mlp", sample=sample)).draw_run(i) for i in range(200)]
    for run in runs:
        low, high = (0.1, 1.0) if run["optimizer"] == "sgd" else (1e-4, 1e-3)
        assert low <= run["learning_rate"] <= high
    assert 60 < sum(run["optimizer"] == "sgd" for run in runs) < 140


def test_skips_come_from_earlier_layers_that_are_not_adjacent():
    recipe = load_recipe("wildpark")
    for i in range(100):
        run = recipe.draw_run(i)
        assert len(run["skips"]) == run["depth"] == len(run["channels"])
        assert all(-1 <= source < max(layer - 1, 0) for layer, source in enumerate(run["skips"]))


@pytest.mark.parametrize(
    "family, dataset, text",
    [
        ("gpt_char", "digits", "'gpt_char' learns from text, dataset 'digits' holds images"),
        ("mlp", "sums", "'mlp' learns from rows or images, dataset 'sums' holds text"),
        ("policy", "digits", "'policy' learns from control"),
        ("smallcnn", "wine", "'smallcnn' learns from images, dataset 'wine' holds rows"),
        ("smallcnn", "digits", "run 0: family 'smallcnn' .* at least 15 x 15"),
        ("siren", "iris", "'siren' learns from images"),
    ],
)
def test_a_family_that_does_not_fit_is_refused_before_anything_is_written(family, dataset, text, tmp_path):
    recipe = parse_recipe(small_recipe(family, sample={"dataset": dataset}), source="odd.yaml")
    with pytest.raises(RecipeError, match=f"odd.yaml: .*{text}"):
        populate(recipe, Site(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def write_images(folder: Path, names: set[str]) -> None:
    """Tiny stand-ins in the layout of the data folder; every set of rows in `tabular.npz`."""
    rng = np.random.default_rng(0)
    rows = {name.partition("/")[2] for name in names if name.startswith("tabular/")}
    tabular = {f"{r}/x": rng.random((24, 5)).astype(np.float32) for r in rows}
    tabular |= {f"{r}/y": np.arange(24) % 3 for r in rows} | {f"{r}/is_test": np.arange(24) % 4 == 0 for r in rows}
    np.savez(folder / "tabular.npz", **tabular)
    for stem in {name.partition("+")[0] for name in names if "/" not in name}:
        side, channels = (28, 1) if "mnist" in stem else (16, 1) if stem == "usps" else (32, 3)
        x, y = rng.integers(0, 256, (24, channels, side, side)).astype(np.uint8), np.arange(24) % 10
        np.savez(folder / f"{stem}.npz", x_train=x, y_train=y, x_test=x, y_test=y)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_builds_in_a_tiny_form(path, tmp_path):
    content = yaml.safe_load(path.read_text()) | {"runs": 2, "snapshots": [0], "batch_size": 16, "score_on": 16}
    for node in content.get("tree", {}).values():
        node |= {"epochs": 0.05} if "finetune" in node else {}
    recipe = parse_recipe(content)
    write_images(tmp_path, set(recipe.sample["dataset"].support) - {"digits", "sums", "cartpole"})
    population = populate(recipe, Site(tmp_path / "out", data_dir=str(tmp_path)))
    frame = population.frame()
    assert population.verify() == 2 * (1 + len(recipe.tree)) and frame["id"].is_unique
    known = {"epoch", "dataset", "seed", "parent", "split", "dataset_split", "diverged", *recipe.sample}
    scored = {"siren": {"train_loss"}, "policy": {"test_return"}}.get(
        recipe.family, {"train_accuracy", "train_loss", "test_accuracy", "test_loss", "generalisation_gap"}
    )
    assert known | scored <= set(frame.columns)
    assert frame[sorted(scored)].notna().all().all()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_plans_all_its_runs_in_equal_groups(path):
    recipe = load_recipe(path)
    jobs = plan_jobs(recipe)
    groups = [group for job in jobs for group in job]
    assert sorted(run["run"] for group in groups for run in group) == list(range(recipe.runs))
    assert all(len({group_key(recipe, run) for run in group}) == 1 for group in groups)
    assert all(sum(map(len, job)) <= recipe.stack for job in jobs)
    assert recipe.name == path.stem and isinstance(load_dataset("digits"), Dataset)
