"""Fits on disk, one file each, and what a population's fits say together."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoder import scores
from weightspace.checkpoint.whole import replacing

Fit = dict[str, Any]


def fit_path(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return where a fit is kept."""
    return folder / "{population}.{target}.{peer}.{seed}.json".format(**settings)


@contextmanager
def held(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a fit, so that no other process makes it meanwhile; tell whether that was to be had.

    Args:
        path: Of the fit.
        wait: Until another process that holds it is done or dead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def read_fit(path: Path, settings: Mapping[str, Any]) -> Fit | None:
    """Return a fit if it is there and was made with these settings."""
    if not path.exists():
        return None
    fit = json.loads(path.read_text())
    return fit if fit["settings"] == json.loads(json.dumps(settings)) else None


def save_fit(path: Path, fit: Fit) -> None:
    """Write a fit, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(json.dumps(fit))


def summarise_fits(fits: Sequence[Fit], draws: int = 500) -> dict[str, Any]:
    """Return the row of one peer on one population: measures over its seeds, and their bootstrap over runs.

    `draws` of the headline measure come along under `_draws` for paired differences.
    """
    first = fits[0]
    if "refused" in first:
        return {"peer": first["peer"], "refused": first["refused"]}
    target, runs = np.array(first["target"]), np.array(first["runs"])
    told = [np.array(fit["scores"]) for fit in fits]
    found = class_measures(target, told, first) if told[0].ndim == 2 else rank_measures(target, told, first)
    measure = scores.accuracy if told[0].ndim == 2 else scores.tau
    drawn = scores.bootstrap(lambda rows: scores.mean_over_seeds(measure, target, told, rows), runs, times=draws)
    each = {key: [fit[key] for fit in fits] for key in ("parameters", "seconds", "networks_per_second")}
    return {
        "peer": first["peer"],
        **found,
        "interval": scores.interval(drawn),
        "seeds": len(fits),
        "parameters": int(np.median(each["parameters"])),
        "seconds": float(np.mean(each["seconds"])),
        "networks_per_second": float(np.median(each["networks_per_second"])),
        "_draws": drawn,
    }


def rank_measures(target: np.ndarray, told: list[np.ndarray], fit: Fit) -> dict[str, float]:
    """Tau and its kin, averaged over seeds, with the deviation over seeds."""
    taus = [scores.tau(target, each) for each in told]
    r2s = [scores.r2(target, each) for each in told]
    within = [scores.tau_within(target, each, np.array(fit["strata"])) for each in told]
    ceiling = scores.tau_ceiling(target)
    return {
        "tau": float(np.mean(taus)),
        "tau_spread": spread(taus),
        "tau_ceiling": ceiling,
        "tau_of_ceiling": float(np.mean(taus)) / ceiling if ceiling else float("nan"),
        "tau_within": float(np.mean([each["tau"] for each in within])),
        "tau_within_ceiling": within[0]["ceiling"],
        "pairs_within": within[0]["pairs"],
        "r2": float(np.mean(r2s)),
        "r2_spread": spread(r2s),
    }


def class_measures(target: np.ndarray, told: list[np.ndarray], fit: Fit) -> dict[str, Any]:
    """Accuracy, averaged over seeds, of all and of each stratum, with the share of the commonest class."""
    found = [scores.accuracy(target, each) for each in told]
    strata = np.array(fit["strata"])
    within = [
        [scores.accuracy(target[here], each[here]) for each in told] for here in strata == np.unique(strata)[:, None]
    ]
    return {
        "accuracy": float(np.mean(found)),
        "accuracy_spread": spread(found),
        "accuracy_within": [round(float(np.mean(each)), 4) for each in within],
        "commonest": float(np.unique(target, return_counts=True)[1].max() / len(target)),
    }


def spread(values: list[float]) -> float:
    """Return the standard deviation over seeds, 0 of one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def add_leads(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with each peer's lead over the best other one, on the same draws of runs."""
    scored = [row for row in rows if "_draws" in row]
    for row in scored:
        others = [other for other in scored if other is not row]
        if others:
            key = "tau" if "tau" in row else "accuracy"
            best = max(others, key=lambda other: other[key])
            row["lead"], row["lead_over"] = row[key] - best[key], best["peer"]
            row["lead_interval"] = scores.interval(row["_draws"] - best["_draws"])
    return [{key: value for key, value in row.items() if key != "_draws"} for row in rows]
