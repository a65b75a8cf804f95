"""How well a decoder does on a population: held-out networks, decoded into their own architecture and into others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from weightspace.audit.agreement import compare_answers
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.errors import AuditError
from weightspace.execute.pieces import run_in_pieces
from weightspace.train.decoder_data import dataset_of, read_stacks
from weightspace.train.into import Into, Menu
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.stacks import Stack, encode_stack
from weightspace.zoo.store import Population

REACH, LEVELS = 4.0, 255
"""Deviations that numbers of 8 bits reach on either side of the mean, and their steps."""
TOGETHER = 128
"""Networks that answer at once."""
FACTORS, UNSEEN = (0.5, 2, 4), (12, 24)
"""Of the width; widths that decoders which ship never learned."""
PERCEPTRON = {"width": 64, "depth": 2}


@dataclass(frozen=True, eq=False)
class Held:
    """Held-out networks of one architecture.

    Args:
        stack: The networks.
        vectors: Their latents, `(models, latent)`.
        wanted: What they answer, `(models, inputs)`.
        rows: By name, the latents that are decoded and the architecture that they are decoded into.
    """

    stack: Stack
    vectors: Tensor
    wanted: Tensor
    rows: Mapping[str, tuple[Tensor, Into]]


@dataclass(frozen=True, eq=False)
class Asked:
    """What networks are asked.

    Args:
        data: Their dataset, whose test inputs neither encoder nor decoder saw.
        images: Test inputs, at most.
        device: Where they are run.
    """

    data: Dataset
    images: int = 10_000
    device: str = "cpu"

    @property
    def inputs(self) -> Tensor:
        """Test inputs, on the device."""
        return self.data.x_test[: self.images].to(self.device)

    @property
    def labels(self) -> Tensor:
        """Right answers."""
        return self.data.y_test[: self.images]


def measure_decoder(
    decoder: Decoder,
    encoder: Encoder,
    population: Population,
    *,
    data_dir: str | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, float]]:
    """Return what `compare_answers` says of each architecture that held-out networks are decoded into.

    Networks of the part `test` on test inputs: in their `own` architecture, from latents of 8 bits a number too; at
    half, double and four times the width, one layer deeper, at widths that the decoder never learned, and for images
    as a perceptron. `share` is the agreement over that of `own`.

    Args:
        decoder: It.
        encoder: Whose latents it takes.
        population: Of networks that took its inputs; none of them should have been learned from.
        data_dir: Folder of dataset files.
        report: Is told of architectures done and in total.

    Raises:
        AuditError: No network of the population was held out.
        DecoderError: The decoder takes latents of another encoder, or the networks have other inputs or classes.
        ZooError: The population does not say how its networks are built, or on what they were trained.
    """
    decoder.check_encoder(encoder.id)
    asked = Asked(load_dataset(dataset_of(population), data_dir))
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
    frame = population.frame(["split", "architecture"], where=[("split", "==", "test")])
    total = frame["architecture"].nunique()
    for done, held in enumerate(read_held(decoder, encoder, population, asked)):
        for name, (vectors, into) in held.rows.items():
            pairs.setdefault(name, []).append((decoded_answers(decoder, vectors, into, asked.inputs), held.wanted))
        report(done + 1, total)
    if not pairs:
        raise AuditError(f"{population.folder}: no network of the part 'test': nothing was held out to measure on.")
    answers = {name: [torch.cat(side) for side in zip(*found, strict=True)] for name, found in pairs.items()}
    return with_shares({name: compare_answers(ours, theirs, asked.labels) for name, (ours, theirs) in answers.items()})


def with_shares(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Add the agreement of each row over that of `own`."""
    own = found.get("own", {}).get("agreement", float("nan"))
    return {name: row | {"share": row["agreement"] / own if own else float("nan")} for name, row in found.items()}


def read_held(decoder: Decoder, encoder: Encoder, population: Population, asked: Asked) -> Iterator[Held]:
    """Yield the held-out networks of a population, architecture by architecture.

    Raises:
        DecoderError: The networks have other inputs or classes than those that the decoder makes.
    """
    decoder.network.to(asked.device)
    menu = Menu.of(asked.data.signature, asked.device)
    for stack in read_stacks(population, "test", asked.device):
        decoder.check_architecture(stack.program)
        vectors = encode_stack(encoder, stack)
        wanted = torch.cat([classes(run_in_pieces(stack.module, part, asked.inputs)) for part in _parts(stack.weights)])
        own = Into.of(stack.program, stack.module)
        known = population.architecture(str(stack.rows["architecture"].iloc[0]))
        rows = {"own": (vectors, own), "own, 8 bits": (rounded(decoder, vectors), own)}
        yield Held(stack, vectors, wanted, rows | {n: (vectors, into) for n, into in others(known, menu).items()})


def rounded(decoder: Decoder, vectors: Float[Tensor, "models latent"]) -> Float[Tensor, "models latent"]:
    """Return vectors whose numbers have 8 bits each."""
    mean, spread = decoder.network.mean.to(vectors), decoder.network.spread.to(vectors) * REACH
    steps = ((vectors - mean) / spread).clamp(-1, 1) * LEVELS / 2
    return mean + steps.round() * 2 / LEVELS * spread


def others(known: Mapping[str, Any], menu: Menu) -> dict[str, Into]:
    """Return the architectures that networks of one are decoded into beside their own; none without a width."""
    family, options = known["family"], {"depth": 3} | dict(known["options"])
    width = options.get("width")
    if width is None:
        return {}
    found = {f"width x {factor}": options | {"width": int(width * factor)} for factor in FACTORS}
    found["one layer deeper"] = options | {"depth": options["depth"] + 1}
    found |= {f"width {unseen}, never seen": options | {"width": unseen} for unseen in UNSEEN}
    intos = {name: menu.into(family, chosen) for name, chosen in found.items()}
    if family == "mlp":
        return intos
    return intos | {"perceptron": menu.into("mlp", PERCEPTRON | {"activation": options["activation"]})}


@torch.no_grad()
def decoded_answers(decoder: Decoder, vectors: Tensor, into: Into, inputs: Tensor) -> UInt8[Tensor, "models inputs"]:
    """Return the classes that decoded networks answer."""
    decoded = (decoder.network(part, into.target) for part in vectors.split(TOGETHER))
    return torch.cat([classes(run_in_pieces(into.module, weights, inputs)) for weights in decoded])


def classes(logits: Float[Tensor, "models inputs classes"]) -> UInt8[Tensor, "models inputs"]:
    """Return the class of each answer, as bytes on the CPU."""
    return logits.argmax(2).to("cpu", torch.uint8)


def _parts(weights: Mapping[str, Tensor]) -> Iterable[dict[str, Tensor]]:
    models = len(next(iter(weights.values())))
    return ({n: t[i : i + TOGETHER] for n, t in weights.items()} for i in range(0, models, TOGETHER))
