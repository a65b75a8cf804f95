"""How much of real checkpoints is understood from their files alone, printed as a table or as JSON.

    python -m benchmarks.coverage DIR [--json]

DIR holds checkpoints, and a `manifest.json` that names their groups where there is one; else each file is a group.
Checkpoints that repeat a header are inferred once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from weightspace.checkpoint.header import Header
from weightspace.checkpoint.load import read_header
from weightspace.errors import WeightspaceError
from weightspace.graph.infer import infer_graph


def members(folder: Path) -> dict[str, tuple[str, Path]]:
    """Return the group and file of each checkpoint by id."""
    manifest = folder / "manifest.json"
    if manifest.exists():
        listed = json.loads(manifest.read_text())["checkpoints"]
        return {entry["id"]: (entry["group"], folder / entry["file"]) for entry in listed}
    return {path.stem: (path.stem, path) for path in sorted(folder.rglob("*.safetensors"))}


def measure(header: Header) -> dict[str, Any]:
    """Return what the inferred graph of one checkpoint covers."""
    graph = infer_graph(header)
    in_blocks = sum(info.size for name, info in header.tensors.items() if info.is_float and name in graph.blocks)
    return {
        "tensors": len(header.tensors),
        "weights": header.weights,
        "in_blocks": in_blocks / header.weights if header.weights else 1.0,
        "understood": graph.understood,
        "opaque": list(graph.opaque),
        "free_units": graph.free_units,
        "units": graph.units,
    }


def coverage(folder: Path) -> dict[str, Any]:
    """Return the figures of each checkpoint and group, and the totals."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    errors = {}
    for name, (group, path) in members(folder).items():
        try:
            groups[group].append({"id": name, **measure(read_header(path))})
        except WeightspaceError as error:
            groups[group].append({"id": name, "in_blocks": 0.0, "understood": 0.0, "free_units": 0, "units": 0})
            errors[name] = str(error)
    table = {
        group: {
            "checkpoints": rows,
            **{key: mean(row[key] for row in rows) for key in ("in_blocks", "understood", "free_units", "units")},
        }
        for group, rows in groups.items()
    }
    shares = [row["understood"] for row in table.values()]
    totals = {
        "checkpoints": sum(map(len, groups.values())),
        "groups": len(table),
        "errors": errors,
        "in_blocks_minimum": min(row["in_blocks"] for row in table.values()),
        "understood_mean": mean(shares),
        "understood_minimum": min(shares),
    }
    return {"totals": totals, "groups": table}


def main() -> int:
    """Print the coverage; exit status 1 if a checkpoint could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = coverage(options.folder)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for group, row in found["groups"].items():
            print(
                f"{group:34} {len(row['checkpoints']):4} in blocks {row['in_blocks']:.3f} "
                f"understood {row['understood']:.3f}  free {row['free_units']:.0f} of {row['units']:.0f}"
            )
        print(json.dumps(found["totals"]))
    return 1 if found["totals"]["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
