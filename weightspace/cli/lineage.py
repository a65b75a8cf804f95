"""`weightspace lineage`: who descends from whom among checkpoints."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path

from weightspace.cli.collect import collect
from weightspace.cli.manners import Inputs, UsageError, check_output, progress
from weightspace.cli.show import show


def lineage(
    paths: Inputs,
    /,
    *,
    graphml: Path | None = None,
    svg: Path | None = None,
    force: bool = False,
    trust: bool = False,
    json: bool = False,
) -> int:
    """Show who descends from whom: fine-tuned, pruned, quantised, merged and relabelled children.

    Units are matched first. Each edge says how sure it is, and how sure its direction; unrelated networks stay apart.

    Args:
        paths: Files, folders, hub ids, populations, or - for a list of them on standard input.
        graphml: Also write the graph to this file.
        svg: Also write a picture to this file.
        force: Overwrite these files.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
        json: Print one JSON object.
    """
    for path in (graphml, svg):
        if path is not None:
            check_output(path, force=force)
    if graphml is not None and graphml == svg:
        raise UsageError(f"--graphml and --svg both name {svg}: name two files.")
    from weightspace.inspect.lineage import trace_lineage
    from weightspace.inspect.lineage_picture import lineage_sections, write_graphml, write_svg

    collection = collect(paths, trust=trust)
    with progress("architecture") as update:
        found = trace_lineage(collection, progress=update)
    for write, target in ((write_graphml, graphml), (write_svg, svg)):
        if target is not None:
            write(found, target)
    if json:
        print(jsonlib.dumps({**found.as_dict(), "problems": collection.problems}, indent=1, allow_nan=False))
    else:
        show(lineage_sections(found))
    return 1 if collection.problems else 0
