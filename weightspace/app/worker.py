"""Reads uploaded checkpoints in a process of its own, with limits: what kills it does not kill the explorer.

Requests come as lines of JSON on standard input, answers go as lines of JSON to the descriptor that standard output
was. Nothing that is read can be unpickled into the explorer.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightspace.errors import EncoderError, WeightspaceError

if TYPE_CHECKING:
    from weightspace.app.network import Network
    from weightspace.encode.encoder import Encoder

MEMORY, DATASETS = 6 * 2**30, 4
"""Bytes of memory that reading may take; datasets that an upload is tested on, at most."""


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not end up among the answers
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        return look_at(asked)
    except WeightspaceError as error:
        return {"error": " ".join(str(error).replace(asked["path"], asked["name"]).split())}
    except (MemoryError, RecursionError, RuntimeError, ValueError, OSError) as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        return {"error": f"{asked['name']}: cannot be read ({said})."}


def look_at(asked: dict[str, Any]) -> dict[str, Any]:
    """Return everything that is shown of one file.

    Args:
        asked: `path` of the file, `name` that it had, `latents` (id of the table's encoder), `encoder` (name or None),
            `datasets` that it may be tested on, `data_dir`.

    Raises:
        WeightspaceError: The file is refused or cannot be read, or no encoder fits the table.
    """
    from dataclasses import replace

    from weightspace.app.network import Network, attempt, summarise_examination
    from weightspace.checkpoint.load import load_checkpoint
    from weightspace.inspect.examine import Context, examine
    from weightspace.inspect.report_page import write_report_page

    encoder = encoder_of(asked["latents"], asked["encoder"])
    checkpoint = replace(load_checkpoint(Path(asked["path"])), source=asked["name"])
    vector = encoder.encode(checkpoint).vector
    network, found = Network(checkpoint), examine(checkpoint, Context(encoder))
    answers, why = _ask_all(network, asked["datasets"], asked["data_dir"])
    shown = {
        "filters": network.show_filters(),
        "report": attempt(lambda: summarise_examination(found)),
        "answers": answers,
        "why": why,
    }
    return {"vector": vector.tolist(), "shown": shown, "report": write_report_page(found)}


def _ask_all(network: Network, datasets: Iterable[str], data_dir: str | None) -> tuple[dict[str, Any], str]:
    """Answers by dataset, and why there are none."""
    from functools import partial

    from weightspace.app.behaviour import ask_of

    answers, why = {}, "the table names no dataset that it could be tested on (--dataset)."
    for name in list(datasets)[:DATASETS]:
        told = network.show_behaviour([partial(ask_of, name, "none", data_dir)])
        if "error" in told:
            why = told["error"]
        else:
            answers[name] = told
    return answers, why


@cache
def encoder_of(latents: str, name: str | None) -> Encoder:
    """Return the encoder that made a table's latents.

    Args:
        latents: Its id.
        name: Its name or folder; all that ship are tried where it is None.

    Raises:
        EncoderError: It is another.
    """
    from weightspace.checkpoint.shipped import shipped_names
    from weightspace.encode.encoder import SEEDS, Encoder
    from weightspace.encode.pretrained import CONFIG

    names = [name] if name else [*SEEDS, *shipped_names("encoders", CONFIG)]
    tried = []
    for one in names:
        for run in (True, False):
            encoder = Encoder.from_pretrained(one, run=run)
            if encoder.id == latents:
                return encoder
        tried.append(encoder.id)
    raise EncoderError(
        f"the table holds latents of {latents}, and there is only {', '.join(tried)}: pass the encoder that made it "
        "(--encoder)."
    )


if __name__ == "__main__":
    main()
