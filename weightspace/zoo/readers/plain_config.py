"""Configurations of training scripts inside pickles, as plain values: none of their classes is imported or run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any


class PlainState:
    """Stands for a configuration class of OmegaConf or a frozen dataclass: its attributes, none of its methods."""

    state: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, *_: Any) -> None:
        """Take what the class would be called with, and forget it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = dict(state)


NODES = ("AnyNode", "IntegerNode", "FloatNode", "BooleanNode", "StringNode", "EnumNode")
STAND_INS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"), PlainState),
    **dict.fromkeys((f"omegaconf.nodes.{name}" for name in NODES), PlainState),
    **dict.fromkeys((f"omegaconf.base.{name}" for name in ("Metadata", "ContainerMetadata")), PlainState),
    **dict.fromkeys((f"typing.{name}" for name in ("Any", "List", "Dict", "Tuple", "Union", "Optional")), PlainState),
    "experiments.cnn_generalization.dataset.cnn_sampler.CNNConfig": PlainState,
}
"""Reviewed: attributes are kept as they are pickled, and nothing of them is called."""

DEEPEST, MOST = 16, 10_000


def plain_value(value: Any, depth: int = 0, room: list[int] | None = None) -> Any:
    """Return numbers, text, lists and mappings instead of stand-ins; None for anything else, or too deep or too much.

    Example:
        >>> node, container = PlainState(), PlainState()
        >>> node.__setstate__({"_val": 3})
        >>> container.__setstate__({"_content": [node, node]})
        >>> plain_value({"channels": container})
        {'channels': [3, 3]}
    """
    room = [MOST] if room is None else room
    room[0] -= 1
    if depth > DEEPEST or room[0] < 0:
        return None
    if isinstance(value, PlainState):
        state = value.state
        inner = next((state[key] for key in ("_content", "_val") if key in state), state)
        return plain_value(inner, depth + 1, room)
    if isinstance(value, Mapping):
        return {str(key): plain_value(each, depth + 1, room) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(each, depth + 1, room) for each in value]
    return value if isinstance(value, str | int | float) else None
