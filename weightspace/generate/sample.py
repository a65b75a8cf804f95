"""Latents that were drawn, what was asked of each, and the networks that they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.decoder import Decoder
from weightspace.errors import GeneratorError
from weightspace.execute.batch_norm import measure_batch_norm
from weightspace.execute.stack import stack_tensors, unstack_tensors
from weightspace.graph.trace.program import Program

NORM, TOGETHER = "batch_norm", 250
"""In the text of programs that have batch norms; inputs that these are measured on at once."""


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """Latents, and what their networks are to be.

    Args:
        vectors: One latent a network.
        asked: What was asked of each, by property; empty where nothing was.
        architectures: The program of each; all the same text where all are of one architecture.
        encoder: Id of the encoder whose latents they are.
        source: Who drew them, for the metadata of the networks.
    """

    vectors: Float32[np.ndarray, "models latent"]
    asked: Mapping[str, np.ndarray]
    architectures: tuple[str, ...]
    encoder: str
    source: str

    def __post_init__(self) -> None:
        if len(self.architectures) != len(self.vectors):
            raise GeneratorError(
                f"{len(self.vectors)} latents but {len(self.architectures)} architectures: name one each."
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def decode_stacks(
        self, decoder: Decoder, inputs: Tensor | None = None
    ) -> Iterator[tuple[np.ndarray, str, dict[str, Tensor]]]:
        """Yield the networks of each architecture: which latents, the program, and their stacked weights.

        Args:
            decoder: Of latents of this encoder.
            inputs: To measure batch norms on; without them, or without batch norms, weights are as decoded.

        Raises:
            DecoderError: The decoder knows latents of another encoder, or cannot make such networks, or weights are not
                finite.
        """
        decoder.check_encoder(self.encoder)
        for text in dict.fromkeys(self.architectures):
            rows = np.flatnonzero([own == text for own in self.architectures])
            program = Program.from_json(text)
            stack = decoder.decode(self.vectors[rows], program)
            if inputs is not None and NORM in text:
                each = unstack_tensors(stack)
                stack = stack_tensors([measure_batch_norm(program, one, inputs.split(TOGETHER)) for one in each])
            yield rows, text, stack

    def decode(self, decoder: Decoder, inputs: Tensor | None = None) -> list[Checkpoint]:
        """Return one checkpoint a latent; each says that it was generated, by what and from which latent.

        Args:
            decoder: Of latents of this encoder.
            inputs: To measure batch norms on.

        Raises:
            DecoderError: As `decode_stacks`.
        """
        found: dict[int, Checkpoint] = {}
        for rows, text, stack in self.decode_stacks(decoder, inputs):
            for place, row in enumerate(rows.tolist()):
                tensors = {name: tensor[place].cpu().contiguous() for name, tensor in stack.items()}
                about = {"architecture": text, "generated": self.source, "decoder": decoder.id, "encoder": self.encoder}
                about |= {"latent": self.vectors[row].tobytes().hex()}
                about |= {f"asked.{name}": str(values[row]) for name, values in self.asked.items()}
                found[row] = Checkpoint(tensors, about, source=f"{self.source}:{row}")
        return [found[row] for row in range(len(self))]
