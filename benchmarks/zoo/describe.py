"""What do the populations that ship hold? Prints the figures of their cards, after every weight met its hash.

python -m benchmarks.zoo.describe mlp_digits lineage --json
"""

import argparse
import json

from weightspace import zoo
from weightspace.zoo.store import Population
from weightspace.zoo.summary import count_bytes


def describe_rows(frame) -> dict[str, float]:
    """Test accuracy of rows that train or descend alike: how many, quantiles, median gap to training."""
    accuracy = frame["test_accuracy"]
    return {
        "checkpoints": len(frame),
        "least": float(accuracy.min()),
        "quarter": float(accuracy.quantile(0.25)),
        "median": float(accuracy.median()),
        "three_quarters": float(accuracy.quantile(0.75)),
        "best": float(accuracy.max()),
        "gap": float(frame["generalisation_gap"].median()),
    }


def describe_population(population: Population) -> dict[str, object]:
    """Counts, size and accuracy; by snapshot, and by node where there is a tree."""
    frame = population.frame()
    last = frame[frame.snapshot == frame.groupby("node", observed=True).snapshot.transform("max")]
    key = "node" if frame["node"].nunique() > 1 else "snapshot"
    runs = frame.drop_duplicates("run")
    return {
        "checkpoints": population.verify(),
        "runs": int(frame["run"].nunique()),
        "architectures": len(population.architectures),
        "megabytes": count_bytes(population) / 1e6,
        "splits": runs["split"].value_counts().sort_index().to_dict(),
        "collapsed": float((last["test_accuracy"] < 0.12).mean()),  # within 2 points of chance
        "divergent": float(last["diverged"].mean()),
        "accuracy": {str(name): describe_rows(rows) for name, rows in frame.groupby(key, observed=True, sort=False)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="folders, or names of populations that ship")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {name: describe_population(zoo.load(name)) for name in args.names}
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name, told in found.items():
        print(name, {key: value for key, value in told.items() if key != "accuracy"})
        for group, row in told["accuracy"].items():
            print(
                f"  {group:22}" + "".join(f" {key} {value:.3f}" for key, value in row.items() if key != "checkpoints")
            )


if __name__ == "__main__":
    main()
