"""`weightspace bench`: figures of a decoder and of a generator."""

from __future__ import annotations

import json

import pytest

from tests.audit.made_up import save_small
from weightspace.cli import run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    save_small(folder)
    return folder


@pytest.fixture
def measured(monkeypatch):
    """What a decoder is found to do; measuring itself is tested where it lives."""
    row = {"networks": 3.0, "agreement": 0.5, "kappa": 0.4, "accuracy": 0.3, "accuracy_of_originals": 0.4}
    rows = {"own": row | {"correlation": float("nan"), "disagreement_share": 1.0, "share": 1.0}}
    monkeypatch.setattr("weightspace.audit.decoding.measure_decoder", lambda *_, **__: rows)


def test_a_decoder_is_measured_on_a_population(measured, capsys):
    assert run(["bench", "decode", "digits", "mlp_digits"]) == 0
    said = capsys.readouterr().out
    assert "on mlp_digits: 3 networks" in said and "-0.100" in said and "kappa: agreement beyond chance" in said


def test_json_of_a_decoder_has_no_nan(measured, capsys):
    assert run(["bench", "decode", "digits", "mlp_digits", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    row = told["populations"]["mlp_digits"]["own"]
    assert told["decoder"].startswith("digits@") and row["correlation"] is None
    assert row["gap"] == pytest.approx(-0.1)


def test_what_cannot_be_measured_is_said_in_one_line(folders, capsys):
    assert run(["bench", "decode", "digits", "nowhere"]) == 1
    assert run(["bench", "decode", str(folders / "decoder"), "mlp_digits"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "nowhere" in said[0] and "the latents are of zoo-256" in said[1]
    assert run(["bench", "decode", "digits"]) == 2


def generate(folders, *more):
    decoder = ["--decoder", str(folders / "decoder")]
    return run(["bench", "generate", str(folders / "generator"), *more, *decoder, "--count", "3"])


def test_a_generator_is_audited_and_nothing_is_written(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert generate(folders, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"][0]["name"] == "generated" and told["seed"] == "0"
    assert generate(folders) == 0
    assert "decoded training networks" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_generator_is_not_held_against_a_population_that_it_does_not_know(folders, capsys):
    assert generate(folders, "lineage") == 1
    assert "the latents are of zoo-256" in capsys.readouterr().err
