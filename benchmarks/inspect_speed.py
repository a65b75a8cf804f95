"""How long does `weightspace inspect` take on a large file, from the shell, and what does it import?

    python -m benchmarks.inspect_speed --json

Writes a safetensors file of 268 MB in 64 tensors into a temporary folder and runs the installed command on it, as a
process of its own each time. Bar: a median under one second, without torch or torch-geometric.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TENSORS, SIDE = 64, 1024  # 64 matrices of 1024 x 1024 float32: 268,435,456 bytes
HEAVY = ("torch", "torch_geometric")
COMMAND = [str(Path(sys.executable).with_name("weightspace")), "inspect"]


def write_network(path: Path) -> None:
    """Write a perceptron of 64 square layers."""
    size = SIDE * SIDE * 4
    header = {
        f"layers.{i}.weight": {"dtype": "F32", "shape": [SIDE, SIDE], "data_offsets": [i * size, (i + 1) * size]}
        for i in range(TENSORS)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(TENSORS):
            file.write(os.urandom(size))


def imported(path: Path) -> list[str]:
    """Return which heavy packages a run imports."""
    program = (
        "import sys; from weightspace.cli import run; status = run(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "inspect", str(path)], capture_output=True, text=True, check=True
    )
    return [name for name in HEAVY if repr(name) in done.stderr]


def measure(path: Path, runs: int) -> dict[str, object]:
    """Time runs of the command, the first one (cold caches) apart; `cpu_s` is what a run takes of a processor."""
    seconds, before = [], resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([*COMMAND, str(path)], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "bytes": path.stat().st_size,
        "tensors": TENSORS,
        "runs": runs,
        "first_s": round(seconds[0], 3),
        "median_s": round(statistics.median(seconds[1:]), 3),
        "worst_s": round(max(seconds[1:]), 3),
        "cpu_s": round(busy / (runs + 1), 3),
        "load": round(os.getloadavg()[0], 2),
        "heavy_imports": imported(path),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.safetensors"
        write_network(path)
        found = measure(path, options.runs)
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k}: {v}" for k, v in found.items()))
    return 0 if found["median_s"] < 1 and not found["heavy_imports"] else 1


if __name__ == "__main__":
    sys.exit(main())
