"""The audit of a sample: how good, how new and how diverse its networks are, and whether they are what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from weightspace.audit.answers import own_runs
from weightspace.audit.fidelity import Fidelity, measure_fidelity
from weightspace.audit.finetune import Curve
from weightspace.audit.networks import Group, answer_groups, decode_groups
from weightspace.audit.reference import Reference
from weightspace.audit.table import Entry, Known, Row, measure_table
from weightspace.audit.weight_novelty import Making, make_yardsticks
from weightspace.decode.decoder import Decoder
from weightspace.errors import AuditError
from weightspace.generate.generator import Generator
from weightspace.generate.sample import Sample

ACCURACY = "test_accuracy"
NEAR, FRESH = 12, 48
"""Training latents near to each network whose reconstructions its weights are held against; fresh ones held beside."""
ALONE = ("generated", "decoded training networks")


@dataclass(frozen=True, eq=False)
class Audit:
    """What was measured of a sample.

    Args:
        title: Of the report.
        about: What is to be known of it: generator, decoder, condition, seed.
        rows: The sample, references and baselines, the sample first.
        fidelity: Asked against achieved accuracy; None where accuracy was not asked for.
        asked: Accuracies asked for and achieved; empty where they were not.
        curves: How training goes on from several starts, if that was measured.
    """

    title: str
    about: Mapping[str, str]
    rows: tuple[Row, ...]
    fidelity: Fidelity | None
    asked: tuple[np.ndarray, np.ndarray]
    curves: Mapping[str, Curve]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        found: dict[str, Any] = {"title": self.title, **self.about, "rows": [row.as_dict() for row in self.rows]}
        if self.fidelity is not None:
            rank = self.fidelity.spearman
            found["fidelity"] = {
                "spearman": rank if np.isfinite(rank) else None,
                "gap": self.fidelity.gap,
                "count": self.fidelity.count,
            }
        if self.curves:
            found["curves"] = {
                name: dict(zip(map(str, c.steps), c.mean.tolist(), strict=True)) for name, c in self.curves.items()
            }
        return found


def audit_sample(
    sample: Sample, generator: Generator, decoder: Decoder, reference: Reference, about: Mapping[str, str]
) -> Audit:
    """Return the audit of a sample, by what travels with its generator.

    Weights are held against reconstructions of the training networks nearest to each, in the architecture of each, so
    that a decoded training network scores as a copy; answers against training networks and reconstructions.

    Args:
        sample: It.
        generator: That drew it.
        decoder: That makes the networks.
        reference: Of the generator.
        about: What the report is to say of it.

    Raises:
        AuditError: The reference was made with another decoder, or the architectures take other inputs.
        DecoderError: The decoder cannot make the networks.
    """
    if reference.decoder != decoder.id:
        raise AuditError(
            f"the audit of {generator.name} holds networks against those of the decoder {reference.decoder}, not of "
            f"{decoder.id}. Take that one, or fit the generator again."
        )
    groups = decode_groups(sample, decoder, reference.inputs)
    runs = own_runs("generated", len(sample))
    answers = answer_groups(groups, reference.inputs, reference.train.labels, runs)
    entries = {"generated": Entry("generated", answers, groups, runs)}
    entries |= _references(sample, generator, decoder, reference)
    for name, made in reference.baselines.items():
        entries[name] = Entry("baseline", made, (), reference.origins[name], weights=reference.weights[name])
    known = Known(reference.train, reference.rebuilt, reference.fresh, {})
    weighed = replace(known, yardsticks=_yardsticks(sample, generator, decoder, reference))
    rows = measure_table({name: entries.pop(name) for name in ALONE}, weighed)
    rows += measure_table(entries, known)
    asked = np.asarray(sample.asked.get(ACCURACY, ()), np.float64)
    told = measure_fidelity(asked, answers.accuracy) if len(asked) else None
    pair = (asked, answers.accuracy) if len(asked) else (np.zeros(0), np.zeros(0))
    return Audit(f"Audit of {len(sample)} networks of {generator.name}", about, tuple(rows), told, pair, {})


def _references(sample: Sample, generator: Generator, decoder: Decoder, reference: Reference) -> dict[str, Entry]:
    """Training networks like those asked for, their reconstructions, and held-out ones."""
    train, rebuilt, fresh = reference.train, reference.rebuilt, reference.fresh
    near = _nearest(generator, sample.vectors, 1)
    again = decode_groups(replace(sample, vectors=generator.rows.vectors[near]), decoder, reference.inputs)
    copies = rebuilt.take(near)
    sets = {"training networks nearest": (train.take(np.unique(near)), False)}
    sets |= {"training networks": (train, True), "held-out networks": (fresh, True)}
    found = {ALONE[1]: Entry("reference", copies, again, copies.runs)}
    return found | {name: Entry("reference", part, (), part.runs, seen) for name, (part, seen) in sets.items()}


def _nearest(generator: Generator, vectors: np.ndarray, count: int) -> np.ndarray:
    """Rows of the generator nearest to each latent, all in one list."""
    mine, theirs = (torch.from_numpy(generator.coordinates.places(v)) for v in (vectors, generator.rows.vectors))
    return torch.cdist(mine, theirs).topk(min(count, len(theirs)), largest=False).indices.flatten().numpy()


def _yardsticks(sample: Sample, generator: Generator, decoder: Decoder, reference: Reference) -> dict[str, Any]:
    fresh = reference.fresh_vectors[:FRESH]
    rows = np.unique(_nearest(generator, np.concatenate([sample.vectors, fresh]), NEAR))
    found: dict[str, Any] = {}
    for text in dict.fromkeys(sample.architectures):

        def decoded(vectors: np.ndarray, program: str = text) -> list[Group]:
            some = replace(sample, vectors=vectors, architectures=(program,) * len(vectors))
            return decode_groups(some, decoder, reference.inputs)

        beside = decoded(fresh)
        told = answer_groups(beside, reference.inputs, reference.train.labels, own_runs("fresh", len(fresh)))
        made = Making(decoded(generator.rows.vectors[rows]), reference.train.runs[rows], beside, told.accuracy)
        found |= make_yardsticks([made])
    return found
