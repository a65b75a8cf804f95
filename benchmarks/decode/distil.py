"""Networks trained straight to answer as others do: what an architecture allows, without a latent between."""

from __future__ import annotations

from torch import Tensor, nn

from weightspace.train.polish import polish
from weightspace.zoo.initialise import draw_weights
from weightspace.zoo.layout import Layout

RATE = 5e-3


def distil(module: nn.Module, logits: Tensor, inputs: Tensor, *, steps: int) -> dict[str, Tensor]:
    """Return the weights of students of one architecture, `(models, ...)` by tensor name, one a teacher.

    Args:
        module: The students' architecture; it has no running statistics.
        logits: Of the teachers, `(models, inputs, classes)`.
        inputs: That they answered.
        steps: Updates.
    """
    layout, models = Layout.of(module), len(logits)
    flat = draw_weights(layout, ["torch"] * models, [1.0] * models, list(range(models))).to(inputs.device)
    return polish(module, layout.view(flat), inputs, logits, steps=steps, learning_rate=RATE)
