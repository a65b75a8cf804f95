"""Which prefixes of tensor names are wrappers of the training code and not the network's own. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterable

WRAPPERS = ("module.", "_orig_mod.")
"""Put before names by `DataParallel` and `torch.compile`."""
SHELLS = ("base_model.model.", "model.")
"""Attribute names of training code and of PEFT: stripped only where every name has them."""


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Each stored name with the one the network itself would use.

    Wrappers go wherever they lead a name, shells only where all names share them. A name that would
    collide with another stays as it is.

    Example:
        >>> plain_names(["module.fc.weight", "module._orig_mod.fc.bias"])
        {'module.fc.weight': 'fc.weight', 'module._orig_mod.fc.bias': 'fc.bias'}
        >>> plain_names(["model.a", "head.b"])
        {'model.a': 'model.a', 'head.b': 'head.b'}
    """
    plain = {name: _unwrapped(name) for name in names}
    for shell in SHELLS:
        if plain and all(name.startswith(shell) and name != shell for name in plain.values()):
            plain = {old: _unwrapped(new.removeprefix(shell)) for old, new in plain.items()}
    seen: dict[str, int] = {}
    for new in plain.values():
        seen[new] = seen.get(new, 0) + 1
    return {old: new if seen[new] == 1 else old for old, new in plain.items()}


def _unwrapped(name: str) -> str:
    rest = name.replace("._orig_mod.", ".")
    while found := next((prefix for prefix in WRAPPERS if rest.startswith(prefix) and rest != prefix), None):
        rest = rest.removeprefix(found)
    return rest
