"""Weight norm, spectral norm and parametrizations: the weight is the one that PyTorch's own module uses."""

import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from weightspace.checkpoint.load import load_checkpoint, read_header

MODULES = {
    "linear": lambda: nn.Linear(3, 4),
    "one output": lambda: nn.Linear(3, 1),
    "convolution": lambda: nn.Conv2d(3, 4, 3),
    "transposed": lambda: nn.ConvTranspose1d(4, 4, 3),
}


def old_weight_norm(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in many files
        return weight_norm(module)


NORMS = {
    "old weight norm": old_weight_norm,
    "weight norm": parametrizations.weight_norm,
    "old spectral norm": spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
}


def made(module, norm):
    torch.manual_seed(7)
    module = nn.Sequential(norm(module()), nn.Flatten())
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            tensor.mul_(1 + torch.rand(tensor.shape, generator=torch.Generator().manual_seed(len(name))))
        if "spectral" in norm.__name__:
            for _ in range(3):
                module(torch.randn(2, *{2: (3,), 3: (4, 5), 4: (3, 5, 5)}[module[0].weight.ndim]))
    return module.eval().double()


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
def test_the_resolved_weight_is_the_one_in_use(module, norm, tmp_path):
    network = made(module, norm)
    inputs = torch.randn(2, *{2: (3,), 3: (4, 5), 4: (3, 5, 5)}[network[0].weight.ndim]).double()
    expected = network(inputs)
    plain = nn.Sequential(module(), nn.Flatten()).double()
    save_file(network.state_dict(), tmp_path / "x.safetensors")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "x.pt")

    for source in (network, network.state_dict(), tmp_path / "x.safetensors", tmp_path / "x.pt"):
        found = load_checkpoint(source)
        plain.load_state_dict(dict(found.tensors))
        torch.testing.assert_close(plain(inputs), expected, rtol=1e-9, atol=1e-12)
    assert read_header(tmp_path / "x.safetensors") == load_checkpoint(tmp_path / "x.safetensors").header


def test_a_weight_norm_over_everything_is_resolved():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = weight_norm(nn.Linear(3, 4), dim=None)
    layer(torch.ones(3))
    torch.testing.assert_close(load_checkpoint(layer).tensors["weight"], layer.weight.detach())


def test_recurrent_weights_under_weight_norm_are_resolved():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    assert set(load_checkpoint(layer).tensors) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}


def test_names_that_only_look_like_a_pair_stay():
    state = {
        "attention.w_g": torch.ones(4, 3),
        "attention.w_v": torch.ones(4, 3),
        "b_g": torch.ones(3),
        "b_v": torch.ones(3),
    }
    assert set(load_checkpoint(state).tensors) == set(state)


def test_a_shared_norm_is_shared_after_it_is_resolved():
    layer = parametrizations.weight_norm(nn.Linear(3, 3))
    found = load_checkpoint(nn.Sequential(layer, nn.ReLU(), layer).state_dict())
    assert dict(found.shared) == {"2.bias": "0.bias", "2.weight": "0.weight"}


class Symmetric(nn.Module):
    def forward(self, weight):
        return weight.triu() + weight.triu(1).T


def test_an_unknown_parametrization_is_worked_out_by_its_module_and_noted_without_it():
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())

    by_module, by_state = load_checkpoint(layer), load_checkpoint(layer.state_dict())

    assert torch.equal(by_module.tensors["weight"], layer.weight.detach()) and not by_module.left_out
    assert torch.equal(by_state.tensors["weight"], layer.parametrizations.weight.original.detach())
    assert "its rule is not in the file" in by_state.left_out["parametrizations.weight"]
