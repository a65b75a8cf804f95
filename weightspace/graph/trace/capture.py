"""From a running module to its program, by torch.export and core-ATen decomposition."""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, TensorArgument

from weightspace.errors import ArchitectureError, TraceError
from weightspace.graph.trace.literals import Ref, pack
from weightspace.graph.trace.program import SIZES, Node, Program, Slot, Value, operator_of

_PLACEMENT = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking"})
_ROLES = {InputKind.PARAMETER: "parameter", InputKind.BUFFER: "buffer", InputKind.USER_INPUT: "input"}


def capture_program(module: nn.Module, args: tuple[Any, ...]) -> Program:
    """Return the operations that `module(*args)` runs in evaluation mode.

    The module is neither run on real numbers nor changed. Where it can be exported so, the program runs at any batch
    size (the first dimension of the tensors in `args`); sequence lengths are those of `args`.

    Args:
        module: May lie on the meta device.
        args: Example inputs as for `torch.export`; only their shapes and dtypes count.

    Raises:
        TraceError: The module can't be exported (it branches on the values of its input, or leaves PyTorch).
    """
    module = _unwrap(module)
    aliases = _aliases(module)
    still = _still_copy(module)
    with _plain_attention(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = _export(still, _placed(still, args))
    return _Capture(exported, aliases).program()


def _unwrap(module: nn.Module) -> nn.Module:
    inner = getattr(module, "_orig_mod", None)
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = module.module
    return _unwrap(inner) if isinstance(inner, nn.Module) else module


def _aliases(module: nn.Module) -> dict[str, str]:
    """Every other name of a tied tensor, with the first one. Export forgets identities, so they are taken before."""
    first: dict[int, str] = {}
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: kept for name, tensor in tensors if (kept := first.setdefault(id(tensor), name)) != name}


def _still_copy(module: nn.Module) -> nn.Module:
    """Copy the structure but not the tensors, so that evaluation mode can be set without touching the caller's."""
    memo = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, memo).eval()


def _placed(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    device = next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    return tuple(a.to(device) if isinstance(a, Tensor) else a for a in args)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep nn.TransformerEncoder and nn.MultiheadAttention off their fused inference path, which has no rule."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _export(module: nn.Module, args: tuple[Any, ...]) -> ExportedProgram:
    batched = tuple({0: Dim.AUTO} if isinstance(a, Tensor) and a.ndim else None for a in args)
    try:
        return export(module, args, dynamic_shapes=batched).run_decompositions()
    except Exception:
        pass  # at this batch size only, then
    try:
        return export(module, args).run_decompositions()
    except Exception as error:
        raise TraceError(
            f"{type(module).__name__} can't be exported ({type(error).__name__}: {str(error).strip()[:300]}). "
            "Move branches on input values out of forward, or use infer_graph on its checkpoint."
        ) from error


class _Capture:
    """Reads one exported program."""

    def __init__(self, exported: ExportedProgram, aliases: dict[str, str]):
        self.exported, self.aliases = exported, aliases
        self.slots: dict[str, Slot] = {}
        self.nodes: list[Node] = []
        self.refs: dict[str, Any] = {}

    def program(self) -> Program:
        signature, graph = self.exported.graph_signature, self.exported.graph
        specs = iter(signature.input_specs)
        for node in graph.nodes:
            if node.op == "placeholder":
                self._slot(node, next(specs))
            elif node.op == "call_function":
                self._call(node)
        outputs: list[Ref] = []
        updates: dict[str, Ref] = {}
        for spec in signature.output_specs:
            ref = self.refs.get(getattr(spec.arg, "name", ""))
            if not isinstance(ref, Ref):
                continue
            if spec.kind == OutputKind.USER_OUTPUT:
                outputs.append(ref)
            elif spec.kind == OutputKind.BUFFER_MUTATION and spec.target is not None:
                updates[self.aliases.get(spec.target, spec.target)] = ref
        return Program(tuple(self.slots.values()), tuple(self.nodes), tuple(outputs), updates, self.aliases)

    def _slot(self, node: torch.fx.Node, spec: InputSpec) -> None:
        if not isinstance(spec.arg, TensorArgument):
            self.refs[node.name] = getattr(spec.arg, "value", None)
            return
        target = self.aliases.get(spec.target or "", spec.target) or node.name
        role: Any = _ROLES.get(spec.kind, "constant")
        data = ""
        if role == "constant" or (role == "buffer" and not spec.persistent):
            role, data = "constant", pack(self._constant(target))
        key = f"{role}:{target}"
        if key not in self.slots:
            shape = node.meta["val"].shape
            batched = role == "input" and bool(shape) and isinstance(shape[0], torch.SymInt)
            self.slots[key] = Slot(node.name, role, target, _value(node.meta["val"]), data, batched)
        self.refs[node.name] = Ref(self.slots[key].name)

    def _constant(self, target: str) -> Tensor:
        found = self.exported.constants.get(target)
        return found if isinstance(found, Tensor) else self.exported.state_dict[target]

    def _call(self, node: torch.fx.Node) -> None:
        if node.target is operator.getitem:
            source, item = self._argument(node.args[0]), node.args[1]
            self.refs[node.name] = Ref(source.name, item if isinstance(item, int) else None)
            return
        value = node.meta.get("val")
        if value is None:  # an assertion about sizes
            return
        op = f"size.{getattr(node.target, '__name__', '')}"
        op = op if op in SIZES else str(node.target)
        op = op if _is_known(op) else f"unknown.{op}"
        several = isinstance(value, tuple | list)
        values = tuple(_value(v) if v is not None else None for v in (value if several else (value,)))
        kwargs = {k: self._argument(v) for k, v in node.kwargs.items() if k not in _PLACEMENT}
        args = tuple(self._argument(a) for a in node.args)
        self.nodes.append(Node(node.name, op, args, kwargs, values, _scope(node)))
        self.refs[node.name] = Ref(node.name)

    def _argument(self, item: Any) -> Any:
        if isinstance(item, torch.fx.Node):
            return self.refs[item.name]
        if isinstance(item, tuple | list):
            return tuple(self._argument(part) for part in item)
        return None if isinstance(item, torch.device | torch.layout | torch.memory_format) else item


def _is_known(op: str) -> bool:
    try:
        operator_of(op)
    except ArchitectureError:
        return False
    return True


def _value(value: Any) -> Value:
    if isinstance(value, Tensor):
        return Value(tuple(map(_size, value.shape)), str(value.dtype).removeprefix("torch."))
    return Value((), "int")


def _size(size: int | torch.SymInt) -> int:
    return int(size.node.hint) if isinstance(size, torch.SymInt) else size


def _scope(node: torch.fx.Node) -> str:
    """Path of the innermost module that ran the operation."""
    stack = node.meta.get("nn_module_stack") or {}
    return next((path for path, _ in reversed(list(stack.values()))), "")
