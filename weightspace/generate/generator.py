"""Latents drawn on demand: fitted to a table, conditioned on properties, decoded through a decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Generator as Random

from weightspace.errors import GeneratorError
from weightspace.generate.codes import Code, write_asked
from weightspace.generate.condition import Asked, Condition, read_condition
from weightspace.generate.coordinates import Coordinates
from weightspace.generate.files import find_generator, load_generator, save_generator
from weightspace.generate.fitting import Rows, read_rows
from weightspace.generate.priors import PRIORS
from weightspace.generate.priors.neighbours import slerp
from weightspace.generate.priors.prior import LatentPrior, Points
from weightspace.generate.sample import Sample
from weightspace.latents.table import LatentTable


@final
@dataclass(frozen=True, eq=False)
class Generator:
    """Draws latents of one encoder.

    Args:
        name: Of the generator.
        prior: Kind and distribution over places.
        coordinates: Of the places.
        codes: How properties are written.
        rows: The networks that it was fitted to.
        programs: Of their architectures, by id; empty where they are not known.
    """

    name: str
    prior: LatentPrior
    coordinates: Coordinates
    codes: tuple[Code, ...]
    rows: Rows
    programs: Mapping[str, str]

    @classmethod
    def fit(
        cls,
        table: LatentTable,
        *,
        programs: Mapping[str, str] | None = None,
        prior: str = "flow",
        properties: Sequence[str] | None = None,
        name: str = "mine",
        seed: int = 0,
    ) -> Generator:
        """Return a generator of latents like those of a table.

        Rows whose `split` is train are learned from, those of validation choose when to stop, others are left alone;
        without that column one run in seven is held out.

        Args:
            table: Latents with properties.
            programs: Text of the program of each architecture that the table names.
            prior: One of `PRIORS`.
            properties: What can be asked for; by default everything recorded that differs.
            name: Of the generator.
            seed: Of everything random.

        Raises:
            GeneratorError: The prior is unknown, rows are too few, or a property cannot be conditioned on.
        """
        if prior not in PRIORS:
            raise GeneratorError(f"there is no prior {prior!r}; there are {', '.join(PRIORS)}.")
        train, held_out, codes = read_rows(table, properties)
        coordinates = Coordinates.fit(train.vectors)
        points = [_points(rows, coordinates, codes) for rows in (train, held_out)]
        fitted = PRIORS[prior].fit(points[0], points[1], seed=seed)
        known = {str(a) for a in train.architectures} if programs else set()
        kept = {key: text for key, text in (programs or {}).items() if key in known}
        return cls(name, fitted, coordinates, tuple(codes), train, kept)

    @property
    def kind(self) -> str:
        """Which of `PRIORS` it draws from."""
        return next(name for name, kind in PRIORS.items() if isinstance(self.prior, kind))

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path) -> Generator:
        """Return a generator by its name, or the one in a folder.

        Raises:
            GeneratorError: There is no generator of this name, or its files are damaged.
        """
        return cls(**load_generator(find_generator(str(name_or_folder))))

    def save(self, folder: str | Path) -> Path:
        """Write the generator to a folder, for `from_pretrained`; return the folder.

        Raises:
            GeneratorError: The folder holds a generator already, or cannot be written.
        """
        return save_generator(Path(folder), self)

    def sample(
        self,
        count: int,
        *,
        condition: str | Sequence[str] | Condition = (),
        seed: int = 0,
        guidance: float = 1.0,
        beyond: bool = False,
        temperature: float = 1.0,
    ) -> Sample:
        """Draw latents, with the architecture that the network nearest to each has.

        Args:
            count: How many.
            condition: What is asked of them, as text or mapping; see `read_condition`.
            seed: Of everything drawn.
            guidance: How far the condition is followed, 1 as the data do; of a flow alone.
            beyond: Whether numbers outside of what was seen may be asked for.
            temperature: Of the noise that a flow begins with, 1 as it was fitted; more makes newer and worse networks.

        Raises:
            GeneratorError: The condition cannot be met; the nearest possible is named.
        """
        if count < 1:
            raise GeneratorError(f"{count} networks cannot be drawn; ask for one at least.")
        if temperature <= 0:
            raise GeneratorError(f"a temperature of {temperature:g} leaves nothing to draw; take one above 0, as 1.")
        for name, value in (("guidance", guidance), ("temperature", temperature)):
            if value != 1.0 and not self.prior.guided:
                raise GeneratorError(f"a {self.kind} prior knows no {name}; leave it at 1 or take a flow.")
        wanted = Asked(read_condition(condition), self.codes, self.rows.codes, beyond=beyond)
        drawn = wanted.draw(count, np.random.default_rng(seed))
        return self.sample_each(drawn, count, seed=seed, guidance=guidance, temperature=temperature)

    def sample_each(
        self,
        asked: Mapping[str, np.ndarray],
        count: int,
        *,
        seed: int = 0,
        guidance: float = 1.0,
        temperature: float = 1.0,
    ) -> Sample:
        """Draw one latent for each row of what is asked, whether such networks were seen or not.

        Args:
            asked: Values of properties, `count` each.
            count: How many.
            seed: Of everything drawn.
            guidance: As in `sample`.
            temperature: As in `sample`.
        """
        codes, known = map(torch.from_numpy, write_asked(asked, self.codes, count))
        draw = Random().manual_seed(seed)
        places = self.prior.sample(codes, known, generator=draw, guidance=guidance, temperature=temperature)
        return self.as_sample(self.coordinates.vectors(places.numpy()), asked)

    def as_sample(self, vectors: Float32[np.ndarray, "models latent"], asked: Mapping[str, np.ndarray] = {}) -> Sample:
        """Return latents with the architecture that the network nearest to each has.

        Raises:
            GeneratorError: No architecture is known, or latents are not finite.
        """
        if not self.programs:
            raise GeneratorError(f"{self.name} knows no architecture; fit it with programs.")
        if not np.isfinite(vectors).all():
            raise GeneratorError("latents that are not finite were drawn; ask for what lies nearer to what was seen.")
        near = self.rows.architectures[self.nearest(vectors)]
        return Sample(vectors, asked, tuple(self.programs[str(a)] for a in near), self.rows.encoder, self.name)

    def nearest(self, vectors: Float32[np.ndarray, "models latent"]) -> np.ndarray:
        """Return the row that is nearest to each latent, in places, among those whose architecture is known."""
        mine, theirs = (torch.from_numpy(self.coordinates.places(v)) for v in (vectors, self.rows.vectors))
        apart = torch.cdist(mine, theirs)
        if self.programs:
            apart[:, ~np.isin(self.rows.architectures, list(self.programs))] = float("inf")
        return apart.argmin(1).numpy()

    def interpolate(self, a: np.ndarray, b: np.ndarray, steps: int) -> Float32[np.ndarray, "steps latent"]:
        """Return latents from `a` to `b`, both among them, on a great circle of standardised numbers."""
        if steps < 2:
            raise GeneratorError(f"{steps} steps do not lead from one latent to another; take two at least.")
        first, last = (torch.from_numpy(self.coordinates.standardise(np.asarray(v))) for v in (a, b))
        return self.coordinates.restore(np.stack([slerp(first, last, i / (steps - 1)).numpy() for i in range(steps)]))

    def arithmetic(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Float32[np.ndarray, " latent"]:
        """Return the latent `a - b + c`: what sets `a` apart from `b`, given to `c`."""
        return (np.asarray(a) - np.asarray(b) + np.asarray(c)).astype(np.float32)

    def variations(
        self, latent: np.ndarray, radius: float, *, count: int = 8, seed: int = 0
    ) -> Float32[np.ndarray, "count latent"]:
        """Return latents around one, along the directions in which the networks seen differ.

        Args:
            latent: Around which.
            radius: Distance from it, as a share of the deviation of the networks seen along each direction.
            count: How many.
            seed: Of the directions.
        """
        noise = torch.randn(count, len(self.coordinates.scale), generator=Random().manual_seed(seed)).numpy()
        step = self.coordinates.vectors(radius * noise) - self.coordinates.mean
        return (np.asarray(latent) + step).astype(np.float32)


def _points(rows: Rows, coordinates: Coordinates, codes: Sequence[Code]) -> Points:
    owners = np.repeat(np.arange(len(codes)), [code.columns for code in codes])
    places, written = (torch.from_numpy(x) for x in (coordinates.places(rows.vectors), rows.codes))
    return Points(places, written, torch.from_numpy(owners))
