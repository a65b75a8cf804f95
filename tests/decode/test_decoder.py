"""A decoder is a folder of plain files: it comes back bit for bit, and what is not its own is refused by name."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Generator

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.decoder import TOGETHER, Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.errors import DecoderError
from weightspace.execute.module import to_module
from weightspace.graph.trace import trace_program
from weightspace.zoo.architecture import architecture_of

MLP = "mlp:width=5,depth=1,inputs=1x4x4,classes=3"


def decoder(**changes) -> Decoder:
    network = DecoderNetwork(DecoderConfig(latent=7, width=12, rank=5, layers=2), generator=Generator().manual_seed(0))
    fields = {"name": "tiny", "network": network, "encoder": "one-3-abc", "shapes": ((1, 4, 4),), "classes": 3}
    return Decoder(**fields | changes)


def latents(models: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(models, 7, generator=Generator().manual_seed(seed))


def test_a_saved_decoder_comes_back_and_decodes_the_same(tmp_path):
    first = decoder()
    again = Decoder.from_pretrained(first.save(tmp_path / "d"))
    assert (again.id, again.encoder, again.inputs, again.classes) == (first.id, "one-3-abc", (1, 4, 4), 3)
    program = architecture_of(MLP)
    ours, theirs = first.decode(latents(2), program), again.decode(latents(2).numpy(), program)
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_the_id_tells_weights_apart(tmp_path):
    first, other = decoder(), decoder()
    with torch.no_grad():
        other.network.rows[0, 0] += 1e-3
    assert first.id.startswith("tiny@") and first.id != other.id


def test_a_decoded_network_runs_with_the_program_beside_it():
    program = architecture_of("resnet_bn:width=4,inputs=1x4x4,classes=3")
    weights = decoder().decode(latents(2), program)
    tensors = {name: t[1] for name, t in weights.items()}
    module = to_module(Checkpoint(tensors, {"architecture": program.to_json()}))
    answers = module(torch.randn(6, 1, 4, 4, generator=Generator().manual_seed(0)))
    assert answers.shape == (6, 3) and answers.isfinite().all()
    assert not answers[0].allclose(answers[1])


def test_many_are_decoded_as_one_by_one():
    program, z = architecture_of(MLP), latents(TOGETHER["cpu"] + 3)
    whole = decoder().decode(z, program)
    for place in (0, TOGETHER["cpu"] + 2):
        alone = decoder().decode(z[place : place + 1], program)
        for name, weight in alone.items():
            torch.testing.assert_close(whole[name][place], weight[0], rtol=1e-4, atol=1e-5)


def test_a_graph_is_decoded_as_its_program():
    program = architecture_of(MLP)
    ours, theirs = decoder().decode(latents(2), trace_program(program)), decoder().decode(latents(2), program)
    assert set(ours) == set(theirs) and all(ours[name].equal(theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "z, said",
    [
        (np.zeros((2, 6), np.float32), r"shape \(2, 6\)"),
        (np.zeros(7, np.float32), r"shape \(7,\)"),
        (np.zeros((0, 7), np.float32), r"shape \(0, 7\)"),
        (np.array([[0.0] * 7, [np.nan] * 7], np.float32), r"latents \[1\] hold numbers that are not finite"),
    ],
)
def test_impossible_latents_are_named(z, said):
    with pytest.raises(DecoderError, match=said):
        decoder().decode(z, architecture_of(MLP))


@pytest.mark.parametrize(
    "text, said",
    [
        ("mlp:inputs=1x5x5,classes=3", "takes inputs of 1x5x5, and tiny@.* makes networks for 1x4x4"),
        ("mlp:inputs=1x4x4,classes=4", "has 4 outputs, and tiny@.* makes networks of 3 classes"),
        ("gru_char:width=4,inputs=8,classes=3", "takes inputs that are not known"),
    ],
)
def test_other_inputs_and_classes_are_refused(text, said):
    with pytest.raises(DecoderError, match=said):
        decoder().decode(latents(1), architecture_of(text))


def test_latents_of_another_encoder_are_refused():
    decoder().check_encoder("one-3-abc")
    with pytest.raises(DecoderError, match=r"latents are of two-3-def, and tiny@.* decodes those of one-3-abc"):
        decoder().check_encoder("two-3-def")


def test_weights_that_are_not_finite_are_refused():
    broken = decoder()
    with torch.no_grad():
        broken.network.rows.fill_(torch.inf)
    with pytest.raises(DecoderError, match=r"decoded weights of .* are not finite"):
        broken.decode(latents(1), architecture_of(MLP))


def test_an_unknown_name_is_told():
    with pytest.raises(DecoderError, match="no decoder 'nowhere'"):
        Decoder.from_pretrained("nowhere")


def test_a_folder_that_holds_one_is_kept(tmp_path):
    decoder().save(tmp_path)
    with pytest.raises(DecoderError, match="holds a decoder already"):
        decoder().save(tmp_path)


def _config(change):
    def spoil(folder):
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def _not_finite(folder):
    tensors = load_file(folder / "decoder.safetensors")
    tensors["rows"][0, 0] = torch.nan
    save_file(tensors, folder / "decoder.safetensors")


HOSTILE = {
    "text": lambda folder: (folder / "config.json").write_text("{"),
    "list": lambda folder: (folder / "config.json").write_text("[1]"),
    "no sizes": _config(lambda config: config.pop("sizes")),
    "huge": _config(lambda config: config["sizes"].update(width=10**9)),
    "negative": _config(lambda config: config["sizes"].update(rank=-1)),
    "other sizes": _config(lambda config: config["sizes"].update(rank=6)),
    "no shapes": _config(lambda config: config.update(shapes=[])),
    "bytes": lambda folder: (folder / "decoder.safetensors").write_bytes(b"\xff" * 64),
    "gone": lambda folder: (folder / "decoder.safetensors").unlink(),
    "not finite": _not_finite,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_folder_is_named(tmp_path, name):
    decoder().save(tmp_path)
    HOSTILE[name](tmp_path)
    with pytest.raises(DecoderError, match="is no decoder of this version"):
        Decoder.from_pretrained(tmp_path)
