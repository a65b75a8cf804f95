"""Zoos of a file a checkpoint: weights as published, properties and splits as the publishers say."""

import json
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from tests.zoo.readers import miniature
from tests.zoo.readers.laws import (
    check_everything_is_understood,
    check_relabelling_keeps,
    check_runs_lie_in_one_split,
    check_weights,
    doubled,
)
from tests.zoo.readers.wild_park_files import CONFIGS, pickled_classes, write_wild_park
from weightspace.errors import ZooError
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.trace import trace_graph
from weightspace.zoo.readers import import_zoo, read_problems, recognise

AGENTS = ("ppo/CartPole-v1_1/CartPole-v1", "ppo/CartPole-v1_1/best_model", "a2c-Pendulum-v1", "rl_model_10_steps")


def write_agents(folder):
    return {name: miniature.write_agent(folder / f"{name}.zip", 10 * i) for i, name in enumerate(AGENTS)}


WRITERS = {
    "model_zoos": miniature.write_model_zoo,
    "dws_inrs": miniature.write_dws_mnist,
    "nfn_inrs": miniature.write_nfn,
    "sb3_agents": write_agents,
    "cnn_wild_park": write_wild_park,
}


def chain(tensors, names, activation, x):
    """Dense layers with an activation between them."""
    for name in names[:-1]:
        x = activation(F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"]))
    return F.linear(x, tensors[f"{names[-1]}.weight"], tensors[f"{names[-1]}.bias"])


def run_schuerholt(tensors):
    x = miniature.normal(1, 3, 1, 28, 28).double()
    for layer in (0, 3, 6):
        x = F.conv2d(x, tensors[f"module_list.{layer}.weight"], tensors[f"module_list.{layer}.bias"])
        x = torch.tanh(x if layer == 6 else F.max_pool2d(x, 2))
    return chain(tensors, ("module_list.9", "module_list.11"), torch.tanh, x.flatten(1))


def run_siren(tensors, names):
    return chain(tensors, names, lambda x: torch.sin(30 * x), miniature.normal(2, 9, 2).double())


def run_agent(tensors):
    x = miniature.normal(3, 5, 4).double()
    heads = {"policy_net": "action_net", "value_net": "value_net"}
    return torch.cat(
        [
            chain(tensors, (f"mlp_extractor.{net}.0", f"mlp_extractor.{net}.2", head), torch.tanh, x)
            for net, head in heads.items()
        ],
        1,
    )


RUNS = {
    "model_zoos": run_schuerholt,
    "dws_inrs": lambda tensors: run_siren(tensors, ("seq.0", "seq.1", "seq.2")),
    "nfn_inrs": lambda tensors: run_siren(tensors, ("net.0.linear", "net.1.linear", "net.2")),
    "sb3_agents": run_agent,
}


@pytest.mark.parametrize("layout", WRITERS)
def test_weights_are_read_bit_for_bit_and_runs_are_whole(tmp_path, layout):
    published = WRITERS[layout](tmp_path / "zoo")
    assert recognise(tmp_path / "zoo") == layout
    population = import_zoo(tmp_path / "zoo", tmp_path / "out")
    check_weights(population, published)
    check_runs_lie_in_one_split(population)
    check_everything_is_understood(population)
    assert read_problems(tmp_path / "out").empty


@pytest.mark.parametrize("layout", RUNS)
def test_relabelling_by_the_inferred_graph_keeps_the_function(tmp_path, layout):
    WRITERS[layout](tmp_path / "zoo")
    check_relabelling_keeps(import_zoo(tmp_path / "zoo", tmp_path / "out"), RUNS[layout])


@pytest.mark.parametrize("layout", WRITERS)
def test_a_bad_file_is_noted_and_the_others_are_read(tmp_path, layout):
    published = WRITERS[layout](tmp_path / "zoo")
    files = sorted(
        path
        for path in (tmp_path / "zoo").rglob("*")
        if path.suffix in (".pth", ".pt", ".zip") or path.name == "checkpoints"
    )
    files = [path for path in files if path.is_file() and path.name != "dataset.pt"]
    files[0].write_bytes(files[0].read_bytes()[:100])
    files[1].write_bytes(pickle.dumps(Path("anything")))

    population = import_zoo(tmp_path / "zoo", tmp_path / "out", layout=layout)

    problems = read_problems(tmp_path / "out")
    assert len(population) == len(published) - 2 and population.verify() == len(published) - 2
    bad = {path.relative_to(tmp_path / "zoo").as_posix() for path in files[:2]}
    assert bad == set(problems["file"]) and all(problems["error"])


def test_measures_of_a_model_zoo_are_those_of_the_epoch(tmp_path):
    miniature.write_model_zoo(tmp_path / "zoo" / "tune_zoo", models=2)
    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame()
    assert frame["test_accuracy"].to_numpy() == pytest.approx(0.4 + frame["epoch"].to_numpy() / 200)
    first = frame["epoch"] == 0
    assert frame["train_accuracy"][first].isna().all() and frame["train_accuracy"][~first].notna().all()
    assert set(frame["dataset"]) == {"mnist"} and set(frame["learning_rate"].astype(str)) == {"0.0003"}
    assert dict(zip(frame["run"], frame["seed"], strict=True)) == {0: 1, 1: 2}


@pytest.mark.parametrize(("padded", "settings"), [(False, "params.json"), (True, "config.json")])
def test_other_spellings_of_a_model_zoo_are_read(tmp_path, padded, settings):
    published = miniature.write_model_zoo(tmp_path / "zoo", padded=padded, settings=settings)
    population = import_zoo(tmp_path / "zoo", tmp_path / "out")
    check_weights(population, published)
    assert population.frame()["test_accuracy"].notna().all()


def test_damaged_tables_of_a_model_zoo_leave_holes(tmp_path):
    miniature.write_model_zoo(tmp_path / "zoo")
    models = sorted(path for path in (tmp_path / "zoo").iterdir() if path.is_dir())
    (models[0] / "params.json").write_text("{")
    lines = (models[1] / "result.json").read_text().splitlines()
    (models[1] / "result.json").write_text("\n".join([*lines[:1], '{"test_acc": 0.9', "[]", *lines[2:]]))
    (models[2] / "result.json").unlink()

    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame().set_index(["run", "epoch"])

    assert len(frame) == 9 and frame["learning_rate"].isna().groupby("run").all().tolist() == [True, False, False]
    holes = frame["test_accuracy"].isna()
    assert set(frame.index[holes]) == {(1, 1), (2, 0), (2, 1), (2, 50)}
    texts = read_problems(tmp_path / "out")["error"].tolist()
    assert len(texts) == 4 and any("line 2: JSONDecodeError" in text for text in texts)


def test_a_pickled_dataset_is_refused_with_advice(tmp_path):
    with pickled_classes() as kinds:
        torch.save({"trainset": kinds["CNNConfig"]()}, tmp_path / "dataset_cnn.pt")
    with pytest.raises(ZooError, match=r"asks for experiments.*Fetch the zip of the raw zoo"):
        import_zoo(tmp_path / "dataset_cnn.pt", tmp_path / "out")


@pytest.mark.parametrize("splits", [True, False])
def test_the_test_images_of_dws_stay_the_test(tmp_path, splits):
    miniature.write_dws_mnist(tmp_path / "zoo", splits=splits)
    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame()
    tested = frame["run_name"].astype(str).str.contains("testing")
    assert ((frame["split"] == "test") == tested).all()
    assert (frame["label"] == (frame["image"] - 1000) % 3).all() and set(frame["dataset"]) == {"mnist"}
    if splits:
        assert frame["image"][frame["split"] == "validation"].tolist() == [1005]


def test_fashion_images_have_the_label_of_their_file_and_the_published_split(tmp_path):
    published = miniature.write_dws_fashion(tmp_path / "fmnist_inrs")
    population = import_zoo(tmp_path / "fmnist_inrs", tmp_path / "out")
    check_weights(population, published)
    frame = population.frame().set_index("id")
    assert frame["label"].to_dict() == {file: number for number, file in enumerate(published)}
    assert frame["split"].tolist() == ["test"] * 2 + ["train"] * 3 + ["validation"]
    assert set(frame["dataset"]) == {"fashion_mnist"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "cannot be read as JSON"),
        (json.dumps({"train": {"path": ["a"], "label": []}}), "must hold lists of one length"),
        (json.dumps({"training": []}), "must be an object with the keys"),
    ],
)
def test_a_damaged_splits_file_is_named(tmp_path, content, text):
    miniature.write_dws_mnist(tmp_path / "zoo")
    (tmp_path / "zoo" / "mnist_splits.json").write_text(content)
    with pytest.raises(ZooError, match=rf"mnist_splits\.json.*{text}"):
        import_zoo(tmp_path / "zoo", tmp_path / "out")


