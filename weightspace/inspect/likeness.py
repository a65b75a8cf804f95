"""Which rows of a table are like a checkpoint, and why: which of their stages agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import EncoderError
from weightspace.latents.table import LatentTable

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder
    from weightspace.encode.latent import Latent


@dataclass(frozen=True)
class StageAgreement:
    """How alike two stages are.

    Args:
        stage: Of the first checkpoint.
        other: Of the second: the one of the same name, or at the same share of the depth where names differ.
        cosine: Of what the encoder says of them, -1 to 1; that of unlike networks is not 0, so compare with others.
    """

    stage: str
    other: str
    cosine: float


def embed_query(table: LatentTable, source: Any, encoder: Encoder, *, trust: bool = False) -> np.ndarray:
    """Return the vector of a checkpoint, to search a table with.

    Args:
        table: Of latents.
        source: What `load_checkpoint` takes: a file, a folder, a hub id, a state dict, a module or a checkpoint.
        encoder: The one that the table is of.
        trust: As for `load_checkpoint`.

    Raises:
        EncoderError: The table is of another encoder.
        CheckpointError: The source cannot be read.
    """
    if encoder.id != table.encoder:
        raise EncoderError(
            f"the table holds latents of the encoder {table.encoder}, not of {encoder.id}. Take the one that the table "
            "is of, or embed its checkpoints again."
        )
    return encoder.encode(load_checkpoint(source, trust=trust)).vector.numpy()


def compare_stages(first: Latent, second: Latent) -> list[StageAgreement]:
    """Return how alike the stages of two checkpoints are, in the order of the first.

    Args:
        first: Latent of one checkpoint.
        second: Latent of the other, by the same encoder.

    Raises:
        EncoderError: The stages are of different widths, so the latents are of different encoders.
    """
    from torch.nn.functional import cosine_similarity

    names, found = list(second.stages), []
    for i, (stage, said) in enumerate(first.stages.items()):
        share = i / max(1, len(first.stages) - 1)
        other = stage if stage in second.stages else names[round(share * (len(names) - 1))]
        theirs = second.stages[other]
        if said.shape != theirs.shape:
            raise EncoderError(
                f"stage {stage!r} has {len(said)} numbers and {other!r} {len(theirs)}: the latents are of two "
                "encoders. Encode both with one."
            )
        found.append(StageAgreement(stage, other, float(cosine_similarity(said.double(), theirs.double(), dim=0))))
    return found
