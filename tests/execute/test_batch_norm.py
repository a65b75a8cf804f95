import copy

import pytest
import torch

from tests.execute.test_stack import X, make_networks
from weightspace.errors import ArchitectureError
from weightspace.execute.batch_norm import measure_batch_norm, reestimate_batch_norm
from weightspace.execute.module import from_module
from weightspace.execute.stack import run_stacked, stack_tensors
from weightspace.graph.trace.program import Program


def test_statistics_are_those_that_pytorch_measures_in_each_network_alone():
    nets = make_networks(2)
    stacked = stack_tensors([net.state_dict() for net in nets])
    before = {name: tensor.clone() for name, tensor in stacked.items()}
    batches = list(torch.randn(4, 50, 2, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3)

    found = reestimate_batch_norm(nets[0], stacked, batches)

    for net in nets:
        torch.optim.swa_utils.update_bn(batches, net)
    for name, expected in stack_tensors([net.state_dict() for net in nets]).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(found["4.running_var"], before["4.running_var"])
    assert all(torch.equal(stacked[name], tensor) for name, tensor in before.items())


def test_measured_statistics_undo_a_wrong_scale():
    net = make_networks(1)[0]
    for _ in range(60):
        net(X)
    wrong = copy.deepcopy(net)
    wrong[1].running_var.mul_(100)
    found = reestimate_batch_norm(wrong, stack_tensors([wrong.state_dict()]), [X])
    torch.testing.assert_close(run_stacked(net.eval(), found, X)[0], net(X), rtol=1e-2, atol=1e-2)
    assert not torch.allclose(wrong.eval()(X), net(X), rtol=1e-2, atol=1e-2)


def test_no_inputs_are_named():
    net = make_networks(1)[0]
    with pytest.raises(ArchitectureError, match="pass at least one batch"):
        reestimate_batch_norm(net, stack_tensors([net.state_dict()]), [])


def measuring(net):
    """The program of a network, its tensors, and batches to measure on."""
    checkpoint = from_module(net.eval(), (X[:2],))
    batches = list(torch.randn(3, 200, *X.shape[1:], generator=torch.Generator().manual_seed(2), dtype=X.dtype) * 3)
    return Program.from_json(checkpoint.metadata["architecture"]), checkpoint, batches


def test_a_program_alone_measures_the_same():
    net = make_networks(1)[0]
    program, checkpoint, batches = measuring(net)
    found = measure_batch_norm(program, checkpoint.tensors, batches)
    expected = reestimate_batch_norm(net, stack_tensors([net.state_dict()]), batches)
    moved = [name for name in found if name.endswith(("running_mean", "running_var"))]
    assert moved
    for name in moved:
        torch.testing.assert_close(found[name], expected[name][0], rtol=1e-3, atol=1e-4)
        assert not torch.allclose(found[name], checkpoint.tensors[name], rtol=1e-2)


def test_a_program_with_batch_norms_asks_for_inputs_and_one_without_for_none():
    program, checkpoint, _ = measuring(make_networks(1)[0])
    with pytest.raises(ArchitectureError, match="pass at least one batch"):
        measure_batch_norm(program, checkpoint.tensors, [])
    plain = from_module(torch.nn.Linear(2, 1), (torch.ones(2, 2),))
    program = Program.from_json(plain.metadata["architecture"])
    assert measure_batch_norm(program, plain.tensors, []) == dict(plain.tensors)
