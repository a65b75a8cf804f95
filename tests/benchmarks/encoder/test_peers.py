"""Every peer learns what is there, and learns nothing where nothing is."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Generator

from benchmarks.encoder import scores
from benchmarks.encoder.data import Batch, Group, PeerError
from benchmarks.encoder.drawn import SMALL_CNN, describe_network, draw_networks
from benchmarks.encoder.graph_peer import GraphNet
from benchmarks.encoder.nfn_peer import NFNNet
from benchmarks.encoder.peers import PEERS
from benchmarks.encoder.probes import LinearGenerator, ProbeNet
from benchmarks.encoder.statnn import seven_statistics
from benchmarks.encoder.sweep_peer import SweepNet, SweepRead
from benchmarks.encoder.target import Target
from benchmarks.encoder.training import NeuralPeer, Run, Schedule, choose_share, read_networks
from tests.benchmarks.encoder.conftest import MLP, shuffled
from weightspace.encode.predictor import merged
from weightspace.nn import answers
from weightspace.train.config import LEARNED
from weightspace.train.recorded import Recorded

NARROW = {"graph": {"width": 32, "depth": 2}, "nfn": {"hidden": 128}}
SIREN = {"family": "siren", "options": {"width": 4, "depth": 1, "frequency": 30.0}}
SHORT = Schedule(rates=(3e-3,), epochs=10, batch=16)


def need(name):
    if name == "nfn":
        pytest.importorskip("nfn", reason="the extra 'bench' is not installed")
    return name


def fitted(name, splits, schedule=SHORT):
    """A peer, narrower than compared, after a short training that does not depend on how busy the machine is."""
    peer = PEERS[need(name)]()
    if isinstance(peer, NeuralPeer):
        peer.schedule = schedule
        peer.build = partial(peer.build, **NARROW.get(name, {}))
    peer.fit(splits["train"], splits["validation"], seed=0, budget=600 if isinstance(peer, NeuralPeer) else 0)
    return peer


class TwoHeads(torch.nn.Module):
    """One head tells the target's logit, the other a number that has nothing to do with it."""

    def __init__(self, told, first):
        super().__init__()
        self.told, self.first = told, first

    def forward(self, batch):
        truth, noise = self.told[batch.rows], torch.randn(len(batch.rows), generator=Generator().manual_seed(0))
        return torch.stack([truth, noise] if self.first else [noise, truth])[..., None]


@pytest.mark.parametrize(("first", "share"), [(True, 0.0), (False, 1.0)])
def test_the_head_that_tells_validation_networks_counts(first, share, mlps):
    target, validation = Target.of(mlps["train"]), mlps["validation"]
    module = TwoHeads(torch.logit(validation.target, eps=1e-6) - target.centre, first)
    raw = read_networks(module, validation)
    found, quality = choose_share(raw, target, validation.target)
    assert found == share
    scores_ = target.read(merged(raw, share))
    torch.testing.assert_close(scores_, validation.target, rtol=0, atol=1e-5)
    assert quality == target.quality(validation.target, scores_)


@pytest.mark.parametrize(("heads", "epoch", "share"), [(slice(None), 2, 1.0), (slice(0, 1), 1, 0.5)])
def test_an_epoch_is_chosen_with_the_share_of_its_heads(heads, epoch, share, mlps):
    """The first head gets worse and the second better: the later epoch is the better one, and without it the worse."""
    target, validation = Target.of(mlps["train"]), mlps["validation"]
    told = torch.logit(validation.target, eps=1e-6) - target.centre
    noise = 2 * torch.randn(len(told), generator=Generator().manual_seed(0))
    run = Run(Told(), target, SHORT, rate=1e-3)
    for at, (worse, better) in enumerate(((1.0, 1.0), (9.0, 0.1)), 1):
        run.module.raw = torch.stack([told + worse * noise, told + better * noise.roll(1)])[heads, :, None]
        run._select(validation, at)
    assert (run.best_epoch, run.share) == (epoch, share)


