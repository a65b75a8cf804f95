"""A map as one page of HTML that asks nobody for anything: data, program and style are inside."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import asdict
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from weightspace.latents.colours import LOGARITHMIC, THEMES
from weightspace.latents.columns import Column, colour_column, read_columns
from weightspace.latents.map import LatentMap

SCRIPTS = ("decode", "colours", "raster", "find", "panel", "map", "controls")
STYLES = ("theme", "map")
TYPES = {"numbers": "<f8", "names": "<u2"}


def write_page(drawn: LatentMap, *, title: str = "Map of checkpoints", colour: str | None = None) -> str:
    """Return the page of a map: every row is on it, none is left away to save room.

    Pan, zoom, hover, colour by any property, search, lasso with export of ids, lineage; by pointer and by keyboard,
    dark and light. Nothing in the table can become code: it travels as compressed numbers and JSON and is shown as
    text.

    Args:
        drawn: The map.
        title: One line.
        colour: Column to begin with; by default the first property that is not from the encoder.

    Raises:
        TableError: `colour` is no column that tells rows apart.
    """
    columns = read_columns(drawn.table)
    if colour is not None:
        colour_column(drawn.table, colour)
    about = {
        "title": title,
        "method": drawn.method,
        "encoder": drawn.table.encoder,
        "left_out": drawn.left_out,
        "colour": colour or first_colour(columns),
        "themes": {name: asdict(theme) for name, theme in THEMES.items()},
        "logarithmic": LOGARITHMIC,
    }
    slots = {
        "HEAD": page_head(title, "\n".join(page_file(f"{name}.css") for name in STYLES)),
        "DATA": pack_data(about, drawn, columns),
        "SCRIPT": "\n".join(page_file(f"{name}.js") for name in SCRIPTS),
    }
    return fill_template(page_file("map.html"), slots)


def page_file(name: str) -> str:
    """Return a file of the pages' templates."""
    return (files("weightspace.latents") / "page" / name).read_text(encoding="utf-8")


def page_head(title: str, style: str) -> str:
    """Return what the head of every page holds: nothing may be asked of anybody, whatever else is on the page."""
    return fill_template(page_file("head.html"), {"TITLE": escape(title), "STYLE": style})


def fill_template(template: str, slots: dict[str, str]) -> str:
    """Return a template with `<!--NAME-->` replaced, once each and never inside of what was put in."""
    parts = [template]
    for name, text in slots.items():
        before, after = parts.pop().split(f"<!--{name}-->")
        parts += [before, text, after]
    return "".join(parts)


def first_colour(columns: list[Column]) -> str | None:
    """Return the column to begin with: a property if there is one, else what the encoder says of each row."""
    own = ("path", "sha256", "weights", "understood", "free_units", "nonfinite", "error")
    can = [c.name for c in columns if c.kind != "text" and not c.constant]
    liked = [name for name in ("test_accuracy", "dataset") if name in can]
    return next((name for name in (*liked, *(n for n in can if n not in own), *can)), None)


def pack_data(about: dict[str, Any], drawn: LatentMap, columns: list[Column]) -> str:
    """Return everything the page shows as base64 of gzip of: length of the JSON, the JSON, and arrays.

    Arrays begin at multiples of eight bytes; the JSON names each with its type, offset and length.
    """
    arrays = {"x": drawn.places[:, 0], "y": drawn.places[:, 1], "edges": drawn.edges().reshape(-1)}
    kinds = {"x": "<f4", "y": "<f4", "edges": "<u4"}
    described: list[dict[str, Any]] = []
    for i, column in enumerate(columns):
        entry: dict[str, Any] = {"name": column.name, "kind": column.kind, "constant": column.constant}
        if column.kind == "text":
            entry["texts"] = column.values.tolist()
        else:
            entry |= {"array": f"c{i}", "names": list(column.names)}
            arrays[f"c{i}"], kinds[f"c{i}"] = column.values, TYPES[column.kind]
        described.append(entry)
    body, places = bytearray(), {}
    for name, values in arrays.items():
        places[name] = {"type": kinds[name], "start": len(body), "length": len(values)}
        body += np.ascontiguousarray(values, kinds[name]).tobytes()
        body += bytes(-len(body) % 8)
    ids = drawn.table.data["id"].to_pylist()
    head = json.dumps({**about, "ids": ids, "columns": described, "arrays": places}, separators=(",", ":")).encode()
    head += b" " * (-(len(head) + 4) % 8)
    packed = gzip.compress(len(head).to_bytes(4, "little") + head + bytes(body), 6, mtime=0)
    return base64.b64encode(packed).decode()
