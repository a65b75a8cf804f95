"""Are generated networks good and new at once? Asked for the best fifth, and for accuracies over the whole range.

    python -m benchmarks.generate.quality POPULATION ... --encoder FOLDER --decoder FOLDER --data-dir DATA --json

A flow is fitted to the latents of runs of the part `train`; no network is trained further. Held-out networks are of the
part `test`. Every set holds as many networks. `joint` is the area over a grid of thresholds that the training zoo sets
(accuracy above its quantiles 0.5 to 0.95; novelty above 0.25 to 1 of that of a held-out training of equal accuracy),
with an interval by bootstrap over runs. A decoded training network must have novelty 0.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.generate.zoo import Zoo, add_arguments, best_fifth, read_decoder, read_zoo, steer
from weightspace.audit.answers import own_runs
from weightspace.audit.fidelity import measure_fidelity
from weightspace.audit.networks import answer_groups, decode_groups
from weightspace.audit.pools import answer_baselines
from weightspace.audit.table import Row, measure_table
from weightspace.decode.decoder import Decoder
from weightspace.generate.generator import Generator

ACCURACY = "test_accuracy"
COLUMNS = ("mean", "median", "best", "overlap", "expected", "novelty", "weights", "least_novel", "inside")
COLUMNS += ("inside_fresh", "disagreement", "coverage", "joint", "joint_low", "joint_high")


def measure(zoo: Zoo, decoder: Decoder, args: argparse.Namespace) -> dict[str, Any]:
    """Return the table of one population, the bars, and how far accuracies asked for were achieved."""
    generator = zoo.fit(args.prior, [ACCURACY], args.seed)
    meeting = best_fifth(zoo)
    low = float(zoo.table[ACCURACY][zoo.train][meeting].min())
    sample = generator.sample(args.count, condition={ACCURACY: (low, None)}, seed=args.seed, **steer(generator, args))
    entries = {"generated": zoo.entry("generated", sample, decoder)}
    entries |= zoo.references(meeting)
    entries |= answer_baselines(zoo.pools(meeting), args.count, zoo.inputs, zoo.labels, seed=args.seed)
    rows = measure_table(entries, zoo.asked(meeting), seed=args.seed)
    return {
        "population": zoo.name,
        "training_networks": len(zoo.known.train),
        "held_out_networks": len(zoo.known.fresh),
        "inputs": len(zoo.labels),
        "rows": [row.as_dict() for row in rows],
        "bars": bars(rows),
        "fidelity": fidelity(zoo, generator, decoder, args),
    }


def bars(rows: list[Row]) -> dict[str, Any]:
    """Return what was promised beside what was found."""
    by = {row.name: row for row in rows}
    made, fifth = by["generated"], by["training networks"]
    best = max((row for row in rows if row.kind == "baseline"), key=lambda row: row.joint)
    return {
        "mean_accuracy": [made.mean, fifth.mean, made.mean >= fifth.mean],
        "largest_overlap_above_held_out": [made.overlap - made.expected, 0.03, made.overlap - made.expected <= 0.03],
        "inside_overlap_above_held_out": [
            made.inside - made.inside_fresh,
            0.05,
            made.inside - made.inside_fresh <= 0.05,
        ],
        "joint_above_best_baseline": [made.joint, best.joint, best.name, made.joint > best.joint],
        "joint_intervals_apart": made.joint_low > best.joint_high,
        "copies_are_seen": by["decoded training networks"].novelty < 0.01,
    }


def fidelity(zoo: Zoo, generator: Generator, decoder: Decoder, args: argparse.Namespace) -> dict[str, Any]:
    """Return asked against achieved over the range of the zoo, and beyond it."""
    code = generator.codes[0]
    found = {}
    for name, low, high in (
        ("range", code.low, code.high),
        ("beyond", code.high, code.high + 0.25 * (code.high - code.low)),
    ):
        asked = np.linspace(low, high, args.count)
        got = achieved(zoo, generator, decoder, asked, args)
        found[name] = asdict(measure_fidelity(asked, got)) | {"reached": float(np.quantile(got, 0.95))}
    seen = zoo.table[ACCURACY][zoo.train]
    again = zoo.known.rebuilt.accuracy
    found["decoder alone"] = asdict(measure_fidelity(seen, again))
    return found


def achieved(
    zoo: Zoo, generator: Generator, decoder: Decoder, asked: np.ndarray, args: argparse.Namespace
) -> np.ndarray:
    """Return the accuracies of networks that were asked for accuracies, one each."""
    sample = generator.sample_each({ACCURACY: asked}, len(asked), seed=args.seed, **steer(generator, args))
    groups = decode_groups(sample, decoder)
    return answer_groups(groups, zoo.inputs, zoo.labels, own_runs("asked", len(asked))).accuracy


def show(found: dict[str, Any]) -> None:
    """Print one population."""
    print(f"\n{found['population']}: {found['training_networks']} training and {found['held_out_networks']} held-out")
    print(f"{'':40}" + "".join(f"{c:>13}" for c in COLUMNS))
    for row in found["rows"]:
        cells = "".join(f"{row[c]:13.3f}" if row[c] is not None else f"{'-':>13}" for c in COLUMNS)
        print(f"{row['name']:40}{cells}")
    for part in ("bars", "fidelity"):
        for name, values in found[part].items():
            print(f"  {name}: {values}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--prior", default="flow")
    args = parser.parse_args()
    decoder = read_decoder(args)
    found = [measure(read_zoo(name, decoder, args), decoder, args) for name in args.populations]
    told = {"encoder": args.encoder, "decoder": decoder.id, "prior": args.prior, "populations": found}
    if args.json:
        print(json.dumps(told, indent=1))
        return
    print(f"decoder {decoder.id}, prior {args.prior}, guidance {args.guidance}, temperature {args.temperature}")
    for one in found:
        show(one)


if __name__ == "__main__":
    main()
