"""The training of an encoder: updates, a schedule, a state that a stopped training goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Generator, Tensor

from weightspace.checkpoint.whole import replacing
from weightspace.encode.encoder import Encoder
from weightspace.train.config import TrainConfig
from weightspace.train.data import Corpus, Group, draw_shares
from weightspace.train.heads import settle_heads
from weightspace.train.objective import EncoderObjective
from weightspace.train.predict import validation_losses
from weightspace.train.recorded import Recorded, add_gradients
from weightspace.train.shown import Batch, put_back, spread_out
from weightspace.train.start import Asked, start_answers
from weightspace.zoo.seeds import mix_seed

Report = Callable[[int, int, dict[str, float]], None]
CLIP, PARTS, HEADS = 1.0, ("encoder.", "predictor."), "predictor.heads"
CHECKS = 20
"""How often in a training the validation part is looked at, in equal distances."""


class EncoderTraining:
    """An encoder in training. What happens at a step depends on the seed and the step alone.

    Where several processes train together (`torchrun`), they share the groups of each update and add up their
    gradients, so that the result is that of one process up to rounding. Of the states that are looked at on the way,
    the one that reads the validation part best is the result. On a CUDA device each kind of batch is recorded when it
    comes first and replayed from then on (decision 011).

    Args:
        config: What to do.
        corpus: On what; groups of one plan are drawn together.
        start: The encoder that `config.start` names; it learns in place.
        device: Where.
    """

    def __init__(
        self, config: TrainConfig, corpus: Corpus, start: Encoder | None = None, *, device: str = "cpu"
    ) -> None:
        self.config, self.corpus, self.device, self.step = config, corpus, device, 0
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.objective, self.fresh = EncoderObjective(config, corpus, start).to(device), start is None
        for name, parameter in self.objective.named_parameters():
            parameter.requires_grad_(learns(name, config))
        self.parameters = [p for p in self.objective.parameters() if p.requires_grad]
        matrices, others = ([p for p in self.parameters if (p.ndim > 1) == wide] for wide in (True, False))
        kinds = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(kinds, lr=config.learning_rate, betas=(0.9, 0.98), fused=device != "cpu")
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.recorded = Recorded(self.parameters)
        self.names: dict[Hashable, list[str]] = {}
        self.best, self.least = self.objective.state_dict(), math.inf
        together: dict[int, list[Group]] = {}
        for group in corpus.groups["train"]:
            together.setdefault(id(group.plan), []).append(group)
        self.together = list(together.values())
        self.shares = torch.tensor(draw_shares(self.together))

    def run(self, *, state: Path | None = None, save_every: float = 60.0, report: Report | None = None) -> None:
        """Train to the end and take the best state.

        Args:
            state: File to go on from, if it is there; it is written every `save_every` seconds and at the end.
            save_every: Seconds.
            report: Called after each update.
        """
        if state is not None and state.exists():
            self.restore(torch.load(state, weights_only=True, map_location=self.device))
        elif not self.step and self.fresh:
            self._start()
        last = time.monotonic()
        while self.step < self.config.steps:
            losses = self.advance()
            self._check()
            if report:
                report(self.step, self.config.steps, losses)
            if (
                state is not None
                and self.rank == 0
                and (time.monotonic() - last > save_every or self.step == self.config.steps)
            ):
                last = time.monotonic()
                with replacing(state) as draft:
                    torch.save(self.state, draft)
        self.objective.load_state_dict(self.best)
        if self.rank == 0 and learns(HEADS, self.config):
            generator = Generator(self.device).manual_seed(mix_seed(self.config.seed, "heads"))
            settle_heads(self.objective, self.corpus.groups, generator)

    def _start(self) -> None:
        """Begin at real inputs and principal components, in all processes alike."""
        asked: dict[str, list[Asked]] = {}
        for group in self.corpus.groups["train"]:
            if group.shape is not None:
                asked.setdefault(group.population, []).append(Asked(group.module, group.shape, group.weights))
        generator = Generator().manual_seed(mix_seed(self.config.seed, "start"))
        start_answers(self.objective.encoder, list(self.corpus.inputs.values()), asked.values(), generator)
        for tensor in self.objective.state_dict().values() if self.world > 1 else ():
            dist.broadcast(tensor, 0)

    def _check(self) -> None:
        """Keep the state if it reads the validation part better than all before."""
        every = max(1, self.config.steps // CHECKS)
        if self.step % every and self.step != self.config.steps:
            return
        found = self._validate()
        if found <= self.least:
            self.best = {name: value.clone() for name, value in self.objective.state_dict().items()}
            self.least = found

    def _validate(self) -> float:
        """Mean loss over populations of the validation part, of which each process looks at some groups."""
        groups = self.corpus.groups["validation"]
        names = sorted({group.population for group in groups})
        found = validation_losses(self.objective, groups[self.rank :: self.world], names)
        if self.world > 1:
            dist.all_reduce(found)
        each = (found[0] / found[1])[found[1] > 0]
        return float(each.mean()) if len(each) else 0.0

    def advance(self) -> dict[str, float]:
        """Make one update; return the mean of each loss, read off only now and then to keep an accelerator busy."""
        with torch.random.fork_rng():
            return self._advance()

    def _advance(self) -> dict[str, float]:
        self.objective.train()
        for kind in self.optimizer.param_groups:
            kind["lr"] = self.config.learning_rate * schedule(self.step, self.config)
        found: dict[str, list[Tensor]] = {}
        for number, batch in enumerate(self._batches()):
            if number % self.world != self.rank:
                continue
            noise = Generator(self.device).manual_seed(mix_seed(self.config.seed, "noise", self.step, number))
            torch.manual_seed(mix_seed(self.config.seed, "drop", self.step, number))
            for name, loss in self._learn(batch, noise).items():
                found.setdefault(name, []).append(loss)
        self._share_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        if norm.isfinite():  # one network that overflows must not end a training
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.step += 1
        if self.step % 50 and self.step != self.config.steps:
            return {}
        return {name: float(torch.stack(losses).mean()) for name, losses in found.items()}

    def _learn(self, batch: Batch, noise: Generator) -> dict[str, Tensor]:
        """Add the gradients of a batch to those of the update; return its losses by name."""
        shown = self.objective.show(batch, noise)
        groups = tuple((id(group), len(places)) for group, places in batch.parts)
        kind = groups, batch.run, batch.factor, shown.other is not None

        def loss(*told: Tensor) -> Tensor:
            losses = self.objective.losses(batch, put_back(shown, iter(told)))
            self.names[kind] = list(losses)
            return torch.stack(list(losses.values()))

        values, found = self.recorded.gradients(kind, loss, spread_out(shown))
        add_gradients([p.grad for p in self.parameters], found, 1 / self.config.groups)
        return dict(zip(self.names[kind], values.unbind(), strict=True))

    def _share_gradients(self) -> None:
        """Add up the gradients of all processes."""
        if self.world == 1:
            return
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def _batches(self) -> Iterator[Batch]:
        draw = Generator().manual_seed(mix_seed(self.config.seed, "batches", self.step))
        for number in torch.multinomial(self.shares, self.config.groups, replacement=True, generator=draw).tolist():
            groups = self.together[number]
            unrun, paired, widened, which, damaged = torch.rand(5, generator=draw).tolist()
            factor = 1
            wider = list(groups[0].wider)
            if wider and widened < self.config.widened:
                factor = wider[int(which * len(wider))]
            most = max(2, self.config.batch_size // factor // len(groups))
            places = [torch.randperm(len(group), generator=draw)[:most].to(self.device) for group in groups]
            parts = list(zip(groups, places, strict=True))
            run = unrun >= self.config.unrun
            yield Batch(parts, run, paired < self.config.paired, factor, damaged < self.config.damaged)

    @property
    def state(self) -> dict[str, Any]:
        """All that a stopped training needs."""
        return {
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "least": self.least,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.step = state["step"]
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.least = state["best"], state["least"]


def learns(name: str, config: TrainConfig) -> bool:
    """Whether a parameter of an objective learns: of an encoder and its read-outs the part that is named, if one is.

    Example:
        >>> config = TrainConfig("x", ("y",), only="encoder.rows")
        >>> [learns(name, config) for name in ("encoder.rows.matrix", "encoder.scale", "behaviour.matrices.0")]
        [True, False, True]
    """
    return name.startswith(config.only) or not name.startswith(PARTS)


def schedule(step: int, config: TrainConfig) -> float:
    """Share of the highest learning rate at a step: a line up, then half a cosine down.

    Example:
        >>> config = TrainConfig("x", ("y",), steps=10, warmup=2)
        >>> [round(schedule(step, config), 2) for step in (0, 1, 2, 6)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    return (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup))) / 2
