"""One latent into one network, with what may be done to it afterwards, and how well it answers at each step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.decoder import Decoder
from weightspace.errors import DecoderError
from weightspace.execute.batch_norm import measure_batch_norm
from weightspace.execute.module import to_module
from weightspace.execute.run import run_checkpoints
from weightspace.graph.trace.program import Program
from weightspace.train.into import Into
from weightspace.train.polish import polish
from weightspace.train.refine import refine_latents

BATCH = 256
HELD_OUT = 0.25
"""Share of the inputs that are left to measure agreement on."""


@dataclass(frozen=True, eq=False)
class Wish:
    """What a latent is to become.

    Args:
        program: Of the network.
        generated: Who asked, for the metadata.
        inputs: Without labels: to measure batch norms on, to refine and to polish with.
        original: The network that the latent is of, with its program; None where it is not known.
        refine: Updates of the latent.
        polish: Updates of the weights.
    """

    program: Program
    generated: str
    inputs: Tensor | None = None
    original: Checkpoint | None = None
    refine: int = 0
    polish: int = 0

    def __post_init__(self) -> None:
        if (self.refine or self.polish) and (self.inputs is None or self.original is None):
            raise DecoderError(
                "to refine a latent or polish weights takes inputs, and the network that the latent is of, with its "
                "program. Name a checkpoint instead of a latent, and a dataset of inputs."
            )


def decode_latent(decoder: Decoder, vector: Tensor, wish: Wish) -> tuple[Checkpoint, dict[str, float]]:
    """Return the network of one latent, `(latent,)`, and its agreement with the original after each step.

    Batch norms are measured where there are inputs. Agreement is on a quarter of the inputs, which nothing is fitted
    to; nothing is told where there is no original.

    Raises:
        DecoderError: As `Decoder.decode`; or the original takes other inputs.
    """
    told: dict[str, float] = {}
    fitted, held_out = _split(wish.inputs)
    wanted = _answers(wish, fitted) if wish.refine or wish.polish else None
    z = vector[None]
    made = _make(decoder, z, wish)
    _tell(told, "decoded", made, wish, held_out)
    if wish.refine:
        into = Into.of(wish.program, to_module(made))
        assert fitted is not None and wanted is not None
        z = refine_latents(decoder, z, into, fitted, wanted, steps=wish.refine)
        made = _make(decoder, z, wish)
        _tell(told, "refined", made, wish, held_out)
    if wish.polish:
        assert fitted is not None and wanted is not None
        stacked = {name: t[None] for name, t in made.tensors.items()}
        found = polish(to_module(made), stacked, fitted, wanted, steps=wish.polish)
        made = Checkpoint({name: t[0] for name, t in found.items()}, made.metadata, made.source)
        _tell(told, "polished", made, wish, held_out)
    if made.non_finite:
        raise DecoderError(f"weights of {list(made.non_finite[:3])} are not finite; take fewer updates.")
    return made, told


def _make(decoder: Decoder, z: Tensor, wish: Wish) -> Checkpoint:
    weights = {name: t[0].cpu().contiguous() for name, t in decoder.decode(z, wish.program).items()}
    if wish.inputs is not None:
        weights = measure_batch_norm(wish.program, weights, wish.inputs.split(BATCH))
    about = {"architecture": wish.program.to_json(), "generated": wish.generated, "decoder": decoder.id}
    about |= {"encoder": decoder.encoder, "latent": z[0].cpu().float().numpy().tobytes().hex()}
    about |= {name: str(steps) for name, steps in (("refined", wish.refine), ("polished", wish.polish)) if steps}
    return Checkpoint(weights, about, source=wish.generated)


def _split(inputs: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    if inputs is None:
        return None, None
    count = max(1, round(len(inputs) * HELD_OUT))
    return inputs[count:], inputs[:count]


@torch.no_grad()
def _answers(wish: Wish, inputs: Tensor | None) -> Tensor:
    assert wish.original is not None and inputs is not None
    return run_checkpoints([_single(wish.original)], inputs)


def _tell(told: dict[str, float], step: str, made: Checkpoint, wish: Wish, inputs: Tensor | None) -> None:
    """Note the agreement of a network with the original."""
    if wish.original is None or inputs is None:
        return
    with torch.no_grad():
        ours, theirs = (run_checkpoints([_single(net)], inputs)[0].argmax(1) for net in (made, wish.original))
    told[step] = float((ours == theirs).float().mean())


def _single(checkpoint: Checkpoint) -> Checkpoint:
    """The same weights in single precision, as the inputs are."""
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=tensors)
