"""Datasets: scikit-learn's, `.npz` files of a data folder, Parquet of the Hugging Face hub, and a generated text."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weightspace.errors import DataError
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.hub_data import PREFIX, load_hub_arrays
from weightspace.zoo.parquet_data import import_pillow
from weightspace.zoo.seeds import make_generator
from weightspace.zoo.text import CHARACTERS, encode_text, write_sums

SKLEARN = ("iris", "wine", "breast_cancer", "digits")
PLACES = 64


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples to train on and to test on.

    Args:
        name: As a recipe names it.
        x: Training inputs `(examples, ...)`: images and rows about in [-1, 1], or whole numbers of characters.
        y: Labels `(examples,)`, or next characters `(examples, places)`.
        x_test: Inputs to test on.
        y_test: Labels to test on.
        outputs: Classes or characters.
    """

    name: str
    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    outputs: int

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x, self.y), ("test", self.x_test, self.y_test)):
            if len(x) != len(y) or not len(x):
                raise DataError(f"dataset {self.name!r}: {len(x)} {part} inputs but {len(y)} labels.")
            if int(y.min()) < 0 or int(y.max()) >= self.outputs:
                raise DataError(
                    f"dataset {self.name!r}: {part} labels run from {int(y.min())} to {int(y.max())}; "
                    f"they must lie in 0 .. {self.outputs - 1}."
                )
            if x.is_floating_point() and not bool(x.isfinite().all()):
                raise DataError(f"dataset {self.name!r}: {part} inputs hold values that are not finite.")
        if self.x.shape[1:] != self.x_test.shape[1:]:
            raise DataError(
                f"dataset {self.name!r}: train inputs are {tuple(self.x.shape[1:])}, "
                f"test inputs {tuple(self.x_test.shape[1:])}."
            )

    @property
    def signature(self) -> Signature:
        """What a network must fit."""
        return Signature(tuple(self.x.shape[1:]), self.outputs)


@lru_cache(maxsize=8)
def load_dataset(name: str, data_dir: str | None = None) -> Dataset:
    """Return a dataset by name.

    `iris`, `wine`, `breast_cancer`, `digits` come with scikit-learn, `sums` is a generated text, `hub:org/name` a
    Parquet dataset of the Hugging Face hub (see `zoo.hub_data`); every other name is a file of `data_dir`: `mnist` is
    `mnist.npz`, and `tabular/vowel` the set `vowel` of `tabular.npz`. `+grey` behind the name of a set of images makes
    them grey. A set that comes in one part has a fifth drawn to test on, by its name.

    Raises:
        DataError: The dataset is not there, or its arrays have wrong names, shapes or labels.
    """
    if name in SKLEARN:
        return _load_sklearn(name)
    if name == "sums":
        return _load_text()
    source, plus, change = name.partition("+")
    if plus and change != "grey":
        raise DataError(f"dataset {name!r}: {change!r} is no known change of a dataset; there is +grey.")
    if source.startswith(PREFIX):
        return _from_arrays(name, load_hub_arrays(source))
    stem, _, part = source.partition("/")
    path = Path(data_dir or ".") / f"{stem}.npz"
    if not path.is_file():
        raise DataError(
            f"dataset {name!r}: there is no file {path}. Pass the folder that holds it (--data-dir), "
            f"or name one of {sorted([*SKLEARN, 'sums'])} or hub:org/name."
        )
    prefix = f"{part}/" if part else ""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return _from_arrays(name, {k.removeprefix(prefix): arrays[k] for k in arrays if k.startswith(prefix)})
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: dataset {name!r}: {error}") from error


def _from_arrays(name: str, arrays: dict[str, np.ndarray]) -> Dataset:
    """A dataset out of named arrays: rows, images in two parts, or either in one."""
    parts = {key: _pick(name, arrays, key) for key in ("x", "y")} if "x" in arrays else {}
    if parts and (parts["x"].ndim != 4 or "is_test" in arrays):
        is_test = arrays["is_test"] if "is_test" in arrays else _draw_test(name, len(parts["x"]))
        return _rows(name, parts["x"], parts["y"], is_test)
    if parts:
        is_test = _draw_test(name, len(parts["x"]))
        arrays = {f"{key}_train": value[~is_test] for key, value in parts.items()}
        arrays |= {f"{key}_test": value[is_test] for key, value in parts.items()}
    y, y_test = (_labels(name, f"y_{split}", _pick(name, arrays, f"y_{split}")) for split in ("train", "test"))
    _check_classes(name, y)
    x, x_test = (_images(name, arrays, split) for split in ("train", "test"))
    return Dataset(name, x, y, x_test, y_test, int(y.max()) + 1)


