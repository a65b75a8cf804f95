import pytest
import torch

from tests.zoo.families_table import small_recipe
from weightspace.zoo.plan import make_task
from weightspace.zoo.recipe import parse_recipe


def answer_class_one(inputs, own=False):
    """Outputs of a stack of one network that always answers class 1."""
    return torch.tensor([0.0, 1.0, 0.0]).expand(1, len(inputs), 3)


@pytest.mark.parametrize("score_on", [1, 40, 10_000])
def test_training_accuracy_is_measured_on_as_many_examples_as_the_recipe_says(score_on):
    recipe = parse_recipe(small_recipe("mlp", score_on=score_on, sample={"dataset": "wine", "train_fraction": 0.5}))
    task = make_task(recipe, [recipe.draw_run(0)], data_dir=None, device="cpu")
    looked_at = task.y[task.subset[:score_on]]
    found = task.measure(answer_class_one)
    assert len(looked_at) == min(score_on, len(task.subset)) and len(task.subset) < len(task.y)
    assert found["train_accuracy"].item() == pytest.approx((looked_at == 1).float().mean().item())
    assert found["test_accuracy"].item() == pytest.approx((task.test[1] == 1).float().mean().item())
    assert found["generalisation_gap"] == found["train_accuracy"] - found["test_accuracy"]


def test_fractions_nest_and_an_epoch_sees_every_example_once():
    half, whole = (
        make_task(recipe, [recipe.draw_run(0)], data_dir=None, device="cpu")
        for recipe in (
            parse_recipe(small_recipe("mlp", sample={"dataset": "wine", "train_fraction": fraction}, batch_size=7))
            for fraction in (0.5, 1.0)
        )
    )
    assert torch.equal(half.subset, whole.subset[: len(half.subset)])
    epochs = [
        torch.cat([half._indices(epoch * half.steps_per_epoch + i) for i in range(half.steps_per_epoch)])
        for epoch in (0, 1)
    ]
    for seen in epochs:
        assert len(seen.unique()) == len(seen) and set(seen.tolist()) <= set(half.subset.tolist())
    assert not torch.equal(*epochs)
