"""What a generator is held against, made anew from the population that it was fitted to."""

from __future__ import annotations

from collections.abc import Callable

from weightspace.audit.reference import Reference, build_reference
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.errors import AuditError
from weightspace.generate.generator import Generator
from weightspace.zoo.data import load_dataset
from weightspace.zoo.embed import embed_population
from weightspace.zoo.store import Population


def reference_of_population(
    generator: Generator,
    decoder: Decoder,
    encoder: Encoder,
    population: Population,
    *,
    data_dir: str | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Reference:
    """Return the reference of a generator and a decoder from the networks themselves.

    Args:
        generator: Fitted to training networks of the population.
        decoder: That makes its networks; any that knows the encoder.
        encoder: Of both.
        population: Its part `test` is what was held out.
        data_dir: Folder of dataset files.
        report: Is told of networks embedded and in total.

    Raises:
        AuditError: The generator was fitted to other networks, or nothing was held out.
        DecoderError: The decoder takes latents of another encoder.
    """
    decoder.check_encoder(encoder.id)
    frame = population.frame()
    lost = set(map(str, generator.rows.ids)) - set(map(str, frame["id"]))
    if lost:
        raise AuditError(
            f"{generator.name} was fitted to networks that {population.folder} does not hold, such as {min(lost)}: "
            "name the population that it was fitted to."
        )
    table = embed_population(encoder, population, progress=report).table
    data = load_dataset(str(frame["dataset"].iloc[0]), data_dir)
    return build_reference(generator, decoder, table, population, data)
