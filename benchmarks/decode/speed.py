"""How fast are networks decoded? Bar 8: 1,000 small convolutional networks on two cores, or on an accelerator.

    python -m benchmarks.decode.speed DECODER --architecture smallcnn:width=16,activation=relu [--device cuda] [--json]

Latents are drawn around those that the decoder learned from. Seconds are the median of repetitions after one that is
not counted; processor seconds, of all threads, tell of a machine that others use too. Compiling the architecture's
graph, once for all networks, is told apart.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

import torch
from torch import Generator

from weightspace.decode.decoder import Decoder
from weightspace.decode.target import Target
from weightspace.graph.trace.program import Program
from weightspace.zoo.architecture import architecture_of
from weightspace.zoo.families.signature import Signature


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decoder")
    parser.add_argument("--architecture", default="smallcnn:width=16,activation=relu")
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    decoder = Decoder.from_pretrained(args.decoder)
    decoder.network.to(args.device)
    program = architecture_of(args.architecture, signature=Signature(decoder.inputs, decoder.classes))
    start = time.perf_counter()
    Target.of(program)
    compiled = time.perf_counter() - start
    noise = torch.randn(args.networks, decoder.network.config.latent, generator=Generator().manual_seed(0))
    vectors = decoder.network.mean + decoder.network.spread * noise.to(args.device)
    timed = [_time(decoder, vectors, program, args.device) for _ in range(args.repeats + 1)][1:]
    seconds, processor = ([pair[i] for pair in timed] for i in (0, 1))
    told = {
        "decoder": decoder.id,
        "architecture": args.architecture,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else f"cpu, {args.threads} threads",
        "networks": args.networks,
        "seconds": round(median(seconds), 3),
        "slowest": round(max(seconds), 3),
        "processor_seconds": round(median(processor), 3),
        "networks_a_second": round(args.networks / median(seconds)),
        "seconds_to_compile": round(compiled, 3),
    }
    print(json.dumps(told, indent=1) if args.json else "\n".join(f"{key:20} {value}" for key, value in told.items()))


def _time(decoder: Decoder, vectors: torch.Tensor, program: Program, device: str) -> tuple[float, float]:
    start, used = time.perf_counter(), time.process_time()
    decoder.decode(vectors, program)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - used


if __name__ == "__main__":
    main()
