"""`weightspace decode`: a latent back into a network, of any architecture."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import UsageError, check_output
from weightspace.cli.show import show
from weightspace.decode import DEFAULT as DEFAULT_DECODER
from weightspace.encode import DEFAULT

if TYPE_CHECKING:
    from torch import Tensor

    from weightspace.checkpoint.checkpoint import Checkpoint
    from weightspace.decode.decoder import Decoder
    from weightspace.graph.trace.program import Program

MOST = 4096  # inputs of a dataset that are looked at
Steps = Annotated[int, Parameter(validator=Number(gte=0))]


@Parameter(name="*")
@dataclass(frozen=True)
class What:
    """Which latent, and what it is to become; exactly one of --like and --architecture.

    Args:
        row: Id or path of a row of the table, where it holds several.
        like: A checkpoint file that carries its program: the network is to be of its architecture.
        architecture: A family with options, such as smallcnn:width=8,activation=relu; or POPULATION:ARCHITECTURE.
    """

    row: str | None = None
    like: Path | None = None
    architecture: str | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """With which decoder, and what is done afterwards.

    Args:
        decoder: Name of a decoder that ships, or its folder.
        encoder: Name or folder of the encoder, where the latent is to be made of a checkpoint.
        inputs: A dataset, such as digits, whose inputs (no labels) serve to measure batch norms, refine and polish.
        data_dir: Folder of dataset files, such as mnist.npz.
        refine: Updates of the latent, through the decoder, towards the answers of the checkpoint it is of.
        polish: Updates of the weights towards these answers.
        force: Overwrite an existing output.
    """

    decoder: str = DEFAULT_DECODER
    encoder: str = DEFAULT
    inputs: str | None = None
    data_dir: Path | None = None
    refine: Steps = 0
    polish: Steps = 0
    force: bool = False


_THIS, _PLAIN = What(), How()


def decode(
    latent: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    what: What = _THIS,
    how: How = _PLAIN,
    json: bool = False,
) -> int:
    """Write the network that a latent stands for, in the architecture that is asked for.

    The file carries its program and where it comes from; the answer shows the line that runs it. With --refine and
    --polish, agreement with the original is told after each step, on inputs that neither saw.

    Args:
        latent: A Parquet table that `weightspace embed` wrote; or a checkpoint, which is embedded first.
        output: The safetensors file to write.
        what: Which latent, and what it is to become.
        how: With which decoder, and what is done afterwards.
        json: Print one JSON object.
    """
    from weightspace.decode.decoder import Decoder
    from weightspace.train.improve import Wish, decode_latent

    if (what.like is None) == (what.architecture is None):
        raise UsageError("say what the network is to be: one of --like FILE and --architecture SPEC.")
    check_output(output, force=how.force)
    decoder = Decoder.from_pretrained(how.decoder)
    program = _program(decoder, what)
    vector, source, original = _latent(decoder, latent, what.row, how)
    inputs = _inputs(decoder, how)
    wish = Wish(program, f"decode {source}", inputs, original, how.refine, how.polish)
    made, told = decode_latent(decoder, vector, wish)
    made.save(output, overwrite=how.force)
    summary = {
        "output": str(output),
        "weights": made.header.weights,
        "decoder": decoder.id,
        "latent": source,
        "agreement": told,
        "run": f'weightspace.to_module(weightspace.load_checkpoint("{output}"))(inputs)',
    }
    print(jsonlib.dumps(summary, indent=1)) if json else show([_section(summary, inputs is not None)])
    return 0


def _program(decoder: Decoder, what: What) -> Program:
    from weightspace.zoo.architecture import architecture_of
    from weightspace.zoo.families.signature import Signature

    signature = Signature(decoder.inputs, decoder.classes)
    program = architecture_of(what.architecture or str(what.like), signature=signature)
    decoder.check_architecture(program)
    return program


def _latent(decoder: Decoder, latent: str, row: str | None, how: How) -> tuple[Tensor, str, Checkpoint | None]:
    """The vector, what it is of, and that network where it can be read."""
    import torch

    from weightspace.latents.table import LatentTable

    if Path(latent).suffix != ".parquet":
        return _embedded(decoder, latent, how)
    table = LatentTable.read_parquet(latent)
    decoder.check_encoder(table.encoder)
    place = _place(table, latent, row)
    identity, path = (str(table.data[name][place].as_py()) for name in ("id", "path"))
    wanted = how.refine or how.polish or how.inputs
    return torch.from_numpy(table.vectors[place]), f"{latent}:{identity}", _original(path) if wanted else None


def _place(table: Any, latent: str, row: str | None) -> int:
    """The row that is meant."""
    names = table.data.select(["id", "path"]).to_pylist()
    found = [i for i, name in enumerate(names) if row in (None, name["id"], name["path"]) and table.fine[i]]
    if len(found) != 1:
        some = ", ".join(str(names[i]["id"]) for i in range(min(3, len(names))))
        said = f"{len(found)} rows with a latent" + (f" are {row}" if row else "")
        raise UsageError(f"{latent} holds {said}: name one by its id (--row), such as {some}.")
    return found[0]


def _embedded(decoder: Decoder, source: str, how: How) -> tuple[Tensor, str, Checkpoint]:
    from weightspace.checkpoint.load import load_checkpoint
    from weightspace.encode.encoder import Encoder

    encoder = Encoder.from_pretrained(how.encoder)
    decoder.check_encoder(encoder.id)
    checkpoint = load_checkpoint(source)
    return encoder.encode(checkpoint).vector, source, checkpoint


def _original(path: str) -> Checkpoint | None:
    from weightspace.checkpoint.load import load_checkpoint
    from weightspace.errors import WeightspaceError

    try:
        checkpoint = load_checkpoint(path)
    except WeightspaceError:
        return None
    return checkpoint if checkpoint.metadata.get("architecture") else None


def _inputs(decoder: Decoder, how: How) -> Tensor | None:
    if how.inputs is None:
        return None
    from weightspace.zoo.data import load_dataset

    x = load_dataset(how.inputs, str(how.data_dir) if how.data_dir else None).x[:MOST]
    if tuple(x.shape[1:]) not in decoder.shapes:
        raise UsageError(f"--inputs {how.inputs}: inputs of {tuple(x.shape[1:])}, not one of {list(decoder.shapes)}.")
    return x


def _section(summary: dict[str, Any], measured: bool) -> Any:
    from weightspace.inspect.sections import Section

    rows = [("weights", f"{summary['weights']:,}"), ("decoder", summary["decoder"]), ("latent", summary["latent"])]
    rows += [(f"{step} agrees", f"{share:.1%} with the original") for step, share in summary["agreement"].items()]
    rows += [] if measured else [("batch norms", "not measured, if there are any: name a dataset (--inputs)")]
    rows += [("run it", summary["run"])]
    return Section(summary["output"], ("", ""), tuple(rows))
