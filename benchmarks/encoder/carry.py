"""Make an encoder of version 4 out of one of version 3: what it has learned stays, to the bit.

    python -m benchmarks.encoder.carry FOLDER --out OUT

Version 4 has two more statistics of each tensor, whose rows in the matrix on statistics are zeros here; its fixed
numbers have directions of the fingerprint too, and four tell of energies alone. `benchmarks.encoder.calibrate` comes
next: novelty is a distance between whole vectors.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor

from weightspace.encode.encoder import Encoder
from weightspace.encode.network import SweepConfig, SweepNetwork
from weightspace.encode.plan import SIZES
from weightspace.encode.predictor import Predictor
from weightspace.nn.statistics import EXCESSES, STATISTICS
from weightspace.train.config import LEARNED

CALIBRATION = ("margins", "centre", "whitener", "farthest")


def carry(folder: Path, *, seed: int = 0) -> Encoder:
    """Return the encoder; it is not calibrated."""
    config, old = json.loads((folder / "config.json").read_text()), load_file(folder / "encoder.safetensors")
    sizes = replace(SweepConfig(**config["sizes"]), waves=LEARNED.waves)
    network = SweepNetwork(sizes, generator=Generator().manual_seed(seed))
    predictor = Predictor(sizes, config["classes"], config["scales"], generator=Generator().manual_seed(seed))
    new = network.state_dict()
    for name, tensor in _of(old, "network.").items():
        if name == "shape":
            new[name] = _with_rows(tensor, tensor.new_zeros(EXCESSES, tensor.shape[1]), STATISTICS - EXCESSES)
        elif name == "likeness.directions":
            start = SIZES + 2 * sizes.features
            new[name] = _with_rows(tensor[:, : new[name].shape[1]], new[name][start : start + sizes.waves], start)
        else:
            new[name] = tensor
    for name in ("images.offset", "rows.offset"):
        new[name] = torch.zeros_like(new[name])
    network.load_state_dict(new)
    learned = {name: t for name, t in _of(old, "predictor.").items() if name not in CALIBRATION}
    predictor.load_state_dict(predictor.state_dict() | learned)
    return Encoder(config["name"], network, predictor)


def _of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(part): t for name, t in tensors.items() if name.startswith(part)}


def _with_rows(old: Tensor, new: Tensor, start: int) -> Tensor:
    return torch.cat([old[:start], new, old[start:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    print(carry(args.folder).save(args.out))


if __name__ == "__main__":
    main()
