import pytest
import torch
from torch import nn
from torch.func import functional_call

from weightspace.execute import images_last
from weightspace.execute.images_last import IMAGES, run_in_parts
from weightspace.execute.module import from_module, to_module
from weightspace.execute.stack import stack_tensors


class Plain(nn.Module):
    """Strides, then a step of one, and a view that only some layouts allow."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv2d(2, 5, 3, stride=2), nn.Conv2d(5, 4, 3, padding=1), nn.Conv2d(4, 6, (2, 3), stride=(2, 1))]
        )
        self.head = nn.Linear(6 * 3 * 5, 3)

    def forward(self, x):
        for conv in self.convs:
            x = torch.tanh(conv(x))
        return self.head(x.view(x.shape[0], -1))


def normed():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6, affine=False),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 1, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def gaps():
    """Windows that leave places out, and convolutions that are left to PyTorch."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 2, stride=3),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, groups=2, padding=1),
        nn.Conv2d(4, 3, 2, dilation=2),
        nn.ConvTranspose2d(3, 3, 2),
        nn.Flatten(),
    )


def steps():
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 3, stride=2), nn.Flatten())


def pairs():
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 15 * 15, 4), nn.Tanh(), nn.Linear(4, 3))


def make(build, dtype=torch.float64, count=5):
    torch.manual_seed(0)
    nets = [build().to(dtype).eval() for _ in range(count)]
    for net in nets:
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            elif buffer.is_floating_point():
                buffer.normal_()
    return nets


def images(count=IMAGES + 3, dtype=torch.float64):
    return torch.randn(count, 2, 15, 15, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch):
    monkeypatch.setattr(images_last, "TOGETHER", 2 * 6 * 15 * 15 * IMAGES)


@pytest.fixture
def several(request, set_threads):
    set_threads(request.param)


def learned(stacked, module):
    names = {name for name, _ in module.named_parameters()}
    return {name: tensor.requires_grad_(name in names) for name, tensor in stacked.items()}


@pytest.mark.parametrize("build", [Plain, normed, gaps, steps, pairs])
@pytest.mark.parametrize("count", [4, IMAGES + 3])
@pytest.mark.parametrize("several", [1, 3], indirect=True)
def test_answers_and_gradients_are_those_of_networks_one_by_one(build, count, several):
    nets, x = make(build), images(count).requires_grad_()
    stacked = learned(stack_tensors([net.state_dict() for net in nets]), nets[0])

    found = run_in_parts(nets[0], stacked, x)
    expected = torch.stack([net(x) for net in nets])

    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weigh = torch.randn(found.shape, generator=torch.Generator().manual_seed(2), dtype=found.dtype)
    names = [name for name, tensor in stacked.items() if tensor.requires_grad]
    got = torch.autograd.grad((found * weigh).sum(), [x, *(stacked[name] for name in names)])
    of_each = [p for net in nets for p in net.parameters()]
    wanted = torch.autograd.grad((expected * weigh).sum(), [x, *of_each])
    torch.testing.assert_close(got[0], wanted[0], rtol=1e-10, atol=1e-10)
    for i, gradient in enumerate(got[1:]):
        torch.testing.assert_close(gradient, torch.stack(wanted[1 + i :: len(names)]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("build", [Plain, normed])
def test_single_precision_is_kept(build):
    nets, x = make(build, torch.float32), images(dtype=torch.float32)
    with torch.no_grad():
        found = run_in_parts(nets[0], stack_tensors([net.state_dict() for net in nets]), x)
        expected = torch.stack([net(x) for net in nets])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [Plain, normed])
def test_a_checkpoint_that_carries_its_program_answers_alike(build):
    nets, x = make(build), images()
    module = to_module(from_module(nets[0], (x[:2],)))
    with torch.no_grad():
        found = run_in_parts(module, stack_tensors([net.state_dict() for net in nets]), x)
    torch.testing.assert_close(found, torch.stack([net(x) for net in nets]).detach(), rtol=1e-10, atol=1e-10)


def test_the_layout_is_that_of_images_last_and_large_steps_of_one_keep_theirs(monkeypatch, set_threads):
    set_threads(1)  # work that is done side by side comes in more parts
    calls = []
    run = images_last.convolve
    monkeypatch.setattr(images_last, "convolve", lambda *args: calls.append(len(args[0])) or run(*args))
    for build, count, expected in ((Plain, IMAGES, [1, 2, 2]), (Plain, 4, []), (steps, IMAGES, [])):
        nets = make(build, count=2)
        run_in_parts(nets[0], stack_tensors([net.state_dict() for net in nets]), images(count))
        assert calls == expected
        calls.clear()


def test_another_network_s_kernel_changes_no_answer_but_its_own():
    nets, x = make(Plain), images()
    stacked = stack_tensors([net.state_dict() for net in nets])
    with torch.no_grad():
        before = run_in_parts(nets[0], stacked, x)
        stacked["convs.1.weight"][3] *= 1.1
        after = run_in_parts(nets[0], stacked, x)
    assert torch.equal(before[[0, 1, 2, 4]], after[[0, 1, 2, 4]])
    assert not torch.allclose(before[3], after[3])
    weights = {name: tensor[3] for name, tensor in stacked.items()}
    torch.testing.assert_close(after[3], functional_call(nets[3], weights, (x,)).detach(), rtol=1e-10, atol=1e-10)
