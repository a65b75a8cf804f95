"""What the networks of a generator are held against wherever it is used: inputs, and what other networks answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from weightspace.audit.answers import Answers
from weightspace.audit.networks import answer_groups, decode_groups, read_groups
from weightspace.audit.pools import answer_baselines, make_pools
from weightspace.audit.table import Entry
from weightspace.audit.weight_novelty import Making, Yardsticks, make_yardsticks, weight_novelty
from weightspace.checkpoint.whole import replacing
from weightspace.decode.decoder import Decoder
from weightspace.errors import AuditError
from weightspace.generate.generator import Generator
from weightspace.latents.table import LatentTable
from weightspace.zoo.data import Dataset
from weightspace.zoo.store import Population

FILE, SETS = "audit.safetensors", ("train", "rebuilt", "fresh")
INPUTS, COUNT, BEST = 1000, 128, 0.8
"""Test inputs and networks of a baseline that are kept; quantile of accuracy above which the best fifth lies."""


@final
@dataclass(frozen=True, eq=False)
class Reference:
    """Inputs and answers that travel with a generator.

    Args:
        inputs: To test on.
        decoder: Id of the decoder that made the reconstructions.
        train: Answers of the networks that the generator was fitted to, in its order.
        rebuilt: Answers of their reconstructions.
        fresh: Answers of held-out trainings.
        fresh_vectors: Latents of these.
        baselines: Answers of baselines made from the best fifth of the training networks.
        origins: The run that each network of a baseline was made from.
        weights: Novelty of the weights of each network of a baseline.
    """

    inputs: Float[Tensor, "inputs ..."]
    decoder: str
    train: Answers
    rebuilt: Answers
    fresh: Answers
    fresh_vectors: Float32[np.ndarray, "fresh latent"]
    baselines: Mapping[str, Answers]
    origins: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]

    def save(self, folder: str | Path) -> Path:
        """Write the reference into the folder of a generator; return the file.

        Raises:
            AuditError: It is there already, or cannot be written.
        """
        path = Path(folder) / FILE
        if path.exists():
            raise AuditError(f"{path} is there already; choose another folder or remove it.")
        sets = {name: getattr(self, name) for name in SETS} | {f"baseline {n}": a for n, a in self.baselines.items()}
        tensors = {f"chosen/{name}": answers.chosen.contiguous() for name, answers in sets.items()}
        tensors |= {"inputs": self.inputs.cpu().half().contiguous(), "labels": self.train.labels}
        tensors |= {f"weights/{name}": torch.from_numpy(w).float() for name, w in self.weights.items()}
        tensors["fresh_vectors"] = torch.from_numpy(self.fresh_vectors.copy())
        about = {
            "decoder": self.decoder,
            "runs": {name: [str(run) for run in answers.runs] for name, answers in sets.items()},
            "origins": {name: [str(run) for run in runs] for name, runs in self.origins.items()},
        }
        try:
            with replacing(path) as draft:
                save_file(tensors, draft, {"about": json.dumps(about)})
        except (OSError, SafetensorError) as error:
            raise AuditError(f"{path}: cannot be written ({error}). Choose another folder.") from error
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Reference:
        """Return the reference in the folder of a generator.

        Raises:
            AuditError: There is none, or it is damaged.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise AuditError(f"{path}: is missing, so what is generated cannot be audited; fit the generator again.")
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                held = {name: file.get_tensor(name) for name in file.keys()}
            sets = {
                name: Answers(held[f"chosen/{name}"], held["labels"], np.array(runs, object))
                for name, runs in about["runs"].items()
            }
            return cls(
                held["inputs"].float(),
                str(about["decoder"]),
                sets["train"],
                sets["rebuilt"],
                sets["fresh"],
                held["fresh_vectors"].numpy(),
                {n.removeprefix("baseline "): a for n, a in sets.items() if n not in SETS},
                {name: np.array(runs, object) for name, runs in about["origins"].items()},
                {name: held[f"weights/{name}"].double().numpy() for name in about["origins"]},
            )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise AuditError(f"{path}: is damaged ({str(error).splitlines()[0]}); fit the generator again.") from error


def build_reference(
    generator: Generator,
    decoder: Decoder,
    table: LatentTable,
    population: Population,
    data: Dataset,
    *,
    count: int = COUNT,
) -> Reference:
    """Return what a generator's networks are to be held against.

    Args:
        generator: Fitted to the table.
        decoder: Of its latents.
        table: Latents of the population, whose `split` says what was held out as `test`.
        population: The networks.
        data: What they were trained on; the first of its test inputs are kept.
        count: Networks of each baseline.

    Raises:
        AuditError: The table tells of no held-out networks, or not of the population's.
    """
    fresh = np.flatnonzero(table["split"].astype(str) == "test") if "split" in table.columns else np.zeros(0, int)
    fresh = fresh[np.isfinite(table.vectors[fresh]).all(1)]
    if not len(fresh):
        raise AuditError("no row of the table has the split 'test': nothing was held out to audit by.")
    inputs, labels = data.x_test[:INPUTS], data.y_test[:INPUTS]
    rows, runs = generator.rows, table["run"].astype(str).astype(object)
    place = {str(identity): i for i, identity in enumerate(table["id"])}
    train_runs = runs[[place[str(identity)] for identity in rows.ids]]
    groups, kept_back = (read_groups(population, list(map(str, ids))) for ids in (rows.ids, table["id"][fresh]))
    again, beside = (
        decode_groups(generator.as_sample(vectors), decoder, inputs) for vectors in (rows.vectors, table.vectors[fresh])
    )
    train = answer_groups(groups, inputs, labels, train_runs)
    best = train.accuracy >= np.quantile(train.accuracy, BEST)
    made = answer_baselines(make_pools(groups, train_runs, best), count, inputs, labels)
    held_out, decoded = (answer_groups(g, inputs, labels, runs[fresh]) for g in (kept_back, beside))
    sticks = make_yardsticks(
        [
            Making(groups, train_runs, kept_back, held_out.accuracy),
            Making(again, train_runs, beside, decoded.accuracy),
        ]
    )
    return Reference(
        inputs,
        decoder.id,
        train,
        answer_groups(again, inputs, labels, train_runs),
        held_out,
        table.vectors[fresh],
        {name: entry.answers for name, entry in made.items()},
        {name: entry.origins for name, entry in made.items()},
        {name: _weigh(entry, sticks) for name, entry in made.items()},
    )


def _weigh(entry: Entry, sticks: Yardsticks) -> np.ndarray:
    return weight_novelty(entry.groups, entry.answers.runs, entry.answers.accuracy, sticks)
