"""Images or rows with labels, out of Parquet files as datasets are published in; nothing in them is trusted."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from weightspace.errors import DataError

LABELS = ("label", "labels", "fine_label", "target", "class", "y")
"""Columns that labels are looked for in, in this order."""
ROWS, BYTES, PIXELS = 10_000_000, 2**32, 2**20
"""What a dataset for small networks may hold: rows a file, bytes a file and decoded, pixels an image."""
MODES = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB"}


@dataclass(frozen=True)
class _Columns:
    """Where the labels are, and either the encoded images or the numbers of a row."""

    label: str
    image: str | None
    numbers: tuple[str, ...] = ()


def read_arrays(text: str, train: Sequence[Path], test: Sequence[Path]) -> dict[str, np.ndarray]:
    """Return `x_train, y_train, x_test, y_test` of images, or `x, y` (and `is_test`) of rows or of a single part.

    Args:
        text: The dataset's name, for errors.
        train: Files to train on.
        test: Files to test on; none where the set comes in one part.

    Raises:
        DataError: A file is damaged or too large, or a column is missing or of the wrong kind.
    """
    columns = _pick_columns(text, _open(text, train[0]).schema_arrow)
    x, y = _read_split(text, train, columns)
    if not test:
        return {"x": x, "y": y}
    x_test, y_test = _read_split(text, test, columns)
    if columns.image:
        return {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
    is_test = np.arange(len(y) + len(y_test)) >= len(y)
    return {"x": np.concatenate([x, x_test]), "y": np.concatenate([y, y_test]), "is_test": is_test}


def _open(text: str, path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"dataset {text!r}: {path.name} is no readable Parquet file ({error}).") from error
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    if file.metadata.num_rows > ROWS or size > BYTES:
        raise DataError(
            f"dataset {text!r}: {path.name} holds {file.metadata.num_rows} rows of {size} bytes; at most {ROWS} rows "
            f"and {BYTES} bytes are read."
        )
    return file


def _pick_columns(text: str, schema: pa.Schema) -> _Columns:
    classes = _class_columns(schema)
    whole = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)]
    ranked = [name for name in LABELS if name in whole] + [name for name in classes if name in whole]
    if not ranked:
        raise DataError(
            f"dataset {text!r}: no column of whole numbers is called one of {LABELS}; it has {schema.names}."
        )
    label = next((name for name in ranked if name in classes), ranked[0])
    images = [field.name for field in schema if _holds_files(field.type)]
    if images:
        return _Columns(label, images[0])
    left = [field for field in schema if field.name not in {label, *classes} and not field.name.startswith("__")]
    odd = [field.name for field in left if not _is_number(field.type)]
    if odd or not left:
        raise DataError(
            f"dataset {text!r}: columns {odd} hold neither numbers nor encoded images; the rows do not fit."
        )
    return _Columns(label, None, tuple(field.name for field in left))


def _class_columns(schema: pa.Schema) -> list[str]:
    """Columns that the publisher marked as classes, by the note that the hub's tools leave in a schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, kind in features.items() if kind.get("_type") == "ClassLabel"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _holds_files(kind: pa.DataType) -> bool:
    """Whether a column is a struct of `bytes` and `path`, as images are published."""
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _read_split(text: str, paths: Sequence[Path], columns: _Columns) -> tuple[np.ndarray, np.ndarray]:
    files = [_open(text, path) for path in paths]
    count = sum(file.metadata.num_rows for file in files)
    if not count or 4 * count * len(columns.numbers) > BYTES:
        raise DataError(
            f"dataset {text!r}: {paths[0].name} and those beside it hold {count} rows; too few or too many."
        )
    labels: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    for path, file in zip(paths, files, strict=True):
        where = f"dataset {text!r}: {path.name}"
        reader = _Pictures(where, count)
        for batch in _batches(where, file, columns):
            labels.append(_values(where, batch, columns.label).astype(np.int64))
            if columns.image:
                parts.append(reader.decode(batch.column(columns.image)))
            else:
                parts.append(np.stack([_values(where, batch, name).astype(np.float32) for name in columns.numbers], 1))
    if len({part.shape[1:] for part in parts}) > 1:
        raise DataError(f"dataset {text!r}: its files hold images of {sorted({part.shape[1:] for part in parts})}.")
    return np.concatenate(parts), np.concatenate(labels)


def _batches(where: str, file: pq.ParquetFile, columns: _Columns) -> Iterator[pa.RecordBatch]:
    schema = file.schema_arrow
    wanted = [name for name in (columns.label, columns.image, *columns.numbers) if name]
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise DataError(f"{where}: has no columns {missing}; it has {schema.names}.")
    if columns.image and not _holds_files(schema.field(columns.image).type):
        raise DataError(f"{where}: column {columns.image!r} is {schema.field(columns.image).type}, not encoded images.")
    try:
        yield from file.iter_batches(
            batch_size=256, columns=[f"{n}.bytes" if n == columns.image else n for n in wanted]
        )
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}: is damaged ({error}).") from error


def _values(where: str, batch: pa.RecordBatch, name: str) -> np.ndarray:
    column = batch.column(name)
    if column.null_count or not _is_number(column.type):
        raise DataError(f"{where}: column {name!r} is {column.type} with {column.null_count} empty cells.")
    return column.to_numpy(zero_copy_only=False)


class _Pictures:
    """Decodes encoded images; all must be as the first.

    Args:
        where: For errors.
        count: Images that are to come, for what they will take.
    """

    def __init__(self, where: str, count: int):
        self.where, self.count, self.row = where, count, 0
        self.first: tuple[int, int, str] | None = None

    def decode(self, column: pa.StructArray) -> np.ndarray:
        """Return `(images, channels, height, width)` bytes."""
        Image = import_pillow()
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            stacked = np.stack([self._decode(Image, data) for data in column.field("bytes").to_pylist()])
        return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)

    def _decode(self, image_class: ModuleType, data: bytes | None) -> np.ndarray:
        self.row += 1
        here = f"{self.where}: image {self.row - 1}"
        if not isinstance(data, bytes):
            raise DataError(f"{here} is not in the file: only images stored as bytes are read.")
        try:
            image = image_class.open(io.BytesIO(data), formats=["PNG", "JPEG"])
            self._check(here, image.size, image.mode)
            return np.asarray(image.convert(MODES[image.mode]))
        except DataError:
            raise
        except Exception as error:  # Pillow raises whatever the decoder stumbles over
            raise DataError(f"{here} cannot be decoded ({type(error).__name__}: {error}).") from error

    def _check(self, here: str, size: tuple[int, int], mode: str) -> None:
        """Refuse an image by its header, before its pixels take any memory."""
        width, height = size
        colour = MODES.get(mode, mode)
        if mode not in MODES or width * height > PIXELS or 3 * width * height * self.count > BYTES:
            raise DataError(
                f"{here} is {width}x{height} of mode {mode}, one of {self.count}; modes are {sorted(MODES)}, at most "
                f"{PIXELS} pixels each and {BYTES} bytes for all."
            )
        self.first = self.first or (width, height, colour)
        if self.first != (width, height, colour):
            raise DataError(f"{here} is {(width, height, colour)}, the first one {self.first}; all must be alike.")


def import_pillow() -> ModuleType:
    """Return `PIL.Image`.

    Raises:
        DataError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("reading PNG and JPEG images needs Pillow: pip install 'weightspace[images]'.") from error
    return Image
