"""Polished weights and refined latents answer more as wanted; each network for itself, the decoder untouched."""

import copy

import pytest
import torch
from torch import Generator

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.errors import DecoderError
from weightspace.execute.module import from_module, to_module
from weightspace.execute.stack import run_stacked, stack_tensors
from weightspace.train.decoder import behaviour_loss
from weightspace.train.improve import Wish, decode_latent
from weightspace.train.into import Into
from weightspace.train.polish import polish
from weightspace.train.refine import refine_latents
from weightspace.zoo.architecture import architecture_of

SPEC = "mlp:width=12,depth=1,activation=tanh,inputs=6,classes=3"


def inputs(count=200, seed=0):
    return torch.randn(count, 6, generator=Generator().manual_seed(seed))


def original(seed=0) -> Checkpoint:
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    for parameter in net.parameters():
        parameter.data.mul_(3)
    return from_module(net, (inputs(2),))


@pytest.fixture
def decoder():
    network = DecoderNetwork(
        DecoderConfig(latent=5, trunk=16, stories=1, width=16, waves=8, rank=6, layers=1),
        generator=Generator().manual_seed(0),
    )
    return Decoder("tiny", network, "enc", ((6,),), 3)


def loss(module, weights, wanted):
    return float(behaviour_loss(run_stacked(module, weights, inputs()), wanted))


def test_polished_networks_come_near_and_each_learns_alone(decoder):
    program = architecture_of(SPEC)
    weights = decoder.decode(torch.eye(5)[:2], program)
    module = to_module(Checkpoint({n: t[0] for n, t in weights.items()}, {"architecture": program.to_json()}))
    wanted = torch.stack([to_module(original(seed))(inputs()) for seed in (0, 1)]).detach()
    found = polish(module, weights, inputs(), wanted, steps=60, learning_rate=1e-2)
    assert loss(module, found, wanted) < 0.5 * loss(module, weights, wanted)
    first = {n: t[:1] for n, t in weights.items()}
    alone = polish(module, first, inputs(), wanted[:1], steps=60, learning_rate=1e-2)
    for name in alone:
        torch.testing.assert_close(alone[name][0], found[name][0], rtol=1e-3, atol=1e-3)


def test_refined_latents_come_near_and_the_decoder_stays(decoder):
    program = architecture_of(SPEC)
    z, before = torch.eye(5)[:2], copy.deepcopy(decoder.network.state_dict())
    weights = decoder.decode(z, program)
    module = to_module(Checkpoint({n: t[0] for n, t in weights.items()}, {"architecture": program.to_json()}))
    wanted = torch.stack([to_module(original(seed))(inputs()) for seed in (0, 1)]).detach()
    moved = refine_latents(decoder, z, Into.of(program, module), inputs(), wanted, steps=60)
    assert loss(module, decoder.decode(moved, program), wanted) < loss(module, weights, wanted)
    assert (moved - z).abs().max() < 2 and not moved.allclose(z)
    assert all(before[n].equal(t) for n, t in decoder.network.state_dict().items())


def test_agreement_is_told_after_each_step_and_the_file_says_what_was_done(decoder):
    wish = Wish(architecture_of(SPEC), "decode x", inputs(400), original(), refine=30, polish=150)
    made, told = decode_latent(decoder, torch.zeros(5), wish)
    assert list(told) == ["decoded", "refined", "polished"] and told["polished"] > told["decoded"]
    assert made.metadata["decoder"] == decoder.id and made.metadata["generated"] == "decode x"
    assert (made.metadata["refined"], made.metadata["polished"]) == ("30", "150")
    answers = to_module(made)(inputs(100)).argmax(1)  # the first quarter, which nothing was fitted to
    wanted = to_module(original())(inputs(100)).argmax(1)
    assert told["polished"] == pytest.approx(float((answers == wanted).float().mean()), abs=0.1)


def test_without_an_original_or_inputs_there_is_nothing_to_learn_from(decoder):
    program = architecture_of(SPEC)
    made, told = decode_latent(decoder, torch.zeros(5), Wish(program, "decode x"))
    expected = decoder.decode(torch.zeros(1, 5), program)
    assert told == {} and all(made.tensors[n].equal(t[0]) for n, t in expected.items())
    for more in ({"inputs": inputs()}, {"original": original()}):
        with pytest.raises(DecoderError, match="takes inputs, and the network"):
            Wish(program, "decode x", polish=3, **more)


def test_batch_norms_are_measured_where_there_are_inputs(decoder):
    wide = Decoder("tiny", decoder.network, "enc", ((1, 8, 8),), 3)
    program = architecture_of("resnet_bn:width=2,inputs=1x8x8,classes=3")
    images = torch.randn(300, 1, 8, 8, generator=Generator().manual_seed(0))
    plain, measured = (decode_latent(wide, torch.zeros(5), Wish(program, "x", i))[0] for i in (None, images))
    assert plain.tensors["bn1.running_var"].eq(1).all()
    first = torch.nn.functional.conv2d(images, measured.tensors["conv1.weight"], padding=1)
    torch.testing.assert_close(measured.tensors["bn1.running_mean"], first.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)


def test_stacks_are_unchanged_by_polishing(decoder):
    program = architecture_of(SPEC)
    weights = decoder.decode(torch.eye(5)[:1], program)
    kept = stack_tensors([{n: t[0].clone() for n, t in weights.items()}])
    module = to_module(Checkpoint({n: t[0] for n, t in weights.items()}, {"architecture": program.to_json()}))
    polish(module, weights, inputs(), torch.randn(1, 200, 3, generator=Generator().manual_seed(0)), steps=3)
    assert all(weights[n].equal(kept[n]) for n in kept)
