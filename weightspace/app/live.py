"""A latent that is mixed and steered by hand, decoded while the hand still moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any, final

import numpy as np
from torch import Tensor

from weightspace.app.behaviour import answer, describe_answers
from weightspace.app.explorer import Explorer
from weightspace.app.filters import first_filters
from weightspace.app.network import Network, attempt
from weightspace.app.steering import Steering, fit_steering
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.decoder import Decoder
from weightspace.errors import DecoderError, ExplorerError


@dataclass(frozen=True)
class Wish:
    """What is to be decoded.

    Args:
        base: The network to start from, whose architecture the decoded one has.
        other: The network that is mixed in, if any.
        share: Of the other, 0 to 1.
        wanted: What probes are to read, by column.
    """

    base: str
    other: str | None = None
    share: float = 0.0
    wanted: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: Any) -> Wish:
        """Return the wish that a page sent.

        Raises:
            ExplorerError: It is of another form.
        """
        if not isinstance(asked, dict):
            raise ExplorerError("a wish is an object with base, other, share and wanted.")
        base, other, share = asked.get("base"), asked.get("other"), asked.get("share", 0.0)
        wanted = asked.get("wanted", {})
        numbers = [share, *wanted.values()] if isinstance(wanted, dict) else [None]
        fits = isinstance(other, str | None) and all(_is_number(n) for n in numbers)
        if not isinstance(base, str) or not fits or not 0 <= share <= 1:
            raise ExplorerError("a wish names its base, and holds numbers: a share of 0 to 1 and what sliders read.")
        return cls(base, other, float(share), {str(name): float(value) for name, value in wanted.items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded network.

    Args:
        vector: That it was decoded from.
        tensors: Its weights.
        like: The network whose architecture it has.
        like_key: Its row.
    """

    vector: np.ndarray
    tensors: Mapping[str, Tensor]
    like: Network
    like_key: str


@final
class LiveDecoder:
    """Decodes wishes into networks that can be looked at.

    Args:
        explorer: Knows the latents, the networks and the datasets.

    Raises:
        DecoderError: There is no decoder for the latents of the table.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.decoder = explorer, _find_decoder(explorer)

    @cached_property
    def steering(self) -> Steering:
        """The sliders of the table."""
        return fit_steering(self.explorer.table)

    def about(self) -> dict[str, Any]:
        """Return the decoder and the sliders."""
        return {"decoder": self.decoder.id, "sliders": [slider.as_dict() for slider in self.steering.sliders]}

    def latent(self, wish: Wish) -> np.ndarray:
        """Return the latent that is wished for: a point between two networks, moved until the probes read it.

        Raises:
            ExplorerError: A network or a slider is not there.
        """
        vector = self.explorer.vector(wish.base)
        if wish.other is not None:
            vector = (1 - wish.share) * vector + wish.share * self.explorer.vector(wish.other)
        return self.steering.move(vector, wish.wanted)

    def decode(self, wish: Wish) -> Decoded:
        """Return the network that is wished for.

        Raises:
            WeightspaceError: A network cannot be read, or does not say what it computes, or nothing finite comes out.
        """
        vector, key = self.latent(wish), self.explorer.nearest_row(wish.base)
        like = self.explorer.open(key)
        tensors = {name: t[0] for name, t in self.decoder.decode(vector[None], like.program).items()}
        return Decoded(vector, tensors, like, key)

    def show(self, wish: Wish) -> dict[str, Any]:
        """Return what the page shows of the network that is wished for.

        Raises:
            WeightspaceError: As `decode`.
        """
        start = perf_counter()
        made = self.decode(wish)
        places, _ = self.explorer.drawn.locate(made.vector[None])
        nearest = self.explorer.neighbours(made.vector, 1)[0]
        return {
            "place": places[0].tolist(),
            "nearest": nearest,
            "usual": self.explorer.usual,
            "readings": self.steering.read(made.vector),
            "like": self.explorer.name(made.like_key),
            "behaviour": attempt(lambda: self._behaviour(made, wish)),
            "filters": attempt(lambda: first_filters(made.tensors, made.like.graph, made.like.inputs).as_dict()),
            "milliseconds": 1000 * (perf_counter() - start),
        }

    def _behaviour(self, made: Decoded, wish: Wish) -> dict[str, Any]:
        asked = self.explorer.questions(made.like_key)
        own = made.like.logits(asked) if wish.base == made.like_key else None
        told = describe_answers(answer(made.like.module, made.tensors, asked), asked, own)
        return told if own is None else told | {"base_accuracy": float((own.argmax(1) == asked.y).double().mean())}

    def checkpoint(self, wish: Wish) -> Checkpoint:
        """Return the network that is wished for, with its program and where it is from in its metadata.

        Raises:
            WeightspaceError: As `decode`.
        """
        made = self.decode(wish)
        told = {"decoder": self.decoder.id, "encoder": self.decoder.encoder, "base": self.explorer.name(wish.base)}
        if wish.other is not None:
            told |= {"other": self.explorer.name(wish.other), "share": f"{wish.share:g}"}
        told |= {f"wanted {name}": f"{value:g}" for name, value in wish.wanted.items()}
        metadata = {**told, "architecture": made.like.checkpoint.metadata["architecture"]}
        return Checkpoint(made.tensors, metadata, source="decoded")


def _find_decoder(explorer: Explorer) -> Decoder:
    """The decoder that was named, else the one that ships if it knows these latents."""
    named = explorer.settings.decoder
    try:
        found = Decoder.from_pretrained(named) if named else Decoder.from_pretrained()
        found.check_encoder(explorer.table.encoder)
    except DecoderError as error:
        if named:
            raise
        raise DecoderError(
            f"no decoder that ships knows the latents of {explorer.table.encoder}: train one and pass it (--decoder)."
        ) from error
    return found
