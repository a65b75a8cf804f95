"""Make an encoder of version 4 out of one of version 3, on a CPU in minutes.

    python -m benchmarks.encoder.carry POPULATION ... --start FOLDER --out OUT --data-dir DATA

What version 3 has learned from weights stays as it is: rows of matrices for the two new statistics begin at zero. The
fixed numbers get the fingerprint and the energies. Answers are read anew: probes are real inputs as cosines show them,
the matrix is that of principal components, and only the read-outs of properties from them are trained, on the networks'
answers with and without noise on their weights. Populations must know the same properties as those of version 3 did.
Prints what `benchmarks.encoder.train` prints; OUT gets `train.json` and `encoder/`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor
from torch.nn.functional import layer_norm

from benchmarks.encoder.train import measure, print_table
from weightspace import zoo
from weightspace.encode.answers import run_networks
from weightspace.encode.network import LEARNED_SHARE
from weightspace.encode.plan import SIZES
from weightspace.nn.statistics import EXCESSES, STATISTICS
from weightspace.train.config import TrainConfig
from weightspace.train.data import Group, load_corpus
from weightspace.train.finish import finish
from weightspace.train.loop import EncoderTraining
from weightspace.train.objective import EncoderObjective, stacked
from weightspace.train.start import start_answers

READ_OUTS = "predictor.heads.heads."
COPIES, TOGETHER, BATCH, RATE, CHECKS = 4, 128, 256, 2e-3, 20


@torch.no_grad()
def carry(objective: EncoderObjective, folder: Path) -> None:
    """Take over all that is said of the weights."""
    old, new = load_file(folder / "encoder.safetensors"), objective.state_dict()
    sizes, answers = objective.config.sizes, ("probes.", "images.", "rows.")
    for name, tensor in old.items():
        part, _, rest = name.partition(".")
        place = f"encoder.{rest}" if part == "network" else name
        if place == "encoder.shape":
            tensor = _with_rows(tensor, torch.zeros_like(new[place]), STATISTICS - EXCESSES, EXCESSES)
        elif place == "encoder.likeness.directions":
            tensor = _with_rows(tensor[:, : new[place].shape[1]], new[place], SIZES + 2 * sizes.features, sizes.waves)
        elif not (place.startswith("encoder.") and not rest.startswith(answers)) and f"{READ_OUTS}0." not in place:
            continue
        new[place] = tensor
    objective.load_state_dict(new)


def _with_rows(old: Tensor, new: Tensor, start: int, count: int) -> Tensor:
    return torch.cat([old[:start], new[start : start + count].to(old), old[start:]])


@torch.no_grad()
def answer_numbers(objective: EncoderObjective, group: Group, copies: int) -> list[Tensor]:
    """Numbers of the answers of a group's networks, `(models, answers)` for each copy; all but the first with noise."""
    encoder, generator = objective.encoder, Generator().manual_seed(objective.config.seed)
    assert group.shape is not None
    probes, read = encoder.probes(group.shape), encoder.images if len(group.shape) == 3 else encoder.rows
    learned = {name for name, _ in group.module.named_parameters()}
    found: list[list[Tensor]] = [[] for _ in range(copies)]
    for places in torch.arange(len(group)).split(TOGETHER):
        weights = stacked([(group, places)])
        for copy in range(copies):
            most = objective.config.noise * torch.rand(len(places), generator=generator) * bool(copy)
            noisy = {n: _noisy(t, most, generator) if n in learned else t for n, t in weights.items()}
            told = read(run_networks(group.module, noisy, probes).nan_to_num(posinf=0.0, neginf=0.0))
            found[copy].append(layer_norm(told, told.shape[1:]))
    return [torch.cat(each) for each in found]


def _noisy(tensor: Tensor, share: Tensor, generator: Generator) -> Tensor:
    size = (share * tensor.square().flatten(1).mean(1).sqrt()).view(-1, *[1] * (tensor.ndim - 1))
    return tensor + size * torch.randn(tensor.shape, generator=generator)


def read_answers(training: EncoderTraining, updates: int) -> None:
    """Train the read-outs of properties from answers; keep the state that reads the validation part best."""
    objective, groups = training.objective, training.corpus.groups
    numbers = {id(g): answer_numbers(objective, g, COPIES) for g in groups["train"] if g.shape is not None}
    held_out = [(g, answer_numbers(objective, g, 1)) for g in groups["validation"] if g.shape is not None]
    module = objective.predictor.heads.heads[1]
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=objective.config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, updates)
    generator, best = Generator().manual_seed(objective.config.seed), (torch.inf, module.state_dict())
    for step in range(updates):
        (number,) = torch.multinomial(training.shares, 1, generator=generator).tolist()
        group = training.together[number][step % len(training.together[number])]
        if id(group) not in numbers:
            continue
        places = torch.randint(len(group), (min(BATCH, len(group)),), generator=generator)
        which = torch.randint(COPIES, (1,), generator=generator).item()
        loss = loss_of(objective, group, places, numbers[id(group)][int(which)][places], generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % (updates // CHECKS) == 0:
            with torch.no_grad():
                each = [loss_of(objective, g, torch.arange(len(g)), n[0], None) for g, n in held_out]
            if (found := float(torch.stack(each).mean())) < best[0]:
                best = found, {name: value.clone() for name, value in module.state_dict().items()}
            print(f"{step + 1}/{updates} {float(loss.detach()):.3f} validation {found:.4f}", flush=True)
    module.load_state_dict(best[1])


def loss_of(
    objective: EncoderObjective, group: Group, places: Tensor, numbers: Tensor, generator: Generator | None
) -> Tensor:
    """Sum of the losses of all properties; with a generator some numbers are dropped."""
    if generator is not None:
        kept = torch.rand(numbers.shape, generator=generator) >= objective.config.drop
        numbers = numbers * kept / (1 - objective.config.drop)
    before = numbers.new_zeros(len(numbers), objective.config.sizes.latent - numbers.shape[1])
    losses = objective.property_losses([(group, places)], torch.cat([before, LEARNED_SHARE * numbers], 1))
    return torch.stack(list(losses.values())).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("populations", nargs="+")
    parser.add_argument("--start", type=Path, required=True, help="folder of an encoder of version 3")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--name", default="zoo-256")
    parser.add_argument("--updates", type=int, default=6000)
    args = parser.parse_args()
    start, config = time.perf_counter(), TrainConfig(args.name, tuple(args.populations))
    corpus = load_corpus([zoo.load(name) for name in args.populations], inputs=config.inputs, data_dir=args.data_dir)
    training = EncoderTraining(config, corpus)
    carry(training.objective, args.start)
    start_answers(training.objective, corpus)
    print(f"begun after {time.perf_counter() - start:.0f} s", flush=True)
    read_answers(training, args.updates)
    print(f"trained after {time.perf_counter() - start:.0f} s", flush=True)
    finish(training).save(args.out / "encoder")
    rows = [row for run in (True, False) for row in measure(training, "test", run)]
    (args.out / "train.json").write_text(json.dumps({"scores": rows}, indent=1))
    print_table(rows)


if __name__ == "__main__":
    main()
