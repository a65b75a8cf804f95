"""The sixteen architectures with random float64 weights and their traced graphs."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from tests.architectures import ARCHITECTURES
from tests.graph.symmetry.networks import seeded
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.check import difference, randomise
from weightspace.graph.trace import trace_graph


@dataclass(frozen=True)
class Traced:
    module: nn.Module
    graph: ParameterGraph
    args: tuple[Tensor, ...]

    def draw(self, seed: int) -> Checkpoint:
        kinds = {block.tensor: block.kind for block in self.graph.blocks.values()}
        randomise(self.module, kinds, seeded(seed))
        shared = self.graph.shared
        tensors = {name: t.clone() for name, t in self.module.state_dict().items() if name not in shared}
        return Checkpoint(tensors, shared=shared)

    def run(self, checkpoint: Checkpoint) -> list[Tensor]:
        self.module.load_state_dict(dict(checkpoint.tensors), strict=False)
        with torch.no_grad():
            return [t for t in tree_flatten(self.module(*self.args))[0] if isinstance(t, Tensor)]

    def error(self, one: Checkpoint, other: Checkpoint) -> float:
        """Largest difference of the outputs of two checkpoints, relative to the largest output."""
        return difference(self.run(one), self.run(other))


@cache
def traced(name: str) -> Traced:
    architecture = ARCHITECTURES[name]
    module = architecture.build(**architecture.sizes).double().eval()
    inputs = architecture.inputs(architecture.sizes)
    args = tuple(t.double() if t.is_floating_point() else t for t in inputs)
    return Traced(module, trace_graph(module, args), args)


def differing(one: Checkpoint, other: Checkpoint) -> list[str]:
    """Names of the tensors that are not equal bit for bit."""
    words = {name: (t, other.tensors[name]) for name, t in one.tensors.items()}
    return [name for name, (a, b) in words.items() if not torch.equal(_bytes(a), _bytes(b))]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)
