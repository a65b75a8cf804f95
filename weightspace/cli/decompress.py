"""`weightspace decompress`: a compressed checkpoint back as safetensors."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from weightspace.cli.manners import check_output


def decompress(
    file: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    force: bool = False,
    json: bool = False,
) -> int:
    """Write what a compressed checkpoint holds as a safetensors file: names, shapes, precisions, metadata and ties.

    Args:
        file: Of `weightspace compress`.
        output: The safetensors file to write.
        force: Overwrite an existing output.
        json: Print one JSON object.
    """
    from weightspace.decode.codec.file import read_compressed

    check_output(output, force=force)
    checkpoint = read_compressed(file)
    checkpoint.save(output, overwrite=force)
    told = {"output": str(output), "tensors": len(checkpoint.tensors), "weights": checkpoint.header.weights}
    if json:
        print(jsonlib.dumps(told))
    else:
        print(f"{output}: {told['tensors']} tensors, {told['weights']:,} weights")
    return 0
