"""A saved encoder says the same again; a damaged one is named."""

import json

import pytest
import torch
from torch import Generator, nn

from weightspace.encode.answers import find_runner, input_shape
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import SweepConfig, SweepNetwork
from weightspace.encode.predictor import Predictor
from weightspace.errors import EncoderError
from weightspace.execute.module import from_module
from weightspace.execute.stack import stack_tensors
from weightspace.graph.trace.program import Program

SMALL = SweepConfig(
    width=8, pairs=6, waves=0, features=12, stage=10, latent=16, depths=3, probes=4, hidden=24, answers=4
)


def encoder(run: bool = True) -> Encoder:
    draw = Generator().manual_seed(0)
    network = SweepNetwork(SMALL, generator=draw)
    return Encoder(
        "small", network, Predictor(network.config, {"activation": ["relu", "tanh"]}, {}, generator=draw), run=run
    )


def network(seed: int = 0, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 5), activation(), nn.Linear(5, 3))


def checkpoint(seed: int = 0, activation: type[nn.Module] = nn.ReLU):
    return from_module(network(seed, activation), (torch.zeros(2, 1, 3, 3),))


def program(checkpoint) -> Program:
    return Program.from_json(checkpoint.metadata["architecture"])


def test_saved_and_loaded_it_says_the_same(tmp_path):
    first = encoder()
    first.save(tmp_path / "mine")
    again = Encoder.from_pretrained(str(tmp_path / "mine"))
    assert again.id == first.id
    assert again.encode(checkpoint()).vector.equal(first.encode(checkpoint()).vector)
    assert again.predict(checkpoint())[0].values == first.predict(checkpoint())[0].values
    with pytest.raises(EncoderError, match="holds an encoder already"):
        first.save(tmp_path / "mine")


def test_how_much_answers_count_is_saved_and_even_in_encoders_that_do_not_say(tmp_path):
    first = encoder()
    even = first.predict(checkpoint())[0].values
    first.predictor.shares = {"activation": 0.0, "epoch": 0.0}
    first.save(tmp_path / "mine")
    again = Encoder.from_pretrained(str(tmp_path / "mine"))
    assert again.id == first.id and again.predictor.shares == first.predictor.shares
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    del config["shares"]
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    older = Encoder.from_pretrained(str(tmp_path / "mine"))
    assert older.predictor.shares == {} and older.predict(checkpoint())[0].values == even


def test_what_networks_answer_counts_where_they_are_run():
    ran, unrun = encoder(), encoder(run=False)
    assert ran.id != unrun.id
    here, there = checkpoint(), checkpoint(activation=nn.Tanh)
    apart = {e.id: (e.encode(here).vector - e.encode(there).vector).norm() for e in (ran, unrun)}
    assert (ran.encode(here).vector - unrun.encode(here).vector).norm() > 1e-2
    assert apart[ran.id] > 1e-3


def test_answers_are_those_of_the_networks():
    probes = encoder().network.probes
    runner = find_runner(checkpoint(2))
    found = runner.answer(probes, stack_tensors([checkpoint(0).tensors, checkpoint(1).tensors]))
    for i in range(2):
        torch.testing.assert_close(found[i], network(i)(probes((1, 3, 3))))


def test_the_program_of_an_architecture_is_read_once(monkeypatch):
    encoder_, read = encoder(), []
    real = Program.from_json.__func__
    monkeypatch.setattr(Program, "from_json", classmethod(lambda cls, text: read.append(text) or real(cls, text)))
    encoder_.encode(checkpoint(0))
    once = len(read)
    assert encoder_.encode(checkpoint(1)).vector.isfinite().all() and len(read) == once > 0


def test_networks_that_probes_do_not_fit_are_encoded_from_their_weights():
    tokens = from_module(nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2)), (torch.zeros(2, 5, dtype=torch.long),))
    assert input_shape(program(tokens)) is None and find_runner(tokens) is None
    assert encoder().encode(tokens).vector.equal(encoder(run=False).encode(tokens).vector)
    assert input_shape(program(checkpoint())) == (1, 3, 3)


def test_answers_that_are_not_finite_leave_the_vector_finite():
    large = from_module(nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Linear(5, 3)), (torch.zeros(2, 1, 3, 3),))
    tensors = {name: t * 1e30 for name, t in large.tensors.items()}
    huge = type(large)(tensors, large.metadata)
    answers = find_runner(huge).answer(encoder().network.probes, stack_tensors([huge.tensors]))
    assert torch.isfinite(answers).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text(json.dumps({"name": "x", "sizes": {}})),
        lambda folder: (folder / "encoder.safetensors").unlink(),
        lambda folder: (folder / "encoder.safetensors").write_bytes(b"\0" * 40),
    ],
)
def test_damaged_files_are_named(tmp_path, damage):
    encoder().save(tmp_path / "mine")
    damage(tmp_path / "mine")
    with pytest.raises(EncoderError, match=r"mine: is no encoder of this version"):
        Encoder.from_pretrained(str(tmp_path / "mine"))


def test_an_unknown_name_is_named():
    with pytest.raises(EncoderError, match="there is no encoder 'nothing': pass a folder"):
        Encoder.from_pretrained("nothing")


def test_predictions_join_a_table(tmp_path):
    first = encoder()
    table = first.encode_many([checkpoint(0), checkpoint(1)])
    told = first.add_predictions(table)
    assert set(told["predicted_activation"]) <= {"relu", "tanh"} and (told["novelty"] > 0).all()
    with pytest.raises(EncoderError, match="the latents are of small-"):
        encoder(run=False).add_predictions(table)
    with pytest.raises(EncoderError, match="has learned no property"):
        Encoder.from_pretrained("random-sweep").predict(checkpoint())
