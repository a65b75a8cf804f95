"""Train an encoder on population folders and print how well it reads networks that it has not seen.

    python -m benchmarks.encoder.train POPULATION ... --out OUT --data-dir DATA --device cuda --seconds 150

The number of updates is set so that training takes about `--seconds`, measured over the first updates. Every figure is
of held-out runs (the part `test`), with networks run on the probes and without. OUT gets `train.json` and `encoder/`.

With `--set 'start="NAME"' 'only="encoder.pictures"'` a part of a trained encoder learns, and all else stays.

`torchrun --nproc-per-node N -m benchmarks.encoder.train` with at least N `groups` trains in N processes; several may
share an accelerator, which small networks do not keep busy.
"""

import argparse
import copy
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist

from benchmarks.encoder.data import strata
from benchmarks.encoder.scores import r2, tau, tau_ceiling, tau_within
from weightspace import zoo
from weightspace.encode.properties import PROPERTIES
from weightspace.execute.processes import processes
from weightspace.train.config import LEARNED, TrainConfig
from weightspace.train.encoder import Place, start_training
from weightspace.train.finish import finish
from weightspace.train.loop import EncoderTraining
from weightspace.train.predict import predict

TRIAL, RECORDING = 20, 24
"""Updates that are timed, and how many times as many on an accelerator, where the first of each kind are recorded."""


def steps_in(seconds: float, training: EncoderTraining) -> int:
    """Updates that fit, by the median of some after the first ones; what the first process finds counts for all.

    The training is where it was afterwards, and keeps what it recorded.
    """
    before, times = copy.deepcopy(training.state), list[float]()
    for _ in range(TRIAL if training.device == "cpu" else RECORDING * TRIAL):
        start = time.perf_counter()
        training.advance()
        if training.device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    training.restore(before)
    each = float(np.median(times[len(times) // 2 :]))
    steps = torch.tensor(max(2 * TRIAL, int(seconds / each)), device=training.device)
    if dist.is_initialized():
        dist.broadcast(steps, 0)
    return int(steps)


def measure(training: EncoderTraining, part: str, run: bool) -> list[dict[str, object]]:
    """Scores of each population's networks of one part."""
    by_population: dict[str, list[tuple[pd.DataFrame, pd.DataFrame]]] = {}
    for group in training.corpus.groups[part]:
        told = predict(training.objective, group, run=run)
        by_population.setdefault(group.population, []).append((group.rows.reset_index(drop=True), told))
    return [score(name, pairs) | {"part": part, "run": run} for name, pairs in by_population.items()]


def score(name: str, pairs: list[tuple[pd.DataFrame, pd.DataFrame]]) -> dict[str, object]:
    """Scores of one population: ranking of the accuracy, and every other property that it records."""
    rows, told = (pd.concat(frames, ignore_index=True) for frames in zip(*pairs, strict=True))
    found: dict[str, object] = {"population": name, "networks": len(rows)}
    for key, known in PROPERTIES.items():
        if key not in told or known.column not in rows:
            continue
        truth = known.prepare(rows[known.column])
        if known.classes:
            found[key] = float((truth == told[key]).mean())
        else:
            found[key] = r2(truth.to_numpy(float), told[key].to_numpy(float))
    if "test_accuracy" in rows:
        truth, scores = rows["test_accuracy"].to_numpy(float), told["test_accuracy"].to_numpy(float)
        within = tau_within(truth, scores, strata(rows))["tau"]
        found |= {"tau": tau(truth, scores), "tau_ceiling": tau_ceiling(truth), "tau_within": within}
    return found


def print_table(rows: list[dict[str, object]]) -> None:
    print(f"{'population':24}{'run':>6}{'nets':>7}{'tau':>8}{'ceiling':>9}{'within':>8}{'R2':>8}  others")
    for row in rows:
        other = {k: round(float(v), 3) for k, v in row.items() if k in PROPERTIES and k != "test_accuracy"}
        numbers = [float(row.get(key, float("nan"))) for key in ("tau", "tau_ceiling", "tau_within", "test_accuracy")]
        print(
            f"{row['population']:24}{row['run']!s:>6}{row['networks']:7}{numbers[0]:8.3f}{numbers[1]:9.3f}"
            f"{numbers[2]:8.3f}{numbers[3]:8.3f}  {other}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="test")
    parser.add_argument("--name", default="encoder")
    parser.add_argument("--set", nargs="*", default=[], help="key=value of the configuration or of its sizes")
    args = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    given = {key: json.loads(value) for key, value in (pair.split("=") for pair in args.set)}
    sizes = replace(LEARNED, **{key: value for key, value in given.items() if hasattr(LEARNED, key)})
    rest = {key: value for key, value in given.items() if not hasattr(LEARNED, key)}
    config = TrainConfig(args.name, tuple(args.populations), sizes=sizes, seed=args.seed, **rest)
    with processes(args.device) as team:
        train(config, args, team.device, report=team.first)


def train(config: TrainConfig, args: argparse.Namespace, device: str, *, report: bool) -> None:
    """Train, and with `report` print, measure and save."""
    start = time.perf_counter()
    out = Path(args.out)
    found = [zoo.load(name) for name in args.populations]
    training = start_training(config, found, Place(out / "state.pt", args.data_dir, device), device=device)
    networks = sum(map(len, training.corpus.groups["train"]))
    print(f"loaded in {time.perf_counter() - start:.1f} s: {networks} networks", flush=True)
    steps = steps_in(args.seconds, training)
    training.config = training.objective.config = replace(training.config, steps=steps)
    start = time.perf_counter()

    def tell(step: int, steps: int, losses: dict[str, float]) -> None:
        if losses and (step % (steps // 10 // 50 * 50 or 50) == 0 or step == steps):
            said = {name: round(value, 3) for name, value in losses.items()}
            print(f"{step}/{steps} {time.perf_counter() - start:.0f} s {said}", flush=True)

    training.run(state=out / "state.pt", report=tell if report else None)
    if not report:
        return
    rows = [row for run in (True, False) for row in measure(training, args.part, run)]
    finish(training).save(out / "encoder")
    (out / "train.json").write_text(json.dumps({"config": asdict(training.config), "scores": rows}, indent=1))
    print_table(rows)


if __name__ == "__main__":
    main()
