from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.audit.made_up import save_small
from weightspace.checkpoint.load import load_checkpoint
from weightspace.cli import run
from weightspace.decode.decoder import Decoder
from weightspace.execute.module import to_module


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    save_small(folder)
    return folder


def generate(folders, output, *more):
    decoder = ["--decoder", str(folders / "decoder")]
    return run(["generate", str(folders / "generator"), "-o", str(output), *decoder, *more])


def test_networks_are_written_run_and_audited(folders, tmp_path, capsys):
    import torch

    out = tmp_path / "new"
    assert generate(folders, out, "--count", "3", "--condition", "test_accuracy=0.5..", "--seed", "4", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["networks"] == 3 and told["rows"][0]["name"] == "generated"
    assert sorted(p.name for p in out.iterdir()) == [
        "00000.safetensors",
        "00001.safetensors",
        "00002.safetensors",
        "audit.html",
        "audit.json",
        "audit.md",
    ]
    checkpoint = load_checkpoint(out / "00001.safetensors")
    assert to_module(checkpoint)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    about = checkpoint.metadata
    assert about["generated"] == "small" and about["decoder"].startswith("drawn@")
    assert len(bytes.fromhex(about["latent"])) == 8 * 4 and float(about["asked.test_accuracy"]) >= 0.5


def test_a_table_is_printed_and_another_architecture_can_be_asked_for(folders, tmp_path, capsys):
    spec = "mlp:width=5,depth=1"
    assert generate(folders, tmp_path / "new", "--count", "2", "--architecture", spec) == 0
    said = capsys.readouterr().out
    assert "decoded training networks" in said and "to_module" in said
    shapes = {tuple(t.shape) for t in load_checkpoint(tmp_path / "new" / "00000.safetensors").tensors.values()}
    assert (5, 64) in shapes


def test_an_architecture_takes_the_inputs_of_the_generator_where_the_decoder_knows_several(folders, tmp_path):
    decoder = Decoder.from_pretrained(folders / "decoder")
    replace(decoder, shapes=((1, 16, 16), *decoder.shapes)).save(tmp_path / "both")
    more = ["--count", "1", "--architecture", "mlp:width=5,depth=1", "--decoder", str(tmp_path / "both")]
    assert run(["generate", str(folders / "generator"), "-o", str(tmp_path / "new"), *more]) == 0
    shapes = {tuple(t.shape) for t in load_checkpoint(tmp_path / "new" / "00000.safetensors").tensors.values()}
    assert (5, 64) in shapes


def test_the_same_seed_gives_the_same_networks(folders, tmp_path, capsys):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert generate(folders, tmp_path / name, "--count", "1", "--seed", seed) == 0
    files = [(tmp_path / name / "00000.safetensors").read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]


def test_nothing_is_overwritten_unless_it_was_generated_and_force_is_on(folders, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert generate(folders, tmp_path / "mine", "--force") == 2
    assert "exists" in capsys.readouterr().err
    assert generate(folders, tmp_path / "new", "--count", "1") == 0
    assert generate(folders, tmp_path / "new", "--count", "2") == 2
    assert generate(folders, tmp_path / "new", "--count", "2", "--force") == 0
    assert (tmp_path / "new" / "00001.safetensors").is_file()
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (["--condition", "test_accuracy=3"], 1, "Nearest possible: test_accuracy=0.9"),
        (["--condition", "colour=red"], 1, "no property 'colour' is known"),
        (["--condition", "nonsense"], 1, "key=value"),
        (["--architecture", "mlp:width=5,inputs=7"], 1, "takes inputs of"),
        (["--guidance", "2"], 1, "knows no guidance"),
        (["--temperature", "2"], 1, "knows no temperature"),
        (["--temperature", "0"], 2, "temperature"),
        (["--count", "0"], 2, "count"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_nothing_is_written(folders, tmp_path, capsys, more, status, said):
    assert generate(folders, tmp_path / "new", *more) == status
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1 and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_generator_is_named(tmp_path, capsys):
    assert run(["generate", "nowhere", "-o", str(tmp_path / "new")]) == 1
    assert "there is no generator 'nowhere'" in capsys.readouterr().err