def _pick(name: str, arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    if key not in arrays:
        raise DataError(f"dataset {name!r}: holds no array {key}; it has {sorted(arrays)}.")
    return arrays[key]


def _labels(name: str, key: str, y: np.ndarray) -> Tensor:
    """Whole labels, one an example; anything else is refused, not rounded."""
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise DataError(f"dataset {name!r}: {key} is {y.dtype} {y.shape}; labels must be whole numbers (n,).")
    if y.size and y.max() >= 2**31:
        raise DataError(f"dataset {name!r}: {key} holds the label {y.max()}; labels are classes, counted from 0.")
    return torch.from_numpy(y.astype(np.int64))


def _check_classes(name: str, y: Tensor) -> None:
    """Refuse labels that skip a class: a stray label would add outputs that nothing trains."""
    there = y[y >= 0].unique()
    if len(there) and len(there) <= int(there[-1]):
        missing = next(i for i, label in enumerate(there.tolist()) if i != label)
        raise DataError(
            f"dataset {name!r}: labels run to {int(there[-1])}, but class {missing} has no example; number the classes "
            "from 0 without gaps."
        )


def _draw_test(name: str, count: int) -> np.ndarray:
    """Which fifth of the examples is tested on: one and the same for all revisions and colours of a set."""
    source = name.partition("+")[0].partition("@")[0]
    order = torch.randperm(count, generator=make_generator("split", source)).numpy()
    is_test = np.zeros(count, bool)
    is_test[order[: count // 5]] = True
    return is_test


def _images(name: str, arrays: dict[str, np.ndarray], split: str) -> Tensor:
    """Images of one part, as numbers from -1 to 1."""
    x = _decode(arrays, split) if f"jpeg_{split}" in arrays else _pick(name, arrays, f"x_{split}")
    if x.ndim != 4 or x.dtype != np.uint8:
        raise DataError(f"dataset {name!r}: x_{split} is {x.dtype} {x.shape}; images must be uint8 (n, c, h, w).")
    return torch.from_numpy(_grey(name, x) if name.endswith("+grey") else x).float() / 127.5 - 1


def _decode(arrays: dict[str, np.ndarray], split: str) -> np.ndarray:
    """Decode JPEG files laid end to end."""
    open_image = import_pillow().open
    data, ends = arrays[f"jpeg_{split}"].tobytes(), arrays[f"offset_{split}"]
    pictures = [np.asarray(open_image(io.BytesIO(data[a:b])).convert("RGB")) for a, b in pairwise(ends)]
    return np.stack(pictures).transpose(0, 3, 1, 2)


def _grey(name: str, x: np.ndarray) -> np.ndarray:
    """Luma of ITU-R 601 in whole numbers, bit for bit as Pillow rounds it."""
    if x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise DataError(f"dataset {name!r}: images of {x.shape[1]} channels cannot be made grey; 1 or 3 can.")
    grey = np.empty((len(x), 1, *x.shape[2:]), np.uint8)
    for i in range(0, len(x), 1000):
        red, green, blue = x[i : i + 1000].astype(np.uint32).swapaxes(0, 1)
        grey[i : i + 1000, 0] = (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16
    return grey


def _rows(name: str, x: np.ndarray, y: np.ndarray, is_test: np.ndarray) -> Dataset:
    """Rows of numbers, each column standardised by its training part."""
    if name.endswith("+grey"):
        raise DataError(f"dataset {name!r}: only images can be made grey; these are rows.")
    if x.ndim != 2 or y.shape != x.shape[:1] or is_test.shape != y.shape:
        raise DataError(f"dataset {name!r}: x {x.shape}, y {y.shape}, is_test {is_test.shape} do not fit together.")
    if x.dtype.kind not in "iubf" or not x.shape[1] or is_test.dtype != bool:
        raise DataError(
            f"dataset {name!r}: x is {x.dtype} {x.shape}, is_test {is_test.dtype}; rows must be numbers, is_test bool."
        )
    labels, test = _labels(name, "y", y), torch.from_numpy(is_test)
    _check_classes(name, labels)
    if is_test.all() or not is_test.any():
        raise DataError(
            f"dataset {name!r}: {int(is_test.sum())} of {len(y)} rows are to test on; both parts need some."
        )
    train = x[~is_test]
    x = (x - train.mean(0)) / np.maximum(train.std(0), 1e-6)
    rows = torch.from_numpy(x).float()
    return Dataset(name, rows[~test], labels[~test], rows[test], labels[test], int(labels.max()) + 1)


def _load_sklearn(name: str) -> Dataset:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    x, y = np.asarray(bunch.data, np.float32), np.asarray(bunch.target)
    is_test = _draw_test(name, len(x))
    if name == "digits":
        images = torch.from_numpy(x).view(-1, 1, 8, 8) / 8 - 1
        labels, test = torch.from_numpy(y.astype(np.int64)), torch.from_numpy(is_test)
        return Dataset(name, images[~test], labels[~test], images[test], labels[test], 10)
    return _rows(name, x, y, is_test)


def _load_text() -> Dataset:
    """The generated text cut into pieces of 64 characters, the last tenth to test on."""
    tokens = encode_text(write_sums(200_000))
    pieces = tokens[: (len(tokens) - 1) // PLACES * PLACES + 1]
    x, y = pieces[:-1].view(-1, PLACES), pieces[1:].view(-1, PLACES)
    cut = len(x) * 9 // 10
    return Dataset("sums", x[:cut], y[:cut], x[cut:], y[cut:], len(CHARACTERS))


def _noise(data: Dataset) -> Dataset:
    def blur(x: Tensor, part: str) -> Tensor:
        return x + 0.5 * torch.randn(x.shape, generator=make_generator("shift", data.name, part))

    return replace(data, x=blur(data.x, "train"), x_test=blur(data.x_test, "test"))


def _halve(data: Dataset, upper: bool) -> Dataset:
    keep, keep_test = ((y >= data.outputs // 2) == upper for y in (data.y, data.y_test))
    return replace(data, x=data.x[keep], y=data.y[keep], x_test=data.x_test[keep_test], y_test=data.y_test[keep_test])


SHIFTS: dict[str, Callable[[Dataset], Dataset]] = {
    "none": lambda d: d,
    "noise": _noise,
    "negative": lambda d: replace(d, x=-d.x, x_test=-d.x_test),
    "mirror": lambda d: replace(d, x=d.x.flip(-1), x_test=d.x_test.flip(-1)),
    "lower_classes": lambda d: _halve(d, False),
    "upper_classes": lambda d: _halve(d, True),
}


def shift_dataset(data: Dataset, shift: str) -> Dataset:
    """Return the dataset after a shift of `SHIFTS`: noise, negative, mirror image, or half of its classes."""
    return SHIFTS[shift](data)
