"""A miniature CNN Wild Park, with configurations pickled as OmegaConf pickles them."""

import json
import sys
import typing
from contextlib import contextmanager
from types import ModuleType

import torch

from tests.zoo.readers.miniature import normal

CLASSES = {
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.base": "ContainerMetadata",
    "omegaconf.nodes": "AnyNode",
    "somebody.elses": "Config",
    "experiments.cnn_generalization.dataset.cnn_sampler": "CNNConfig",
}
CONFIGS = [
    {"channels": [3, 4, 8], "kernel_size": [3, 5], "residual": [-1, -1], "activation": ["relu", "tanh"]},
    {"channels": [3, 8, 4, 16], "kernel_size": [7, 3, 3], "residual": [-1, -1, 0], "activation": ["gelu"] * 3},
    {"channels": [3, 4, 8], "kernel_size": [3, 5], "residual": [-1, -1], "activation": ["sigmoid", "leaky_relu"]},
]


@contextmanager
def pickled_classes():
    """Classes that a pickle names as those of OmegaConf and of the authors; they are gone when it is read."""
    parts = [module.split(".") for module in CLASSES]
    modules = {".".join(names[:depth]) for names in parts for depth in range(1, len(names) + 1)}
    assert not modules & set(sys.modules)
    sys.modules.update({module: ModuleType(module) for module in modules})
    made = {name: type(name, (), {"__module__": module}) for module, name in CLASSES.items()}
    for name, kind in made.items():
        setattr(sys.modules[kind.__module__], name, kind)
    try:
        yield made
    finally:
        for module in modules:
            del sys.modules[module]


def filled(kind, **attributes):
    """An object of a class with these attributes."""
    new = kind()
    new.__dict__.update(attributes)
    return new


def as_omegaconf(value, kinds, parent):
    """Containers and nodes as they are in memory: content, metadata and the way back to the parent."""
    if not isinstance(value, dict | list):
        return filled(kinds["AnyNode"], _val=value, _parent=parent)
    told = filled(kinds["ContainerMetadata"], ref_type=typing.Any, object_type=kinds["CNNConfig"], flags={})
    new = filled(kinds["DictConfig" if isinstance(value, dict) else "ListConfig"], _metadata=told, _parent=parent)
    items = value.items() if isinstance(value, dict) else enumerate(value)
    content = {key: as_omegaconf(each, kinds, new) for key, each in items}
    new._content = content if isinstance(value, dict) else list(content.values())
    return new


def wild_state(config, seed):
    """A state dict of this configuration."""
    state = {}
    for layer, kernel in enumerate(config["kernel_size"]):
        into, out = config["channels"][layer : layer + 2]
        state[f"layers.{layer}.weight"] = normal(seed + layer, out, into, kernel, kernel) * 0.3
        state[f"layers.{layer}.bias"] = normal(seed + layer + 20, out)
    last = config["channels"][-1]
    return state | {"fc.weight": normal(seed + 40, 10, last), "fc.bias": normal(seed + 41, 10)}


def write_wild_park(folder, *, splits=True):
    """Three models of two checkpoints; returns the state dicts by id."""
    found, listed = {}, {part: {"path": [], "score": [], "step": []} for part in ("train", "val", "test")}
    with pickled_classes() as kinds:
        for model, (config, part) in enumerate(zip(CONFIGS, ("train", "val", "test"), strict=True)):
            for iteration in (10, 20):
                name = f"cifar10_zooV2/NN_tune_trainable_{model}/checkpoint_{iteration:06d}"
                (folder / name).mkdir(parents=True)
                found[name] = wild_state(config, model * 100 + iteration)
                whole = config | {"n_layers": len(config["kernel_size"]), "n_classes": 10}
                result = {"test/acc": 0.3 + iteration / 100, "test/loss": 1.5, "training_iteration": iteration}
                content = {
                    "model": found[name],
                    "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.001}]},
                    "config": as_omegaconf(whole, kinds, None),
                    "iteration": iteration,
                    "last_result": result | {"config": {"model": filled(kinds["CNNConfig"], **whole)}},
                }
                torch.save(content, folder / name / "checkpoint.pt")
                listed[part]["path"].append(f"{name}/checkpoint.pt")
                listed[part]["score"].append(result["test/acc"])
                listed[part]["step"].append(iteration)
    if splits:
        (folder / "cnn_park_splits.json").write_text(json.dumps(listed))
    return found
