"""How fast is an encoder, and how much memory does it take? Paired with `nfn` in one run, on Small CNN Zoo networks.

    python -m benchmarks.encoder.speed --json
    python -m benchmarks.encoder.speed --against graph probes --device cpu --batch 64

Each name is one of the neural peers, `encoder` or `encoder+probes` (ours, of the sizes that are trained), or
`module:function` where `function(train, outputs)` gives a module that takes a `Batch`. Repeats are interleaved, and the
ratio is the median over pairs: what else the machine does hits both sides. On CPUs a second is one of processor time of
this process. Peak memory is that of a process of its own above the level before the first pass.

Bars, against `nfn` on a CPU: `encoder` at least 4 times as fast forward and 3 times with the backward pass, with probes
at least as fast; at most a third of its peak memory without probes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from statistics import median

import torch
from torch import Generator, nn

from benchmarks.encoder.data import Batch
from benchmarks.encoder.drawn import SMALL_CNN, describe_network, draw_networks
from benchmarks.encoder.peers import PEERS
from benchmarks.encoder.sweep_peer import SUBJECTS
from benchmarks.encoder.training import NeuralPeer
from weightspace.train.config import LEARNED

MODES = ("forward", "training")
TIMES = {"encoder": {"forward": 4.0, "training": 3.0}, "encoder+probes": {"forward": 1.0, "training": 1.0}}
MEMORY = 3.0
"""Bars of the ratios to `nfn`: how many times as fast, and how many times its memory ours fits into."""


def make_module(name: str, batch: int, args: argparse.Namespace) -> tuple[nn.Module, Batch]:
    """Return an untrained module by name, and a batch for it."""
    options, device = SMALL_CNN["options"] | {"width": args.width}, args.device
    architecture = describe_network(SMALL_CNN | {"options": options})
    networks = draw_networks([architecture], batch, generator=Generator().manual_seed(0)).to(device)
    torch.manual_seed(0)
    if name in SUBJECTS:
        module = SUBJECTS[name](networks, 1, sizes=replace(LEARNED, probes=args.probes))
    elif ":" in name:
        path, function = name.split(":")
        module = getattr(import_module(path), function)(networks, 1)
    else:
        peer = PEERS[name]()
        if not isinstance(peer, NeuralPeer):
            raise SystemExit(f"{name} is no neural peer; there is nothing to time with a backward pass.")
        module = peer.build(networks, 1)
    return module.to(device), next(networks.batches(batch))


def make_pass(module: nn.Module, batch: Batch, mode: str) -> Callable[[], None]:
    """Return one pass over the batch: `forward` without gradients, or `training` with the backward pass."""

    def forward() -> None:
        with torch.no_grad():
            module(batch)

    def training() -> None:
        module.zero_grad(set_to_none=True)
        module(batch).square().mean().backward()

    module.train(mode == "training")
    return training if mode == "training" else forward


def seconds_of(call: Callable[[], None], device: str, passes: int) -> float:
    """Return seconds a pass: of processor time on a CPU, of wall time on an accelerator."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    _wait(device)
    start = clock()
    for _ in range(passes):
        call()
    _wait(device)
    return (clock() - start) / passes


def time_pairs(names: list[str], mode: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return networks a second of each, and the median ratio of each to the first."""
    calls = {name: make_pass(*make_module(name, args.batch, args), mode) for name in names}
    for call in calls.values():
        seconds_of(call, args.device, 2)
    passes = {n: max(1, round(args.seconds / max(1e-6, seconds_of(c, args.device, 1)))) for n, c in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.repeats):
        for name, call in calls.items():
            times[name].append(seconds_of(call, args.device, passes[name]))
    first = times[names[0]]
    return {
        name: {
            "networks_per_second": args.batch / median(each),
            "times_first": median(a / b for a, b in zip(first, each, strict=True)),
        }
        for name, each in times.items()
    }


def measure_memory(name: str, mode: str, args: argparse.Namespace) -> int:
    """Return bytes at the peak of one pass in a process of its own, where freed tensors go back at once."""
    command = [sys.executable, "-m", "benchmarks.encoder.speed", "--memory", name, "--mode", mode]
    command += ["--device", args.device, "--batch", str(args.batch), "--width", str(args.width)]
    command += ["--probes", str(args.probes)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def peak_bytes(name: str, mode: str, args: argparse.Namespace) -> int:
    """Return how far memory grows in passes over a batch: resident on a CPU, allocated on an accelerator.

    A pass over two networks before warms up what is taken once.
    """
    small = make_pass(*make_module(name, 2, args), mode)
    small()
    call = make_pass(*make_module(name, args.batch, args), mode)
    if args.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        _wait(args.device)
        return torch.cuda.max_memory_allocated() - before
    with open("/proc/self/clear_refs", "w") as file:  # the high-water mark begins anew
        file.write("5")
    before = _resident("VmRSS")
    call()
    return max(0, _resident("VmHWM") - before)


def _resident(key: str) -> int:
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(key))


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def measure_speed(args: argparse.Namespace) -> dict[str, object]:
    """Return throughput, ratio and peak memory of all, forward and in training."""
    names = [args.first, *args.against]
    found: dict[str, object] = {
        "device": "cpu" if args.device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "batch": args.batch,
        "width": args.width,
        "probes": args.probes,
    }
    for mode in MODES:
        told = time_pairs(names, mode, args)
        for name in names:
            told[name]["peak_megabytes"] = measure_memory(name, mode, args) / 1e6
        found[mode] = {name: row | hold_to_bars(name, mode, row, told[names[0]]) for name, row in told.items()}
    return found


def hold_to_bars(name: str, mode: str, row: dict[str, float], first: dict[str, float]) -> dict[str, float]:
    """Return what share of the first one's memory it takes, and how far ahead of each bar it is: 1 is just enough."""
    share = row["peak_megabytes"] / max(1e-6, first["peak_megabytes"])
    found = {"memory_of_first": share}
    if name in TIMES:
        found["speed_to_bar"] = row["times_first"] / TIMES[name][mode]
    if name == "encoder":
        found["memory_to_bar"] = 1 / (MEMORY * max(1e-6, share))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", default="nfn", help="what the others are held against")
    parser.add_argument("--against", nargs="*", default=["encoder", "encoder+probes"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=16, help="channels of the networks")
    parser.add_argument("--probes", type=int, default=LEARNED.probes, help="of our encoder")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each repeat")
    parser.add_argument(
        "--memory", metavar="NAME", help="print the peak bytes of one pass of this one, and nothing else"
    )
    parser.add_argument("--mode", choices=MODES, default="forward")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.memory:
        print(peak_bytes(args.memory, args.mode, args))
        return
    found = measure_speed(args)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    print(*(f"{key} {found[key]}" for key in ("device", "threads", "batch", "width", "probes")))
    for mode in MODES:
        for name, row in found[mode].items():
            print(f"{mode:9} {name:24}" + "".join(f" {key} {value:.2f}" for key, value in row.items()))


if __name__ == "__main__":
    main()
