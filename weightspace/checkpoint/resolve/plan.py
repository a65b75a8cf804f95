"""How stored tensors become the network's own: planned on names and shapes, worked out when values are there.

Knows no torch, so that a header shows the same tensors as the loaded checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.errors import CheckpointError


@dataclass(frozen=True)
class Derived:
    """One tensor of the network that is worked out from stored ones.

    Args:
        name: What the network calls it.
        info: Its shape and dtype; None where only the values tell.
        reads: Stored tensors it is worked out from; they are not kept beside it.
        compute: Takes `settings` and the tensors of `reads`, gives the tensor.
        settings: Numbers that the computation needs beside them.
    """

    name: str
    info: TensorInfo | None
    reads: tuple[str, ...]
    compute: Callable[..., Any]
    settings: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What one resolution found in a header.

    Args:
        derived: Tensors to work out.
        left_out: Tensors to leave out, with the reason.
        notes: Remarks by name, kept with what was left out.
    """

    derived: tuple[Derived, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


Resolution = Callable[[Header], Finding]
"""One way of storing weights as something else."""


@dataclass(frozen=True)
class Stored:
    """Tensors on their way from a file to a checkpoint.

    Args:
        header: Names, shapes and dtypes so far; a name for every tie.
        identity: Equal where two names stand for the same numbers.
        tensors: Values by name; None where only the header was read.
        left_out: As in `Checkpoint`.
    """

    header: Header
    identity: Mapping[str, Hashable]
    tensors: Mapping[str, Any] | None
    left_out: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, finding: Finding) -> Stored:
        """After one resolution: derived tensors stand where the first that they read stood.

        What was worked out from the same numbers in the same way is the same tensor.
        """
        starts = {item.reads[0]: item for item in finding.derived}
        read = {name for item in finding.derived for name in item.reads}
        infos: dict[str, TensorInfo] = {}
        identity: dict[str, Hashable] = {}
        tensors: dict[str, Any] = {}
        made: dict[Hashable, Any] = {}
        for name, info in self.header.tensors.items():
            if name in finding.left_out or (name in read and name not in starts):
                continue
            item = starts.get(name)
            new = item.name if item else name
            key = self._key(item) if item else self.identity[name]
            if self.tensors is not None:
                if key not in made:
                    made[key] = _work_out(item, self.tensors) if item else self.tensors[name]
                tensors[new] = made[key]
            infos[new] = info if item is None else item.info or _measure(new, tensors)
            identity[new] = key
        return Stored(
            Header(infos, self.header.metadata),
            identity,
            None if self.tensors is None else tensors,
            {**self.left_out, **finding.left_out, **finding.notes},
        )

    def _key(self, item: Derived) -> Hashable:
        return item.compute, item.settings, *(self.identity[name] for name in item.reads)


def _work_out(item: Derived, tensors: Mapping[str, Any]) -> Any:
    try:
        return item.compute(*item.settings, *(tensors[name] for name in item.reads))
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, ArithmeticError) as error:
        why = f"cannot be worked out from {', '.join(item.reads)} ({error})"
        raise CheckpointError(f"tensor {item.name!r}: {why}. Fetch or export the file again.") from error


def _measure(name: str, tensors: Mapping[str, Any]) -> TensorInfo:
    if name not in tensors:
        raise ValuesNeeded(name)
    from weightspace.checkpoint.dtypes import tensor_info

    return tensor_info(name, tensors[name])


class ValuesNeeded(Exception):
    """The shape of a tensor stands in the data and not in the header."""
