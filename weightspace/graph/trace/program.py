"""A network as a list of core-ATen operations: a value that can be stored beside its weights, traced and run.

    module -> Program -> ParameterGraph        (capture, trace)
    Program + Checkpoint -> outputs            (execute)

Reading a stored program executes nothing: it names operators from an allow-list, and is checked whole before use.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any, Literal

import torch

from weightspace.errors import ArchitectureError
from weightspace.graph.trace.literals import Literals, Ref, read_literal, references, write_literal

FORMAT = "weightspace-program-1"
MOST_NODES = 1_000_000
MOST_NUMBERS = 2**40
SIZES: Mapping[str, Callable[..., int]] = MappingProxyType(
    {f"size.{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "neg")}
)
_BESIDE_CORE = frozenset({"aten.lift_fresh_copy.default", "aten.linalg_vector_norm.default"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_UNKNOWN = re.compile(r"unknown\.[A-Za-z0-9_.:]{1,160}")
_OPERATOR = re.compile(r"aten\.([A-Za-z0-9_]{1,80})\.([A-Za-z0-9_]{1,40})")


@dataclass(frozen=True)
class Value:
    """Shape and dtype of one result, at the batch size of the example; dtype `int` with shape () is a plain number."""

    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        fits = all(type(n) is int and n >= 0 for n in self.shape) and prod(self.shape) <= MOST_NUMBERS
        if not fits or (self.dtype != "int" and self.dtype not in Literals.dtypes):
            raise ArchitectureError(
                f"program: {list(self.shape)} of {self.dtype!r} is no shape and dtype of a tensor. Capture it again."
            )

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers."""
        return "float" in self.dtype


@dataclass(frozen=True)
class Slot:
    """What a program starts from.

    Args:
        name: How nodes refer to it.
        role: `parameter` and `buffer` are stored in the checkpoint; `constant` is not; `input` is given to each call.
        target: Name in the checkpoint; of a constant or an input, what the module calls it.
        value: Shape and dtype.
        data: Numbers of a constant, see `literals.pack`; empty where they were not recorded (too large).
        batched: Whether the first dimension of an input may have any size.
    """

    name: str
    role: Literal["parameter", "buffer", "constant", "input"]
    target: str
    value: Value
    data: str = field(default="", repr=False)
    batched: bool = False


