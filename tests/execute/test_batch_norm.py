import copy

import pytest
import torch

from tests.execute.test_stack import X, make_networks
from weightspace.errors import ArchitectureError
from weightspace.execute.batch_norm import reestimate_batch_norm
from weightspace.execute.stack import run_stacked, stack_tensors


def test_statistics_are_those_of_the_inputs():
    nets = make_networks(2)
    stacked = stack_tensors([net.state_dict() for net in nets])
    batches = list(torch.randn(4, 50, 2, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3)

    found = reestimate_batch_norm(nets[0], stacked, batches)

    first = torch.stack([net[0](torch.cat(batches)).transpose(0, 1).flatten(1) for net in nets])
    torch.testing.assert_close(found["1.running_mean"], first.mean(2))
    torch.testing.assert_close(found["1.running_var"], first.var(2), rtol=1e-3, atol=0)
    assert not torch.allclose(found["4.running_var"], stacked["4.running_var"])
    assert torch.equal(stacked["1.running_mean"], torch.zeros(2, 4).double())  # the input stays


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
