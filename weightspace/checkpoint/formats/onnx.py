"""ONNX: the weights of a graph, that is its initialisers and constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header_sharded import leaves_folder
from weightspace.errors import CheckpointError, UnsafeCheckpointError


def read_onnx(path: Path, *, trust: bool) -> Checkpoint:
    """Initialisers by name; tensors of whole numbers (shapes, axes) are left out.

    Those that a `DequantizeLinear` node scales come back as `(stored - zero) * scale`. There is nothing to `trust`.

    Raises:
        UnsafeCheckpointError: Tensors stored outside the folder.
        CheckpointError: Damaged, or no weights in it.
    """
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (DecodeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a readable ONNX model ({error}). Fetch or export it again.") from None
    stored = _initialisers(graph, path) | _constants(graph)
    scaled = _scaled(graph, stored)
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for name, proto in stored.items():
        if name in scaled:
            tensors[name] = torch.from_numpy(_dequantise(name, scaled[name], stored, path))
        elif proto.data_type in FLOATS:
            tensors[name] = _tensor(_values(proto, path), proto.data_type)
        else:
            left_out[name] = "whole numbers or text: a shape, an axis or a parameter of quantisation"
    if not tensors:
        raise CheckpointError(f"{path}: no weights among its {len(stored)} initialisers. Export it with them.")
    return Checkpoint(tensors, {}, str(path), left_out=left_out)


FLOATS: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
}


def _initialisers(graph: Any, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tensor in graph.initializer:
        if not isinstance(tensor.name, str):
            raise CheckpointError(f"{path}: the name {tensor.name!r} is not UTF-8. Export it again.")
        if tensor.name in found:
            raise CheckpointError(f"{path}: tensor {tensor.name!r} stands twice. Export it again.")
        found[tensor.name] = tensor
    return found


def _constants(graph: Any) -> dict[str, Any]:
    """Tensors of `Constant` nodes, by the name of what they write."""
    return {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant" and node.output
        for attribute in node.attribute
        if attribute.name == "value" and len(attribute.t.dims) > 0 and isinstance(node.output[0], str)
    }


def _scaled(graph: Any, stored: dict[str, Any]) -> dict[str, Any]:
    """Nodes that scale a stored tensor by stored numbers, by the name of that tensor."""
    return {
        node.input[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and all(name in stored or not name for name in node.input)
    }


def _dequantise(name: str, node: Any, stored: dict[str, Any], path: Path) -> np.ndarray:
    values, scale, *zero = [_values(stored[part], path) for part in node.input if part]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    try:
        shape = [-1 if dim == axis % values.ndim else 1 for dim in range(values.ndim)] if scale.size > 1 else []
        shift = zero[0].astype(np.float32).reshape(shape) if zero else np.float32(0)
        return np.array((values.astype(np.float32) - shift) * scale.astype(np.float32).reshape(shape))
    except ValueError as error:
        raise CheckpointError(f"{path}: tensor {name!r} does not fit its scale: {error}. Export it again.") from None


def _values(proto: Any, path: Path) -> np.ndarray:
    for entry in proto.external_data:
        if entry.key == "location" and leaves_folder(entry.value):
            raise UnsafeCheckpointError(
                f"{path}: tensor {proto.name!r} lies in {entry.value!r}, outside the folder. Do not use this file."
            )
    try:
        return numpy_helper.to_array(proto, str(path.parent))
    except (ValueError, TypeError, KeyError, OSError, RuntimeError, onnx.checker.ValidationError) as error:
        raise CheckpointError(f"{path}: tensor {proto.name!r} cannot be read ({error}). Export it again.") from None


def _tensor(values: np.ndarray, kind: int) -> Tensor:
    wide = values.astype(np.float32) if FLOATS[kind] is torch.bfloat16 else values
    return torch.from_numpy(np.array(wide)).to(FLOATS[kind])
