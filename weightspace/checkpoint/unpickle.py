"""Pickled checkpoints, without running what they ask for.

`torch.load(weights_only=True)` decides what may be built. A few harmless classes of training scripts can be
let through by `trust`: none of them is imported, each is replaced by a stand-in written here.
"""

from __future__ import annotations

import pickletools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import torch
from torch.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    safe_globals,
)

from weightspace.errors import CheckpointError, UnsafeCheckpointError


class PlainValues:
    """Stands for `argparse.Namespace`: its values, none of its methods."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values = dict(state)


class PlainDtype:
    """Stands for `numpy.dtype`: a plain number type and its byte order."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        code = code.decode() if isinstance(code, bytes) else str(code)
        if code.lstrip("<>|=") not in {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}:
            raise ValueError(f"a numpy array of {code!r} is not one of plain numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        big = state[1] in (">", b">")
        self.dtype = self.dtype.newbyteorder(">" if big else "<")


class PlainArray:
    """Stands for `numpy.ndarray`: shape, number type and bytes."""

    def __init__(self, *_: Any) -> None:
        self.array = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, data = state
        flat = np.frombuffer(data, kind.dtype)
        self.array = flat.reshape(shape, order="F" if columns_first else "C")


def plain_scalar(kind: PlainDtype, data: bytes) -> int | float | bool:
    """Stands for `numpy.core.multiarray.scalar`."""
    return np.frombuffer(data, kind.dtype)[0].item()


def plain_dict(*_: Any) -> dict[Any, Any]:
    """Stands for `collections.defaultdict`, without its factory."""
    return {}


def plain_path(*parts: str) -> str:
    """Stands for the classes of `pathlib`."""
    return str(PurePath(*map(str, parts)))


STAND_INS: dict[str, Callable[..., Any]] = {
    "argparse.Namespace": PlainValues,
    "collections.defaultdict": plain_dict,
    **dict.fromkeys(("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.Path"), plain_path),
    **dict.fromkeys(("pathlib.PurePosixPath", "pathlib.PureWindowsPath", "pathlib._local.PosixPath"), plain_path),
    "numpy.dtype": PlainDtype,
    "numpy.ndarray": PlainArray,
    **dict.fromkeys(("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"), PlainArray),
    **dict.fromkeys(("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"), plain_scalar),
    **{f"builtins.{kind.__name__}": kind for kind in (list, dict, int, float, bool, str)},
}
"""What `trust` lets through, by the name in the pickle. Reviewed: none of them calls back into the file."""


def load_pickle(
    path: Path, *, trust: bool, mmap: bool, further: Mapping[str, Callable[..., Any]] = MappingProxyType({})
) -> Any:
    """What `torch.save` wrote, tensors on the CPU.

    Args:
        path: A file written by `torch.save`, of the zip or the older form.
        trust: Whether `STAND_INS` may stand for the classes they are named after.
        mmap: Map the tensors instead of reading them; zip form, stored uncompressed.
        further: Harmless stand-ins of one format, by the name in the pickle.

    Raises:
        UnsafeCheckpointError: It asks for code; the globals are named.
        CheckpointError: It is damaged.
    """
    known = {**(STAND_INS if trust else {}), **further}
    allowed: list[Any] = [(stand_in, name) for name, stand_in in known.items()]
    try:
        with _only(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except OSError:
        raise
    except Exception as error:  # the unpickler raises whatever a damaged or hostile stream leads it to
        named = re.findall(r"Unsupported global: GLOBAL (\S+)", str(error))
        refused = sorted({*_refused(path, allowed), *named})
        if refused:
            raise UnsafeCheckpointError(_refusal(path, refused, trust)) from None
        why = re.sub(r"(?s).*WeightsUnpickler error: ", "", str(error)).split("\n")[0][:200] or "it ends early"
        raise CheckpointError(
            f"{path}: PyTorch cannot read it ({type(error).__name__}: {why}). Save the state dict again."
        ) from error


@contextmanager
def _only(allowed: list[Any]) -> Iterator[None]:
    """Let PyTorch's unpickler know these globals and its own, none that another library allows in the whole process."""
    before = get_safe_globals()
    own = [known for known in before if getattr(known, "__module__", "").partition(".")[0] == "torch"]
    clear_safe_globals()
    try:
        with safe_globals([*own, *allowed]):
            yield
    finally:
        clear_safe_globals()
        add_safe_globals(before)


def _refusal(path: Path, refused: list[str], trust: bool) -> str:
    reviewed = all(name in STAND_INS for name in refused)
    step = (
        "These are on the reviewed list: pass trust=True (--trust in the shell) to let plain values stand for them."
        if reviewed and not trust
        else "Load it where it was made and save model.state_dict() alone, best as safetensors."
    )
    return f"{path}: the pickle asks for {', '.join(refused)}, which could run code; nothing was run. {step}"


def _refused(path: Path, allowed: list[Any]) -> list[str]:
    """Globals in the pickle that `weights_only` does not know."""
    try:
        with _only(allowed):
            return get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a zip, or a damaged one: read the older form here
        with path.open("rb") as file:
            found = set(_globals(file))
    known = {name for _, name in allowed}
    return [name for name in found - known if not name.startswith(("torch.", "collections.OrderedDict"))]


def _globals(file: BinaryIO) -> Iterator[str]:
    """Globals of the pickles a file starts with; never executed, only disassembled."""
    texts: list[str] = []
    try:
        while True:
            for code, argument, _ in pickletools.genops(file):
                if code.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif code.name == "STACK_GLOBAL":
                    yield ".".join(texts[-2:])
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # the end, or no pickle from here on
        return