def test_a_listed_file_that_is_missing_is_noted(tmp_path):
    miniature.write_dws_mnist(tmp_path / "zoo")
    gone = next((tmp_path / "zoo").rglob("model_final.pth"))
    gone.unlink()
    assert len(import_zoo(tmp_path / "zoo", tmp_path / "out")) == 7
    assert read_problems(tmp_path / "out")["file"].str.contains(gone.parent.parent.name).tolist() == [True]


def test_nfn_splits_by_image_and_keeps_its_fits_together(tmp_path):
    miniature.write_nfn(tmp_path / "siren_cifar_wts")
    frame = import_zoo(tmp_path / "siren_cifar_wts", tmp_path / "out").frame()
    wanted = {3: "train", 44999: "train", 45000: "validation", 49999: "validation", 50000: "test"}
    assert dict(zip(frame["image"], frame["split"], strict=True)) == wanted
    assert frame.groupby("image")["run"].nunique().eq(1).all() and frame["run"].nunique() == 5
    assert (frame["label"] == frame["image"] % 10).all() and set(frame["dataset"]) == {"cifar10"}


def test_names_and_numbers_of_agents_are_read(tmp_path):
    write_agents(tmp_path / "zoo")
    miniature.write_agent(tmp_path / "zoo" / "rl_model_20_steps.zip", 5, steps=20)
    (tmp_path / "zoo" / "results.json").write_text(json.dumps({"mean_reward": 500.0, "std_reward": 0.5}))
    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame().set_index("id")
    assert frame.loc[AGENTS[0], ["algorithm", "environment"]].tolist() == ["ppo", "CartPole-v1"]
    assert frame.loc[AGENTS[2], ["algorithm", "environment"]].tolist() == ["a2c", "Pendulum-v1"]
    assert frame.loc[AGENTS[2], "mean_reward"] == 500.0 and frame["mean_reward"].isna().sum() == 2
    assert frame.loc["rl_model_20_steps", "step"] == 20 and frame["gamma"].to_numpy() == pytest.approx(0.99)
    runs = frame["run"]
    assert runs[AGENTS[0]] == runs[AGENTS[1]] and runs["rl_model_10_steps"] == runs["rl_model_20_steps"]
    assert runs.nunique() == 3


