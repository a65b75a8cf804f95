"""CNN Wild Park: convolutional networks of random shape, a Ray folder a model, a dict a checkpoint.

<zoo>/<model>/<checkpoint>/checkpoint.pt   model: state dict; config: channels, kernel_size, residual, activation a
                                           layer; iteration; last_result: "test/acc", "test/loss"
*splits*.json                              train, val, test: path, score (test accuracy), step, as lists

Names are those of the family `wildpark`, so that `population.module` builds each network again, skips included. Names
and shapes alone cannot show the skips: of networks with skips take the traced graph, not the inferred one.
`epoch` is the published `iteration`; the trainer that wrote it begins at -1, so it may be one behind.

`config` is a pickled OmegaConf object, and Ray's result may hold a dataclass: they are read by stand-ins, the classes
are never imported. A file that asks for any other class is left out and noted.

Source: Kofinas et al. (2024), "Graph neural networks for learning equivariant representations of neural networks"; the
code that trains the networks, makes the splits and loads them. The archive itself was not opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from weightspace.checkpoint.load import load_checkpoint
from weightspace.checkpoint.unpickle import load_pickle
from weightspace.errors import ZooError
from weightspace.zoo.readers.files import Network, Row, as_number, describe_family, read_files
from weightspace.zoo.readers.layout import Listing
from weightspace.zoo.readers.plain_config import STAND_INS, plain_value
from weightspace.zoo.readers.splits import read_splits

PATTERNS = ("*/*/*/checkpoint.pt", "*/*/checkpoint.pt", "*/checkpoint.pt")
IMAGE = (32, 32)
KEYS = {"channels": "channels", "kernel_size": "kernels", "activation": "activations", "residual": "skips"}


def matches(source: Path) -> bool:
    """Whether there is a checkpoint at the published depth, or one or two folders above."""
    return source.is_dir() and any(next(source.glob(pattern), None) for pattern in PATTERNS)


def list_zoo(source: Path) -> Listing:
    """List the checkpoints.

    Raises:
        ZooError: The splits file is damaged.
    """
    found = sorted({path for pattern in PATTERNS for path in source.glob(pattern)})
    files = {path.relative_to(source).as_posix(): path for path in found}
    split, told, missing = read_splits(source, files)
    rows = [
        {
            "id": file.removesuffix("/checkpoint.pt"),
            "run_name": Path(file).parent.parent.as_posix(),
            "bytes": path.stat().st_size,
            "_file": file,
            "_score": told.get(file, {}).get("score"),
            "dataset": "cifar10",
            "split": split.get(file),
        }
        for file, path in files.items()
    ]
    return Listing(pd.DataFrame(rows), lambda piece: read_files(piece, lambda row: _load(source, row)), tuple(missing))


def _load(source: Path, row: Row) -> Network:
    saved = load_pickle(source / str(row["_file"]), trust=True, mmap=False, further=STAND_INS)
    if not isinstance(saved, dict) or not isinstance(saved.get("model"), dict):
        raise ZooError(f"{row['_file']}: holds no state dict `model`; it is no checkpoint of the CNN Wild Park.")
    checkpoint = load_checkpoint(saved["model"])
    config, result = plain_value(saved.get("config")), plain_value(saved.get("last_result"))
    config, result = (each if isinstance(each, dict) else {} for each in (config, result))
    properties = {
        "epoch": as_number(plain_value(saved.get("iteration"))),
        "test_accuracy": as_number(result.get("test/acc", row["_score"])),
        "test_loss": as_number(result.get("test/loss")),
        **{ours: _joined(config.get(theirs), int(ours == "channels")) for theirs, ours in KEYS.items()},
    }
    return Network(checkpoint, properties, _architecture(config, checkpoint.header.tensors))


def _architecture(config: dict[str, Any], infos: Any) -> dict[str, Any]:
    """What `population.module` needs; nothing where the configuration does not say it or fits other shapes."""
    listed = {ours: config[theirs] for theirs, ours in KEYS.items() if isinstance(config.get(theirs), list)}
    if len(listed) < len(KEYS):
        return {}
    options = {**listed, "channels": listed["channels"][1:], "depth": len(listed["kernels"])}
    shapes = {name: info.shape for name, info in infos.items()}
    return describe_family("wildpark", options, (*listed["channels"][:1], *IMAGE), shapes)


def _joined(values: Any, start: int) -> str:
    return "-".join(map(str, values[start:])) if isinstance(values, list) else ""
