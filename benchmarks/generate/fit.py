"""Fit a generator to a population and write its folder, with what its networks are audited against.

python -m benchmarks.generate.fit POPULATION --encoder FOLDER --decoder FOLDER --data-dir DATA -o FOLDER
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.generate.zoo import add_arguments, embed, read_decoder
from weightspace.audit.reference import build_reference
from weightspace.generate.generator import Generator
from weightspace.generate.priors import PRIORS
from weightspace.zoo.data import load_dataset
from weightspace.zoo.store import find_population

PROPERTIES = ("test_accuracy", "activation", "width", "depth", "optimizer", "learning_rate", "train_fraction", "epoch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--prior", default="flow", choices=list(PRIORS))
    parser.add_argument("--properties", nargs="*", default=list(PROPERTIES), help="that can be asked for")
    parser.add_argument("--output", "-o", type=Path, required=True)
    args = parser.parse_args()
    decoder = read_decoder(args)
    population = find_population(args.populations[0])
    table = embed(population, args.encoder, args.device)
    decoder.check_encoder(table.encoder)
    varied = [p for p in args.properties if p in table.columns and len(set(table[p].tolist())) > 1]
    programs = {a: p for a in population.architectures if (p := population.program(a)) is not None}
    generator = Generator.fit(
        table, programs=programs, prior=args.prior, properties=varied, name=args.output.name, seed=args.seed
    )
    data = load_dataset(str(table["dataset"][0]), args.data_dir)
    on_cpu = replace(decoder, network=decoder.network.cpu())
    reference = build_reference(generator, on_cpu, table, population, data)
    generator.save(args.output)
    reference.save(args.output)
    print(f"{args.output}: {args.prior} over {len(generator.rows)} latents; can be asked for {', '.join(varied)}")


if __name__ == "__main__":
    main()