@dataclass(frozen=True)
class Node:
    """One operation: `op` is the full name of an overload, `aten.addmm.default`, or one of `SIZES` on plain numbers.

    An operation outside of the allow-list is kept as `unknown.NAME`: it fixes what it touches, and can't be run.
    Args and kwargs hold literals and `Ref`s. `values` has one entry a result, None where a result is not a tensor.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    values: tuple[Value | None, ...]
    scope: str = ""


@dataclass(frozen=True)
class Program:
    """Operations of one network in order. Holds no weights.

    Devices, memory formats and layouts are left out, so that it runs anywhere. Float dtypes are those of the capture:
    a runner in another precision replaces them.

    Args:
        slots: Parameters, buffers, constants and inputs.
        nodes: Each refers to slots and earlier nodes only.
        outputs: Tensors that a call returns, flattened.
        updates: Buffers that a call rewrites, each with its new value.
        shared: Parameter names that are another name of a slot's target (tied weights).
    """

    slots: tuple[Slot, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Ref, ...]
    updates: Mapping[str, Ref] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "updates", MappingProxyType(dict(self.updates)))
        object.__setattr__(self, "shared", MappingProxyType(dict(self.shared)))
        if len(self.nodes) > MOST_NODES:
            raise ArchitectureError(f"program: {len(self.nodes)} operations, at most {MOST_NODES} are read.")
        seen: dict[str, int] = {}
        for slot in self.slots:
            _claim(seen, slot.name, 0)
        for node in self.nodes:
            if not _UNKNOWN.fullmatch(node.op):
                operator_of(node.op)
            _check_references(seen, node.name, (*node.args, *node.kwargs.values()))
            _claim(seen, node.name, len(node.values) if len(node.values) > 1 else 0)
        _check_references(seen, "outputs", self.outputs)
        _check_references(seen, "updates", tuple(self.updates.values()))

    @cached_property
    def values(self) -> Mapping[Ref, Value]:
        """Shape and dtype of everything that can be referred to."""
        found = {Ref(slot.name): slot.value for slot in self.slots}
        for node in self.nodes:
            several = len(node.values) > 1
            found |= {Ref(node.name, i if several else None): v for i, v in enumerate(node.values) if v is not None}
        return MappingProxyType(found)

    @property
    def runs(self) -> bool:
        """Whether all operations are known, and the numbers of every constant recorded."""
        known = all(not node.op.startswith("unknown.") for node in self.nodes)
        return known and all(slot.data for slot in self.slots if slot.role == "constant")

    def to_json(self) -> str:
        """Return the program as text; `from_json` is the exact inverse."""
        return json.dumps(
            {
                "format": FORMAT,
                "slots": [[s.name, s.role, s.target, *_row(s.value), s.data, s.batched] for s in self.slots],
                "nodes": [
                    [
                        n.name,
                        n.op,
                        write_literal(n.args),
                        {k: write_literal(v) for k, v in n.kwargs.items()},
                        [None if v is None else _row(v) for v in n.values],
                        n.scope,
                    ]
                    for n in self.nodes
                ],
                "outputs": [write_literal(ref) for ref in self.outputs],
                "updates": {k: write_literal(ref) for k, ref in self.updates.items()},
                "shared": dict(self.shared),
            },
            separators=(",", ":"),
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Program:
        """Read a program that `to_json` wrote.

        Raises:
            ArchitectureError: The text is not a program, names an operator outside of the allow-list, or refers to
                what comes later. Nothing has been executed.
        """
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise ArchitectureError(f"program: format {found['format']!r}, this version reads {FORMAT!r}.")
            return cls(
                tuple(map(_slot, found["slots"])),
                tuple(map(_node, found["nodes"])),
                tuple(_reference(item) for item in found["outputs"]),
                {str(k): _reference(item) for k, item in found["updates"].items()},
                {_text(k): _text(v) for k, v in found["shared"].items()},
            )
        except ArchitectureError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
            raise ArchitectureError(
                f"program: not readable ({type(error).__name__}: {str(error)[:100]}). "
                "Capture it again from the module with capture_program."
            ) from error


def operator_of(name: str) -> Callable[..., Any]:
    """Return the function that an operator's name stands for.

    Raises:
        ArchitectureError: It is not in the allow-list: functional overloads of core ATen, and sums of sizes.
    """
    if name in SIZES:
        return SIZES[name]
    found = _OPERATOR.fullmatch(name)
    overload = getattr(getattr(torch.ops.aten, found[1], None), found[2], None) if found else None
    if overload is None or not (torch.Tag.core in overload.tags or name in _BESIDE_CORE):
        raise ArchitectureError(f"program: {name!r} is not an operator of core ATen, so it is not run or traced.")
    if overload._schema.is_mutable:
        raise ArchitectureError(f"program: {name!r} writes into its arguments. Capture the module again.")
    return overload


def _claim(seen: dict[str, int], name: str, results: int) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in seen:
        raise ArchitectureError(f"program: {name!r} is not a new name of letters, digits and underscores.")
    seen[name] = results


def _check_references(seen: Mapping[str, int], where: str, args: tuple[Any, ...]) -> None:
    for ref in references(args):
        results = seen.get(ref.name)
        if results is None or (ref.item is None) != (results == 0) or not 0 <= (ref.item or 0) < max(results, 1):
            raise ArchitectureError(f"program: {where!r} refers to {ref}, which does not come before it.")


def _row(value: Value) -> list[Any]:
    return [list(value.shape), value.dtype]


def _slot(row: list[Any]) -> Slot:
    name, role, target, shape, dtype, data, batched = row
    if role not in ("parameter", "buffer", "constant", "input"):
        raise ArchitectureError(f"program: {name!r} has the role {role!r}.")
    return Slot(_text(name), role, _text(target), Value(tuple(shape), dtype), _text(data), batched is True)


def _node(row: list[Any]) -> Node:
    name, op, args, kwargs, values, scope = row
    return Node(
        _text(name),
        _text(op),
        tuple(read_literal(a) for a in args),
        {_text(k): read_literal(v) for k, v in kwargs.items()},
        tuple(None if v is None else Value(tuple(v[0]), v[1]) for v in values),
        _text(scope),
    )


def _reference(item: Any) -> Ref:
    ref = read_literal(item)
    if not isinstance(ref, Ref):
        raise ArchitectureError(f"program: {str(item)[:80]} is not a reference to a result.")
    return ref


def _text(item: Any) -> str:
    if not isinstance(item, str):
        raise ArchitectureError(f"program: {str(item)[:80]} should be text.")
    return item
