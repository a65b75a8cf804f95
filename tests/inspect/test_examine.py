"""A report names what was done to a network, and nothing of one that is sound; its page cannot become code."""

import json

import numpy as np
import pytest
import torch

from tests.latents.tables import browser  # noqa: F401
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.errors import CheckpointError, TableError
from weightspace.inspect.curves import tensor_curves
from weightspace.inspect.examine import Context, examine
from weightspace.inspect.report_page import write_report_page
from weightspace.inspect.statistics import tensor_statistics
from weightspace.zoo.store import find_population

SIZES = ((24, 20), (24, 24), (24, 24), (10, 24))


def network(seed=0, **replaced):
    """Layers of rank-one structure and noise, as training leaves them."""
    g = torch.Generator().manual_seed(seed)
    tensors = {}
    for i, (rows, columns) in enumerate(SIZES):
        learned = torch.outer(torch.randn(rows, generator=g), torch.randn(columns, generator=g))
        tensors[f"{2 * i}.weight"] = learned / 2 + torch.randn(rows, columns, generator=g) / 2
        tensors[f"{2 * i}.bias"] = torch.randn(rows, generator=g)
    return Checkpoint(tensors | replaced, source=f"net{seed}")


def kinds(found):
    return {(a.kind, a.where) for a in found.anomalies}


def test_a_sound_network_has_no_anomaly():
    assert kinds(examine(network())) == set()


@pytest.mark.parametrize(
    ("kind", "where", "replaced"),
    [
        ("nonfinite", "2.weight", {"2.weight": torch.full((24, 24), torch.nan)}),
        ("exploding", "4.weight", {"4.weight": 1000 * network().tensors["4.weight"]}),
        ("collapsed", "2.weight", {"2.weight": torch.outer(torch.arange(1.0, 25), torch.linspace(1, 2, 24))}),
        ("collapsed", "2.weight", {"2.weight": torch.zeros(24, 24)}),
        (
            "untrained",
            "2.weight",
            {"2.weight": torch.randn(24, 24, generator=torch.Generator().manual_seed(5)), "2.bias": torch.zeros(24)},
        ),
        (
            "untrained",
            "2.weight",
            {"2.weight": (2 * torch.rand(24, 24, generator=torch.Generator().manual_seed(5)) - 1) / 24**0.5},
        ),
    ],
)
def test_each_anomaly_is_named(kind, where, replaced):
    assert (kind, where) in kinds(examine(network(**replaced)))


def test_noise_with_a_trained_bias_is_not_called_untrained():
    noise = torch.randn(24, 24, generator=torch.Generator().manual_seed(5))
    assert kinds(examine(network(**{"2.weight": noise}))) == set()


def test_a_block_that_alone_was_edited_is_named_though_units_are_shuffled():
    parent = network()
    g = torch.Generator().manual_seed(1)
    tuned = {
        n: t + 0.02 * t.norm() / t.numel() ** 0.5 * torch.randn(t.shape, generator=g) for n, t in parent.tensors.items()
    }
    order = torch.randperm(24, generator=g)
    for name in ("0.weight", "0.bias"):
        tuned[name] = tuned[name][order]
    tuned["2.weight"] = tuned["2.weight"][:, order]
    assert kinds(examine(Checkpoint(tuned), Context(parent=parent))) == set()
    tuned["4.weight"] = tuned["4.weight"] + torch.randn(24, 24, generator=g)
    assert kinds(examine(Checkpoint(tuned), Context(parent=parent))) == {("tampered", "4.weight")}


def test_another_architecture_is_no_parent():
    with pytest.raises(CheckpointError, match=r"net0 cannot be the parent: 2 tensors differ in name or shape"):
        examine(network(**{"9.weight": torch.ones(3, 3), "9.bias": torch.ones(3)}), Context(parent=network()))


def test_a_relabelled_copy_is_found_in_a_table():
    population = find_population("lineage")
    ids = population.frame(["id"])["id"].tolist()[:12]
    root, relabelled = "lineage/000000/0", "lineage/000000/relabelled_root"
    encoder = Encoder.from_pretrained()
    table = encoder.encode_many([population.checkpoint(i) for i in ids])
    found = examine(population.checkpoint(relabelled), Context(encoder, table))
    assert [a.kind for a in found.anomalies if a.where.endswith(root)] == ["copy"]
    assert found.neighbours[0]["id"].endswith(root) and len(found.neighbours) == 5
    assert all(not n["id"].endswith(relabelled) for n in found.neighbours), "a checkpoint is not its own neighbour"
    assert "copy" not in {a.kind for a in examine(population.checkpoint(ids[1]), Context(encoder, table)).anomalies}


def test_a_table_of_another_encoder_is_refused():
    encoder = Encoder.from_pretrained()
    table = encoder.encode_many([network()])
    with pytest.raises(TableError, match="name the encoder that made the table"):
        Context(table=table)
    other = type(table)(
        table.data.replace_schema_metadata({**table.data.schema.metadata, b"weightspace.encoder": b"x"})
    )
    with pytest.raises(TableError, match="latents are of x"):
        Context(encoder, other)


def test_curves_are_those_of_numpy():
    weight = torch.randn(9, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    found = tensor_curves(weight, tensor_statistics("w", weight, view="oikk"), view="oikk")
    want = np.linalg.svd(weight.reshape(9, -1).double().numpy(), compute_uv=False)
    np.testing.assert_allclose(found.singular, want, rtol=1e-9)
    low, high = weight.min().item(), weight.max().item()
    assert list(found.counts) == np.histogram(weight.numpy().astype(float), 40, (low, high))[0].tolist()
    assert found.fan_in == 45


def test_noise_has_no_singular_value_above_chance_and_structure_has():
    noise = torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    for weight, like in ((noise, True), (noise + 0.2, False), (torch.eye(64), True)):
        assert tensor_curves(weight, tensor_statistics("w", weight, view="oi"), view="oi").like_noise == like


@pytest.mark.parametrize("tensor", [torch.zeros(0, 4), torch.tensor(3), torch.ones(2, 3), torch.tensor([[True]])])
def test_odd_tensors_have_a_report(tensor):
    found = examine(Checkpoint({"odd": tensor, **network().tensors}))
    json.dumps(found.as_dict(), allow_nan=False)
    assert "odd" in write_report_page(found)


def test_numbers_that_are_none_are_null_in_json():
    found = examine(network(**{"2.weight": torch.full((24, 24), torch.inf)}))
    entry = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert entry["curves"][2]["low"] is None and entry["anomalies"][0]["kind"] == "nonfinite"


def test_names_in_a_file_cannot_become_code():
    evil = "<script>alert(1)</script><!--BODY-->"
    named = Checkpoint({**network().tensors, f"{evil}.weight": torch.ones(3, 4)}, {evil: evil}, source=f"{evil}.pt")
    page = write_report_page(examine(named))
    assert "<script>alert" not in page and page.count("<script>") == 2


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_works_offline_in_a_browser(browser, tmp_path, scheme):  # noqa: F811
    path = tmp_path / "report.html"
    path.write_text(write_report_page(examine(network(**{"2.weight": torch.zeros(24, 24)}))))
    page, asked, errors = browser.new_page(color_scheme=scheme), [], []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    assert page.inner_text(".kind") == "collapsed" and page.locator("#layers tbody tr").count() == 8
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.fill("#filter", "2.weight")
    assert page.locator("#layers tbody tr:visible").count() == 1
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    assert errors == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []
