"""A latent that is mixed and steered by hand, decoded while the hand still moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any, final

import numpy as np
import torch

from weightspace.app.behaviour import answer, describe_answers
from weightspace.app.explorer import Explorer
from weightspace.app.network import Network, attempt
from weightspace.app.steering import Steering, fit_steering
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.shipped import shipped_names
from weightspace.decode.decoder import Decoder
from weightspace.decode.pretrained import CONFIG
from weightspace.errors import DecoderError, ExplorerError, WeightspaceError
from weightspace.graph.trace.program import Program
from weightspace.train.improve import Wish, decode_latent


@dataclass(frozen=True)
class Blend:
    """What is to be decoded: one network, or what lies between two, moved until probes read what is wanted.

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
    def of(cls, asked: Any) -> Blend:
        """Return the blend that a page sent.

        Raises:
            ExplorerError: It is of another form.
        """
        if not isinstance(asked, dict):
            raise ExplorerError("a blend is an object with base, other, share and wanted.")
        base, other, share = asked.get("base"), asked.get("other"), asked.get("share", 0.0)
        wanted = asked.get("wanted", {})
        numbers = [share, *wanted.values()] if isinstance(wanted, dict) else [None]
        fits = isinstance(other, str | None) and all(_is_number(n) for n in numbers)
        if not isinstance(base, str) or not fits or not 0 <= share <= 1:
            raise ExplorerError("a blend names its base, and holds numbers: a share of 0 to 1 and what sliders read.")
        return cls(base, other, float(share), {str(name): float(value) for name, value in wanted.items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded network.

    Args:
        vector: That it was decoded from.
        checkpoint: Its weights, with the program and where they are from, as `weightspace decode` writes them.
        like: The network whose architecture it has.
        like_key: Its row.
    """

    vector: np.ndarray
    checkpoint: Checkpoint
    like: Network
    like_key: str


@final
class LiveDecoder:
    """Decodes blends into networks that can be looked at.

    Args:
        explorer: Knows the latents, the networks and the datasets.

    Raises:
        DecoderError: There is no decoder for the latents of the table.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.decoders = explorer, _find_decoders(explorer)

    @cached_property
    def steering(self) -> Steering:
        """The sliders of the table."""
        return fit_steering(self.explorer.table)

    def about(self) -> dict[str, Any]:
        """Return the decoders and the sliders."""
        return {
            "decoders": [decoder.id for decoder in self.decoders],
            "sliders": [slider.as_dict() for slider in self.steering.sliders],
        }

    def latent(self, blend: Blend) -> np.ndarray:
        """Return the latent of a blend.

        Raises:
            ExplorerError: A network or a slider is not there.
        """
        vector = self.explorer.vector(blend.base)
        if blend.other is not None:
            vector = (1 - blend.share) * vector + blend.share * self.explorer.vector(blend.other)
        return self.steering.move(vector, blend.wanted)

    def decoder_for(self, program: Program) -> Decoder:
        """Return the first decoder that makes networks of the inputs and classes of a program.

        Raises:
            DecoderError: None does; what the last would take is named.
        """
        for decoder in self.decoders[:-1]:
            with suppress(DecoderError):
                decoder.check_architecture(program)
                return decoder
        self.decoders[-1].check_architecture(program)
        return self.decoders[-1]

    def decode(self, blend: Blend) -> Decoded:
        """Return the network of a blend; batch norms are measured where there is a dataset.

        Raises:
            WeightspaceError: A network cannot be read, or does not say what it computes, or nothing finite comes out.
        """
        vector, key = self.latent(blend), self.explorer.nearest_row(blend.base)
        like = self.explorer.open(key)
        wish = Wish(like.program, f"explore {json.dumps(self._told(blend))}", self._inputs(key, like))
        made, _ = decode_latent(self.decoder_for(like.program), torch.from_numpy(vector), wish)
        return Decoded(vector, made, like, key)

    def _inputs(self, key: str, like: Network) -> torch.Tensor | None:
        """What batch norms are measured on; why there is nothing is said where its answers would be shown."""
        try:
            asked = self.explorer.questions(key)
            asked.check(like.program)
        except WeightspaceError:
            return None
        return asked.train

    def _told(self, blend: Blend) -> dict[str, Any]:
        """A blend with ids in place of keys."""
        told: dict[str, Any] = {"base": self.explorer.name(blend.base)}
        if blend.other is not None:
            told |= {"other": self.explorer.name(blend.other), "share": blend.share}
        return told | ({"wanted": dict(blend.wanted)} if blend.wanted else {})

    def show(self, blend: Blend) -> dict[str, Any]:
        """Return what the page shows of the network of a blend.

        Raises:
            WeightspaceError: As `decode`.
        """
        start = perf_counter()
        made = self.decode(blend)
        places, _ = self.explorer.drawn.locate(made.vector[None])
        nearest = self.explorer.neighbours(made.vector, 1)[0]
        return {
            "place": places[0].tolist(),
            "nearest": nearest,
            "usual": self.explorer.usual,
            "readings": self.steering.read(made.vector),
            "like": self.explorer.name(made.like_key),
            "behaviour": attempt(lambda: self._behaviour(made, blend)),
            "filters": made.like.show_filters(made.checkpoint.tensors),
            "milliseconds": 1000 * (perf_counter() - start),
        }

    def _behaviour(self, made: Decoded, blend: Blend) -> dict[str, Any]:
        asked = self.explorer.questions(made.like_key)
        own = made.like.logits(asked) if blend.base == made.like_key else None
        told = describe_answers(answer(made.like.module, made.checkpoint.tensors, asked), asked, own)
        return told if own is None else told | {"base_accuracy": float((own.argmax(1) == asked.y).double().mean())}


def _find_decoders(explorer: Explorer) -> list[Decoder]:
    """The decoder that was named, else all that ship and know these latents."""
    named, encoder = explorer.settings.decoder, explorer.table.encoder
    if named:
        found = Decoder.from_pretrained(named)
        found.check_encoder(encoder)
        return [found]
    shipped = map(Decoder.from_pretrained, shipped_names("decoders", CONFIG))
    fitting = [decoder for decoder in shipped if decoder.encoder == encoder]
    if not fitting:
        raise DecoderError(f"no decoder that ships knows the latents of {encoder}: train one and pass it (--decoder).")
    return fitting
