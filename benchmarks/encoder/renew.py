"""Make an encoder of version 5 out of one of version 4, and the decoders of its latents, without training.

    git worktree add OLD 22cae08
    python -m benchmarks.encoder.renew OLD/model_zoo/encoders/zoo-256 OLD/model_zoo/decoders/grey-10 --out NEW

What was learned stays to the bit. Learned numbers count twice as much, 30 of the 44 fixed directions are kept, the
fastest waves give way to waves of the whole network, and the scores of energies are no parameters (decision 014). What
reads pictures is drawn, and to be learned (`benchmarks.encoder.train` with `only="encoder.pictures"`), novelty to be
calibrated (`benchmarks.encoder.calibrate`). A decoder looks at the learned numbers alone.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor

from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import FIXED, LEARNED_SHARE, SweepConfig, SweepNetwork
from weightspace.encode.predictor import Predictor
from weightspace.train.config import LEARNED

OLD_SHARE, OLD_FINGERPRINT = 0.15, 0.12
"""The deviation of learned numbers and the share of the fingerprint in version 4."""


def renew_encoder(folder: Path) -> Encoder:
    """Return the encoder of version 5 that keeps what one of version 4 has learned."""
    config, old = json.loads((folder / "config.json").read_text()), load_file(folder / "encoder.safetensors")
    sizes = SweepConfig(**config["sizes"], picture=LEARNED.picture)
    network = SweepNetwork(sizes, generator=Generator().manual_seed(0))
    scales = {name: tuple(pair) for name, pair in config["scales"].items()}
    predictor = Predictor(sizes, config["classes"], scales, generator=Generator().manual_seed(0))
    predictor.shares = dict(config.get("shares", {}))
    kept = {name.removeprefix("network."): tensor for name, tensor in old.items() if name.startswith("network.")}
    new = network.state_dict()
    waves = new["fingerprint.rates"].shape[1]
    kept |= {name: kept[name][:, :waves] for name in ("fingerprint.rates", "fingerprint.phases")}
    kept["likeness.directions"] = _directions(network, kept["likeness.directions"])
    network.load_state_dict(new | kept)
    read = {name.removeprefix("predictor."): t for name, t in old.items() if name.startswith("predictor.")}
    predictor.load_state_dict(read)
    return Encoder(config["name"], network, predictor)


def _directions(network: SweepNetwork, old: Tensor) -> Tensor:
    """The first of the old directions, as many as are left, with the share of the fingerprint as it is now."""
    numbers, widths = network.likeness.directions.shape[1], network._widths()
    told = [(name, widths[name]) for name in widths if FIXED[name]]
    share = torch.cat([torch.full((n,), _share(name)) for name, n in told])
    return (share[:, None] * old[:, :numbers] * math.sqrt(old.shape[1] / numbers)).contiguous()


def _share(part: str) -> float:
    return FIXED[part] / OLD_FINGERPRINT if part == "fingerprint" else 1.0


def renew_decoder(folder: Path, encoder: Encoder) -> Decoder:
    """Return the decoder that reads the learned numbers of version 5 as one of version 4 did, and no others."""
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "decoder.safetensors")
    fixed = encoder.network.config.fixed
    for name in ("mean", "spread"):
        tensors[name][fixed:] *= LEARNED_SHARE / OLD_SHARE
    tensors["view"][:fixed] = 0
    network = DecoderNetwork(DecoderConfig(**config["sizes"]), generator=Generator().manual_seed(0))
    network.load_state_dict(tensors)
    return Decoder(config["name"], network, encoder.id, tuple(map(tuple, config["shapes"])), config["classes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("decoders", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    encoder = renew_encoder(args.encoder)
    encoder.save(args.out / "encoders" / encoder.name)
    print(encoder.id)
    for folder in args.decoders:
        decoder = renew_decoder(folder, encoder)
        decoder.save(args.out / "decoders" / decoder.name)
        print(decoder.id, "of", decoder.encoder)


if __name__ == "__main__":
    main()