class Told(torch.nn.Module):
    """Tells what it is given."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.raw = torch.zeros(1)

    def forward(self, batch):
        return self.raw[:, batch.rows]


def held_out_tau(name, splits, schedule=SHORT):
    test = splits["test"]
    return scores.tau(test.target.numpy(), fitted(name, splits, schedule).predict(test))


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_tells_a_property_of_networks_it_has_not_seen(name, mlps):
    assert held_out_tau(name, mlps) > 0.35


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_tells_nothing_of_targets_that_were_shuffled(name, mlps):
    """Under chance the deviation of tau of 128 networks is 0.06."""
    nothing = {key: shuffled(each, 5) for key, each in mlps.items()}
    assert abs(held_out_tau(name, nothing, replace(SHORT, epochs=4))) < 0.25


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_reads_several_architectures_at_once_in_the_order_of_the_rows(name, two_widths):
    peer, test = fitted(name, two_widths), two_widths["test"]
    told = peer.predict(test)
    alone = [peer.predict(_only(test, i)) for i in range(len(test.groups))]

    assert scores.tau(test.target.numpy(), told) > 0.35
    np.testing.assert_allclose(told, np.concatenate(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sweeps", "sweeps+probes"])
def test_ours_reads_an_architecture_that_none_of_the_training_networks_has(name, two_widths):
    peer = fitted(name, two_widths | {"train": _only(two_widths["train"], 0)}, replace(SHORT, epochs=1))
    assert np.isfinite(peer.predict(two_widths["test"])).all()


def _only(networks, i):
    group = networks.groups[i]
    rows = group.rows
    kept = Group(group.architecture, torch.arange(len(rows)), group.flat)
    return type(networks)(networks.frame.iloc[rows.tolist()], networks.target[rows], (kept,))


def relabelled(group, order, *, both=True):
    """Networks with hidden units in another order; with `both` false the weights that read them stay."""
    w1, b1, w2, b2 = group.weights.values()
    parts = [w1[:, order], b1[:, order], w2[:, :, order] if both else w2, b2]
    return Batch((Group(group.architecture, group.rows, torch.cat([p.flatten(1) for p in parts], 1)),))


@pytest.mark.parametrize("build", [GraphNet, NFNNet])
def test_relabelling_hidden_units_changes_nothing_and_half_of_it_does(build, mlps):
    if build is NFNNet:
        need("nfn")
    torch.manual_seed(0)
    module = build(mlps["train"], 1).double().eval()
    group = mlps["test"].groups[0]
    group = Group(group.architecture, group.rows, group.flat.double())
    order = torch.tensor([2, 0, 3, 1])

    before = module(Batch((group,)))

    torch.testing.assert_close(module(relabelled(group, order)), before, rtol=1e-9, atol=1e-9)
    assert (module(relabelled(group, order, both=False)) - before).abs().max() > 1e-4 * before.abs().max()


@pytest.mark.parametrize(("known", "inputs", "places"), [(SIREN, (2,), True), (MLP, (1, 2, 3), False)])
def test_inputs_that_are_places_are_moved_while_our_peer_learns_and_no_others(known, inputs, places):
    networks = draw_networks([describe_network(known, inputs, 1)], 40, generator=Generator().manual_seed(0))
    (batch,) = networks.batches(40)
    net = SweepNet(networks, 1, run=True)

    def answers():
        with torch.no_grad():
            return net(batch)[:, -LEARNED.answers :]

    learning = [answers() for _ in range(2)]
    assert torch.equal(*learning) != places
    net.eval()
    still = [answers() for _ in range(2)]
    assert torch.equal(*still) and torch.equal(still[0], learning[0]) != places


@pytest.mark.parametrize("run", [True, False])
def test_gradients_taken_architecture_by_architecture_are_those_of_the_batch(run, two_widths, device, monkeypatch):
    monkeypatch.setattr(answers, "DROPPED", 0.0)  # what is dropped is drawn elsewhere where updates are recorded
    networks = two_widths["train"].to(device)
    (batch,) = networks.batches(len(networks))
    assert len(batch.groups) == 2
    found = []
    for apart in (False, True):
        torch.manual_seed(0)
        module = SweepRead(networks, 1, run=run).to(device)
        taught = Run(module, Target.of(networks), SHORT, rate=1e-3)
        module.train()
        for part in module.modules():
            part.p = 0.0
        for _ in range(2):
            if apart:
                taught._learn_apart(module, batch, networks.target)
            else:
                module.zero_grad()
                taught._loss(module(batch), networks.target[batch.rows]).backward()
        found.append({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    assert len(found[0]) > 20
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, rtol=1e-2, atol=1e-2 * float(grad.abs().max()) + 1e-7)


@pytest.mark.parametrize("name", ["sweeps", "sweeps+probes", "probes"])
def test_what_is_read_with_recordings_is_what_is_read_without(name, two_widths, device):
    networks = two_widths["train"].to(device)
    module, recorded = PEERS[name]().build(networks, 1).to(device), Recorded(())
    whole = read_networks(module, networks, size=40)
    for _ in range(2):
        raw = read_networks(module, networks, size=40, recorded=recorded)
        torch.testing.assert_close(raw, whole, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
    assert (read_networks(module, networks, size=40, recorded=recorded) - whole).abs().max() > 1e-3
    torch.testing.assert_close(
        read_networks(module, networks, size=40, recorded=recorded),
        read_networks(module, networks, size=40),
        rtol=1e-3,
        atol=1e-4,
    )


def test_nfn_has_the_published_number_of_weights():
    need("nfn")
    networks = draw_networks([describe_network(SMALL_CNN)], 2, generator=Generator().manual_seed(0))
    assert sum(p.numel() for p in NFNNet(networks, 1).parameters()) == 2_811_743


def test_without_nfn_the_extra_is_named(monkeypatch, mlps):
    monkeypatch.setitem(__import__("sys").modules, "nfn.common", None)
    with pytest.raises(PeerError, match=r"weightspace\[bench\]"):
        NFNNet(mlps["train"], 1)


def test_nfn_refuses_networks_with_skips():
    options = {"depth": 3, "channels": [4, 4, 4], "kernels": [3, 3, 3], "activations": ["relu"] * 3}
    known = {"family": "wildpark", "options": options | {"skips": [-1, -1, 0]}}
    networks = draw_networks([describe_network(known)], 2, generator=Generator().manual_seed(0))
    with pytest.raises(PeerError, match="plain chains"):
        NFNNet(networks, 1)


def test_probes_refuse_networks_that_read_symbols():
    known = {"family": "gru_char", "options": {"width": 4}}
    networks = draw_networks([describe_network(known, (8,), 5)], 2, generator=Generator().manual_seed(0))
    with pytest.raises(PeerError, match="symbols"):
        ProbeNet(networks, 1)


@pytest.mark.parametrize("shape", [(2,), (1, 5, 7)])
def test_the_generator_of_probes_is_linear_in_its_codes(shape):
    torch.manual_seed(0)
    generator = LinearGenerator(3, shape).double()
    with torch.no_grad():
        generator.codes[2] = 2 * generator.codes[0] - generator.codes[1]
        a, b, c = generator()
    torch.testing.assert_close(c, 2 * a - b)
    assert (a - b).abs().max() > 1e-3


def test_seven_statistics_are_numpys():
    x = torch.randn(3, 4, 5, generator=Generator().manual_seed(0), dtype=torch.float64).float()
    flat = x.flatten(1).numpy()
    expected = [flat.mean(1), flat.var(1), *np.quantile(flat, [0, 0.25, 0.5, 0.75, 1], axis=1)]
    np.testing.assert_allclose(seven_statistics(x).numpy(), np.stack(expected, 1), rtol=1e-5, atol=1e-6)
