import json

import pyarrow.parquet as pq
import pytest

from weightspace.cli import run

CONFIG = """
name: mine
populations: [mlp_digits]
steps: 3
groups: 1
batch_size: 16
behaviour: 0
sizes: {width: 8, pairs: 6, features: 12, stage: 8, latent: 34, depths: 3, probes: 4, hidden: 24, fixed: 24, answers: 4}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    (folder / "config.yaml").write_text(CONFIG)
    assert run(["train", "encoder", "--config", str(folder / "config.yaml"), "-o", str(folder / "mine"), "--json"]) == 0
    return folder


def test_an_encoder_is_trained_and_then_embeds_and_predicts(trained, capsys):
    assert {p.name for p in (trained / "mine").iterdir()} == {"config.json", "encoder.safetensors"}
    output = trained / "latents.parquet"
    call = ["embed", "model_zoo/checkpoints/estool", "-o", str(output), "--encoder", str(trained / "mine"), "--predict"]
    assert run([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["encoder"].startswith("mine-")
    table = pq.read_table(output)
    assert table.schema.field("vector").type.list_size == 34
    assert {"predicted_test_accuracy", "test_accuracy_low", "activation_likely", "novelty"} <= set(table.column_names)


def test_weights_only_gives_another_encoder_id(trained, capsys):
    ids = []
    for more in ([], ["--weights-only"]):
        output = str(trained / f"{len(more)}.parquet")
        call = ["embed", "model_zoo/checkpoints/estool", "-o", output, "--encoder", str(trained / "mine"), "--json"]
        assert run([*call, *more]) == 0
        ids.append(json.loads(capsys.readouterr().out)["encoder"])
    assert ids[1] == f"{ids[0]}-unrun"


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (
            ["train", "encoder", "--config", "{folder}/config.yaml", "-o", "{folder}/mine"],
            2,
            "holds an encoder already",
        ),
        (["train", "encoder", "--config", "{folder}/none.yaml", "-o", "{folder}/new"], 1, "none.yaml: cannot be read"),
        (["train", "encoder", "-o", "{folder}/new"], 2, "--config"),
        (
            ["embed", "model_zoo/checkpoints", "-o", "{folder}/x.parquet", "--predict", "--encoder", "random-sweep"],
            2,
            "has learned no property",
        ),
        (
            ["embed", "model_zoo/checkpoints", "-o", "{folder}/x.parquet", "--encoder", "no"],
            1,
            "there is no encoder 'no'",
        ),
    ],
)
def test_wrong_calls_are_named_and_leave_nothing(trained, capsys, arguments, status, text):
    before = sorted(trained.rglob("*"))
    assert run([argument.format(folder=trained) for argument in arguments]) == status
    assert text in capsys.readouterr().err
    assert [path for path in sorted(trained.rglob("*")) if path not in before and path.name != "new"] == []
