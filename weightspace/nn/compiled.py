"""Passes over a large matrix in C (see `loops.c`), where a compiler was at hand when the package was installed."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from math import inf
from pathlib import Path
from sysconfig import get_config_var

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

LOOPS = Path(__file__).with_name(f"loops{get_config_var('EXT_SUFFIX')}")
KINDS = {torch.bfloat16: 0, torch.float16: 1, torch.float32: 2}
ENDINGS = {torch.float32: "32", torch.float64: "64"}
"""Of the names of functions, by the precision to compute in."""
DIRECTIONS, WIDTH = 3, 32
"""That are reflected at once, and of the states that messages are of."""


class _Matrix(ctypes.Structure):
    _fields_ = (("stored", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("kind", "rows", "columns")))


class Told(ctypes.Structure):
    """What a survey tells of all numbers: sum of fourth powers, smallest, largest, bits that were not counted."""

    _fields_ = (*((name, ctypes.c_double) for name in ("fourths", "low", "high")), ("left", ctypes.c_int64))

    def __init__(self) -> None:
        super().__init__(0.0, inf, -inf, 0)


def loopable(weight: Float[Tensor, "one outs ins taps"], dtype: torch.dtype, *, cut: int) -> Tensor | None:
    """Return what loops can pass over, `(rows, columns)` as it is stored; None where there are none for it.

    Args:
        weight: Of one model.
        dtype: To compute in.
        cut: Dimension whose lines are the rows, 1 or 2.
    """
    lines = weight[0] if cut == 1 else weight[0].transpose(0, 1)
    known = weight.device.type == "cpu" and weight.dtype in KINDS and dtype in ENDINGS
    return lines.detach().flatten(1) if known and lines.is_contiguous() and _loops() is not None else None


def survey(
    rows: Float[Tensor, "rows columns"],
    counts: Int64[Tensor, " codes"],
    added: Float64[Tensor, "three columns"],
    told: Told,
    dtype: torch.dtype,
) -> Float[Tensor, "two rows"]:
    """Return the sum and the sum of squares of each row, in `dtype`; what is not finite counts as zero.

    Args:
        rows: As they are stored, one after the other in memory.
        counts: Gains how many numbers have which leading sixteen bits.
        added: Gains the rows times their sums, the rows times their norms, and the squares, added up over the rows.
        told: Gains what it is of.
        dtype: To compute in.
    """
    lines, room = added.new_empty(2, len(rows), dtype=dtype), added.new_empty(5, rows.shape[1], dtype=dtype)
    places = (counts.data_ptr(), lines.data_ptr(), added.data_ptr(), ctypes.byref(told), room.data_ptr())
    _call(f"survey{ENDINGS[dtype]}", rows, *places)
    return lines


def reflect(
    rows: Float[Tensor, "rows columns"],
    directions: Float[Tensor, "few columns"],
    images: Float64[Tensor, "three columns"],
) -> None:
    """Add `D A^T A` for the rows `A` and at most three directions `D`.

    Args:
        rows: As they are stored, one after the other in memory; what is not finite in them counts as zero.
        directions: In the precision to compute in.
        images: Gain it; lines without a direction stay.
    """
    known, room = (directions.new_zeros(n, rows.shape[1]) for n in (DIRECTIONS, DIRECTIONS + 1))
    known[: len(directions)] = directions
    places = (known.data_ptr(), images.data_ptr(), room.data_ptr())
    _call(f"reflect{ENDINGS[directions.dtype]}", rows, *places)


def message(
    rows: Float[Tensor, "rows columns"],
    states: Float[Tensor, "two near width"],
    told: Float[Tensor, "far width"],
    *,
    to_rows: bool,
) -> None:
    """Add `A a + |A| b` for the rows `A`, or the same with `A^T`.

    Args:
        rows: As they are stored, one after the other in memory; what is not finite in them counts as zero.
        states: `a` and `b`, float32 and of `WIDTH` numbers: one for each column, or for each row.
        told: Gains it, one for each row, or for each column; these lie one after the other in memory.
        to_rows: Whether rows are told.
    """
    plain, size = (state.contiguous() for state in states)
    _call("message", rows, plain.data_ptr(), size.data_ptr(), told.data_ptr(), to_rows)


def _call(name: str, rows: Tensor, *given: object) -> None:
    matrix = _Matrix(rows.data_ptr(), KINDS[rows.dtype], *rows.shape)
    getattr(_loops(), name)(ctypes.byref(matrix), *given)


@lru_cache(maxsize=1)
def _loops() -> ctypes.CDLL | None:
    """The library; None where it is not there, or is another machine's."""
    pointer = ctypes.c_void_p
    given = {"message": [pointer] * 4 + [ctypes.c_int64]}
    for ending in ENDINGS.values():
        given |= {f"survey{ending}": [pointer] * 6, f"reflect{ending}": [pointer] * 4}
    try:
        library = ctypes.CDLL(str(LOOPS))
        for name, kinds in given.items():
            getattr(library, name).argtypes, getattr(library, name).restype = kinds, None
    except (OSError, AttributeError):
        return None
    return library
