"""How much sooner is a large checkpoint embedded by two processes than by one, and is it the same latent?

    python -m benchmarks.encoder.processes --json
    python -m benchmarks.encoder.processes gpt2 --processes 4 --encoder NAME

Writes a checkpoint of random weights as `benchmarks.encoder.scale` does (by default four layers of its Llama, 418 MB),
and embeds it in teams of one thread a process: seconds from the path to the vector, imports aside, and the most
processor seconds that the computing thread of any process took, which other work on the machine hardly changes (the
waiting of Gloo's own threads is left out). Teams take turns; the least of each counts. Bars: those of two processes at
most 0.65 of one's; latents equal to 1e-6 relative.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.encoder.scale import MODELS, llama, write
from weightspace.encode.encoder import Encoder
from weightspace.execute.processes import processes

SHARE, APART = 0.65, 1e-6
SIZES = MODELS | {"four layers": (lambda: llama(words=8000, layers=4), torch.bfloat16, 1)}


def main() -> int:
    """Print seconds of each team; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=[*SIZES], default="four layers")
    parser.add_argument("--encoder", default="zoo-256", help="a name or a folder; networks are not run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.path:
        _embed(options.path, options.encoder)
        return 0
    shapes, stored, shards = SIZES[options.model]
    with tempfile.TemporaryDirectory() as folder:
        path = write(shapes(), stored, shards, Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        teams = (1, options.processes)
        runs = [{world: _launch(path, options.encoder, world) for world in teams} for _ in range(options.repeats)]
    told = {
        f"{what}_{world}": min(run[world][what] for run in runs) for world in teams for what in ("wall", "processor")
    }
    one, several = (torch.tensor(runs[0][world]["vector"], dtype=torch.float64) for world in teams)
    apart, share = float((one - several).norm() / one.norm()), told[f"processor_{teams[1]}"] / told["processor_1"]
    report = {"model": options.model, "file_bytes": size, "encoder": options.encoder, "processes": options.processes}
    report |= {**told, "processor_share": share, "apart": apart, "load": os.getloadavg()[0]}
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if share <= SHARE and apart <= APART else 1


def _launch(path: Path, encoder: str, world: int) -> dict:
    """Embed in a team of so many processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    command = [*launch, "-m", "benchmarks.encoder.processes", "--encoder", encoder, "--path", str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(run.stdout)


def _embed(path: Path, name: str) -> None:
    """Embed as one of a team; the first process says what it took."""
    torch.set_num_threads(1)
    with processes("cpu") as team:
        encoder = Encoder.from_pretrained(name, run=False).share(team)
        team.gather(None)
        start = time.perf_counter(), time.thread_time()
        latent = encoder.encode(path)
        wall, processor = time.perf_counter() - start[0], time.thread_time() - start[1]
        told = {"wall": max(team.gather(wall)), "processor": max(team.gather(processor))}
        if team.first:
            print(json.dumps(told | {"vector": latent.vector.tolist()}))


if __name__ == "__main__":
    sys.exit(main())
