"""`weightspace compress`: the weights of one checkpoint in few bits."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import check_output, read_inputs
from weightspace.cli.show import show

if TYPE_CHECKING:
    from torch import Tensor

    from weightspace.checkpoint.checkpoint import Checkpoint


@Parameter(name="*")
@dataclass(frozen=True)
class Means:
    """How weights are compressed.

    Args:
        inputs: A .npy file of unlabelled inputs of the network, one each row; the more alike to real ones the better.
            The network is run on them, so the checkpoint must say how (its metadata holds its architecture).
        scheme: rounding, distilled, absmax, lloyd, feedback or low_rank; the best of several by default.
        seed: Of what is drawn at random.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
    """

    inputs: Path | None = None
    scheme: str | None = None
    seed: int = 0
    trust: bool = False


_PLAIN = Means()


def compress(
    checkpoint: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    bits: Annotated[float, Parameter(validator=Number(gte=0.25, lte=16))] = 4.0,
    means: Means = _PLAIN,
    force: bool = False,
    json: bool = False,
) -> int:
    """Write the weights of a checkpoint in few bits each, and say what is lost.

    With inputs, weights are learned so that the network answers as before; without, they are rounded. Integers and
    counters are kept exactly. `weightspace decompress` gives a checkpoint back.

    Args:
        checkpoint: A file, folder or hub id, or `POPULATION:ID` for a network of a population.
        output: The file to write.
        bits: A weight, at most; names and shapes come on top.
        means: How weights are compressed.
        force: Overwrite an existing output.
        json: Print one JSON object.
    """
    from weightspace.decode.codec.codec import Compression
    from weightspace.decode.codec.file import pack_checkpoint, unpack_checkpoint, write_compressed
    from weightspace.inspect.collection import read_checkpoint

    check_output(output, force=force)
    shown = None if means.inputs is None else read_inputs(means.inputs)
    before = read_checkpoint(checkpoint, trust=means.trust)
    parts = pack_checkpoint(before, Compression(bits, means.scheme, shown, means.seed))
    after = unpack_checkpoint(b"".join(parts))
    write_compressed(output, parts, overwrite=force)
    told = {"output": str(output), **_losses(before, after, parts, shown)}
    if json:
        print(jsonlib.dumps(told, indent=1, allow_nan=False))
    else:
        show([_section(str(output), told)])
    return 0


def _losses(before: Checkpoint, after: Checkpoint, parts: tuple[bytes, bytes], shown: Tensor | None) -> dict[str, Any]:
    from weightspace.decode.codec.codec import scheme_of

    weights = sum(t.numel() for t in before.tensors.values() if t.is_floating_point())
    floats = [n for n, t in before.tensors.items() if t.is_floating_point()]
    gap = sum(float((before.tensors[n].double() - after.tensors[n].double()).square().sum()) for n in floats)
    power = sum(float(before.tensors[n].double().square().sum()) for n in floats)
    stored = sum(t.numel() * t.element_size() for t in before.tensors.values())
    told = {
        "scheme": scheme_of(parts[1]),
        "weights": weights,
        "bits": 8 * len(parts[1]) / weights,
        "bytes": sum(map(len, parts)),
        "share": sum(map(len, parts)) / stored,
        "relative_error": (gap / power) ** 0.5 if power else 0.0,
    }
    return told if shown is None else told | {"agreement": _agreement(before, after, shown)}


def _agreement(before: Checkpoint, after: Checkpoint, shown: Tensor) -> float | None:
    """Share of equal answers; None where answers are not classes."""
    import torch

    from weightspace.execute.module import to_module

    with torch.no_grad():
        a, b = (to_module(c).float()(shown[:2048]) for c in (before, after))
    return float((a.argmax(-1) == b.argmax(-1)).float().mean()) if a.ndim > 1 and a.shape[-1] > 1 else None


def _section(title: str, told: dict[str, Any]) -> Any:
    from weightspace.inspect.sections import Section

    rows = [
        ("scheme", told["scheme"]),
        ("bits a weight", f"{told['bits']:.3f} of {told['weights']:,} weights"),
        ("bytes", f"{told['bytes']:,}, {told['share']:.1%} of the weights as they were, names and shapes counted"),
        ("error", f"{told['relative_error']:.2%} of the size of the weights"),
    ]
    if told.get("agreement") is not None:
        rows.append(("answers agree", f"{told['agreement']:.1%} of the inputs that were passed"))
    return Section(title, ("", ""), tuple(rows))
