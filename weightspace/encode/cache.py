"""Rows that were computed before, by content; on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from weightspace.checkpoint.whole import replacing
from weightspace.latents.table import LatentTable

KEPT = ("weights", "understood", "free_units", "nonfinite", "vector")


class RowCache:
    """What is known of a content under one encoder and graph version.

    Args:
        encoder: Id of the encoder.
        graph_version: Of the parameter graphs.
        folder: Where rows are kept, one small file each; None keeps nothing beyond `known`.
        known: A table whose rows count as computed, if its encoder and graph version are the same.
    """

    def __init__(
        self, encoder: str, graph_version: int, *, folder: str | os.PathLike[str] | None, known: LatentTable | None
    ) -> None:
        self._folder = Path(folder, f"{encoder}-graph{graph_version}".replace("/", "-")) if folder else None
        self._rows: dict[str, dict[str, Any]] = {}
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
        if known is not None and (known.encoder, known.graph_version) == (encoder, graph_version):
            rows = known.data.select([*KEPT, "sha256", "error"]).to_pylist()
            self._rows = {row["sha256"]: row for row in rows if row["vector"] is not None}

    def get(self, sha256: str) -> dict[str, Any] | None:
        """Return what is kept of this content, or None; a damaged file counts as none."""
        if sha256 in self._rows:
            return {name: self._rows[sha256][name] for name in KEPT}
        try:
            row = json.loads((self._folder / f"{sha256}.json").read_text()) if self._folder else None
            return {name: row[name] for name in KEPT} if row else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, sha256: str, row: dict[str, Any]) -> None:
        """Keep a row, wholly or not at all; none from there on where the disk is full, which a warning says."""
        if not self._folder:
            return
        try:
            with replacing(self._folder / f"{sha256}.json") as draft:
                draft.write_text(json.dumps({key: row[key] for key in KEPT}))
        except OSError as error:
            said = f"{self._folder}: rows cannot be kept ({error.strerror}), so an interrupted run would begin again."
            warnings.warn(said, stacklevel=2)
            self._folder = None
