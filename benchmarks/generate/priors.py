"""Which distribution over latents? All priors asked for the best fifth, and for accuracies over the whole range.

    python -m benchmarks.generate.priors POPULATION ... --encoder FOLDER --decoder FOLDER --data-dir DATA --json

Beside them retrieval: training networks of the best fifth as they are. `energy` is the distance of an unconditioned
sample to held-out latents, for retrieval that of the training latents; other columns as in `quality`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.generate.quality import ACCURACY, achieved
from benchmarks.generate.zoo import Zoo, add_arguments, best_fifth, read_decoder, read_zoo, steer
from weightspace.audit.fidelity import measure_fidelity
from weightspace.audit.table import measure_table
from weightspace.decode.decoder import Decoder
from weightspace.generate.priors import PRIORS
from weightspace.generate.priors.prior import energy_distance

COLUMNS = (
    "seconds",
    "energy",
    "mean",
    "overlap",
    "novelty",
    "weights",
    "inside",
    "coverage",
    "joint",
    "spearman",
    "gap",
)


def measure(zoo: Zoo, decoder: Decoder, args: argparse.Namespace) -> dict[str, Any]:
    """Return one row a prior, and retrieval."""
    meeting = best_fifth(zoo)
    low = float(zoo.table[ACCURACY][zoo.train][meeting].min())
    fresh = zoo.table.vectors[zoo.table["split"].astype(str) == "test"]
    entries = {"retrieval": zoo.references(meeting)["training networks"]}
    more: dict[str, dict[str, float]] = {}
    for name in PRIORS:
        start = time.monotonic()
        generator = zoo.fit(name, [ACCURACY], args.seed)
        seconds = time.monotonic() - start
        asked = {ACCURACY: (low, None)}
        sample = generator.sample(args.count, condition=asked, seed=args.seed, **steer(generator, args))
        entries[name] = zoo.entry("generated", sample, decoder)
        free = generator.sample(len(fresh), seed=args.seed)
        here, there, known = (
            torch.from_numpy(generator.coordinates.places(v)) for v in (free.vectors, fresh, generator.rows.vectors)
        )
        even = np.linspace(generator.codes[0].low, generator.codes[0].high, args.count)
        told = asdict(measure_fidelity(even, achieved(zoo, generator, decoder, even, args)))
        more[name] = {"seconds": seconds, "energy": energy_distance(here, there)} | told
        more["retrieval"] = {"seconds": 0.0, "energy": energy_distance(known, there)}
    rows = [
        row.as_dict() | more.get(row.name, {}) for row in measure_table(entries, zoo.asked(meeting), seed=args.seed)
    ]
    return {"population": zoo.name, "training_networks": len(zoo.known.train), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    decoder = read_decoder(args)
    found = [measure(read_zoo(name, decoder, args), decoder, args) for name in args.populations]
    if args.json:
        print(json.dumps({"encoder": args.encoder, "decoder": decoder.id, "populations": found}, indent=1))
        return
    for one in found:
        print(f"\n{one['population']}\n{'':14}" + "".join(f"{c:>10}" for c in COLUMNS))
        for row in one["rows"]:
            cells = "".join(f"{row[c]:10.3f}" if row.get(c) is not None else f"{'-':>10}" for c in COLUMNS)
            print(f"{row['name']:14}{cells}")


if __name__ == "__main__":
    main()
