"""The decoders that ship; that of digits on runs of the population that ships which it never learned from."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import Generator

from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.execute.stack import run_stacked
from weightspace.train.decoder_data import read_stacks
from weightspace.train.into import Menu
from weightspace.zoo.architecture import architecture_of
from weightspace.zoo.data import load_dataset
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.stacks import encode_stack
from weightspace.zoo.store import find_population

FOLDER = Path(str(files("weightspace.model_zoo"))) / "decoders"


@pytest.fixture(scope="module")
def decoder():
    return Decoder.from_pretrained("digits")


@pytest.fixture(scope="module")
def asked():
    """Latents of held-out networks of each architecture, their programs and modules, and what they answer."""
    encoder, inputs = Encoder.from_pretrained(), load_dataset("digits").x_test
    found = []
    for stack in read_stacks(find_population("mlp_digits"), "test", "cpu"):
        wanted = run_stacked(stack.module, stack.weights, inputs).argmax(2)
        found.append((encode_stack(encoder, stack), stack.program, stack.module, wanted))
    return found


def agreement(decoder, asked, into=None):
    inputs, shares = load_dataset("digits").x_test, []
    for vectors, program, module, wanted in asked:
        program, module = into or (program, module)
        with torch.no_grad():
            answers = run_stacked(module, decoder.decode(vectors, program), inputs)
        shares.append((answers.argmax(2) == wanted).float().mean(1))
    return float(torch.cat(shares).mean())


@pytest.mark.parametrize("name", sorted(folder.name for folder in FOLDER.iterdir()))
def test_each_is_small_has_a_card_and_knows_the_encoder_that_ships(name):
    decoder = Decoder.from_pretrained(name)
    assert sum(path.stat().st_size for path in (FOLDER / name).iterdir()) < 30e6
    assert decoder.id in (FOLDER / name / "README.md").read_text()
    decoder.check_encoder(Encoder.from_pretrained().id)


@pytest.mark.parametrize("side", [16, 28, 32])
def test_grey_images_of_every_size_are_answered_by_whatever_is_made_for_them(side):
    decoder, images = (
        Decoder.from_pretrained("grey-10"),
        torch.randn(5, 1, side, side, generator=Generator().manual_seed(0)),
    )
    vectors = decoder.network.mean + decoder.network.spread * torch.randn(3, 256, generator=Generator().manual_seed(1))
    signature = Signature((1, side, side), 10)
    for family, options in (("smallcnn", {"width": 12, "activation": "gelu"}), ("mlp", {"width": 24, "depth": 2})):
        program = architecture_of(f"{family}:" + ",".join(f"{k}={v}" for k, v in options.items()), signature=signature)
        with torch.no_grad():
            answers = run_stacked(
                build_network(family, signature, options).eval(), decoder.decode(vectors, program), images
            )
        assert answers.shape == (3, 5, 10) and answers.isfinite().all()
        assert not answers[0].allclose(answers[1], atol=1e-3)


def test_held_out_networks_answer_as_before_and_those_of_other_latents_do_not(decoder, asked):
    own = agreement(decoder, asked)
    assert own > 0.5
    wrong = agreement(decoder, [(v.roll(1, 0), *rest) for v, *rest in asked])
    assert wrong < own - 0.15


def test_a_width_that_was_never_seen_does_nearly_as_well(decoder, asked):
    signature = Signature(decoder.inputs, decoder.classes)
    program = architecture_of("mlp:width=24,depth=2,activation=relu", signature=signature)
    module = Menu.of(signature).into("mlp", {"width": 24, "depth": 2, "activation": "relu"}).module
    assert agreement(decoder, asked, (program, module)) > 0.85 * agreement(decoder, asked)
