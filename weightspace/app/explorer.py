"""What the explorer knows: a map, the networks behind its rows, and those that were brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa

from weightspace.app.sources import RowSources
from weightspace.errors import ExplorerError
from weightspace.latents.map import LatentMap
from weightspace.latents.nearest import NearestRows

if TYPE_CHECKING:
    from weightspace.app.behaviour import Questions
    from weightspace.app.network import Network

NEIGHBOURS, KEPT, SAMPLE = 8, 20, 200
"""Neighbours that are listed, uploads that are kept, rows whose nearest others say what distances are usual."""
TELLING = ("test_accuracy", "dataset", "activation", "epoch")


@dataclass(frozen=True)
class Settings:
    """Where the explorer finds what the table does not hold.

    Args:
        table: File of the latents or of a map of them.
        encoder: Of the table, for uploads: a name or a folder; one that ships and fits where it is None.
        decoder: Of the encoder's latents: a name or a folder; the one that ships where it is None.
        dataset: That all networks are tested on, instead of the one that their row names.
        data_dir: Folder of dataset files.
        populations: Folders of populations that rows lie in.
        most_bytes: Size of an upload, at most.
    """

    table: Path
    encoder: str | None = None
    decoder: str | None = None
    dataset: str | None = None
    data_dir: str | None = None
    populations: tuple[Path, ...] = ()
    most_bytes: int = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Upload:
    """A checkpoint that was brought to the explorer: what was seen of it, and not the checkpoint.

    Args:
        key: `u1`, `u2`, ...
        name: Of the file.
        vector: `(latent,)`.
        shown: What the pane shows of its weights, as `Explorer.weights`.
        report: Page of HTML.
    """

    key: str
    name: str
    vector: np.ndarray
    shown: dict[str, Any]
    report: str


@final
class Explorer:
    """Answers what the page asks. Rows are named by their number, uploads `u1`, `u2`, ...

    Args:
        drawn: The map; its rows are the ones that can be asked for.
        settings: Where all else is found.
    """

    def __init__(self, drawn: LatentMap, settings: Settings) -> None:
        self.drawn, self.table, self.settings = drawn, drawn.table, settings
        self.sources = RowSources(settings.table.absolute().parent, settings.populations)
        self.near = NearestRows(self.table)
        self.vectors = self.table.vectors
        self.uploads: dict[str, Upload] = {}
        self._row = lru_cache(maxsize=8)(self._load_row)

    # ---- what is where
    def vector(self, key: str) -> np.ndarray:
        """Return the latent of a row or an upload, in double precision."""
        found = self.uploads[key].vector if key in self.uploads else self.vectors[self.row(key)]
        return found.astype(np.float64)

    def row(self, key: str) -> int:
        """Return the number of a row.

        Raises:
            ExplorerError: There is none.
        """
        if not key.isdecimal() or not key.isascii() or len(key) > 12 or int(key) >= len(self.table):
            raise ExplorerError(f"there is no network {key[:40]!r}; rows are 0 to {len(self.table) - 1}.")
        return int(key)

    def name(self, key: str) -> str:
        """Return the id of a row, or the file name of an upload."""
        return self.uploads[key].name if key in self.uploads else str(self.table.data["id"][self.row(key)])

    def nearest_row(self, key: str) -> str:
        """Return the row itself, or the one nearest to an upload."""
        return str(self.neighbours(self.vector(key), 1)[0]["row"]) if key in self.uploads else str(self.row(key))

    def neighbours(self, vector: np.ndarray, count: int = NEIGHBOURS, *, apart: int = -1) -> list[dict[str, Any]]:
        """Return the nearest rows with what tells of them: `row`, `id`, `distance` and up to four properties."""
        rows, distances = self.near.find(vector[None], count, apart=np.array([apart]))
        columns = [c for c in ("id", *TELLING) if c in self.table.columns]
        found = [int(row) for row in rows[0] if row >= 0]
        told = self.table.data.select(columns).take(pa.array(found, pa.int64())).to_pylist()
        return [
            {"row": row, "distance": float(d), **plain(dict(about))}
            for row, d, about in zip(found, distances[0], told, strict=False)
        ]

    @cached_property
    def usual(self) -> dict[str, float]:
        """How far rows lie from their nearest other: the `median`, and what 99 in 100 lie `within`; of 200 rows."""
        picked = np.random.default_rng(0).permutation(len(self.table))[:SAMPLE]
        _, distances = self.near.find(self.vectors[picked].astype(np.float64), 1, apart=picked)
        known = distances[np.isfinite(distances)]
        middle, most = np.quantile(known, [0.5, 0.99]) if known.size else (0.0, 0.0)
        return {"median": float(middle), "within": float(most)}

    def datasets(self) -> list[str]:
        """Return names of the datasets that networks may be tested on, the commonest first."""
        if self.settings.dataset:
            return [self.settings.dataset]
        if "dataset" not in self.table.columns:
            return []
        names = [name for name in self.table.data["dataset"].to_pylist() if isinstance(name, str) and name]
        return sorted(set(names), key=lambda name: (-names.count(name), name))

    # ---- what the page shows
    def about(self) -> dict[str, Any]:
        """Return what the page begins with."""
        return {
            "title": self.settings.table.stem,
            "rows": len(self.table),
            "left_out": self.drawn.left_out,
            "encoder": self.table.encoder,
            "most_bytes": self.settings.most_bytes,
            "uploads": [self.upload(key) for key in self.uploads],
        }

    def upload(self, key: str) -> dict[str, Any]:
        """Return where an upload lies."""
        places, distance = self.drawn.locate(self.uploads[key].vector[None].astype(np.float64))
        return {
            "key": key,
            "id": self.uploads[key].name,
            "place": places[0].tolist(),
            "distance": float(distance[0]),
            "usual": self.usual,
        }

    def network(self, key: str) -> dict[str, Any]:
        """Return what the table says of a network: properties and neighbours. No weight is read."""
        if key in self.uploads:
            return self.upload(key) | {"properties": {}, "neighbours": self.neighbours(self.vector(key))}
        row = self.row(key)
        kept = [name for name in self.table.columns if name not in ("vector", "id", "sha256", "error")]
        properties = self.table.data.select(kept).take([row]).to_pylist()[0]
        near = self.neighbours(self.vector(key), apart=row)
        return {"key": key, "id": self.name(key), "properties": plain(properties), "neighbours": near}

    def weights(self, key: str) -> dict[str, Any]:
        """Return what the weights say: filters, answers, and a summary of the report.

        Raises:
            WeightspaceError: The checkpoint cannot be read.
        """
        if key in self.uploads:
            return self.uploads[key].shown
        from weightspace.app.network import attempt, summarise_examination
        from weightspace.inspect.examine import examine

        network = self.open(key)
        return {
            "filters": network.show_filters(),
            "behaviour": network.show_behaviour([partial(self.questions, key)]),
            "report": attempt(lambda: summarise_examination(examine(network.checkpoint))),
        }

    def report(self, key: str) -> str:
        """Return the whole report of a network as a page.

        Raises:
            WeightspaceError: The checkpoint cannot be read.
        """
        if key in self.uploads:
            return self.uploads[key].report
        from weightspace.inspect.examine import examine
        from weightspace.inspect.report_page import write_report_page

        return write_report_page(examine(self.open(key).checkpoint))

    # ---- networks and questions
    def open(self, key: str) -> Network:
        """Return the network of a row; the last eight are kept.

        Raises:
            WeightspaceError: It is not on this machine, or cannot be read.
        """
        return self._row(self.row(key))

    def _load_row(self, row: int) -> Network:
        from weightspace.app.network import Network

        return Network(self.sources.load(str(self.table.data["path"][row])))

    def questions(self, key: str) -> Questions:
        """Return what a row's network can be asked: the test part of its dataset, shifted as its own was.

        Raises:
            WeightspaceError: The table names no dataset, or it is not on this machine.
        """
        from weightspace.app.behaviour import ask_of

        row = self.row(key)
        shift = self._cell("shift", row) or "none"
        dataset = self.settings.dataset or self._cell("dataset", row)
        if dataset is None:
            raise ExplorerError("the table names no dataset to test this network on: pass one (--dataset).")
        return ask_of(dataset, shift, self.settings.data_dir)

    def _cell(self, column: str, row: int) -> str | None:
        value = self.table.data[column][row].as_py() if column in self.table.columns else None
        return value if isinstance(value, str) and value else None

    def keep(self, name: str, seen: dict[str, Any]) -> dict[str, Any]:
        """Keep what was seen of an uploaded checkpoint and return where it lies; the oldest of twenty goes.

        Args:
            name: Of the file.
            seen: `vector`, `shown` with the answers to each dataset that fits, and `report`, as the worker sends them.
        """
        vector = np.array(seen["vector"], np.float32)
        if vector.shape != self.vectors.shape[1:] or not np.isfinite(vector).all():
            raise ExplorerError(f"{name}: its latent is not finite, so it has no place on the map.")
        number = max((int(key[1:]) for key in self.uploads), default=0) + 1
        if len(self.uploads) >= KEPT:
            del self.uploads[next(iter(self.uploads))]
        shown = dict(seen["shown"])
        shown["behaviour"] = self._likeliest(vector, shown.pop("answers"), shown.pop("why"))
        key = f"u{number}"
        self.uploads[key] = Upload(key, name, vector, shown, seen["report"])
        return self.upload(key)

    def _likeliest(self, vector: np.ndarray, answers: dict[str, Any], why: str) -> dict[str, Any]:
        """The answers to the dataset of the nearest row that the network can be asked, else to any."""
        near = [row.get("dataset") for row in self.neighbours(vector.astype(np.float64))]
        for name in (*near, *answers):
            if name in answers:
                return answers[name]
        return {"error": why}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON's types; what is missing or not finite is left out, all else is text."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or (isinstance(value, float) and not np.isfinite(value)):
            continue
        found[name] = value if isinstance(value, str | int | float | bool) else str(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
            found[name] = str(value)
    return found
