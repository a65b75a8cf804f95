"""Batch norms folded into the layers right before them: of all ways to split a channel's scale, one is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ArchitectureError
from weightspace.graph.trace.literals import Ref, references
from weightspace.graph.trace.program import Node, Program, Slot

NORM = "aten._native_batch_norm_legit_no_training.default"
CONVOLUTION = "aten.convolution.default"
MATRICES = ("aten.mm.default", "aten.addmm.default")
TRANSPOSITION = "aten.permute.default"


def fold_batch_norm(checkpoint: Checkpoint) -> Checkpoint:
    """Move the scale of batch norms into the layers before them; in evaluation mode the function is the same.

    With `s = scale / sqrt(variance + epsilon)`, `W` becomes `s W` and the norm the identity (scale 1, mean 0, variance
    `1 - epsilon`); the shift `s (bias - mean) + shift` goes to the layer's bias, else stays in the norm. Names, shapes
    and program remain, so that the result runs, relabels and encodes as before, and networks that differ only in how
    they split a channel's scale and shift become one.

    A norm is folded where it alone reads the output of a linear layer or a (grouped, transposed) convolution, and no
    tensor of either is used twice; other norms stay as they are. Results are rounded to each tensor's own dtype. Which
    epsilon (1e-5 in PyTorch, 1e-3 in Keras) and what stands between come from the stored program, never from a guess.

    Args:
        checkpoint: With its program, as `from_module` makes it.

    Raises:
        ArchitectureError: It names no program, or one that does not fit its tensors.

    Source:
        Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only
        inference", section 3.2 (equation 14).

    Example:
        >>> from torch import nn
        >>> from weightspace import from_module
        >>> net = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, eps=0.0))
        >>> _ = net.load_state_dict({"1.running_var": torch.tensor([4.0])}, strict=False)
        >>> _ = [nn.init.constant_(p, v) for p, v in zip(net.parameters(), (6.0, 8.0, 1.0, 2.0))]
        >>> tensors = fold_batch_norm(from_module(net, (torch.ones(2, 1),))).tensors
        >>> {name: tensors[name].tolist() for name in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_var")}
        {'0.weight': [[3.0]], '0.bias': [6.0], '1.weight': [1.0], '1.bias': [0.0], '1.running_var': [1.0]}
    """
    text = checkpoint.metadata.get("architecture")
    if text is None:
        raise ArchitectureError(
            f"{checkpoint.source}: its metadata holds no 'architecture', so neither the epsilon of its norms nor what "
            "stands before them is known. Build the module it was trained as, load the weights, and use "
            "from_module(module, args)."
        )
    tensors, program = dict(checkpoint.tensors), Program.from_json(text)
    try:
        for pair in _Reading(program, checkpoint).pairs():
            tensors |= _folded(pair, tensors)
    except ArchitectureError:
        raise
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise ArchitectureError(
            f"{checkpoint.source}: a norm of the program has arguments that its operator does not take "
            f"({str(error)[:100]}). Capture it again with from_module(module, args)."
        ) from error
    return replace(checkpoint, tensors=tensors)


@dataclass(frozen=True)
class _Pair:
    """A layer and the norm right after it, by the names of their tensors.

    Args:
        weight: Of the layer.
        out: Dimension of the weight that holds the channels; those of one group if there are several groups.
        into: Dimension of the weight that falls into the groups.
        groups: Of a transposed convolution; 1 for all others.
        bias: Of the layer.
        norm: Scale, shift, mean, variance.
        epsilon: Of the norm.
    """

    weight: str
    out: int
    into: int
    groups: int
    bias: str | None
    norm: tuple[str | None, str | None, str, str]
    epsilon: float


class _Reading:
    """Finds the pairs of one program."""

    def __init__(self, program: Program, checkpoint: Checkpoint):
        self.program, self.checkpoint = program, checkpoint
        self.nodes = {node.name: node for node in program.nodes}
        self.slots = {s.name: s for s in program.slots if s.role in ("parameter", "buffer")}
        self.stored = {name: checkpoint.shared.get(s.target, s.target) for name, s in self.slots.items()}
        args = [item for node in program.nodes for item in (*node.args, *node.kwargs.values())]
        used = references((*args, *program.outputs, *program.updates.values()))
        self.uses = Counter(self.stored.get(ref.name, ref.name) for ref in used)

    def pairs(self) -> list[_Pair]:
        found = [self._pair(node) for node in self.program.nodes if node.op == NORM]
        return [pair for pair in found if pair is not None]

    def _pair(self, norm: Node) -> _Pair | None:
        x, *parts, _, epsilon = norm.args
        layer = self.nodes.get(x.name)
        if layer is None or self.uses[x.name] > 1 or layer.kwargs:
            return None
        ref, bias, (out, into), groups = self._layer(layer)
        optional = (bias, *parts[:2])
        names = [self._own(r, parts[2]) for r in optional]
        weight, mean, variance = self._own(ref), self._own(parts[2]), self._own(parts[3], parts[2])
        if (
            weight is None
            or mean is None
            or variance is None
            or [r is None for r in optional] != [n is None for n in names]
        ):
            return None
        return _Pair(weight, out, into, groups, names[0], (names[1], names[2], mean, variance), epsilon)

    def _layer(self, node: Node) -> tuple[Ref | None, Ref | None, tuple[int, int], int]:
        """Weight and bias of a layer, its dimensions and its groups; no weight where it is of another kind."""
        if node.op == CONVOLUTION:
            _, weight, bias, *_, transposed, _, groups = node.args
            ref, dims = self._turned(weight, (1, 0) if transposed else (0, 1))
            return ref, bias, dims, groups if transposed else 1
        if node.op not in MATRICES:
            return None, None, (0, 0), 1
        *bias, _, weight = node.args
        ref, dims = self._turned(weight, (1, 0))
        return ref, bias[0] if bias else None, dims, 1

    def _turned(self, ref: Ref, dims: tuple[int, int]) -> tuple[Ref, tuple[int, int]]:
        """What is stored, and where its dimensions are, if `ref` is a stored tensor with its dimensions permuted."""
        node = self.nodes.get(ref.name)
        if node is None or node.op != TRANSPOSITION or self.uses[ref.name] > 1:
            return ref, dims
        inner, order = node.args
        return self._turned(inner, (order[dims[0]], order[dims[1]]))

    def _own(self, ref: Any, like: Ref | None = None) -> str | None:
        """Name of a float tensor that is used here alone; of the shape of another, if one is given."""
        if not isinstance(ref, Ref) or ref.name not in self.slots or self.uses[self.stored[ref.name]] > 1:
            return None
        if like is not None and self.program.values[ref].shape != self.program.values[like].shape:
            return None
        return self._checked(self.slots[ref.name], self.stored[ref.name])

    def _checked(self, slot: Slot, name: str) -> str | None:
        tensor = self.checkpoint.tensors.get(name)
        if tensor is None or tuple(tensor.shape) != slot.value.shape:
            raise ArchitectureError(
                f"{self.checkpoint.source}: the program needs a tensor {slot.target!r} of shape {slot.value.shape}, "
                f"the checkpoint has {tuple(tensor.shape) if tensor is not None else 'no such tensor'}."
            )
        return name if tensor.is_floating_point() else None


def _folded(pair: _Pair, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a pair after folding."""
    scale, shift, mean, variance = pair.norm
    factor = (tensors[variance].double() + pair.epsilon).rsqrt()
    factor = factor * tensors[scale].double() if scale else factor
    rest = -tensors[mean].double() if pair.bias is None else tensors[pair.bias].double() - tensors[mean].double()
    rest = factor * rest + (tensors[shift].double() if shift else 0.0)
    weight, zero = tensors[pair.weight].double(), torch.zeros_like(rest)
    found = {pair.weight: weight * _along(factor, pair, weight), mean: zero}
    found[variance] = torch.full_like(rest, 1 - pair.epsilon)
    found |= {scale: torch.ones_like(rest)} if scale else {}
    found |= {shift: zero} if shift else {}
    found |= {pair.bias: rest} if pair.bias else {shift: rest} if shift else {mean: -rest}
    return {name: tensor.to(tensors[name].dtype) for name, tensor in found.items()}


def _along(factor: Tensor, pair: _Pair, weight: Tensor) -> Tensor:
    """One factor a channel, laid along the weight."""
    shape = [1] * weight.ndim
    shape[pair.out] = len(factor) // pair.groups
    if pair.groups == 1:
        return factor.reshape(shape)
    shape[pair.into] = weight.shape[pair.into]
    rows = factor.reshape(pair.groups, -1).repeat_interleave(shape[pair.into] // pair.groups, 0)
    return (rows if pair.into < pair.out else rows.T).reshape(shape)
