"""`weightspace decode` and `train decoder`: a network from a latent, told where from; and what is refused."""

import json

import pytest
import torch
from torch import Generator

from weightspace.checkpoint.load import load_checkpoint
from weightspace.cli import run
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.encode.encoder import Encoder
from weightspace.execute.module import to_module
from weightspace.zoo.store import find_population

SPEC = "mlp:width=6,depth=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A decoder of the default encoder's latents, two networks and their table."""
    folder = tmp_path_factory.mktemp("decode")
    sizes = DecoderConfig(trunk=16, stories=1, width=12, waves=4, rank=4, layers=1)
    network = DecoderNetwork(sizes, generator=Generator().manual_seed(0))
    encoder = Encoder.from_pretrained("random-sweep").id
    Decoder("tiny", network, encoder, ((1, 8, 8),), 10).save(folder / "tiny")
    Decoder("other", network, "other-3-abc", ((1, 8, 8),), 10).save(folder / "other")
    population = find_population("mlp_digits")
    for number, identity in enumerate(population.frame(["id"])["id"][:2]):
        population.checkpoint(identity).save(folder / f"net{number}.safetensors")
    nets = [str(folder / f"net{number}.safetensors") for number in (0, 1)]
    assert run(["embed", *nets, "-o", str(folder / "latents.parquet"), "--encoder", "random-sweep"]) == 0
    return folder


def decode(folder, *arguments, decoder="tiny"):
    places = [str(a).format(folder=folder) for a in arguments]
    return run(["decode", *places, "--decoder", str(folder / decoder)])


TABLE = ("{folder}/latents.parquet", "--row", "net1")


def test_a_row_becomes_a_network_that_runs_and_says_where_it_is_from(folder, tmp_path, capsys):
    capsys.readouterr()
    assert decode(folder, *TABLE, "--architecture", SPEC, "-o", tmp_path / "a.safetensors", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    made = load_checkpoint(tmp_path / "a.safetensors")
    assert to_module(made)(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    assert made.metadata["decoder"] == told["decoder"] == Decoder.from_pretrained(folder / "tiny").id
    assert made.metadata["generated"].endswith("latents.parquet:net1")
    assert "to_module" in told["run"] and str(tmp_path / "a.safetensors") in told["run"]


def test_like_a_file_is_of_its_shapes_and_other_rows_give_other_weights(folder, tmp_path):
    for row in ("net0", "net1"):
        call = ("{folder}/latents.parquet", "--row", row, "--like", "{folder}/net0.safetensors")
        assert decode(folder, *call, "-o", tmp_path / f"{row}.safetensors") == 0
    first, second, like = (
        load_checkpoint(p).tensors
        for p in (tmp_path / "net0.safetensors", tmp_path / "net1.safetensors", folder / "net0.safetensors")
    )
    assert {n: t.shape for n, t in first.items()} == {n: t.shape for n, t in like.items()}
    assert not all(first[n].equal(second[n]) for n in first)


def test_a_checkpoint_is_embedded_decoded_and_polished(folder, tmp_path, capsys):
    capsys.readouterr()
    more = ("--encoder", "random-sweep", "--inputs", "digits", "--refine", "2", "--polish", "60", "--json")
    call = ("{folder}/net1.safetensors", "--architecture", SPEC, "-o", tmp_path / "a.safetensors")
    assert decode(folder, *call, *more) == 0
    agreement = json.loads(capsys.readouterr().out)["agreement"]
    assert list(agreement) == ["decoded", "refined", "polished"]
    assert load_checkpoint(tmp_path / "a.safetensors").metadata["polished"] == "60"


def test_people_are_told_how_to_run_it(folder, tmp_path, capsys):
    assert decode(folder, *TABLE, "--architecture", SPEC, "-o", tmp_path / "a.safetensors") == 0
    out = capsys.readouterr().out
    assert "weightspace.to_module(weightspace.load_checkpoint(" in out and "batch norms" in out


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        ((*TABLE, "-o", "{new}"), 2, "one of --like FILE and --architecture SPEC"),
        ((*TABLE, "--architecture", SPEC, "--like", "{folder}/net0.safetensors", "-o", "{new}"), 2, "one of --like"),
        (("{folder}/latents.parquet", "--architecture", SPEC, "-o", "{new}"), 2, "2 rows with a latent"),
        (
            ("{folder}/latents.parquet", "--row", "no", "--architecture", SPEC, "-o", "{new}"),
            2,
            "0 rows with a latent are no",
        ),
        ((*TABLE, "--architecture", "mlp:inputs=1x9x9", "-o", "{new}"), 1, "makes networks for 1x8x8"),
        ((*TABLE, "--architecture", "mlp:classes=3", "-o", "{new}"), 1, "makes networks of 10 classes"),
        ((*TABLE, "--architecture", "nothing", "-o", "{new}"), 1, "is no architecture"),
        ((*TABLE, "--architecture", SPEC, "-o", "{folder}/net0.safetensors"), 2, "pass --force"),
        (("{folder}/net1.safetensors", "--architecture", SPEC, "-o", "{new}"), 1, "latents are of zoo-256"),
        ((*TABLE, "--architecture", SPEC, "-o", "{new}", "--polish", "3"), 1, "takes inputs, and the network"),
        ((*TABLE, "--architecture", SPEC, "-o", "{new}", "--inputs", "iris"), 2, "inputs of (4,), not one of"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(folder, tmp_path, capsys, arguments, status, said):
    new = tmp_path / "new.safetensors"
    before = (folder / "net0.safetensors").read_bytes()
    capsys.readouterr()
    assert decode(folder, *(a.replace("{new}", str(new)) for a in arguments)) == status
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == "" and "Traceback" not in captured.err
    assert not new.exists() and (folder / "net0.safetensors").read_bytes() == before


def test_latents_of_another_encoder_are_refused(folder, tmp_path, capsys):
    call = (*TABLE, "--architecture", SPEC, "-o", tmp_path / "a.safetensors")
    assert decode(folder, *call, decoder="other") == 1
    assert "decodes those of other-3-abc" in capsys.readouterr().err


def test_a_decoder_is_trained_from_a_configuration_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("weightspace.train.decoder.OWN", 1.0)
    (tmp_path / "c.yaml").write_text(
        "{name: mine, populations: [mlp_digits], encoder: random-sweep, networks: 4, images: 8, inputs: 16, views: 0,"
        " sizes: {trunk: 16, stories: 1, width: 12, waves: 4, rank: 4, layers: 1}}"
    )
    call = ["train", "decoder", "--config", str(tmp_path / "c.yaml"), "-o", str(tmp_path / "mine")]
    assert run([*call, "--steps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Decoder.from_pretrained(tmp_path / "mine").id == told["decoder"]
    assert run(call) == 2 and "holds a decoder already" in capsys.readouterr().err