def test_properties_of_the_wild_park_are_those_of_the_file(tmp_path):
    write_wild_park(tmp_path / "zoo")
    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame()
    assert frame["split"].tolist() == ["train"] * 2 + ["test"] * 2 + ["validation"] * 2 or set(
        zip(frame["run"], frame["split"], strict=True)
    ) == {(0, "train"), (1, "validation"), (2, "test")}
    assert frame["test_accuracy"].to_numpy() == pytest.approx(0.3 + frame["epoch"].to_numpy() / 100)
    second = frame[frame["run"] == 1].iloc[0]
    assert second[["channels", "kernels", "activations", "skips"]].tolist() == [
        "8-4-16",
        "7-3-3",
        "gelu-gelu-gelu",
        "-1--1-0",
    ]


def run_wild(config, tensors, images):
    """The published network, from its configuration alone."""
    functions = {
        "relu": F.relu,
        "gelu": F.gelu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "leaky_relu": F.leaky_relu,
    }
    x, kept = images, []
    for i, kernel in enumerate(config["kernel_size"]):
        x = F.conv2d(x, tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"], padding=kernel // 2)
        source = config["residual"][i]
        if source > -1:
            shared = min(x.shape[1], kept[source].shape[1])
            x = x.clone()
            x[:, :shared] += kept[source][:, :shared]
        x = functions[config["activation"][i]](x)
        kept.append(x)
    return F.linear(x.mean((2, 3)), tensors["fc.weight"], tensors["fc.bias"])


def test_wild_networks_are_built_again_and_their_traced_graphs_keep_the_function(tmp_path):
    write_wild_park(tmp_path / "zoo")
    population = import_zoo(tmp_path / "zoo", tmp_path / "out")
    images = miniature.normal(1, 2, 3, 32, 32).double()
    generator = torch.Generator().manual_seed(0)
    for row in population.frame().drop_duplicates("architecture").to_dict("records"):
        module = population.module(row["architecture"]).double()
        checkpoint = doubled(population.checkpoint(row["id"]))
        wanted = run_wild(CONFIGS[row["run"]], checkpoint.tensors, images)
        torch.testing.assert_close(functional_call(module, dict(checkpoint.tensors), (images,)), wanted)
        graph = trace_graph(module, (images,))
        other = relabel(checkpoint, graph, random_permutations(graph, generator=generator))
        torch.testing.assert_close(run_wild(CONFIGS[row["run"]], other.tensors, images), wanted)


def test_skips_cannot_be_seen_by_names_alone(tmp_path):
    write_wild_park(tmp_path / "zoo")
    population = import_zoo(tmp_path / "zoo", tmp_path / "out")
    checkpoint = doubled(population.checkpoint(population.frame(where=[("run", "==", 1)])["id"].iloc[0]))
    graph = build_graph(checkpoint)
    other = relabel(checkpoint, graph, random_permutations(graph, generator=torch.Generator().manual_seed(1)))
    images = miniature.normal(1, 2, 3, 32, 32).double()
    before, after = (run_wild(CONFIGS[1], tensors, images) for tensors in (checkpoint.tensors, other.tensors))
    assert (before - after).abs().max() > 1e-3


def test_a_configuration_of_an_unknown_class_is_left_out_and_named(tmp_path):
    published = write_wild_park(tmp_path / "zoo")
    name = sorted(published)[0]
    with pickled_classes() as kinds:
        content = {"model": published[name], "config": kinds["Config"]()}
        torch.save(content, tmp_path / "zoo" / name / "checkpoint.pt")
    assert len(import_zoo(tmp_path / "zoo", tmp_path / "out")) == 5
    assert "asks for somebody.elses.Config" in read_problems(tmp_path / "out")["error"].iloc[0]


@pytest.mark.parametrize("model", ["somebody/some-model", None, 7, {"layers.0.weight": "text"}])
def test_a_wild_checkpoint_without_weights_is_left_out_and_nothing_is_fetched(tmp_path, model):
    published = write_wild_park(tmp_path / "zoo")
    torch.save({"model": model, "config": {}}, tmp_path / "zoo" / sorted(published)[0] / "checkpoint.pt")
    assert len(import_zoo(tmp_path / "zoo", tmp_path / "out")) == 5
    assert len(read_problems(tmp_path / "out")) == 1


def test_a_hostile_configuration_costs_nothing_and_stops_nothing(tmp_path):
    published = write_wild_park(tmp_path / "zoo")
    name = sorted(published)[0]
    laughs: list = []
    for _ in range(40):
        laughs = [laughs] * 10
    with pickled_classes() as kinds:
        content = {"model": published[name], "config": kinds["DictConfig"](), "iteration": 10**400}
        content["last_result"] = {"test/acc": laughs, "channels": laughs}
        torch.save(content, tmp_path / "zoo" / name / "checkpoint.pt")
    population = import_zoo(tmp_path / "zoo", tmp_path / "out")
    row = population.frame(where=[("id", "==", name)]).iloc[0]
    assert len(population) == 6 and row[["epoch", "test_accuracy"]].isna().all()


def test_numbers_and_texts_that_cannot_be_stored_leave_holes(tmp_path):
    miniature.write_model_zoo(tmp_path / "zoo", models=1)
    (model,) = (path for path in (tmp_path / "zoo").iterdir() if path.is_dir())
    (model / "params.json").write_text(json.dumps({"seed": 10**400, "model::nlin": "\ud800", "optim::lr": [1]}))
    (model / "result.json").write_text(json.dumps({"training_iteration": 0, "test_acc": 10**400, "test_loss": 1.0}))
    frame = import_zoo(tmp_path / "zoo", tmp_path / "out").frame().set_index("epoch")
    assert frame["activation"].tolist() == ["?"] * 3 and not {"seed", "learning_rate"} & set(frame)
    assert frame.loc[0, "test_loss"] == 1.0 and frame["test_accuracy"].isna().all()
