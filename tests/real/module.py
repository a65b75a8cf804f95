"""A rebuilt network as an `nn.Module` whose state dict is the checkpoint's own."""

from torch import Tensor, nn

from tests.real.rebuilt import Rebuilt, Weights


class RebuiltModule(nn.Module):
    """Holds the weights under their own names, one submodule for each dot."""

    def __init__(self, network: Rebuilt, weights: Weights):
        super().__init__()
        self.network = network
        for name, tensor in weights.items():
            *path, last = name.split(".")
            home: nn.Module = self
            for part in path:
                if part not in home._modules:
                    home.add_module(part, nn.Module())
                home = home._modules[part]
            home.register_parameter(last, nn.Parameter(tensor, requires_grad=False))

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.network.forward(dict(self.named_parameters(remove_duplicate=False)), *inputs)
