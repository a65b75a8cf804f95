"""Miniatures of the published zoos, written in their layouts; every network is also kept to compare with."""

import gzip
import json
import zipfile

import numpy as np
import torch

SMALL_CNN = {  # as in layout.csv: biases first, kernels as TensorFlow has them
    "sequential/conv2d/bias:0": (16,),
    "sequential/conv2d/kernel:0": (3, 3, 1, 16),
    "sequential/conv2d_1/bias:0": (16,),
    "sequential/conv2d_1/kernel:0": (3, 3, 16, 16),
    "sequential/conv2d_2/bias:0": (16,),
    "sequential/conv2d_2/kernel:0": (3, 3, 16, 16),
    "sequential/dense/bias:0": (10,),
    "sequential/dense/kernel:0": (16, 10),
}
CONFIG = (
    "activation b_init dataset dnn_architecture dropout epochs epochs_between_checkpoints init_std l2reg "
    "learning_rate num_layers num_units optimizer random_seed train_fraction w_init"
).split()
SCHUERHOLT = {0: (8, 1, 5, 5), 3: (6, 8, 5, 5), 6: (4, 6, 2, 2), 9: (20, 36), 11: (10, 20)}
STEPS = (0, 20, 86)


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def write_small_cnn_zoo(folder, *, runs=4, steps=STEPS, dataset="mnist", index=False):
    """Runs of alternating activation; returns the matrix."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = normal(0, runs * len(steps), 4970).numpy() * np.float32(0.2)
    np.save(folder / "weights.npy", matrix)
    lines = [(["", *[]] if index else []) + ["modeldir", "step", "test_accuracy", "test_loss", "train_accuracy"]]
    lines[0] += ["train_loss", *(f"config.{name}" for name in CONFIG)]
    for row in range(len(matrix)):
        run, step = divmod(row, len(steps))
        config = ["relu" if run % 2 else "tanh", "zeros", dataset, "cnn", 0.25, 86, 20, 0.05, 1e-05, 0.001 * (run + 1)]
        config += [3, 16, "adam", 42, 0.5, "he_normal"]
        measured = [f"/dir/{run}", steps[step], 0.1 + row / 100, 2.5 - row / 100, 0.2 + row / 100, 2.0]
        lines.append(([row] if index else []) + measured + config)
    with gzip.open(folder / "metrics.csv.gz", "wt") as file:
        file.writelines(",".join(map(str, line)) + "\n" for line in lines)
    write_layout(folder, SMALL_CNN)
    return matrix


def write_layout(folder, shapes):
    """Variables one after the other, as they stand in a row."""
    start, lines = 0, ["varname,start_idx,end_idx,shape"]
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        lines.append(f'{name},{start},{stop},"{shape}"')
        start = stop
    (folder / "layout.csv").write_text("\n".join(lines) + "\n")


def keras_variables(row):
    """The TensorFlow variables of one row of the matrix, in float64."""
    found, start = {}, 0
    for name, shape in SMALL_CNN.items():
        stop = start + int(np.prod(shape))
        found[name] = row[start:stop].astype(np.float64).reshape(shape)
        start = stop
    return found


def write_model_zoo(folder, *, models=3, epochs=(0, 1, 50), padded=True, settings="params.json"):
    """Ray Tune folders; returns the state dicts by id."""
    found = {}
    for model in range(models):
        name = f"NN_tune_trainable_{model:05d}_{model}_seed={model + 1}"
        (folder / name).mkdir(parents=True)
        params = {
            "model::type": "CNN",
            "model::channels_in": 1,
            "model::nlin": "tanh",
            "model::dropout": 0.0,
            "model::init_type": "uniform",
            "optim::optimizer": "adam",
            "optim::lr": 0.0003,
            "optim::wd": 0.0,
            "seed": model + 1,
            "training::batchsize": 10,
            "training::checkpoint_dir": None,
            "dataset::dump": "/home/them/zoos/MNIST/tune_zoo_mnist_uniform/dataset.pt",
        }
        (folder / name / settings).write_text(json.dumps(params))
        lines = []
        for epoch in range(max(epochs) + 1):
            train = -999 if epoch == 0 else 0.5 + epoch / 200
            measured = {"train_loss": train, "train_acc": train, "test_loss": 2.0, "test_acc": 0.4 + epoch / 200}
            lines.append(json.dumps({**measured, "training_iteration": epoch, "config": params, "trial_id": name}))
        (folder / name / "result.json").write_text("\n".join(lines) + "\n")
        for epoch in epochs:
            place = folder / name / (f"checkpoint_{epoch:06d}" if padded else f"checkpoint_{epoch}")
            place.mkdir()
            state = {}
            for layer, shape in SCHUERHOLT.items():
                state[f"module_list.{layer}.weight"] = normal(model * 100 + epoch + layer, *shape) * 0.3
                state[f"module_list.{layer}.bias"] = normal(model * 100 + epoch + layer + 50, shape[0])
            torch.save(state, place / "checkpoints")
            torch.save({"state": {}, "param_groups": []}, place / "optimizer")
            found[f"{name}/{epoch}"] = state
    (folder / "dataset.pt").write_bytes(b"the images, which are none of our business")
    return found


def siren_state(seed, names=("seq.0", "seq.1", "seq.2"), width=32, outputs=1):
    """A state dict of an implicit network."""
    sizes = (2, width, width, outputs)
    state = {}
    for layer, name in enumerate(names):
        state[f"{name}.weight"] = normal(seed + layer, sizes[layer + 1], sizes[layer]) * 0.2
        state[f"{name}.bias"] = normal(seed + layer + 7, sizes[layer + 1])
    return state


def write_dws_mnist(folder, *, splits=True):
    """A folder an image, and the splits with paths of another machine; returns the state dicts by id."""
    found, listed = {}, {part: {"path": [], "label": []} for part in ("train", "val", "test")}
    for image in range(8):
        part, label = ("testing" if image >= 6 else "training"), image % 3
        file = f"mnist_png_{part}_{label}_{1000 + image}/checkpoints/model_final.pth"
        (folder / file).parent.mkdir(parents=True)
        found[file] = siren_state(100 * image)
        torch.save(found[file], folder / file)
        entry = listed["test" if image >= 6 else "val" if image == 5 else "train"]
        entry["path"].append(f"/cortex/users/them/mnist-inrs/{file}")
        entry["label"].append(str(label))
    if splits:
        (folder / "mnist_splits.json").write_text(json.dumps(listed))
    return found


def write_dws_fashion(folder):
    """Numbered files in train and test, the label inside, the numbers beginning anew in test."""
    found, listed = {}, {"train": [], "val": [], "test": []}
    for image in range(6):
        part = "test" if image >= 4 else "train"
        file = f"{part}/model_{image % 4}.pth"
        (folder / part).mkdir(parents=True, exist_ok=True)
        found[file] = siren_state(50 + image)
        torch.save({**found[file], "label": image % 10}, folder / file)
        listed["test" if part == "test" else "val" if image == 3 else "train"].append(f"/them/fmnist_inrs/{file}")
    (folder / "splits.json").write_text(json.dumps(listed))
    return found


def write_nfn(folder):
    """Images below and beyond the borders of the split, one of them fitted three times."""
    found = {}
    for fit in ("randinit_smaller", "randinit_smaller_aug0", "randinit_smaller_aug1"):
        for image in (3, 44999, 45000, 49999, 50000) if fit == "randinit_smaller" else (3, 50000):
            place = folder / f"{fit}_{image % 10}s"
            place.mkdir(parents=True, exist_ok=True)
            names = ("net.0.linear", "net.1.linear", "net.2")
            state = siren_state(image + len(fit), names, outputs=3)
            torch.save(state, place / f"net{image}.pth")
            found[f"{place.name}/net{image}"] = state
    return found


def agent_state(seed, width=16):
    """An actor-critic policy as Stable-Baselines3 names it."""
    shapes = {
        "log_std": (2,),
        "mlp_extractor.policy_net.0.weight": (width, 4),
        "mlp_extractor.policy_net.0.bias": (width,),
        "mlp_extractor.policy_net.2.weight": (width, width),
        "mlp_extractor.policy_net.2.bias": (width,),
        "mlp_extractor.value_net.0.weight": (width, 4),
        "mlp_extractor.value_net.0.bias": (width,),
        "mlp_extractor.value_net.2.weight": (width, width),
        "mlp_extractor.value_net.2.bias": (width,),
        "action_net.weight": (2, width),
        "action_net.bias": (2,),
        "value_net.weight": (1, width),
        "value_net.bias": (1,),
    }
    return {name: normal(seed + place, *shape) * 0.4 for place, (name, shape) in enumerate(shapes.items())}


def write_agent(path, seed, *, steps=1000):
    """A zip as `model.save` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = agent_state(seed)
    torch.save(state, path.parent / "policy.pth")
    data = {
        "policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gAWVMAAAAAAAAA=="},
        "num_timesteps": steps,
        "gamma": 0.99,
        "learning_rate": 0.0003,
        "seed": 0,
        "n_envs": 8,
        "lr_schedule": {":type:": "<class 'function'>", ":serialized:": "gAWV"},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(data))
        archive.write(path.parent / "policy.pth", "policy.pth")
        archive.writestr("_stable_baselines3_version", "2.3.2")
    (path.parent / "policy.pth").unlink()
    return state
