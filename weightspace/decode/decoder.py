"""Latents in, networks of any architecture out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from weightspace.decode import DEFAULT
from weightspace.decode.network import DecoderNetwork
from weightspace.decode.pretrained import DecoderFiles, find_decoder, load_decoder, save_decoder
from weightspace.decode.target import Target
from weightspace.encode.answers import input_shape
from weightspace.errors import DecoderError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.trace.literals import Literals
from weightspace.graph.trace.program import Program

TOGETHER = {"cpu": 64, "cuda": 4096}
"""Networks that are decoded at once."""


@final
@dataclass(frozen=True, eq=False)
class Decoder:
    """Turns latents of one encoder into weights of networks of any architecture that takes the same inputs.

    Args:
        name: Of the decoder.
        network: It decodes on the device and in the precision of its parameters.
        encoder: Id of the encoder whose latents it takes.
        shapes: Of one input of the networks that it has learned to make; the first is taken where nothing else is said.
        classes: That these networks tell apart.
    """

    name: str
    network: DecoderNetwork
    encoder: str
    shapes: tuple[tuple[int, ...], ...]
    classes: int

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)
        for parameter in self.network.parameters():  # files are in half precision
            parameter.copy_(parameter.half())

    @cached_property
    def id(self) -> str:
        """Name, and hash of the weights."""
        digest = hashlib.sha256(repr(self.network.config).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        return f"{self.name}@{digest.hexdigest()[:8]}"

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one input of the networks that it makes, unless told otherwise."""
        return self.shapes[0]

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path = DEFAULT) -> Decoder:
        """Return a decoder by its name, or the one in a folder.

        Args:
            name_or_folder: Of a decoder that ships, or a folder that `save` wrote.

        Raises:
            DecoderError: There is no decoder of this name, or its files are damaged.
        """
        folder = find_decoder(str(name_or_folder))
        if folder is None:
            raise DecoderError(
                f"there is no decoder {str(name_or_folder)!r}: pass a folder, or take {DEFAULT!r}, which ships."
            )
        files = load_decoder(folder)
        return cls(files.name, files.network, files.encoder, files.shapes, files.classes)

    def save(self, folder: str | Path) -> Path:
        """Write the decoder to a folder, for `from_pretrained`; return the folder.

        Raises:
            DecoderError: The folder holds a decoder already.
        """
        files = DecoderFiles(self.name, self.network, self.encoder, self.shapes, self.classes)
        return save_decoder(Path(folder), files)

    def check_encoder(self, encoder: str) -> None:
        """Make sure that latents are of the encoder that this decoder knows.

        Raises:
            DecoderError: They are another's.
        """
        if encoder != self.encoder:
            raise DecoderError(
                f"the latents are of {encoder}, and {self.id} decodes those of {self.encoder}. Embed the checkpoints "
                "with that encoder, or take a decoder of theirs."
            )

    def check_architecture(self, program: Program) -> None:
        """Make sure that networks of a program take the inputs and tell apart the classes of this decoder.

        Raises:
            DecoderError: They don't; what would fit is named.
        """
        shape, outputs = input_shape(program), program.values[program.outputs[0]].shape[-1:]
        known = " or ".join("x".join(map(str, s)) for s in self.shapes)
        if shape not in self.shapes:
            told = "inputs that are not known" if shape is None else f"inputs of {'x'.join(map(str, shape))}"
            raise DecoderError(f"the architecture takes {told}, and {self.id} makes networks for {known}.")
        if outputs != (self.classes,):
            raise DecoderError(
                f"the architecture has {outputs[0] if outputs else 'no'} outputs, and {self.id} makes networks of "
                f"{self.classes} classes."
            )

    @torch.no_grad()
    def decode(self, vectors: np.ndarray | Tensor, architecture: Program | ParameterGraph) -> dict[str, Tensor]:
        """Return the weights of a network for each latent, `(models, *shape)` by tensor name, in single precision.

        Of a program all tensors that it needs are returned; running statistics of norms are 0 and 1 until they are
        measured (`execute.reestimate_batch_norm`).

        Args:
            vectors: `(models, latent)`; the caller answers for their encoder, see `check_encoder`.
            architecture: What the networks are to be. Only a program tells for which inputs.

        Raises:
            DecoderError: The latents have another width or are not finite, the architecture has other inputs or
                classes, or a decoded weight is not finite.
        """
        z = self._latents(vectors)
        if isinstance(architecture, Program):
            self.check_architecture(architecture)
        target = Target.of(architecture)
        parts = [self.network(part, target) for part in z.split(TOGETHER[z.device.type])]
        found = {name: torch.cat([part[name] for part in parts]).float() for name in parts[0]}
        lost = [name for name, weight in found.items() if not weight.isfinite().all()]
        if lost:
            raise DecoderError(f"decoded weights of {lost[:3]} are not finite; take a latent nearer to known ones.")
        return found if isinstance(architecture, ParameterGraph) else found | _uncounted(architecture, found, z)

    def _latents(self, vectors: np.ndarray | Tensor) -> Tensor:
        z = torch.as_tensor(vectors).to(self.network.mean)
        wanted = self.network.config.latent
        if z.ndim != 2 or z.shape[1] != wanted or not len(z):
            raise DecoderError(
                f"latents are of shape {tuple(z.shape)}, not (models, {wanted}) as {self.id} takes them."
            )
        if not z.isfinite().all():
            rows = (~z.isfinite().all(1)).nonzero().flatten().tolist()
            raise DecoderError(f"latents {rows[:5]} hold numbers that are not finite; leave them out.")
        return z


def _uncounted(program: Program, found: dict[str, Tensor], z: Tensor) -> dict[str, Tensor]:
    """Buffers that a program needs and no graph holds (counts of batches), as zeros."""
    slots = {s.target: s.value for s in program.slots if s.role in ("parameter", "buffer") and s.target not in found}
    return {
        name: torch.zeros(len(z), *v.shape, dtype=Literals.dtypes[v.dtype], device=z.device)
        for name, v in slots.items()
    }
