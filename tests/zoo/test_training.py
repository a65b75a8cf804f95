import copy

import pytest
import torch

from tests.zoo.families_table import RECIPES, small_recipe
from weightspace.zoo.plan import make_module, make_task, plan_jobs
from weightspace.zoo.recipe import parse_recipe
from weightspace.zoo.training import StackTraining

STEPS = 50


def start_training(recipe, group, data_dir):
    group = copy.deepcopy(group)
    task = make_task(recipe, group, data_dir=str(data_dir), device="cpu")
    training = StackTraining(make_module(recipe, group[0], task.signature), task, group, seed=recipe.seed)
    return in_double(training) if recipe.family == "policy" else training


def in_double(training):
    """Where play feeds back into learning, rounding of single precision grows from step to step."""
    training.weights = training.weights.double()
    training.update.first = training.update.second = training.weights * 0
    training.task.state = {name: tensor.double() for name, tensor in training.task.state.items()}
    return training


def losses_of(training, steps=STEPS):
    return torch.stack([training.advance() for _ in range(steps)], 1)


@pytest.mark.parametrize("family", sorted(RECIPES))
def test_a_stack_learns_what_each_network_learns_alone(family, data_dir):
    recipe = parse_recipe(small_recipe(family))
    ((group, *_), *_) = plan_jobs(recipe)

    together = losses_of(start_training(recipe, group, data_dir))
    alone = torch.cat([losses_of(start_training(recipe, [run], data_dir)) for run in group])

    assert together.isfinite().all() and len(group) == 4
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=0)


def test_different_seeds_learn_differently(data_dir):
    recipe = parse_recipe(small_recipe("mlp"))
    ((group,),) = plan_jobs(recipe)
    losses = losses_of(start_training(recipe, group, data_dir), 3)
    assert len(set(losses[:, 0].tolist())) == 4
