"""A classic control task, many copies at once: keep a pole upright on a cart (actor-critic training)."""

from __future__ import annotations

from math import pi
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from weightspace.zoo.families.signature import Signature
from weightspace.zoo.seeds import make_generator
from weightspace.zoo.tasks import Run, Task, at_least_single

_GRAVITY, _CART, _POLE, _HALF, _FORCE, _TICK = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
HORIZON = 200


def push_cart(
    state: Float[Tensor, "*copies 4"], right: Int[Tensor, "*copies"]
) -> tuple[Float[Tensor, "*copies 4"], Bool[Tensor, "*copies"]]:
    """Return the state 20 ms later, and whether the pole fell (12 degrees) or the cart left (2.4 m).

    Args:
        state: Position (m), speed (m/s), angle (rad), angular speed (rad/s).
        right: 1 pushes right, 0 left, with 10 N.

    Source: Barto, Sutton and Anderson (1983), "Neuronlike adaptive elements that can solve difficult learning control
    problems", appendix; without friction.
    """
    x, speed, angle, spin = state.unbind(-1)
    force = _FORCE * (2.0 * right - 1)
    total, sin, cos = _CART + _POLE, angle.sin(), angle.cos()
    push = (force + _POLE * _HALF * spin**2 * sin) / total
    turn = (_GRAVITY * sin - cos * push) / (_HALF * (4 / 3 - _POLE * cos**2 / total))
    pull = push - _POLE * _HALF * turn * cos / total
    after = torch.stack([x + _TICK * speed, speed + _TICK * pull, angle + _TICK * spin, spin + _TICK * turn], -1)
    return after, (after[..., 0].abs() > 2.4) | (after[..., 2].abs() > 12 * pi / 180)


def draw_states(count: int) -> Float[Tensor, "count 4"]:
    """Return states to ask policies about, always the same.

    Drawn evenly from where an episode goes on, at up to 2 m/s and 2 rad/s.
    """
    bounds = torch.tensor([2.4, 2.0, 12 * pi / 180, 2.0])
    return (2 * torch.rand(count, 4, generator=make_generator("states")) - 1) * bounds


@final
class CartPole(Task):
    """Actor-critic on `copies` carts a network, `ticks` at a time.

    Noise is drawn once for all networks and turned by each network's own phase, `(u + phase) mod 1`, so that a network
    acts the same alone or in a stack. An episode ends when the pole falls or after 200 ticks.

    Source: Mnih et al. (2016), "Asynchronous methods for deep reinforcement learning", section 4, synchronous;
    advantages after Schulman et al. (2016).
    """

    exact = True

    signature = Signature((4,), 2)

    def __init__(self, seeds: list[int], *, copies: int = 16, ticks: int = 32, device: str = "cpu"):
        self.steps_per_epoch, self.ticks = 25, ticks
        self.copies, self.device = copies, device
        self.phase = torch.stack([torch.rand(1, generator=make_generator("phase", s)) for s in seeds]).to(device)
        start = self._fresh(make_generator("reset", -1))
        self.state = {"carts": start, "age": torch.zeros(start.shape[:2], device=device)}

    def _noise(self, generator: torch.Generator, *shape: int) -> Tensor:
        shared = torch.rand(self.copies, *shape, generator=generator).to(self.device)
        return (shared + self.phase.view(-1, 1, *[1] * len(shape))) % 1

    def _fresh(self, generator: torch.Generator) -> Tensor:
        return (self._noise(generator, 4) - 0.5) / 10

    @torch.no_grad()
    def _play(self, run: Run, step: int) -> dict[str, Tensor]:
        """Play `ticks` ticks with the present weights; return what was seen, done and earned, time second."""
        generator, seen = make_generator("play", step), []
        carts, age = self.state["carts"], self.state["age"]
        for _ in range(self.ticks):
            logits = at_least_single(run(carts, own=True)[..., :2])
            right = (self._noise(generator) < logits.softmax(-1)[..., 1]).long()
            after, fell = push_cart(carts, right)
            age = age + 1
            over = fell | (age >= HORIZON)
            seen.append({"carts": carts, "right": right, "fell": fell.float(), "over": over.float()})
            carts = torch.where(over[..., None], self._fresh(generator), after)
            age = torch.where(over, 0.0, age)
        self.state = {"carts": carts, "age": age}
        return {key: torch.stack([tick[key] for tick in seen], 1) for key in seen[0]}

    def loss(self, run: Run, step: int) -> Tensor:
        """Return each network's policy, value and entropy loss on fresh play."""
        seen = self._play(run, step)
        carts = torch.cat([seen["carts"], self.state["carts"][:, None]], 1)
        out = at_least_single(run(carts.flatten(1, 2), own=True)).view(*carts.shape[:3], 3)
        value = out[..., 2] * 20  # returns reach 1 / (1 - 0.95) = 20
        target = self._advantage(seen, value.detach())
        logp = out[:, :-1, :, :2].log_softmax(-1)
        chosen = logp.gather(-1, seen["right"][..., None]).squeeze(-1)
        spread = (target - target.mean((1, 2), keepdim=True)) / (target.std((1, 2), keepdim=True) + 1e-6)
        critic = F.smooth_l1_loss(value[:, :-1], target + value[:, :-1].detach(), reduction="none")
        entropy = -(logp.exp() * logp).sum(-1)
        return (-chosen * spread + 0.05 * critic - 0.01 * entropy).mean((1, 2))

    def _advantage(self, seen: dict[str, Tensor], value: Tensor) -> Tensor:
        """Generalised advantages, discount 0.95, lambda 0.95; one point a tick that ends upright."""
        goes_on, advantages, later = 1 - seen["over"], [], torch.zeros_like(value[:, 0])
        for t in reversed(range(self.ticks)):
            surprise = 1 - seen["fell"][:, t] + 0.95 * value[:, t + 1] * goes_on[:, t] - value[:, t]
            later = surprise + 0.95 * 0.95 * goes_on[:, t] * later
            advantages.append(later)
        return torch.stack(advantages[::-1], 1)

    @torch.no_grad()
    def measure(self, run: Run) -> dict[str, Tensor]:
        """Return the mean ticks upright of greedy play from `copies` starts, of 200."""
        carts = self._fresh(make_generator("measure"))
        alive, ticks = (
            torch.ones(carts.shape[:2], device=carts.device),
            torch.zeros(carts.shape[:2], device=carts.device),
        )
        for _ in range(HORIZON):
            carts, fell = push_cart(carts, run(carts, own=True)[..., :2].argmax(-1))
            alive = alive * ~fell
            ticks = ticks + alive
        return {"test_return": ticks.mean(1)}
