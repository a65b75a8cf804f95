"""Can a latent tell a trained checkpoint from a copy with the entries of each tensor shuffled?

    python -m benchmarks.encoder.shuffled DIR --encoder NAME --json

DIR holds `manifest.json`. Every checkpoint has one shuffled copy, so statistics of single tensors know nothing and must
be at 0.5. A logistic regression on standardised latents is fitted without the group that it is asked about (groups of
the manifest, in ten folds); the area under the curve is over all held-out decisions, its spread over draws of groups.
Beside it, what the encoder itself reads off, which learned of shuffled networks of its populations alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor

from benchmarks.baselines import seven_statistics
from benchmarks.encoder.scores import bootstrap, interval
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.encoder import Encoder

FOLDS = 10


def shuffle_entries(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """Return a checkpoint whose tensors hold the same numbers in random order."""
    generator = Generator().manual_seed(seed)

    def shuffled(tensor: Tensor) -> Tensor:
        order = torch.randperm(tensor.numel(), generator=generator)
        return tensor.flatten()[order].view(tensor.shape)

    tensors = {name: shuffled(tensor) for name, tensor in checkpoint.tensors.items()}
    return Checkpoint(tensors, checkpoint.metadata, source=f"{checkpoint.source} (shuffled)")


def separate(x: np.ndarray, groups: np.ndarray) -> dict[str, object]:
    """Return the area under the curve of held-out decisions; the second half of `x` are the shuffled copies."""
    truth, both = np.repeat([1, 0], len(groups)), np.tile(groups, 2)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    fine = np.isfinite(x).all(1)
    told = cross_val_predict(
        model, x[fine], truth[fine], groups=both[fine], cv=GroupKFold(FOLDS), method="decision_function"
    )
    draws = bootstrap(lambda rows: roc_auc_score(truth[fine][rows], told[rows]), both[fine])
    return {"auc": float(roc_auc_score(truth[fine], told)), "interval": interval(draws), "left_out": int((~fine).sum())}


def read_wiring(encoder: Encoder, x: np.ndarray) -> float | None:
    """Return the area under the curve of the encoder's own property `wiring`; None where it reads no such thing."""
    if encoder.predictor is None or "wiring" not in encoder.predictor.classes:
        return None
    whole = encoder.predictor.classes["wiring"].index("whole")
    fine, truth = np.isfinite(x).all(1), np.repeat([1, 0], len(x) // 2)
    with torch.no_grad():
        told = encoder.predictor(torch.from_numpy(x[fine]).float())["wiring"][:, whole]
    return float(roc_auc_score(truth[fine], told.numpy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", nargs="*", default=["random-sweep"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    entries = json.loads((args.folder / "manifest.json").read_text())["checkpoints"]
    real = [load_checkpoint(args.folder / entry["file"]) for entry in entries]
    copies = [shuffle_entries(checkpoint, args.seed + i) for i, checkpoint in enumerate(real)]
    spaces = {"seven statistics a tensor": np.stack([seven_statistics(c) for c in (*real, *copies)])}
    encoders = {name: Encoder.from_pretrained(name) for name in args.encoder}
    spaces |= {name: e.encode_many([*real, *copies]).vectors.astype(float) for name, e in encoders.items()}
    groups = np.array([entry["group"] for entry in entries])
    found = {Path(name).name: separate(space, groups) for name, space in spaces.items()}
    for name, encoder in encoders.items():
        found[Path(name).name]["read_out"] = read_wiring(encoder, spaces[name])
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name, row in found.items():
        low, high = row["interval"]
        own = "" if row.get("read_out") is None else f"  its own read-out {row['read_out']:.3f}"
        print(f"{name:28} {row['auc']:.3f}  {low:.3f}..{high:.3f}  left out {row['left_out']}{own}")


if __name__ == "__main__":
    main()
