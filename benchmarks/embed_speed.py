"""How long does it take to embed a folder of checkpoints end to end, and how much memory?

    python -m benchmarks.embed_speed DIR --json

Runs the installed `weightspace embed` on DIR as a process of its own on at most two cores, imports and the writing of
the table included, without a cache. Bars for the 174 real checkpoints: 60 seconds and 2 GiB resident.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cores import keep_to
from weightspace.latents.table import LatentTable

CORES, SECONDS, BYTES = 2, 60.0, 2 << 30
COMMAND = str(Path(sys.executable).with_name("weightspace"))


def main() -> int:
    """Print seconds and the peak of resident memory; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_to(CORES)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "latents.parquet")
        start = time.perf_counter()
        done = subprocess.run([COMMAND, "embed", str(options.folder), "-o", str(output)], stdout=subprocess.DEVNULL)
        seconds, table = time.perf_counter() - start, LatentTable.read_parquet(output)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = {
        "seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_resident_bytes": used.ru_maxrss * 1024,
        "status": done.returncode,
        "checkpoints": len(table),
        "failed": int((~table.fine).sum()),
        "weights": int(table["weights"][table.fine].sum()),
        "encoder": table.encoder,
        "machine": f"{platform.machine()}, {CORES} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end",
    }
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if seconds <= SECONDS and report["peak_resident_bytes"] <= BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
