"""How every verb behaves towards its inputs, its output file and its reader."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from weightspace.errors import WeightspaceError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class UsageError(WeightspaceError, ValueError):
    """A command that cannot be begun as it was given."""


def complain(message: str) -> None:
    """Print one line on standard error."""
    print(f"weightspace: {printable(' '.join(message.split()))}", file=sys.stderr)


def printable(text: str) -> str:
    """Return text that a terminal shows and does not obey: names in files are chosen by whoever wrote them."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def complain_about(path: str, error: Exception | str) -> str:
    """Name a failed input on standard error; return what was said about it, in one line."""
    said = str(error)
    if isinstance(error, Exception) and not isinstance(error, WeightspaceError):
        said = f"{type(error).__name__}: {said}"
    line = " ".join((said if str(Path(path)) in said else f"{path}: {said}").split())
    complain(line)
    return line


Inputs = Annotated[list[str], Parameter(allow_leading_hyphen=True)]
"""Files, folders, hub ids or `-`, which the parser would take for an option."""


def find_inputs(paths: Sequence[str]) -> list[str]:
    """Return every checkpoint that is meant: folders walked, `-` replaced by the lines of standard input.

    Raises:
        UsageError: There is none, or one is an option that does not exist.
    """
    from weightspace.checkpoint.find import find_checkpoints

    for path in paths:
        if path.startswith("-") and path != "-":
            raise UsageError(f"unknown option {path} (a file of that name is ./{path}).")
    found = find_checkpoints(paths)
    if not found:
        raise UsageError("no inputs: standard input holds no line.")
    return found


@contextmanager
def progress(unit: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Give a function of (done, total) that moves a bar on standard error, where that is a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from tqdm import tqdm

    with tqdm(unit=unit, leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.n, bar.total = done, total
            bar.refresh()

        yield update


def check_device(name: str) -> None:
    """Make sure that a device is there.

    Raises:
        UsageError: It is not.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no such device is found here.")


def check_output(path: Path, *, force: bool) -> None:
    """Make sure that a file can be written, before any work is done.

    Raises:
        UsageError: It exists and `force` is off, or its folder cannot be written.
    """
    from tempfile import TemporaryFile

    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists: pass --force to overwrite it.")
    try:
        with TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): name a file in a folder that can.") from None


def read_inputs(path: Path) -> Tensor:
    """Return the inputs in a .npy file, one each row."""
    import numpy as np
    import torch

    array = _read_array(path, "--inputs")
    if array.ndim < 2 or array.dtype.kind not in "iuf" or not array.size:
        raise UsageError(f"--inputs {path}: must be one array of numbers, an input each row.")
    return torch.from_numpy(array).float() if array.dtype.kind == "f" else torch.from_numpy(array.astype(np.int64))


def read_labels(path: Path) -> Tensor:
    """Return the classes in a .npy file, `(inputs,)`."""
    import numpy as np
    import torch

    array = _read_array(path, "--labels")
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise UsageError(f"--labels {path}: must be one row of whole numbers, the class of each input.")
    return torch.from_numpy(array.astype(np.int64))


def _read_array(path: Path, option: str) -> np.ndarray:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{option} {path}: cannot be read ({error}): name a .npy file.") from None
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{option} {path}: holds several arrays: name a .npy file.")
    return array
