"""Trained checkpoints as points you can read, map and draw from.

    checkpoint -> graph -> latent -> graph -> checkpoint

Importing this package is light: torch is imported when the first name that needs it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weightspace.checkpoint.adapter import apply_adapter
    from weightspace.checkpoint.checkpoint import Checkpoint
    from weightspace.checkpoint.header import Header
    from weightspace.checkpoint.load import load_checkpoint, read_header
    from weightspace.decode.codec.codec import Compression, decode_weights, encode_weights
    from weightspace.decode.decoder import Decoder
    from weightspace.encode.encoder import Encoder
    from weightspace.encode.latent import Latent
    from weightspace.execute.module import from_module, to_module
    from weightspace.generate.generator import Generator
    from weightspace.graph.axes import Axis, Block, ParameterGraph, Stage
    from weightspace.graph.build import build_graph
    from weightspace.graph.check import check_graph
    from weightspace.graph.fold import fold_batch_norm
    from weightspace.graph.infer import infer_graph
    from weightspace.graph.pyg import to_pyg
    from weightspace.graph.symmetry.align import align
    from weightspace.graph.symmetry.balance import balance
    from weightspace.graph.symmetry.canonical import canonicalise
    from weightspace.graph.symmetry.relabel import relabel
    from weightspace.graph.symmetry.rescale import rescale, scalable
    from weightspace.graph.trace import trace_graph
    from weightspace.inspect.attribute import attribute, attribute_difference
    from weightspace.inspect.collection import read_collection
    from weightspace.inspect.dedupe import find_duplicates
    from weightspace.inspect.diff import diff
    from weightspace.inspect.lineage import trace_lineage
    from weightspace.latents.cluster import cluster
    from weightspace.latents.map import LatentMap, fit_map, read_map
    from weightspace.latents.probe import PropertyProbe
    from weightspace.latents.probing import probe_property, probe_stages
    from weightspace.latents.search import search
    from weightspace.latents.table import LatentTable
    from weightspace.zoo.architecture import architecture_of

_HOME = {
    # reading and writing
    "Checkpoint": "checkpoint.checkpoint",
    "Header": "checkpoint.header",
    "load_checkpoint": "checkpoint.load",
    "read_header": "checkpoint.load",
    "apply_adapter": "checkpoint.adapter",
    # the graph of a checkpoint
    "Axis": "graph.axes",
    "Block": "graph.axes",
    "Stage": "graph.axes",
    "ParameterGraph": "graph.axes",
    "build_graph": "graph.build",
    "trace_graph": "graph.trace",
    "infer_graph": "graph.infer",
    "check_graph": "graph.check",
    # its symmetries
    "relabel": "graph.symmetry.relabel",
    "rescale": "graph.symmetry.rescale",
    "scalable": "graph.symmetry.rescale",
    "balance": "graph.symmetry.balance",
    "canonicalise": "graph.symmetry.canonical",
    "align": "graph.symmetry.align",
    "fold_batch_norm": "graph.fold",
    # as PyTorch Geometric sees it
    "to_pyg": "graph.pyg",
    # running it
    "from_module": "execute.module",
    "to_module": "execute.module",
    # compressing it
    "Compression": "decode.codec.codec",
    "encode_weights": "decode.codec.codec",
    "decode_weights": "decode.codec.codec",
    # latents
    "Encoder": "encode.encoder",
    "Latent": "encode.latent",
    "LatentTable": "latents.table",
    "LatentMap": "latents.map",
    "fit_map": "latents.map",
    "read_map": "latents.map",
    "PropertyProbe": "latents.probe",
    "probe_property": "latents.probing",
    "probe_stages": "latents.probing",
    "cluster": "latents.cluster",
    "search": "latents.search",
    # latents back into networks
    "Decoder": "decode.decoder",
    "Generator": "generate.generator",
    "architecture_of": "zoo.architecture",
    # comparing weights
    "read_collection": "inspect.collection",
    "find_duplicates": "inspect.dedupe",
    "trace_lineage": "inspect.lineage",
    "diff": "inspect.diff",
    "attribute": "inspect.attribute",
    "attribute_difference": "inspect.attribute",
}

__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'weightspace' has no attribute {name!r}; the public names are {__all__}")
    value = getattr(import_module(f"weightspace.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
