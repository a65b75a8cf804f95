"""How fast does an accelerator embed seven billion weights, and many small networks? And how close is that to a floor?

    python -m benchmarks.encoder.accelerator --encoder FOLDER --json
    python -m benchmarks.encoder.accelerator --encoder FOLDER --device cpu --weights 2e7 --networks 64

**networks**: untrained Small CNN Zoo networks of width 16 that lie on the device, without probes and with them:
`forward` leaves the vectors there, `encode` brings latents and unit states back. Floor: reading the weights at the
bandwidth of a copy within the device, then the same products of weights with states, back to back; with probes, also
the operations of running the networks at the rate of one large product.

**large**: a Llama-like bf16 checkpoint in host memory, as allocated (`pageable`) and copied to page-locked memory
(`pinned`). After a warm-up on a small one, the time to plan it is added to that of the first encoding. Floor: copying
the bytes to the device once, then the same products, back to back.

Shares are floor by time. A second is one of wall time, on a CPU of processor time. Each part is told on stderr as soon
as it is known; one that fails says why and leaves the others. Bars, on one H100: 3 s, 150,000 networks a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from statistics import median

import torch
from torch import Generator

from benchmarks.encoder.drawn import SMALL_CNN, describe_network, draw_networks
from benchmarks.encoder.floors import floor_of_networks, least_seconds, products
from benchmarks.encoder.in_memory import LARGE, checkpoint_in, fill_memory, llama_of
from benchmarks.encoder.speed import seconds_of
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.batch import stack
from weightspace.encode.encoder import Encoder
from weightspace.encode.stacked import encode_networks
from weightspace.graph.trace.capture import capture_program

SMALL, SECONDS, RATE = 2e7, 3.0, 150_000
RUN_TOGETHER, REPEATS, ENOUGH = 1024, 7, 3.0
"""Networks that are run at once; repeats, fewer where they take so many seconds."""
Found = dict[str, float]


def measure_large(encoder: Encoder, options: argparse.Namespace) -> Iterator[tuple[str, Found]]:
    """Yield the figures of a large checkpoint, pageable and then pinned."""
    device, seconds = options.device, partial(seconds_of, device=options.device, passes=1)
    small, shapes = llama_of(min(SMALL, options.weights / 4)), llama_of(options.weights)
    for _ in range(2):
        encoder.encode(checkpoint_in(fill_memory(small), small))
    memory = fill_memory(shapes)
    checkpoint = checkpoint_in(memory, shapes)
    planning, plan = seconds(lambda: encoder.architectures.of(checkpoint)), encoder.architectures.of(checkpoint).plan
    for kind in ("pageable",) if device == "cpu" else ("pageable", "pinned"):
        if kind == "pinned":
            memory = memory.pin_memory()
            checkpoint = checkpoint_in(memory, shapes)
        encoding, again = (seconds(partial(encoder.encode, checkpoint)) for _ in range(2))
        moving = seconds(partial(stack, plan, [checkpoint], encoder.how.team))
        copying = min(seconds(partial(memory.to, device, copy=True)) for _ in range(2))
        there = {name: tensor[None].to(device) for name, tensor in checkpoint.tensors.items()}
        multiplying = least_seconds(products(plan, there, encoder), device)
        del there
        total, floor = planning + encoding, copying + multiplying
        told = {"weights": memory.numel(), "planning": planning, "encoding": encoding, "encoding_again": again}
        told |= {"moving": moving, "floor_copying": copying, "floor_products": multiplying}
        told |= {"gigabytes_per_second": memory.nbytes / copying / 1e9, "seconds": total, "share": floor / total}
        told |= {"share_again": floor / again, "passed": memory.numel() >= LARGE and total <= SECONDS}
        yield kind, told


def measure_networks(encoder: Encoder, options: argparse.Namespace) -> Iterator[tuple[str, Found]]:
    """Yield the figures of many small networks, without probes or, if the encoder runs networks, with them."""
    description, device = describe_network(SMALL_CNN), options.device
    group = draw_networks([description], options.networks, generator=Generator().manual_seed(0)).groups[0]
    weights = {name: tensor.contiguous().to(device) for name, tensor in group.weights.items()}
    program = capture_program(description.module(), (torch.zeros(2, *description.signature.inputs),)).to_json()
    one = Checkpoint({name: tensor[0].cpu() for name, tensor in weights.items()}, {"architecture": program})
    known, step = encoder.architectures.of(one), RUN_TOGETHER if encoder.run else options.networks
    parts = [{n: t[i : i + step] for n, t in weights.items()} for i in range(0, options.networks, step)]

    def forward() -> None:
        for part in parts:
            answers = known.runner and known.runner.answer(encoder.network.probes, part)
            encoder.network(known.plan, part, answers, encoder.how)

    def encode() -> None:
        for part in parts:
            encode_networks(encoder, known, part)

    floor = floor_of_networks(encoder, known, weights)
    for name, call in (("forward", forward), ("encode", encode)):
        seconds_of(call, device, 1)
        times = [seconds_of(call, device, 1)]
        while len(times) < REPEATS and sum(times) < ENOUGH:
            times.append(seconds_of(call, device, 1))
        rate = options.networks / median(times)
        told = {"networks": options.networks, "seconds": median(times), "fastest": min(times), "slowest": max(times)}
        told |= {"networks_per_second": rate, **floor, "share": sum(floor.values()) / median(times)}
        yield name, told | {"passed": rate >= RATE}


def main() -> int:
    """Print the figures of every part; exit status 1 if a bar is missed or a part fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="zoo-256", help="a name or a folder")
    parser.add_argument("--weights", type=float, default=LARGE, help="of the large checkpoint, at least")
    parser.add_argument("--networks", type=int, default=8192)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    report: dict[str, object] = {"encoder": options.encoder, "device": device, "torch": torch.__version__}
    passed = True
    for part, run, measure in (
        ("networks", False, measure_networks),
        ("large", False, measure_large),
        ("networks_with_probes", True, measure_networks),
    ):
        try:
            encoder = Encoder.from_pretrained(options.encoder, run=run).to(options.device)
            with torch.no_grad():
                for name, told in measure(encoder, options):
                    report[f"{part}_{name}"] = told
                    print(f"{part}_{name}", json.dumps(told), file=sys.stderr, flush=True)
                    passed &= part == "networks_with_probes" or name == "encode" or bool(told["passed"])
        except Exception as error:  # what other parts tell must not be lost
            report[f"{part}_failed"] = f"{type(error).__name__}: {error}"
            print(f"{part}_failed", report[f"{part}_failed"], file=sys.stderr, flush=True)
            passed = False
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
