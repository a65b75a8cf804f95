"""How much of what networks answer is written in their latents in plain sight? What limits every decoder of them.

    python -m benchmarks.decode.latents POPULATION --encoder NAME --data-dir DATA --inputs 1500

A ridge regression from latents of the part `train` to these networks' logits on test inputs, centred over classes and
divided by their root mean square; then the share of inputs on which the class of the prediction and the class that the
network answers are the same, over networks of the part `test`. Beside the encoder's numbers stand principal components
of answers to some training inputs, and of the very answers that are asked for.
"""

from __future__ import annotations

import argparse

import torch
from torch import Generator, Tensor

from weightspace.encode.encoder import Encoder
from weightspace.execute.pieces import run_in_pieces
from weightspace.train.decoder_data import dataset_of, read_stacks
from weightspace.train.encoded import scaled
from weightspace.zoo.data import load_dataset
from weightspace.zoo.stacks import encode_stack
from weightspace.zoo.store import Population, find_population

PENALTY, COMPONENTS = 30.0, 1e-2
"""Of the ridge: of standardised numbers; of components, as a share of their mean square."""


def flat(logits: Tensor) -> Tensor:
    """Return scaled logits, `(models, inputs times classes)`."""
    return scaled(logits).flatten(1)


def read(encoder: Encoder, population: Population, part: str, inputs: Tensor, count: int) -> tuple[Tensor, ...]:
    """Return latents, answers to the first `count` inputs, which are training inputs, and those to the others."""
    stacks = list(read_stacks(population, part, "cpu"))
    logits = torch.cat([run_in_pieces(stack.module, stack.weights, inputs) for stack in stacks])
    return torch.cat([encode_stack(encoder, stack) for stack in stacks]), logits[:, :count], logits[:, count:]


def agreement(known: Tensor, unknown: Tensor, answers: tuple[Tensor, Tensor], penalty: Tensor | float) -> float:
    """Share of equal answers of a ridge fitted on known numbers and asked about unknown ones."""
    theirs, wanted = answers
    y = flat(theirs)
    gram = known.T @ known + penalty * torch.eye(known.shape[1])
    weight = torch.linalg.solve(gram, known.T @ (y - y.mean(0)))
    told = (unknown @ weight + y.mean(0)).view_as(wanted)
    return float((told.argmax(2) == wanted.argmax(2)).float().mean())


def components(known: Tensor, unknown: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return principal components of rows, fitted on the known ones."""
    mean = known.mean(0)
    torch.manual_seed(0)
    basis = torch.pca_lowrank(known - mean, q=min(count, *known.shape), niter=3)[2]
    return (known - mean) @ basis, (unknown - mean) @ basis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("population")
    parser.add_argument("--encoder", default="zoo-256")
    parser.add_argument("--data-dir")
    parser.add_argument("--inputs", type=int, default=1500, help="test inputs, at most")
    args = parser.parse_args()
    encoder, population = Encoder.from_pretrained(args.encoder), find_population(args.population)
    data = load_dataset(dataset_of(population), args.data_dir)
    shown = data.x[torch.randperm(len(data.x), generator=Generator().manual_seed(0))[:256]]
    inputs = torch.cat([shown, data.x_test[: args.inputs]])
    known, seen, theirs = read(encoder, population, "train", inputs, len(shown))
    unknown, asked, wanted = read(encoder, population, "test", inputs, len(shown))
    sizes, mean, spread = encoder.network.config, known.mean(0), known.std(0) + 1e-3
    parts = {"all": slice(None), "weights": slice(sizes.fixed, sizes.latent - sizes.answers)}
    parts |= {"answers": slice(sizes.latent - sizes.answers, None)} if sizes.answers else {}
    for name, part in parts.items():
        x, z = ((v - mean)[:, part] / spread[part] for v in (known, unknown))
        print(f"{encoder.id}, {name} ({x.shape[1]}): {agreement(x, z, (theirs, wanted), PENALTY):.3f}", flush=True)
    for count in (32, 64, 128, 256):
        for numbers in (128, 256):
            x, z = components(flat(seen[:, :count]), flat(asked[:, :count]), numbers)
            penalty = COMPONENTS * x.square().sum() / x.shape[1]
            told = agreement(x, z, (theirs, wanted), penalty)
            print(f"answers to {count} training inputs, {numbers} components: {told:.3f}", flush=True)
    for numbers in (64, 128, 256):
        x, z = components(flat(theirs), flat(wanted), numbers)
        print(f"the answers asked for, {numbers} components: {agreement(x, z, (theirs, wanted), 0.0):.3f}", flush=True)


if __name__ == "__main__":
    main()
