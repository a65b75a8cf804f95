"""Properties predicted from vectors, with how sure that is and whether the vector is like those learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from weightspace.encode.heads import PropertyHeads
from weightspace.encode.network import SweepConfig, learned_numbers
from weightspace.encode.properties import PROPERTIES

LEVEL, KINDS = 0.9, "dataset"
"""Share of networks for which intervals hold, and the property by whose prediction networks are parted for them."""
EVEN, SHARES = 0.5, tuple(i / 20 for i in range(21))
"""Share of the answers in what is predicted where none was found, and the shares that are tried."""


@dataclass(frozen=True)
class Predictions:
    """What is predicted of one network.

    Args:
        values: A number or a name for each property.
        intervals: Lowest and highest number that is likely, for each number.
        choices: The names that are likely, for each property of names, likeliest first.
        novelty: How unlike the networks learned from it is; above 1 the predictions mean little.
    """

    values: Mapping[str, float | str]
    intervals: Mapping[str, tuple[float, float]]
    choices: Mapping[str, tuple[str, ...]]
    novelty: float


def flatten_predictions(told: Predictions) -> dict[str, float | str]:
    """Return predictions as columns of a table: `predicted_*`, `*_low`, `*_high`, `*_likely`, `novelty`."""
    found: dict[str, float | str] = {}
    for name, value in told.values.items():
        found[f"predicted_{name}"] = value
        if name in told.intervals:
            found[f"{name}_low"], found[f"{name}_high"] = told.intervals[name]
        else:
            found[f"{name}_likely"] = " ".join(told.choices[name])
    return found | {"novelty": told.novelty}


@final
class Predictor(nn.Module):
    """Reads properties off vectors.

    Each property is told by the weights and by the answers of networks that were run; `shares` says how much the
    answers count, chosen on networks that no weight was fitted to. Networks that were not run are told by their
    weights.

    Intervals and choices hold the truth for `LEVEL` of networks like those calibrated on, which no weight was fitted
    to (split conformal prediction), among those that are told to be of one dataset too: each has margins of its own.
    Novelty is the Mahalanobis distance from the vectors learned from, in units of
    the 99th percentile of calibration networks.

    Args:
        sizes: Of the encoder; properties are read off the learned numbers of its vectors.
        classes: Names of each property of names.
        scales: Mean and deviation of each number.
        generator: Draws the weights.

    Source:
        Vovk, Gammerman, Shafer (2005), "Algorithmic learning in a random world" (split conformal sets, and Mondrian
        ones, by a taxonomy that looks at the vector alone); Lee et al.
        (2018), "A simple unified framework for detecting out-of-distribution samples" (Mahalanobis distance).
    """

    margins: Tensor
    centre: Tensor
    whitener: Tensor
    farthest: Tensor

    def __init__(
        self,
        sizes: SweepConfig,
        classes: Mapping[str, list[str]],
        scales: Mapping[str, tuple[float, float]],
        *,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.classes = {name: list(names) for name, names in classes.items()}
        self.scales = {name: (float(mean), float(spread)) for name, (mean, spread) in scales.items()}
        self.shares = dict[str, float]()
        self.fixed, latent, self.answers_from = sizes.fixed, sizes.latent, sizes.latent - sizes.answers
        numbers = latent - self.fixed - sizes.answers, sizes.answers
        self.heads = PropertyHeads(numbers, self.classes, generator=generator)
        self.names = [name for name in self.heads.widths if name in self.classes or name in self.scales]
        kinds = max(1, len(self.classes.get(KINDS, ())))
        self.register_buffer("margins", torch.full((kinds, len(self.names)), torch.inf))
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("whitener", torch.eye(latent))
        self.register_buffer("farthest", torch.ones(()))

    def forward(self, vector: Float[Tensor, "models latent"]) -> dict[str, Tensor]:
        """Return each property: numbers `(models,)` in their own unit, or probabilities `(models, names)`."""
        told = self._told(vector)
        return {name: self._read(name, told[name], self.shares.get(name, EVEN)) for name in self.names}

    def _told(self, vector: Tensor) -> dict[str, Tensor]:
        """What the layers tell of each property, by weights and by answers, `(one or two, models, width)`."""
        return {name: each[1::2] for name, each in self.heads(learned_numbers(vector, self.fixed)).items()}

    def _read(self, name: str, told: Tensor, share: float) -> Tensor:
        """One property as `forward` returns it, of what is told by weights and by answers."""
        found = merged(told, share)
        if name in self.classes:
            return found.softmax(1)
        mean, spread = self.scales[name]
        return found[:, 0] * spread + mean

    def novelty(self, vector: Float[Tensor, "models latent"]) -> Float[Tensor, " models"]:
        """Return how far vectors lie from those learned from; 1 is the 99th percentile of networks like them."""
        return ((vector - self.centre) @ self.whitener).square().mean(1).sqrt() / self.farthest

    @torch.no_grad()
    def calibrate(self, learned: Tensor, held_out: Tensor, targets: Mapping[str, Tensor]) -> None:
        """Set shares, then margins and novelty.

        Args:
            learned: Vectors of networks that were trained on, `(models, latent)`.
            held_out: Vectors of networks of other runs.
            targets: Of the latter; NaN where it is not known.
        """
        self.shares = self._find_shares(held_out, targets)
        told = self(held_out)
        kinds = self._kinds(told, len(held_out))
        for i, name in enumerate(self.names):
            if name not in targets:
                continue
            truth = targets[name]
            apart = self._apart(name, told[name], truth)
            for kind in range(len(self.margins)):
                if (known := truth.isfinite() & (kinds == kind)).any():
                    self.margins[kind, i] = _conformal(apart[known])
        self.centre.copy_(learned.mean(0))
        values, directions = torch.linalg.eigh(torch.cov(learned.double().T))
        floor = 1e-3 * values.mean()  # directions that hardly vary tell nothing but rounding
        self.whitener.copy_(directions * (values.clamp_min(0) + floor).rsqrt())
        self.farthest.fill_(1)
        self.farthest.copy_(self.novelty(held_out).quantile(0.99))

    def _find_shares(self, held_out: Tensor, targets: Mapping[str, Tensor]) -> dict[str, float]:
        """The share of the answers by which each property of held-out networks that were run is told best.

        Of numbers the squared error counts, of names the logarithm of the probability of the true one.
        """
        told, found = self._told(held_out), {}
        run = (held_out[:, self.answers_from :] != 0).any(1)
        for name in self.names:
            known = run & targets[name].isfinite() if name in targets else run.new_zeros(len(run))
            if len(told[name]) == 1 or not known.any():
                continue
            found[name] = best_share(partial(self._loss, name, told[name][:, known], targets[name][known]))
        return found

    def _loss(self, name: str, told: Tensor, truth: Tensor, share: float) -> float:
        apart = self._apart(name, self._read(name, told, share), truth)
        each = -(1 - apart).clamp_min(1e-12).log() if name in self.classes else apart.square()
        return float(each.mean())

    def _apart(self, name: str, told: Tensor, truth: Tensor) -> Float[Tensor, " models"]:
        """How far from the truth what `forward` returns of one property is."""
        if name in self.classes:
            return 1 - told.gather(1, truth.nan_to_num().long()[:, None])[:, 0]
        return (told - truth).abs()

    @torch.no_grad()
    def predict(self, vector: Float[Tensor, "models latent"]) -> list[Predictions]:
        """Return what is predicted of each network."""
        told, novelty = self(vector), self.novelty(vector).tolist()
        margins = self.margins[self._kinds(told, len(vector))].tolist()
        each = ({name: t[i] for name, t in told.items()} for i in range(len(vector)))
        return [self._one(one, margins[i], novelty[i]) for i, one in enumerate(each)]

    def _kinds(self, told: Mapping[str, Tensor], models: int) -> Int64[Tensor, " models"]:
        """Which margins are those of each network."""
        return told[KINDS].argmax(1) if KINDS in self.classes else self.margins.new_zeros(models, dtype=torch.long)

    def _one(self, told: Mapping[str, Tensor], margins: Sequence[float], novelty: float) -> Predictions:
        values: dict[str, float | str] = {}
        intervals, choices = dict[str, tuple[float, float]](), dict[str, tuple[str, ...]]()
        for margin, name in zip(margins, self.names, strict=True):
            inverse = PROPERTIES[name].restore
            if name in self.classes:
                order = told[name].argsort(descending=True).tolist()
                likely = [i for i in order if float(told[name][i]) >= 1 - margin] or order[:1]
                choices[name] = tuple(self.classes[name][i] for i in likely)
                values[name] = self.classes[name][order[0]]
            else:
                number = float(told[name])
                values[name] = inverse(number)
                intervals[name] = (inverse(number - margin), inverse(number + margin))
        return Predictions(values, intervals, choices, novelty)


def merged(told: Float[Tensor, "heads models width"], share: float = EVEN) -> Float[Tensor, "models width"]:
    """Return what one head tells, or what two tell together where the second counts as `share`."""
    return told[0] if len(told) == 1 else (1 - share) * told[0] + share * told[1]


def best_share(loss: Callable[[float], float]) -> float:
    """Return the share of the least loss; of equally good ones that next to even."""
    losses = {share: loss(share) for share in SHARES}
    return min(losses, key=lambda share: (losses[share], abs(share - EVEN)))


def _conformal(apart: Tensor) -> float:
    """The smallest distance that `LEVEL` of further networks stay within: of `n`, the `ceil((n + 1) LEVEL)`-th."""
    rank = ceil((len(apart) + 1) * LEVEL)
    return float(apart.sort().values[rank - 1]) if rank <= len(apart) else torch.inf
