"""A stack learns what PyTorch's own modules and optimizers learn one by one."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.families_table import OPTIMIZERS, RECIPES, small_recipe
from weightspace.zoo.control import CartPole
from weightspace.zoo.dropout import Dropout
from weightspace.zoo.plan import make_module, make_task
from weightspace.zoo.recipe import parse_recipe
from weightspace.zoo.seeds import mix_seed
from weightspace.zoo.training import StackTraining

STEPS = 50
PEERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda p, **kwargs: torch.optim.SGD(p, momentum=0.9, **kwargs),
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def in_double(tensor):
    return tensor.double() if tensor.is_floating_point() else tensor


def plan(family, data_dir):
    """One run an optimizer, and what makes their task, in double precision: RMSProp blows up rounding errors."""
    recipe = parse_recipe(small_recipe(family, runs=len(OPTIMIZERS)))
    runs = [recipe.draw_run(i) | {"optimizer": name} for i, name in enumerate(OPTIMIZERS)]

    def task_of(runs):
        if family == "policy":
            task = CartPole([run["seed"] for run in runs], copies=4, ticks=8)
            task.phase = task.phase.double()
            task.state = {name: tensor.double() for name, tensor in task.state.items()}
            return task
        task = make_task(recipe, copy.deepcopy(runs), data_dir=str(data_dir), device="cpu")
        task.x, task.y = in_double(task.x), in_double(task.y)
        if family in ("gpt_char", "gru_char"):
            task.x, task.y = task.x[:, :12], task.y[:, :12]
        return task

    return recipe, runs, task_of


def start_stack(recipe, runs, task):
    training = StackTraining(make_module(recipe, runs[0], task.signature), task, runs, seed=recipe.seed)
    training.weights = training.weights.double()
    training.update.first = training.update.second = training.weights * 0
    training.buffers = {name: in_double(tensor) for name, tensor in training.buffers.items()}
    return training


def loss_of(module, task, step, recipe):
    """Loss of one module in plain PyTorch; how a policy plays is the task's own."""
    if recipe.family == "policy":
        return task.loss(lambda x, own: module(x[0])[None], step).squeeze(0)
    here = task._indices(step)
    if task.y.is_floating_point():
        return F.mse_loss(module(task.x[here]), task.y[0, here])
    return F.cross_entropy(module(task.x[here]).flatten(0, -2), task.y[here].flatten())


def train_alone(module, task, run, recipe):
    """Losses of one network with PyTorch's optimizer, dropping out what it drops out in the stack."""
    optimizer = PEERS[run["optimizer"]](module.parameters(), lr=run["learning_rate"], weight_decay=run["weight_decay"])
    drops, losses = [(n, m) for n, m in module.named_modules() if isinstance(m, Dropout)], []
    for step in range(STEPS):
        for name, drop in drops:
            drop.rate = torch.tensor(round(256 * run["dropout"]), dtype=torch.uint8)
            phase = (mix_seed("phase", run["seed"]) % 2**40) * (2 * step + 1) >> 16
            drop.phase = torch.tensor(phase % 256, dtype=torch.uint8)
            drop.generator = torch.Generator().manual_seed(mix_seed(recipe.seed, "dropout", name, step))
        optimizer.zero_grad()
        loss = loss_of(module, task, step, recipe)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("family", sorted(RECIPES))
def test_a_stack_learns_what_pytorch_learns_one_by_one(family, data_dir):
    recipe, runs, task_of = plan(family, data_dir)
    task = task_of(runs)
    training = start_stack(recipe, runs, task)
    starts = {name: t.clone() for name, t in (training.layout.view(training.weights) | training.buffers).items()}

    together = torch.stack([training.advance() for _ in range(STEPS)], 1)

    assert together.isfinite().all() and all(abs(row[-1] - row[0]) > 1e-4 * row[0] for row in together)
    for i, run in enumerate(runs):
        module = make_module(recipe, run, task.signature).double().train()
        module.load_state_dict({name: tensor[i] for name, tensor in starts.items()})
        if family == "gru_char":
            module.gru.forward = lambda x, gru=module.gru: nn.GRU.forward(gru, x)[0]
        own = task_of(runs if family == "siren" else [run])
        if family == "siren":
            own.y = own.y[[i]]
        alone = train_alone(module, own, run, recipe)
        torch.testing.assert_close(together[i], alone, rtol=1e-4, atol=0, msg=lambda m, r=run: f"{r['optimizer']}: {m}")


def test_different_seeds_learn_differently(data_dir):
    recipe, runs, task_of = plan("mlp", data_dir)
    losses = start_stack(recipe, runs, task_of(runs)).advance()
    assert len(set(losses.tolist())) == len(OPTIMIZERS)


def test_another_dropout_mask_would_be_noticed(data_dir, monkeypatch):
    recipe, runs, task_of = plan("mlp", data_dir)
    before = start_stack(recipe, runs, task_of(runs)).advance()
    monkeypatch.setattr("weightspace.zoo.training.mix_seed", lambda *parts: mix_seed("other", *parts))
    after = start_stack(recipe, runs, task_of(runs))
    after.weights = start_stack(recipe, runs, task_of(runs)).weights
    assert not torch.isclose(before, after.advance(), rtol=1e-4, atol=0).any()
