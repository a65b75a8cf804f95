"""Pages of mapped files: let go once they were read, so that a file larger than memory leaves no trace in it."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

import numpy as np
from torch import Tensor

PAGEMAP = "/proc/self/pagemap"
FROM_FILE, HELD = np.uint64(1 << 61), np.uint64(3 << 62)
"""Bits of an entry of the page map: the page belongs to a file; the page is in memory or swapped out."""


def let_go(tensor: Tensor) -> None:
    """Take the pages that hold a tensor out of resident memory, if every one of them can be read from its file again.

    Memory that no file stands behind stays, and so does a mapped page that was written to; so do all where the system
    does not say which is which.
    """
    if sys.platform != "linux" or tensor.device.type != "cpu" or tensor.numel() == 0:
        return
    first, pages = _pages(tensor)
    if _given_back(first, pages):
        _LIBC.madvise(first * mmap.PAGESIZE, pages * mmap.PAGESIZE, mmap.MADV_DONTNEED)


def _pages(tensor: Tensor) -> tuple[int, int]:
    """First page and number of pages that a tensor reaches over."""
    first = tensor.data_ptr() // mmap.PAGESIZE
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)) + 1
    return first, (tensor.data_ptr() + reach * tensor.element_size() - 1) // mmap.PAGESIZE + 1 - first


def _given_back(first: int, pages: int) -> bool:
    """Whether dropping these pages loses nothing."""
    try:
        handle = os.open(PAGEMAP, os.O_RDONLY)
    except OSError:
        return False
    try:
        entries = np.frombuffer(os.pread(handle, 8 * pages, 8 * first), np.uint64)
    finally:
        os.close(handle)
    return len(entries) == pages and bool((((entries & HELD) == 0) | ((entries & FROM_FILE) != 0)).all())


if sys.platform == "linux":
    _LIBC = ctypes.CDLL(None)
    _LIBC.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
