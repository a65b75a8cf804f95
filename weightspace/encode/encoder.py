"""Checkpoints in, latents out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode import DEFAULT
from weightspace.encode.batch import Architectures
from weightspace.encode.cache import RowCache
from weightspace.encode.latent import Latent
from weightspace.encode.many import Progress, Source, encode_rows
from weightspace.encode.network import Encoding, SweepConfig, SweepNetwork
from weightspace.encode.predictor import Predictions, Predictor, flatten_predictions
from weightspace.encode.pretrained import find_encoder, load_encoder, save_encoder
from weightspace.encode.stacked import encode_checkpoints
from weightspace.errors import EncoderError
from weightspace.execute.processes import Team
from weightspace.graph.axes import GRAPH_VERSION
from weightspace.latents.table import LatentTable
from weightspace.nn.products import Products

VERSION = 5
SEEDS = {"random-sweep": 0}


@final
class Encoder:
    """Turns checkpoints into latents with one sweep network.

    Args:
        name: Of the encoder.
        network: It runs in the precision of its parameters: float64 makes a relabelling invisible to the last digit
            of the float32 vector.
        predictor: Reads properties off vectors; None where nothing was learned.
        run: Whether networks whose checkpoints say how are run on the probes, if the network has any.
    """

    def __init__(
        self, name: str, network: SweepNetwork, predictor: Predictor | None = None, *, run: bool = True
    ) -> None:
        self.name, self.network, self.predictor = name, network.eval(), predictor
        self.run = run and bool(network.config.probes)
        self.architectures, self.how = Architectures(run=self.run), Products()
        self.id = f"{name}-{VERSION}-{_digest(network)}" + ("" if self.run or not network.config.probes else "-unrun")

    @classmethod
    def from_pretrained(cls, name: str = DEFAULT, *, run: bool = True) -> Encoder:
        """Return an encoder by its name, or the one in a folder.

        `random-sweep` has learned nothing: its parameters are drawn from a fixed seed.

        Args:
            name: Of an encoder that ships, or a folder that `save` wrote.
            run: Whether networks are run on learned inputs where their checkpoints say how; else weights alone count.

        Raises:
            EncoderError: There is no encoder of this name, or its files are damaged.
        """
        if name in SEEDS:
            generator = Generator().manual_seed(SEEDS[name])
            return cls(name, SweepNetwork(SweepConfig(), generator=generator).double())
        folder = find_encoder(name)
        if folder is None:
            raise EncoderError(
                f"there is no encoder {name!r}: pass a folder that holds one, or {', '.join((DEFAULT, *SEEDS))}."
            )
        return cls(*load_encoder(folder), run=run)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the encoder to a folder, for `from_pretrained`.

        Raises:
            EncoderError: The folder holds an encoder already.
        """
        save_encoder(Path(folder), self.name, self.network, self.predictor)

    def to(self, device: str, dtype: torch.dtype | None = None) -> Encoder:
        """Move the encoder and return it; what it says comes back to the CPU.

        Args:
            device: Where it computes.
            dtype: To which weights are rounded that are multiplied with states: bfloat16 on an accelerator by default,
                which moves learned numbers by less than a hundredth and the fingerprint's by a few; elsewhere that of
                the encoder. All else keeps the encoder's precision.
        """
        self.network.to(device)
        self.how = Products(Team(device=device), dtype or (None if device == "cpu" else torch.bfloat16))
        return self

    def share(self, team: Team) -> Encoder:
        """Return this encoder as one of a team, all of which call it with the same checkpoints.

        Each process reads and measures some of the blocks, and multiplies some of the tiles of large ones; all get the
        latent.
        """
        shared = copy(self)
        shared.how = replace(self.how, team=team)
        return shared

    def encode(self, source: Source) -> Latent:
        """Return the latent of one checkpoint, or of the file it is in.

        Raises:
            WeightspaceError: It cannot be read or holds no weights, or a part of it does not fit on the device.
        """
        checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
        plan = self.architectures.of(checkpoint).plan
        found, lost = self.encode_stack(checkpoint)
        units = {name: h[0].float() for name, h in found.units.items()}
        stages = {stage.name: s.float() for stage, s in zip(plan.stages, found.stages[0], strict=True)}
        return Latent(found.vector[0].float(), units, stages, lost[0])

    def encode_stack(self, *checkpoints: Checkpoint) -> tuple[Encoding, list[int]]:
        """Return the encoding of checkpoints of one architecture, and how many weights of each are not finite.

        Where an accelerator runs out of memory, fewer are encoded at once, and then smaller tiles of one.

        Raises:
            EncoderError: One has no numbers (it is on the meta device), or so large ones that the latent overflows.
            DeviceMemoryError: One does not fit on the device.
        """
        for checkpoint in checkpoints:
            _check_numbers(checkpoint)
        found, lost = encode_checkpoints(self, self.architectures.of(checkpoints[0]), checkpoints)
        for checkpoint, vector in zip(checkpoints, found.vector, strict=True):
            if not vector.isfinite().all():
                raise EncoderError(f"{checkpoint.source}: its weights overflow {vector.dtype}. Divide them first.")
        return found, lost

    def predict(self, *checkpoints: Checkpoint) -> list[Predictions]:
        """Return what is predicted of checkpoints of one architecture, from their latents.

        Raises:
            EncoderError: This encoder has learned no property.
        """
        return self._predictor().predict(self.encode_stack(*checkpoints)[0].vector.float())

    def add_predictions(self, table: LatentTable) -> LatentTable:
        """Return a table of this encoder's latents with what is predicted from each.

        Columns: `predicted_*` for each property, `*_low` and `*_high` for numbers, `*_likely` for names, `novelty`.

        Raises:
            EncoderError: This encoder has learned no property, or the latents are another's.
        """
        if table.encoder != self.id:
            raise EncoderError(f"the latents are of {table.encoder}, not of {self.id}. Embed the checkpoints again.")
        vectors = torch.from_numpy(table.vectors[table.fine])
        columns = [flatten_predictions(told) for told in self._predictor().predict(vectors)]
        places = dict(zip(np.flatnonzero(table.fine).tolist(), columns, strict=True))
        names = list(columns[0]) if columns else []
        return table.assign({n: [places.get(i, {}).get(n) for i in range(len(table))] for n in names})

    def _predictor(self) -> Predictor:
        if self.predictor is None:
            raise EncoderError(f"{self.id} has learned no property to predict; take a trained encoder.")
        return self.predictor

    def encode_many(
        self,
        sources: Source | Iterable[Source],
        *,
        batch_size: int = 64,
        progress: Progress | None = None,
        cache: str | os.PathLike[str] | None = None,
        known: LatentTable | None = None,
        trust: bool = False,
    ) -> LatentTable:
        """Return a table with one row a source, in their order; a source that fails has a row that says why.

        Checkpoints of one architecture are encoded together. A content (by its hash) that this encoder has embedded
        before, in `known` or in `cache`, is not embedded again.

        Args:
            sources: Files, folders (every checkpoint inside), hub ids, checkpoints.
            batch_size: At most so many at once.
            progress: Called with how many sources are done and how many there are.
            cache: Folder that keeps each row once it is computed, so that an interrupted run can go on.
            known: A table to go on from.
            trust: As for `load_checkpoint`, of all sources.
        """
        rows = RowCache(self.id, GRAPH_VERSION, folder=cache, known=known)
        found = encode_rows(self, sources, batch_size=batch_size, progress=progress, cache=rows, trust=trust)
        latent = self.network.config.latent
        return LatentTable.from_rows(found, encoder=self.id, graph_version=GRAPH_VERSION, latent=latent)


def _check_numbers(checkpoint: Checkpoint) -> None:
    empty = next((name for name, tensor in checkpoint.tensors.items() if tensor.is_meta), None)
    if empty is not None:
        raise EncoderError(
            f"{checkpoint.source}: tensor {empty!r} is on the meta device, so it has a shape and no numbers. Load the "
            "weights first."
        )


def _digest(network: SweepNetwork) -> str:
    digest = hashlib.sha256(repr(network.config).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(_float32(value).numpy().tobytes())
    return digest.hexdigest()[:8]


def _float32(value: Tensor) -> Tensor:
    return value.detach().cpu().float().contiguous()
