"""Character-level recurrent networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weightspace.zoo.dropout import Dropout
from weightspace.zoo.families.signature import Signature


class GRU(nn.GRU):
    """`torch.nn.GRU` of one layer, step by step, so that it runs on stacks everywhere."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return the states `(texts, places, width)` for inputs `(texts, places, fan_in)`, starting from zero."""
        weight_ih, weight_hh, bias_ih, bias_hh = self.all_weights[0]
        gates = x @ weight_ih.T + bias_ih
        h, states = torch.zeros_like(gates[:, 0, : self.hidden_size]), []
        for step in gates.unbind(1):
            reset, update, new = step.chunk(3, -1)
            own_reset, own_update, own_new = (h @ weight_hh.T + bias_hh).chunk(3, -1)
            keep = torch.sigmoid(update + own_update)
            h = keep * h + (1 - keep) * torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            states.append(h)
        return torch.stack(states, 1)


class CharGRU(nn.Module):
    """Embedding, one gated recurrent layer, dense layer.

    Source: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder", section 2.3.
    """

    def __init__(self, signature: Signature, *, width: int = 32, dropout: bool = False):
        super().__init__()
        self.characters = nn.Embedding(signature.outputs, width)
        self.gru = GRU(width, width, batch_first=True)
        self.dropout = Dropout() if dropout else nn.Identity()
        self.head = nn.Linear(width, signature.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `(texts, places, characters)` of the character after each place of `(texts, places)`."""
        return self.head(self.dropout(self.gru(self.characters(x))))
