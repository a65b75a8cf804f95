"""What the explorer says of rows, and networks decoded from between them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from weightspace.app.behaviour import answer
from weightspace.app.explorer import KEPT, Explorer, Settings, plain
from weightspace.app.live import Blend, LiveDecoder
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import ArchitectureError, DecoderError, ExplorerError, WeightspaceError
from weightspace.execute.module import to_module
from weightspace.latents.map import fit_map
from weightspace.latents.search import search
from weightspace.zoo.store import find_population


@pytest.fixture(scope="module")
def live(explorer):
    return LiveDecoder(explorer)


def test_neighbours_are_those_of_an_exact_search(explorer, table):
    told = explorer.network("7")
    want = search(table, str(table["id"][7]), k=8)
    assert [row["id"] for row in told["neighbours"]] == want["id"].tolist()
    np.testing.assert_allclose([row["distance"] for row in told["neighbours"]], want["distance"])
    assert told["id"] == table["id"][7] and told["properties"]["activation"] == table["activation"][7]


def test_weights_say_what_the_population_recorded(explorer, table):
    told = explorer.weights("9")
    assert told["behaviour"]["accuracy"] == pytest.approx(table["test_accuracy"][9], abs=1e-6)
    assert told["filters"]["kind"] == "grey" and told["report"]["weights"] == table["weights"][9]
    json.dumps(told, allow_nan=False)
    assert "<html" in explorer.report("9")


@pytest.mark.parametrize("key", ["32", "-1", "u999", "", "1e3", "٣", "../1", "9" * 50])
def test_a_network_that_is_not_there_is_named(explorer, key):
    with pytest.raises(ExplorerError, match="there is no network"):
        explorer.network(key)


def test_a_part_that_fails_leaves_the_others(drawn, tmp_path):
    bare = replace(drawn, table=type(drawn.table)(drawn.table.data.drop_columns(["dataset"])))
    told = Explorer(bare, Settings(tmp_path / "t.parquet")).weights("3")
    assert "names no dataset" in told["behaviour"]["error"] and "error" not in told["filters"]
    told = Explorer(drawn, Settings(tmp_path / "t.parquet", dataset="iris")).weights("3")
    assert "inputs of iris" in told["behaviour"]["error"] and "error" not in told["report"]


def test_files_are_found_beside_the_table_and_never_on_a_hub(drawn, tmp_path):
    path = drawn.table.data["path"].to_pylist()
    path[:2] = ["runs/net.safetensors", "org/name"]
    data = drawn.table.data
    data = data.set_column(data.schema.get_field_index("path"), "path", [path])
    moved = Explorer(replace(drawn, table=type(drawn.table)(data)), Settings(tmp_path / "t.parquet"))
    (tmp_path / "runs").mkdir()
    find_population("mlp_digits").checkpoint("mlp_digits/000000/2").save(tmp_path / "runs" / "net.safetensors")
    assert moved.weights("0")["behaviour"]["inputs"] == 359
    with pytest.raises(ExplorerError, match="org/name is not on this machine"):
        moved.weights("1")


def test_rows_of_a_population_elsewhere_are_found_by_its_folder(drawn, tmp_path):
    path = [text.replace("mlp_digits:", "elsewhere:") for text in drawn.table.data["path"].to_pylist()]
    data = drawn.table.data
    table = type(drawn.table)(data.set_column(data.schema.get_field_index("path"), "path", [path]))
    lost = Explorer(replace(drawn, table=table), Settings(tmp_path / "t.parquet"))
    with pytest.raises(ExplorerError, match="population 'elsewhere' is not on this machine"):
        lost.weights("0")
    (tmp_path / "elsewhere").symlink_to(find_population("mlp_digits").folder.resolve())
    assert lost.weights("0")["report"]["weights"] == table["weights"][0]


def test_rows_become_json():
    told = plain({"a": None, "b": float("nan"), "c": 2**60, "d": True, "e": [1], "f": 0.5})
    assert told == {"c": str(2**60), "d": True, "e": "[1]", "f": 0.5}


def test_the_oldest_of_many_uploads_goes(drawn, tmp_path):
    explorer = Explorer(drawn, Settings(tmp_path / "t.parquet"))
    seen = {"vector": drawn.table.vectors[4].tolist(), "report": "", "shown": {"answers": {}, "why": "no data"}}
    for i in range(KEPT + 1):
        told = explorer.keep(f"{i}.pt", seen)
    assert told["key"] == f"u{KEPT + 1}" and "u1" not in explorer.uploads and len(explorer.uploads) == KEPT
    np.testing.assert_allclose(told["place"], drawn.places[4], atol=1e-4)
    assert told["distance"] == 0 and explorer.weights("u2")["behaviour"] == {"error": "no data"}
    with pytest.raises(ExplorerError, match="not finite"):
        explorer.keep("nan.pt", seen | {"vector": [float("nan")] * drawn.table.vectors.shape[1]})


def test_an_upload_is_shown_on_the_dataset_of_its_neighbours(drawn, tmp_path):
    explorer = Explorer(drawn, Settings(tmp_path / "t.parquet"))
    shown = {"answers": {"iris": {"dataset": "iris"}, "digits": {"dataset": "digits"}}, "why": ""}
    explorer.keep("a.pt", {"vector": drawn.table.vectors[4].tolist(), "report": "", "shown": shown})
    assert explorer.weights("u1")["behaviour"] == {"dataset": "digits"}


def test_a_blend_for_one_end_is_that_network(live, table):
    vectors = table.vectors.astype(np.float64)
    np.testing.assert_array_equal(live.latent(Blend("3")), vectors[3])
    np.testing.assert_allclose(live.latent(Blend("3", "8", 1.0)), vectors[8])
    np.testing.assert_allclose(live.latent(Blend("3", "8", 0.25)), 0.75 * vectors[3] + 0.25 * vectors[8])
    own = live.decoders[0].decode(vectors[3:4], live.explorer.open("3").program)
    for name, tensor in live.decode(Blend("3")).checkpoint.tensors.items():
        torch.testing.assert_close(tensor, own[name][0])
    assert any(not t.equal(own[n][0]) for n, t in live.decode(Blend("3", "8", 0.5)).checkpoint.tensors.items())


def test_what_is_shown_is_of_the_network_that_is_saved(live, explorer, tmp_path):
    blend = Blend("3", "8", 0.5)
    shown = live.show(blend)
    live.decode(blend).checkpoint.save(tmp_path / "decoded.safetensors")
    again = load_checkpoint(tmp_path / "decoded.safetensors")
    asked = explorer.questions("3")
    right = (answer(to_module(again), again.tensors, asked).argmax(1) == asked.y).double().mean()
    assert shown["behaviour"]["accuracy"] == pytest.approx(float(right))
    assert shown["behaviour"]["base_accuracy"] == pytest.approx(explorer.table["test_accuracy"][3], abs=1e-6)
    told = {"base": explorer.name("3"), "other": explorer.name("8"), "share": 0.5}
    assert again.metadata["generated"] == f"explore {json.dumps(told)}"
    assert again.metadata["decoder"] == live.decoders[0].id and again.metadata["encoder"] == explorer.table.encoder
    json.dumps(shown, allow_nan=False)


@pytest.mark.parametrize(
    "asked",
    [
        *(None, [], "3", {}, {"base": 3}, {"base": "3", "share": 2}, {"base": "3", "share": "x"}),
        *({"base": "3", "other": 4}, {"base": "3", "wanted": 1}, {"base": "3", "wanted": {"a": None}}),
        *({"base": "3", "share": float("nan")}, {"base": "3", "wanted": {"a": True}}),
    ],
)
def test_a_blend_of_another_form_is_named(asked):
    with pytest.raises(ExplorerError, match="a blend"):
        Blend.of(asked)


def test_the_decoder_that_fits_the_inputs_is_taken(live, decoder, monkeypatch):
    other = replace(live.decoders[0], name="other", shapes=((1, 16, 16),))
    monkeypatch.setattr(live, "decoders", [other, live.decoders[0]])
    assert live.decoder_for(live.explorer.open("3").program).name == "drawn"
    monkeypatch.setattr(live, "decoders", [other])
    with pytest.raises(DecoderError, match=r"takes inputs of 1x8x8, and other@.* makes networks for 1x16x16"):
        live.show(Blend("3"))


def test_a_decoder_of_other_latents_is_named(drawn, decoder, tmp_path):
    other = type(drawn.table)(
        drawn.table.data.replace_schema_metadata(
            {**drawn.table.data.schema.metadata, b"weightspace.encoder": b"another"}
        )
    )
    with pytest.raises(DecoderError, match="another"):
        LiveDecoder(Explorer(replace(drawn, table=other), Settings(Path("t"), decoder=str(decoder))))
    with pytest.raises(DecoderError, match="no decoder that ships knows the latents of another"):
        LiveDecoder(Explorer(replace(drawn, table=other), Settings(Path("t"))))


def test_a_network_that_does_not_say_how_it_is_run_cannot_be_decoded(live, explorer, monkeypatch):
    from weightspace.app.network import Network

    bare = replace(explorer.open("5").checkpoint, metadata={})
    monkeypatch.setattr(explorer, "_row", lambda row: Network(bare))
    with pytest.raises(WeightspaceError, match="does not say how its network is run") as found:
        live.show(Blend("5"))
    assert not isinstance(found.value, ArchitectureError)


def test_one_row_can_be_explored(drawn, tmp_path):
    alone = fit_map(type(drawn.table)(drawn.table.data.slice(0, 1)))
    explorer = Explorer(alone, Settings(tmp_path / "t.parquet"))
    assert explorer.network("0")["neighbours"] == [] and explorer.usual == {"median": 0.0, "within": 0.0}
    assert explorer.weights("0")["behaviour"]["inputs"] == 359
