"""What is asked of a network through its latent, as a number that can be differentiated in its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.answers import input_shape, run_networks
from weightspace.encode.encoder import Encoder
from weightspace.errors import ArchitectureError, EncoderError, TableError
from weightspace.execute.module import to_module
from weightspace.graph.trace.program import Program
from weightspace.latents.probe import PropertyProbe
from weightspace.latents.properties import read_property
from weightspace.latents.table import LatentTable

TOGETHER = 1 << 23
"""Numbers of networks that are encoded at once, where gradients are wanted."""
BLUR = 0.1
"""How far a right answer must lead until it counts as right, of the root mean square of the leads."""

Read = Callable[[Tensor, Tensor | None], Tensor]
"""From vectors `(models, latent)` and answers `(models, inputs, outputs)`, None where networks are not run, to a number
each, `(models,)`."""


@dataclass(frozen=True, eq=False)
class Question:
    """A number that is read off what an encoder knows of a network.

    Args:
        text: What it is, in words.
        read: Differentiable.
        inputs: That networks answer, `(inputs, *shape)`, and all that is asked for; if None, they answer the encoder's
            learned inputs, and have vectors.
    """

    text: str
    read: Read
    inputs: Tensor | None = None


def ask_predictor(encoder: Encoder, name: str, answer: str | None = None) -> Question:
    """Return what an encoder has learned to predict: a number, or the logarithm of the probability of a name.

    Args:
        encoder: A trained one.
        name: Of the property.
        answer: The name whose probability counts, for a property of names.

    Raises:
        EncoderError: The encoder does not predict this property, or not this name.
    """
    predictor = encoder.predictor
    if predictor is None:
        raise EncoderError(f"{encoder.id} has learned no property; fit a probe to a table, or take a trained encoder.")
    if name not in predictor.names:
        raise EncoderError(f"{encoder.id} does not predict {name!r}; it predicts {', '.join(predictor.names)}.")
    if name not in predictor.classes:
        return Question(f"predicted {name}", lambda vectors, _: predictor(vectors)[name])
    known = predictor.classes[name]
    if answer not in known:
        raise EncoderError(f"{name} is one of {', '.join(known)}: say which, as {name}={known[0]}, not {answer!r}.")
    place = known.index(answer)
    text = f"log probability of {name}={answer}"
    return Question(text, lambda vectors, _: predictor(vectors)[name][:, place].log())


def ask_probe(probe: PropertyProbe, name: str) -> Question:
    """Return what a fitted probe of a number reads off.

    Args:
        probe: Fitted to latents of the same encoder; `kind` must be `number`.
        name: Of the property.

    Raises:
        EncoderError: The probe tells names.
    """
    if probe.kind != "number":
        raise EncoderError(f"the probe of {name!r} tells names; attribution asks for a number. Probe a number.")
    slope = torch.from_numpy(probe.model_.coef_ / probe.spread_)
    offset = float(probe.model_.intercept_ - slope @ torch.from_numpy(probe.centre_))
    return Question(f"probed {name}", lambda vectors, _: vectors @ slope.to(vectors.dtype) + offset)


def ask_table(encoder: Encoder, table: LatentTable, column: str) -> Question:
    """Return what a linear probe reads off, fitted to all rows of a table that have a number.

    Raises:
        TableError: The table is another encoder's, or the column is missing, holds names, or is constant.
    """
    if table.encoder != encoder.id:
        raise TableError(f"the table is of {table.encoder}, not of {encoder.id}: embed its checkpoints again.")
    known = read_property(table, column)
    if known.kind != "number":
        raise TableError(f"column {column!r} holds names; attribution asks for a number. Name a column of numbers.")
    there = known.known & np.isfinite(table.vectors).all(1)
    if there.sum() < 2 or np.ptp(known.values[there]) == 0:
        raise TableError(f"column {column!r}: the rows with a vector do not differ in it, so there is nothing to fit.")
    return ask_probe(PropertyProbe().fit(table.vectors[there], known.values[there]), column)


def ask_distance(start: Float[Tensor, " latent"], end: Float[Tensor, " latent"], *, fixed: int = 0) -> Question:
    """Return how far a vector lies from `start` along the straight line to `end`.

    Args:
        start: Of one network.
        end: Of the other.
        fixed: Numbers at the start of vectors that do not count: waves that turn many times on the way have no slope
            that means anything.

    Raises:
        EncoderError: The two are equal.
    """
    way = torch.cat([torch.zeros_like(start[:fixed]), (end - start)[fixed:]])
    if not way.any():
        raise EncoderError("the two latents are equal, so there is no difference to share out.")
    return Question("distance of the latents", lambda vectors, _: (vectors - start) @ (way / way.norm()))


def ask_answers(encoder: Encoder, checkpoint: Checkpoint, inputs: Tensor | None = None) -> Question:
    """Return how far a network's answers are those of `checkpoint`, to an encoder's learned inputs or to real ones.

    That is minus the mean Kullback-Leibler divergence, in nats: 0 for the network itself, below 0 for any other. It
    asks for what the network does, whatever an encoder predicts of it.

    Args:
        encoder: Its learned inputs are answered if there are no others.
        checkpoint: The network; it says how it is run.
        inputs: Of the kind that it was made for, `(inputs, *shape)`; no labels are needed. Some hundred tell more of
            what it does than learned inputs, which are for networks of every kind.

    Raises:
        EncoderError: The encoder has no learned inputs, or the network cannot be run on them or on `inputs`, or has
            one output.
    """
    answers = _answers(encoder, checkpoint, inputs)
    before = answers.log_softmax(2)

    def read(_: Tensor, answers: Tensor | None) -> Tensor:
        assert answers is not None
        return -(before.exp() * (before - answers.log_softmax(2))).sum(2).mean(1)

    return Question("agreement of answers", read, inputs)


def ask_accuracy(encoder: Encoder, checkpoint: Checkpoint, inputs: Tensor, labels: Tensor) -> Question:
    """Return the share of labelled inputs that a network names right, blurred so that it has slopes.

    An input counts as the sigmoid of how far its class leads the highest other one, over a tenth of the leads' root
    mean square: whatever the scale of the logits, as accuracy itself. No encoder predicts anything here.

    Args:
        encoder: Gives the precision in which networks are run.
        checkpoint: The network; it says how it is run.
        inputs: Of the kind that it was made for, `(inputs, *shape)`; a thousand say much more than a hundred.
        labels: Their classes, whole numbers `(inputs,)`.

    Raises:
        EncoderError: The network cannot be run on the inputs, or has one output, or labels are not its classes.
    """
    classes = _answers(encoder, checkpoint, inputs).shape[2]
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    if labels.shape != inputs.shape[:1] or not whole or labels.min() < 0 or labels.max() >= classes:
        raise EncoderError(
            f"labels must be one whole number an input, from 0 to {classes - 1} for {checkpoint.source}: "
            f"{len(inputs)} of them, not {tuple(labels.shape)} of {labels.dtype}. Name those of the inputs."
        )
    right = one_hot(labels.long(), classes).bool()

    def read(_: Tensor, answers: Tensor | None) -> Tensor:
        assert answers is not None
        leads = answers[:, right] - answers.masked_fill(right, -torch.inf).amax(2)
        size = (leads.square().mean(1, keepdim=True) + torch.finfo(leads.dtype).tiny).sqrt()  # slopes at 0 are finite
        return (leads / (BLUR * size)).sigmoid().mean(1)

    return Question("share of inputs named right", read, inputs)


def _answers(encoder: Encoder, checkpoint: Checkpoint, inputs: Tensor | None) -> Float[Tensor, "one inputs outputs"]:
    """What a network answers to inputs, or to the learned ones.

    Raises:
        EncoderError: It cannot be run on them, or has one output.
    """
    with torch.no_grad():
        asker = Asker(encoder, checkpoint, Question("", lambda vectors, _: vectors, inputs))
        answers = asker.answers(asker.alone)
    if answers is None or answers.shape[2] < 2:
        raise EncoderError(
            f"{checkpoint.source}: {encoder.id} cannot ask it for answers: it takes an encoder with learned inputs, a "
            "network whose checkpoint says how it is run, and two outputs at least. Ask for a predicted property."
        )
    return answers


class Asker:
    """Puts one question to many versions of one network.

    Args:
        encoder: Gives the vectors; it runs the networks on its learned inputs where it would anyway.
        checkpoint: The network.
        question: None where only vectors are wanted.

    Raises:
        ArchitectureError: Some weights are not finite.
        EncoderError: The question's inputs are not those of the network.
    """

    def __init__(self, encoder: Encoder, checkpoint: Checkpoint, question: Question | None) -> None:
        if checkpoint.non_finite:
            raise ArchitectureError(
                f"{checkpoint.source}: {', '.join(checkpoint.non_finite[:3])} hold numbers that are not finite, so "
                "nothing can be put down to single units. Attribute an earlier checkpoint."
            )
        self.network, self.question = encoder.network, question
        architecture = encoder.architectures.of(checkpoint)
        self.graph, self.plan = architecture.graph, architecture.plan
        self.dtype = encoder.network.scale.dtype
        self.weights = self.weights_of(checkpoint)
        self._inputs = None if question is None or question.inputs is None else question.inputs.to(self.dtype)
        asked = encoder.run or self._inputs is not None
        text = checkpoint.metadata.get("architecture") if asked else None
        self._shape = None if text is None else input_shape(Program.from_json(text))
        self._module = None if self._shape is None else to_module(checkpoint).to(self.dtype)
        if self._inputs is not None and self._shape is not None and tuple(self._inputs.shape[1:]) != self._shape:
            shape = tuple(self._inputs.shape[1:])
            raise EncoderError(f"inputs of shape {shape}: {checkpoint.source} takes inputs of shape {self._shape}.")

    @property
    def together(self) -> int:
        """How many versions are encoded at once."""
        shown = 0 if self._inputs is None else self._inputs.numel()
        return max(1, TOGETHER // max(shown, sum(tensor.numel() for tensor in self.weights.values())))

    @property
    def alone(self) -> dict[str, Tensor]:
        """The weights of the network itself, as a stack of one."""
        return {name: tensor[None] for name, tensor in self.weights.items()}

    def weights_of(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint of this architecture in the encoder's precision."""
        found = {n: t.detach().to(self.dtype) for n, t in checkpoint.tensors.items() if t.is_floating_point()}
        return dict(checkpoint.tensors) | found

    def answers(self, weights: Mapping[str, Tensor]) -> Float[Tensor, "models inputs outputs"] | None:
        """Return what versions answer to the question's inputs or to the learned ones; None where they are not run."""
        if self._module is None or self._shape is None:
            return None
        shown = self.network.probes(self._shape) if self._inputs is None else self._inputs
        found = run_networks(self._module, weights, shown)
        return found.nan_to_num(posinf=0.0, neginf=0.0).to(self.dtype) if found.ndim == 3 else None

    def vectors(self, weights: Mapping[str, Tensor]) -> Float[Tensor, "models latent"]:
        """Return the vectors of versions, `(models, *shape)` by tensor; differentiable."""
        return self.network(self.plan, weights, self.answers(weights)).vector

    def __call__(self, weights: Mapping[str, Tensor]) -> Float[Tensor, " models"]:
        """Return what is told of versions."""
        assert self.question is not None
        answers = self.answers(weights)
        if self._inputs is not None and answers is not None:
            return self.question.read(answers.new_empty(len(answers), 0), answers)
        return self.question.read(self.network(self.plan, weights, answers).vector, answers)
