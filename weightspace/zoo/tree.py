"""What becomes of each root of a lineage: fine-tuned, pruned, quantised, merged and relabelled copies.

tree:
  child:  {finetune: root, shift: noise}
  pruned: {prune: child, share: 0.5}
  merged: {merge: [root, child]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weightspace.errors import RecipeError
from weightspace.zoo.data import SHIFTS

# what each operation may be told, with its default; None: must be given
OPERATIONS: dict[str, dict[str, Any]] = {
    "finetune": {"shift": None, "epochs": 1.0},
    "prune": {"share": 0.5},
    "quantise": {"bits": 8},
    "merge": {},
    "relabel": {},
}

RANGES = {"epochs": (0.0, 10_000.0), "share": (0.0, 1.0), "bits": (2.0, 16.0)}


@dataclass(frozen=True)
class TreeNode:
    """One descendant.

    Args:
        operation: One of `OPERATIONS`.
        parents: Nodes it comes from: `root` or nodes named before it; two or more for a merge.
        options: Shift and epochs of a fine-tune, share of a pruning, bits of a quantisation.
    """

    operation: str
    parents: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def read_tree(content: Any) -> dict[str, TreeNode]:
    """Return the nodes that a recipe's `tree` spells, in order.

    Raises:
        RecipeError: An operation, option or parent is not known.
    """
    if not isinstance(content, dict):
        raise RecipeError(f"{content!r} must be a mapping of node names")
    nodes: dict[str, TreeNode] = {}
    for name, spec in content.items():
        if not isinstance(name, str) or not name.isidentifier() or name == "root":
            raise RecipeError(f"{name!r} is no name of a node: letters, digits and underscores, and not root")
        node = _read_node(name, spec)
        unknown = [p for p in node.parents if p != "root" and p not in nodes]
        if (
            unknown
            or len(set(node.parents)) < len(node.parents)
            or (len(node.parents) > 1) != (node.operation == "merge")
        ):
            raise RecipeError(
                f"{name}: {node.operation} of {list(node.parents)}; parents are `root` or nodes above it, "
                "several different ones for a merge and one for all else"
            )
        nodes[name] = node
    return nodes


def _is_within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _read_node(name: str, spec: Any) -> TreeNode:
    found = [op for op in OPERATIONS if isinstance(spec, dict) and op in spec]
    if len(found) != 1:
        raise RecipeError(f"{name}: {spec!r} must name one operation of {sorted(OPERATIONS)} and its parent")
    (operation,) = found
    allowed = OPERATIONS[operation]
    options = allowed | {key: value for key, value in spec.items() if key != operation}
    unknown = sorted(set(options) - set(allowed))
    missing = [key for key, value in options.items() if value is None]
    if unknown or missing:
        raise RecipeError(f"{name}: unknown options {unknown}, missing {missing}; {operation} takes {sorted(allowed)}")
    if options.get("shift", "none") not in tuple(SHIFTS):
        raise RecipeError(f"{name}: shift {options['shift']!r} is not known; there are {sorted(SHIFTS)}")
    wrong = [k for k, v in options.items() if k in RANGES and not _is_within(v, *RANGES[k])]
    if wrong:
        raise RecipeError(f"{name}: {wrong[0]} is {options[wrong[0]]!r}; it must be a number in {RANGES[wrong[0]]}")
    parents = spec[operation]
    return TreeNode(operation, tuple(parents) if isinstance(parents, list) else (parents,), options)
