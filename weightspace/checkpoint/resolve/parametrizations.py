"""Parametrizations of PyTorch whose rule does not stand in the file."""

from __future__ import annotations

from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.resolve.plan import Derived, Finding

PARAMETRIZED = "parametrizations."
WHY = "its rule is not in the file: what it is applied to stands for the weight"


def find_parametrizations(header: Header) -> Finding:
    """`parametrizations.weight.original` becomes `weight` as it is; that is noted, its other tensors are left out."""
    derived: list[Derived] = []
    left_out: dict[str, str] = {}
    notes: dict[str, str] = {}
    for name, info in header.tensors.items():
        if not name.endswith(".original") or PARAMETRIZED not in name:
            continue
        whole = name.removesuffix(".original")
        plain = whole.replace(PARAMETRIZED, "")
        if plain in header.tensors:
            continue
        derived.append(Derived(plain, TensorInfo(plain, info.dtype, info.shape), (name,), _same))
        notes[whole] = f"a parametrization of {plain!r}: {WHY}"
        others = [other for other in header.tensors if other.startswith(f"{whole}.") and other != name]
        left_out |= {other: f"state of the parametrization of {plain!r}" for other in others}
    return Finding(tuple(derived), left_out, notes)


def _same(original: Any) -> Any:
    return original
