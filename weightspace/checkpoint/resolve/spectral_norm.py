"""Spectral norm: a weight and the two vectors that measure its largest singular value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.resolve.plan import Derived, Finding

STORED = ("_orig", "_bar")
PARAMETRIZED = "parametrizations."


def find_spectral_norm(header: Header) -> Finding:
    """`weight_orig, weight_u, weight_v` and their parametrized form become `weight = orig / (u' W v)`.

    The singular value is the one of the stored vectors, as a network in evaluation mode uses it.

    Source:
        Miyato et al. (2018), "Spectral normalization for generative adversarial networks", section 2.1.
    """
    return Finding(tuple(_derived(header, plain, reads) for plain, reads in _triples(header)))


def _triples(header: Header) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for name in header.tensors:
        for stored in STORED:
            if name.endswith(stored):
                plain = name.removesuffix(stored)
                reads = name, f"{plain}_u", f"{plain}_v"
                break
        else:
            if not (name.endswith(".original") and PARAMETRIZED in name):
                continue
            whole = name.removesuffix(".original")
            plain, reads = whole.replace(PARAMETRIZED, ""), (name, f"{whole}.0._u", f"{whole}.0._v")
        if plain not in header.tensors and all(part in header.tensors for part in reads):
            if _dims(*(header.tensors[part].shape for part in reads)):
                yield plain, reads


def _dims(weight: tuple[int, ...], left: tuple[int, ...], right: tuple[int, ...]) -> list[int]:
    """Dimensions that may be the rows of the matrix that was measured."""
    total = TensorInfo("", "", weight).size
    return [
        dim
        for dim, size in enumerate(weight)
        if left == (size,) and len(right) == 1 and right[0] * size == total and total
    ]


def _derived(header: Header, plain: str, reads: tuple[str, str, str]) -> Derived:
    info = header.tensors[reads[0]]
    return Derived(plain, TensorInfo(plain, info.dtype, info.shape), reads, _weight)


def _weight(weight: Any, left: Any, right: Any) -> Any:
    def matrix(dim: int) -> Any:
        return weight.movedim(dim, 0).reshape(weight.shape[dim], -1)

    def residual(dim: int) -> float:
        image = matrix(dim) @ right
        return float((image / image.norm().clamp_min(1e-12) - left).norm())

    dim = min(_dims(tuple(weight.shape), tuple(left.shape), tuple(right.shape)), key=residual)
    return weight / (left @ (matrix(dim) @ right))
