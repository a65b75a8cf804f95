"""Policies: observations in, logits of the actions and a value out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weightspace.zoo.families.mlp import MLP
from weightspace.zoo.families.signature import Signature


class ActorCritic(nn.Module):
    """Two perceptrons that share nothing: `(observations) -> actions` logits, then one value.

    Source: Schulman et al. (2017), "Proximal policy optimization algorithms", section 6.1 (two hidden layers of tanh).
    """

    def __init__(self, signature: Signature, *, width: int, depth: int, activation: str, dropout: bool = False):
        super().__init__()
        if dropout:
            raise ValueError("a policy takes no dropout")
        self.actor = MLP(signature, width=width, depth=depth, activation=activation)
        self.critic = MLP(Signature(signature.inputs, 1), width=width, depth=depth, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(states, actions + 1)`, the value last."""
        return torch.cat([self.actor(x), self.critic(x)], -1)
