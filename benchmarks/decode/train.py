"""Train a decoder, save it, and measure it on held-out networks.

    python -m benchmarks.decode.train POPULATION ... --encoder NAME --data-dir DATA --device cuda --out DIR

Writes DIR/ (the decoder: config.json, decoder.safetensors), DIR/metrics.json, and DIR/training.pt once a minute, from
which the same command goes on after it was stopped (with fewer --seconds it ends at once and writes what there is).
`--set key=value` changes a size of the network or a value of `weightspace.train.decoder_run.DecoderTrainConfig`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.decode.behaviour import Asking, measure, tell
from weightspace.decode.network import DecoderConfig
from weightspace.encode.encoder import Encoder
from weightspace.train.decoder_run import parse_decoder_config, train_decoder
from weightspace.train.encoder import Place
from weightspace.zoo.store import find_population


def report(step: int, steps: int, losses: dict[str, float]) -> None:
    """Print the loss now and then."""
    if losses and step % 100 == 0:
        print(f"{time.strftime('%H:%M:%S')} update {step}: loss {losses['loss']:.3f}", file=sys.stderr, flush=True)


def read_config(args: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration that the arguments spell."""
    given = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in args.set)}
    sizes = {f.name: given.pop(f.name) for f in fields(DecoderConfig) if f.name in given}
    names = {"name": args.name, "populations": args.populations, "encoder": args.encoder}
    return names | {"steps": 10**9, "seconds": args.seconds, "seed": args.seed} | given | {"sizes": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="grey-10")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data-dir")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=5000, help="test inputs to measure on, at most")
    parser.add_argument("--distil", type=int, default=0, help="finished networks to distil, of each architecture")
    args = parser.parse_args()
    config = parse_decoder_config(read_config(args))
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    decoder = train_decoder(config, Place(args.out / "training.pt", args.data_dir, args.device), report=report)
    decoder.save(args.out)
    (args.out / "training.pt").unlink(missing_ok=True)
    trained = time.monotonic() - start
    encoder = Encoder.from_pretrained(args.encoder)
    asking = Asking(args.data_dir, args.device, args.images, args.distil)
    found = {}
    for name in args.populations:
        population = find_population(name)
        found[population.folder.name] = measure(decoder, encoder, population, asking)
        told = {"decoder": decoder.id, "encoder": encoder.id, "seconds": trained, "config": asdict(config)}
        (args.out / "metrics.json").write_text(json.dumps(told | {"found": found}, indent=1, default=str) + "\n")
    memory = torch.cuda.max_memory_allocated() / 1e9 if args.device != "cpu" else 0.0
    print(f"{decoder.id}, latents of {encoder.id}; {trained:.0f} s of training and reading, {memory:.1f} GB at most")
    tell(found)


if __name__ == "__main__":
    main()
