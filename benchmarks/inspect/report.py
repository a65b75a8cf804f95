"""How long does a report of each checkpoint in a folder take, does any fail, and what do reports find odd?

    python -m benchmarks.inspect.report DIR --json

Each checkpoint is read, examined and written as a page and as JSON, in one process on at most two cores; the slowest
is then run once more from the shell, imports included. Bar: no failure, at most 5 seconds each. With --untrained, says
besides how often a layer is called untrained at each snapshot of a population (a folder or the name of one that
ships), whose first snapshot is before training.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.cores import keep_to
from weightspace.checkpoint.find import find_checkpoints
from weightspace.inspect.examine import examine
from weightspace.inspect.report_page import write_report_page
from weightspace.zoo.store import find_population

CORES, SECONDS = 2, 5.0
COMMAND = str(Path(sys.executable).with_name("weightspace"))


def report_all(paths: list[str]) -> dict[str, Any]:
    """Return seconds and bytes of each report, failures, and how many checkpoints show each kind of anomaly."""
    seconds, sizes, failed, odd = {}, [], {}, Counter()
    for path in paths:
        start = time.perf_counter()
        try:
            found = examine(path)
            page = write_report_page(found)
            json.dumps(found.as_dict(), allow_nan=False)
        except Exception as error:  # every failure is named
            failed[path] = f"{type(error).__name__}: {error}"
            continue
        seconds[path] = time.perf_counter() - start
        sizes.append(len(page))
        odd.update({a.kind for a in found.anomalies})
    slowest = max(seconds, key=seconds.__getitem__)
    return {
        "checkpoints": len(paths),
        "failed": failed,
        "median_s": statistics.median(seconds.values()),
        "most_s": seconds[slowest],
        "slowest": Path(slowest).name,
        "slowest_from_the_shell_s": from_the_shell(slowest),
        "largest_page_bytes": max(sizes),
        "checkpoints_with": dict(odd),
    }


def from_the_shell(path: str) -> float:
    """Return seconds of `weightspace report`, a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        output = str(Path(folder, "report.html"))
        subprocess.run([COMMAND, "report", path, "-o", output], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def untrained_share(name: str, each: int) -> list[dict[str, Any]]:
    """Return, by snapshot, the share of networks of which some layer is called untrained."""
    population, rows = find_population(name), []
    frame = population.frame(["id", "snapshot", "operation"])
    for snapshot, same in frame[frame["operation"] == "train"].groupby("snapshot"):
        ids = same["id"].iloc[:: max(1, len(same) // each)][:each]
        named = [any(a.kind == "untrained" for a in examine(population.checkpoint(i)).anomalies) for i in ids]
        rows.append({"snapshot": int(snapshot), "networks": len(named), "called_untrained": sum(named) / len(named)})
    return rows


def main() -> int:
    """Print the figures; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--untrained", metavar="POPULATION")
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_to(CORES)
    found = report_all(find_checkpoints([options.folder]))
    if options.untrained:
        found["untrained"] = untrained_share(options.untrained, options.each)
    load = os.getloadavg()[0]
    found["machine"] = f"{platform.machine()}, {CORES} of {os.cpu_count()} cores, load {load:.1f} at the end"
    print(json.dumps(found, indent=None if options.json else 2))
    return int(bool(found["failed"]) or found["most_s"] > SECONDS)


if __name__ == "__main__":
    sys.exit(main())
