"""`weightspace cluster`: groups of checkpoints whose latents lie together."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from weightspace.cli.manners import UsageError, check_output
from weightspace.cli.show import show
from weightspace.inspect.sections import Section, number_text

if TYPE_CHECKING:
    from weightspace.latents.cluster import Clustering


def cluster(
    table: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    method: Literal["hdbscan", "kmeans", "agglomerative"] = "hdbscan",
    clusters: int | None = None,
    force: bool = False,
    json: bool = False,
) -> int:
    """Group checkpoints whose latents lie together, say how firm the groups are and what sets each apart.

    Args:
        table: A Parquet file of latents; its other columns are what clusters are named by.
        output: Also write the table with a column `cluster`: -1 for noise, null where there is no vector.
        method: HDBSCAN finds how many there are and leaves noise over; the others take every checkpoint in.
        clusters: How many, for k-means and agglomerative clustering; the silhouette chooses by default.
        force: Overwrite an existing output.
        json: Print one JSON object.
    """
    from weightspace.latents.cluster import ClusterSettings
    from weightspace.latents.cluster import cluster as find_clusters
    from weightspace.latents.table import LatentTable

    if output is not None:
        if output.exists() and table.exists() and output.samefile(table):
            raise UsageError(f"{output} is the table that is read: name another file.")
        check_output(output, force=force)
    latents = LatentTable.read_parquet(table)
    found = find_clusters(latents, ClusterSettings(method, clusters))
    if output is not None:
        latents.assign({"cluster": found.column()}).to_parquet(output, overwrite=force)
    if json:
        print(jsonlib.dumps(found.as_dict() | {"output": output and str(output)}, indent=1, allow_nan=False))
    else:
        show(_sections(str(table), found))
    return 0


def _sections(title: str, found: Clustering) -> list[Section]:
    told = found.as_dict()
    about = (
        ("method", f"{found.method} on {found.directions} principal components"),
        ("clusters", str(sum(one.label >= 0 for one in found.clusters))),
        ("noise", f"{found.noise:.1%} of the rows with a vector; {told['left_out']} rows have none"),
        ("silhouette", number_text(found.silhouette)),
        ("stability", f"{found.stability:.3f} +- {found.spread:.3f} (adjusted Rand index, 80 % of the rows)"),
    )
    columns = ("cluster", "rows", "set apart by", "precision", "recall", "agreement", "chance")
    cells = tuple(
        (
            "noise" if one.label < 0 else str(one.label),
            f"{one.rows:,}",
            f"{one.name.column} {one.name.value}" if one.name.column else "nothing in the table",
            f"{one.name.precision:.2f}" if one.name.column else "-",
            f"{one.name.recall:.2f}" if one.name.column else "-",
            f"{one.name.agreement:.2f}",
            f"{one.name.chance:.2f}",
        )
        for one in found.clusters
    )
    return [Section(title, ("", ""), about), Section("clusters", columns, cells, frozenset({1, 3, 4, 5, 6}))]
