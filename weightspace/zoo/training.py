"""One stack of equal networks in training: all steps at once, each network with its own hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weightspace.execute.stack import run_stacked
from weightspace.zoo.dropout import Dropout
from weightspace.zoo.initialise import draw_weights
from weightspace.zoo.layout import Layout
from weightspace.zoo.seeds import mix_seed
from weightspace.zoo.tasks import Run, Task
from weightspace.zoo.update import StackedUpdate

LARGEST = 65504.0  # of fp16: a network that outgrows it counts as diverged


class StackTraining:
    """A stack of networks, their optimizers and what they learn; `advance` is one step for all of them.

    A network whose loss is no longer finite, or with a weight beyond 65,504, is marked in `diverged` and keeps the last
    weights that were good; the others do not notice. Everything random is named by seed and step, so `state` and the
    step are all that a resumed training needs, and a network learns the same alone or among others.

    Args:
        module: The architecture, on its device.
        task: What is learned.
        runs: Choices of each network, as `Recipe.draw_run` gives them.
        seed: Of the noise that all share.
        start: First weights and statistics, `(models, ...)` by tensor name; drawn by each run's scheme if None.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        runs: Sequence[Mapping[str, Any]],
        *,
        seed: int = 0,
        start: Mapping[str, Tensor] | None = None,
    ):
        self.module, self.task, self.runs, self.seed, self.step = module, task, runs, seed, 0
        self.device = next(module.parameters()).device.type
        self.layout = Layout.of(module)
        self.weights, self.buffers = self._start(start)
        self.alive = torch.ones(len(runs), dtype=torch.bool, device=self.device)
        optimizers, rates, decays = ([r[key] for r in runs] for key in ("optimizer", "learning_rate", "weight_decay"))
        self.update = StackedUpdate(optimizers, rates, decays, self.weights)
        self._drops = [(n, m) for n, m in module.named_modules() if isinstance(m, Dropout)]
        self._rates = torch.tensor([round(256 * run["dropout"]) for run in runs], dtype=torch.uint8).to(self.device)
        self._phases = torch.tensor([mix_seed("phase", run["seed"]) % 2**40 for run in runs]).to(self.device)

    def _start(self, start: Mapping[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        learned = dict(self.module.named_parameters())
        fixed = {name: t for name, t in self.module.state_dict().items() if name not in learned}
        if start is not None:
            flat = torch.cat([start[name].float().flatten(1) for name in self.layout.shapes], 1)
            return flat.to(self.device), {n: start[n].to(self.device, t.dtype, copy=True) for n, t in fixed.items()}
        seeds = [mix_seed(self.seed, "shared") if run["shared_init"] else run["seed"] for run in self.runs]
        schemes, scales = ([run[key] for run in self.runs] for key in ("init", "init_scale"))
        flat = draw_weights(self.layout, schemes, scales, seeds).to(self.device)
        return flat, {n: t.expand(len(flat), *t.shape).clone() for n, t in fixed.items()}

    def _run(self, weights: Tensor, train: bool) -> Run:
        """Return the function that runs all networks of `weights`."""
        tensors = self.layout.view(self._cast(weights)) | self.buffers
        phase = ((self._phases * (2 * self.step + 1)) >> 16).to(torch.uint8)
        for name, drop in self._drops:
            tensors |= {f"{name}.rate": self._rates, f"{name}.phase": phase}
            drop.generator = torch.Generator(self.device).manual_seed(mix_seed(self.seed, "dropout", name, self.step))

        def run(inputs: Tensor, own: bool = False) -> Tensor:
            self.module.train(train)
            return run_stacked(self.module, tensors, self._cast(inputs), own=own)

        return run

    def _cast(self, x: Tensor) -> Tensor:
        """Floats in bfloat16 on an accelerator, unless the task is exact or running statistics would have to join them.

        Autocast would not do: under vmap it keeps activations in 32 bits, and takes half as long again.
        """
        exact = self.task.exact or any(t.is_floating_point() for t in self.buffers.values())
        return x.bfloat16() if self.device != "cpu" and not exact and x.is_floating_point() else x

    def advance(self) -> Tensor:
        """Train one step; return the loss of each network before it."""
        before = {name: tensor.clone() for name, tensor in self.buffers.items()}
        weights = self.weights.requires_grad_()
        losses = self.task.loss(self._run(weights, True), self.step)
        (grad,) = torch.autograd.grad(losses.sum(), weights)
        with torch.no_grad():
            self.step += 1
            proposed = self.update.propose(weights, grad, self.step)
            self.alive &= losses.isfinite() & (proposed.abs().amax(1) < LARGEST)
            self.weights = torch.where(self.alive[:, None], proposed, weights)
            for name, old in before.items():
                alive = self.alive.view(-1, *[1] * (old.ndim - 1))
                self.buffers[name] = torch.where(alive, self.buffers[name], old)
        return losses.detach()

    @torch.no_grad()
    def snapshot(self, dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the tensors of all networks on the CPU, floats in `dtype`, and their properties."""
        tensors = self.layout.view(self.weights.detach()) | self.buffers
        kept = {n: t.to("cpu", dtype if t.is_floating_point() else t.dtype).contiguous() for n, t in tensors.items()}
        measured = self.task.measure(self._run(self.weights.detach(), False))
        return kept, {name: value.float().cpu() for name, value in measured.items()} | {"diverged": ~self.alive.cpu()}

    @property
    def state(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        return {
            "step": self.step,
            "stack": {"weights": self.weights.detach(), "first": self.update.first, "second": self.update.second},
            "alive": self.alive,
            "buffers": self.buffers,
            "task": self.task.state,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        stack = {name: tensor.to(self.device) for name, tensor in state["stack"].items()}
        self.step, self.weights = state["step"], stack["weights"]
        self.update.first, self.update.second = stack["first"], stack["second"]
        self.alive = state["alive"].to(self.device)
        self.buffers = {name: tensor.to(self.device) for name, tensor in state["buffers"].items()}
        self.task.state = {name: tensor.to(self.device) for name, tensor in state["task"].items()}
