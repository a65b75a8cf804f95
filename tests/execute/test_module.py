"""A module made from a checkpoint alone computes what the original computes, and hostile programs run nothing."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ArchitectureError
from weightspace.execute.module import from_module, to_module


class Tied(nn.Module):
    """A transformer layer whose output reads its embedding table."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor([1.5]), persistent=False)

    def forward(self, tokens):
        return self.head(self.layer(self.embed(tokens) * self.scale))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)
    )


def networks():
    g = torch.Generator().manual_seed(0)
    return {
        "convolutional": (convolutional, torch.randn(2, 1, 8, 8, generator=g)),
        "lstm": (lambda: nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), torch.randn(2, 5, 3, generator=g)),
        "gru": (lambda: nn.GRU(3, 4, batch_first=True), torch.randn(2, 5, 3, generator=g)),
        "tied": (Tied, torch.randint(0, 11, (2, 6), generator=g)),
    }


def built(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    build, x = networks()[name]
    return build().eval(), x


def flat(outputs) -> list[torch.Tensor]:
    return [outputs] if isinstance(outputs, torch.Tensor) else [t for part in outputs for t in flat(part)]


@pytest.mark.parametrize("name", networks())
def test_it_computes_what_the_original_computes_at_another_batch_size_and_precision(name):
    module, x = built(name)
    again = to_module(from_module(module, (x,))).double()
    x = torch.cat([x, x, x])
    x = x.double() if x.is_floating_point() else x

    pairs = list(zip(flat(again(x)), flat(module.double()(x)), strict=True))

    assert all(float((a - b).detach().abs().max()) <= 1e-12 and a.dtype == torch.float64 for a, b in pairs)
    assert again.state_dict().keys() == module.state_dict().keys()


@pytest.mark.parametrize("name", ["convolutional", "tied"])
def test_its_gradients_are_those_of_the_original(name):
    module, x = built(name)
    again = to_module(from_module(module, (x,))).double()
    x = x.double() if x.is_floating_point() else x
    for net in (module.double(), again):
        flat(net(x))[0].square().sum().backward()

    ours = dict(again.named_parameters())
    for parameter_name, parameter in module.named_parameters():
        torch.testing.assert_close(ours[parameter_name].grad, parameter.grad)


def test_it_answers_for_other_weights_than_those_of_the_capture():
    module, x = built("convolutional")
    again = to_module(from_module(module, (x,)))
    weights = {name: torch.randn_like(p) for name, p in module.named_parameters()}

    found = torch.func.functional_call(again, weights, (x,))

    torch.testing.assert_close(found, torch.func.functional_call(module, weights, (x,)))
    assert (found - module(x)).abs().max() > 0.01


def test_training_it_leaves_the_checkpoint_alone_and_saves_back():
    module, x = built("convolutional")
    checkpoint = from_module(module, (x,))
    again = to_module(checkpoint)
    before = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.add_(1)

    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in before.items())
    module.load_state_dict(again.state_dict())
    torch.testing.assert_close(module(x), again(x))


def test_a_checkpoint_without_an_architecture_says_what_to_do():
    with pytest.raises(ArchitectureError, match=r"net.pt: its metadata holds no 'architecture'.*from_module"):
        to_module(Checkpoint({"w": torch.zeros(2)}, source="net.pt"))


def test_a_missing_or_misshapen_tensor_is_named():
    module, x = built("convolutional")
    checkpoint = from_module(module, (x,))
    tensors = {**checkpoint.tensors, "5.weight": torch.zeros(2, 3)}
    with pytest.raises(ArchitectureError, match=r"'5.weight' of shape \(2, 16\), the checkpoint has \(2, 3\)"):
        to_module(replace(checkpoint, tensors=tensors))
    del tensors["5.weight"]
    with pytest.raises(ArchitectureError, match=r"'5.weight'.* no such tensor"):
        to_module(replace(checkpoint, tensors=tensors))


def test_inputs_of_another_shape_are_named():
    module, x = built("convolutional")
    with pytest.raises(ArchitectureError, match=r"\('batch', 1, 8, 8\).*not \[\(2, 1, 9, 8\)\]"):
        to_module(from_module(module, (x,)))(torch.zeros(2, 1, 9, 8))


@pytest.mark.parametrize(
    "op", ["os.system", "aten.add_.Tensor", "aten.__class__.__call__", "builtins.eval", "aten.relu"]
)
def test_an_operator_outside_of_the_list_is_refused_before_anything_runs(op):
    module, x = built("convolutional")
    program = json.loads(from_module(module, (x,)).metadata["architecture"])
    program["nodes"][0][1] = op
    with pytest.raises(ArchitectureError):
        to_module(replace(from_module(module, (x,)), metadata={"architecture": json.dumps(program)}))


@pytest.mark.parametrize("name", ["forward", "_program", "a..b", "_modules.x", ""])
def test_a_tensor_name_that_a_module_cannot_hold_is_refused(name):
    module, x = nn.Linear(2, 1), torch.zeros(1, 2)
    checkpoint = from_module(module, (x,))
    text = checkpoint.metadata["architecture"].replace('"weight"', json.dumps(name))
    tensors = {name: checkpoint.tensors["weight"], "bias": checkpoint.tensors["bias"]}
    with pytest.raises(ArchitectureError):
        to_module(Checkpoint(tensors, {"architecture": text}))


def test_an_operation_that_fails_is_named():
    module, x = built("convolutional")
    checkpoint = from_module(module, (x,))
    program = json.loads(checkpoint.metadata["architecture"])
    node = next(row for row in program["nodes"] if "convolution" in row[1])
    node[2][3] = [-5, -5]
    broken = to_module(replace(checkpoint, metadata={"architecture": json.dumps(program)}))
    with pytest.raises(ArchitectureError, match=r"operation 'convolution' \(aten.convolution.default"):
        broken(x)
