"""What version 4 has learned, in version 5."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator

from benchmarks.encoder.renew import OLD_SHARE, renew_decoder, renew_encoder
from tests.train.conftest import SMALL
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.decode.target import Target
from weightspace.encode.network import LEARNED_SHARE, SweepNetwork
from weightspace.encode.predictor import Predictor
from weightspace.graph.infer import infer_graph

CLASSES, SCALES = {"dataset": ["a", "b"]}, {"test_accuracy": (0.5, 0.1)}


@pytest.fixture
def old(tmp_path):
    """Files as version 4 had them: all waves of one kind, more directions, nothing that reads pictures."""
    network = SweepNetwork(SMALL, generator=Generator().manual_seed(3))
    predictor = Predictor(SMALL, CLASSES, SCALES, generator=Generator().manual_seed(3))
    tensors = {f"network.{name}": t for name, t in network.state_dict().items() if "pictures" not in name}
    tensors = {name: t for name, t in tensors.items() if not name.endswith(("mixing", "starts"))}
    for name, columns in (("fingerprint.rates", 1), ("fingerprint.phases", 1), ("likeness.directions", 14)):
        kept = tensors[f"network.{name}"]
        tensors[f"network.{name}"] = torch.cat([kept, torch.ones(len(kept), columns)], 1)
    tensors |= {f"predictor.{name}": t for name, t in predictor.state_dict().items()}
    sizes = {name: size for name, size in asdict(SMALL).items() if name != "picture"}
    (tmp_path / "config.json").write_text(
        json.dumps({"name": "old", "sizes": sizes, "classes": CLASSES, "scales": SCALES})
    )
    save_file({name: t.contiguous() for name, t in tensors.items()}, tmp_path / "encoder.safetensors")
    return tmp_path, network, predictor


def test_what_was_learned_stays_to_the_bit(old):
    folder, network, predictor = old
    renewed = renew_encoder(folder)
    learned = [name for name, _ in network.named_parameters() if not name.startswith("pictures.")]
    assert all(network.get_parameter(name).equal(renewed.network.get_parameter(name)) for name in learned)
    before, after = predictor.state_dict(), renewed.predictor.state_dict()
    assert before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before)


def test_a_decoder_decodes_what_it_did_whatever_the_fixed_numbers_are(old, tmp_path):
    folder, *_ = old
    sizes = DecoderConfig(latent=SMALL.latent, trunk=16, stories=1, width=16, waves=8, rank=6, layers=1)
    network = DecoderNetwork(sizes, generator=Generator().manual_seed(1))
    z = torch.randn(50, SMALL.latent, generator=Generator().manual_seed(2)) + 1
    network.standardise(z)
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()
    config = {"name": "d", "encoder": "old-4", "shapes": [[3]], "classes": 2, "sizes": asdict(sizes)}
    (tmp_path / "decoder").mkdir()
    (tmp_path / "decoder/config.json").write_text(json.dumps(config))
    save_file(
        {name: t.contiguous() for name, t in network.state_dict().items()}, tmp_path / "decoder/decoder.safetensors"
    )

    renewed = renew_decoder(tmp_path / "decoder", renew_encoder(folder))
    z[:, : SMALL.fixed] = network.mean[: SMALL.fixed]
    new = torch.cat([torch.randn(50, SMALL.fixed), z[:, SMALL.fixed :] * LEARNED_SHARE / OLD_SHARE], 1)
    target = Target.of(
        infer_graph(Checkpoint({"0.weight": torch.ones(4, 3), "0.bias": torch.ones(4), "1.weight": torch.ones(2, 4)}))
    )
    with torch.no_grad():
        found, wanted = renewed.network(new, target), network(z, target)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
    assert renewed.encoder == renew_encoder(folder).id
