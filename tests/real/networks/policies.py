"""Reinforcement-learning agents and ensembles of small perceptrons."""

import re

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tests.real.networks.layers import conv, gru_torch, linear, mlp
from tests.real.rebuilt import Rebuilt, Weights, normal, rows


def _stack(w: Weights, prefix: str) -> tuple[str, ...]:
    """Names of the linear layers `prefix`0, `prefix`2, ... in order."""
    found = {m[1] for name in w if (m := re.match(rf"({re.escape(prefix)}\d+)\.weight$", name))}
    return tuple(sorted(found, key=lambda name: int(name.rsplit(".", 1)[-1])))


def _state_dependent(log_std: Tensor, latent: Tensor) -> Tensor:
    """Generalised state-dependent exploration: one row of `log_std` for each latent unit."""
    return (latent**2 @ log_std.exp() ** 2).sqrt()


def sb3_actor_critic(w: Weights, x: Tensor) -> tuple[Tensor, ...]:
    latent = {}
    for net in ("policy", "value"):
        latent[net] = mlp(w, _stack(w, f"mlp_extractor.{net}_net."), x, torch.tanh).tanh()
    outputs = [linear(w, "action_net", latent["policy"]), linear(w, "value_net", latent["value"])]
    if "log_std" in w:
        std = w["log_std"]
        outputs.append(_state_dependent(std, latent["policy"]) if std.ndim == 2 else std.exp())
    return tuple(outputs)


def sb3_soft(w: Weights, observation: Tensor, action: Tensor) -> tuple[Tensor, ...]:
    """Actor, critics that read observation and action, and their slow twins."""
    latent = F.relu(mlp(w, _stack(w, "actor.latent_pi."), observation, F.relu))
    head = "actor.mu" if "actor.mu.weight" in w else "actor.mu.0"
    outputs = [linear(w, head, latent)]
    outputs.append(
        _state_dependent(w["actor.log_std"], latent) if "actor.log_std" in w else linear(w, "actor.log_std", latent)
    )
    both = torch.cat((observation, action), -1)
    for critic in sorted({name.rsplit(".", 2)[0] for name in w if name.startswith("critic")}):
        outputs.append(mlp(w, _stack(w, f"{critic}."), both, F.relu))
    return tuple(outputs)


def soft_inputs(w: Weights, generator: Generator) -> tuple[Tensor, Tensor]:
    seen, both = w["actor.latent_pi.0.weight"].shape[1], w["critic.qf0.0.weight"].shape[1]
    return tuple(torch.randn(3, n, generator=generator, dtype=torch.float64) for n in (seen, both - seen))


def sb3_random_search(w: Weights, x: Tensor) -> Tensor:
    return mlp(w, _stack(w, "action_net.") or ("action_net",), x, F.relu)


def search_inputs(w: Weights, generator: Generator) -> tuple[Tensor]:
    return rows("action_net.weight" if "action_net.weight" in w else "action_net.0.weight")(w, generator)


def estool(w: Weights, x: Tensor) -> tuple[Tensor, ...]:
    action = mlp(w, _stack(w, "layers."), x, torch.tanh)
    last = "layers.2.bias_log_std"
    return (action, w[last].exp()) if last in w else (action.tanh(),)


def ani(w: Weights, x: Tensor) -> Tensor:
    return mlp(w, _stack(w, "layers."), x, lambda y: F.celu(y, 0.1))


def ppo_pytorch(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    actor, critic = (mlp(w, _stack(w, f"{net}."), x, torch.tanh) for net in ("actor", "critic"))
    return actor.tanh(), critic


def dueling(w: Weights, x: Tensor) -> Tensor:
    h = F.relu(mlp(w, _stack(w, "hidden."), x, F.relu))
    advantage = linear(w, "A", h)
    return linear(w, "V", h) + advantage - advantage.mean(-1, keepdim=True)


def q_network(w: Weights, x: Tensor) -> Tensor:
    return mlp(w, _stack(w, "Q."), x, F.relu)


def noisy(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last layer with its stored noise, as in training, and without."""
    h = F.relu(mlp(w, _stack(w, "Q."), x, F.relu))
    mean = {part: w[f"Q.4.{part}_mu"] for part in ("weight", "bias")}
    drawn = {part: mean[part] + w[f"Q.4.{part}_sigma"] * w[f"Q.4.{part}_epsilon"] for part in mean}
    return F.linear(h, **mean), F.linear(h, **drawn)


def discrete_actor(w: Weights, x: Tensor) -> Tensor:
    return mlp(w, ("l1", "l2", "l3"), x, torch.tanh).softmax(-1)


def beta_actor(w: Weights, x: Tensor) -> tuple[Tensor, ...]:
    h = mlp(w, ("l1", "l2"), x, torch.tanh).tanh()
    return tuple(F.softplus(linear(w, f"{head}_head", h)) + 1 for head in ("alpha", "beta"))


def td3_actor(w: Weights, x: Tensor) -> Tensor:
    return mlp(w, ("l1", "l2", "l3"), x, torch.tanh).tanh()


def baby_a3c(w: Weights, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Flattened as (channel, height, width); the state of one frame feeds the next."""
    h = frames.new_zeros(len(frames), w["gru.weight_hh"].shape[1])
    for x in frames.unbind(1):
        for i in range(1, 5):
            x = F.elu(conv(w, f"conv{i}", x, stride=2, padding=1))
        cell = (w[f"gru.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h = gru_torch(*cell, x.flatten(1), h)
    return linear(w, "critic_linear", h), linear(w, "actor_linear", h)


NETWORKS = (
    *(
        Rebuilt(f"sb3_zoo/{kind}_*", sb3_actor_critic, rows("mlp_extractor.policy_net.0.weight"))
        for kind in ("a2c", "ppo")
    ),
    *(Rebuilt(f"sb3_zoo/{kind}_*", sb3_soft, soft_inputs) for kind in ("sac", "tqc", "her")),
    Rebuilt("sb3_zoo/ars_*", sb3_random_search, search_inputs),
    Rebuilt("estool/*", estool, rows("layers.0.weight")),
    Rebuilt("ani_1*", ani, rows("layers.0.weight")),
    Rebuilt("ppo_pytorch/*", ppo_pytorch, rows("actor.0.weight")),
    Rebuilt("drl_pytorch/2_1_*", dueling, rows("hidden.0.weight")),
    Rebuilt("drl_pytorch/2_3_*", q_network, rows("Q.0.weight")),
    Rebuilt("drl_pytorch/2_5_*", noisy, rows("Q.0.weight")),
    Rebuilt("drl_pytorch/3_1_*", discrete_actor, rows("l1.weight")),
    Rebuilt("drl_pytorch/3_2_*", beta_actor, rows("l1.weight")),
    Rebuilt("drl_pytorch/4_2_*", td3_actor, rows("l1.weight")),
    Rebuilt("baby_a3c/*", baby_a3c, normal((1, 2, 1, 80, 80))),
)
