"""Tensor names taken apart: which module a tensor belongs to, and its role there."""

from __future__ import annotations

import re

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.graph.kinds.layer import Group

SUFFIXES = re.compile(r"(:\d+|[./](ReadVariableOp|resource|read|Read|Identity|value|w_?read))+$")
ROLES = {
    "weight": ("weight", "weights", "kernel", "kernels", "filters", "filter", "w", "MatMul", "Conv2D", "embeddings"),
    "bias": ("bias", "biases", "b", "BiasAdd"),
    "recurrent_weight": ("recurrent_kernel", "recurrent_weights"),
    "depthwise_weight": ("depthwise_kernel", "depthwise_filter", "depthwise_weights"),
    "pointwise_weight": ("pointwise_kernel", "pointwise_filter", "pointwise_weights"),
    "gamma": ("gamma",),
    "beta": ("beta",),
    "running_mean": ("running_mean", "moving_mean", "mean"),
    "running_var": ("running_var", "moving_variance", "moving_var", "variance", "var"),
}
ROLE_OF = {word.lower(): role for role, words in ROLES.items() for word in words}
ENDS = re.compile(r"^(?P<path>.+?)_(?P<role>[wWbB]|weights?|bias(es)?|kernel|gamma|beta|moving_mean|moving_variance)$")
JOINED = re.compile(r"^(?P<path>(fc|conv|lin|linear|dense|out)\d*)(?P<role>[wWbB])$")
RECURRENT = re.compile(
    r"^(?P<path>.*?)_?(?P<kind>weight|bias|w|b)_(?P<side>ih|hh|hr)(?P<layer>(?:_l\d+)?(?:_reverse)?)$", re.IGNORECASE
)
WHOLE = re.compile(r"^(in_proj_(weight|bias)|bias_[kv]|(weight|bias)_(mu|sigma|eps(ilon)?)|w_[ifo]_diag|log_std)$")
CELL_PARTS = ("gates", "candidate", "projection")
STARTS = re.compile(r"^(?P<role>[wWbB])_(?P<path>.+)$")


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which `layer2` comes before `layer10`.

    Example:
        >>> sorted(["layer10", "layer2", "layer"], key=natural)
        ['layer', 'layer2', 'layer10']
    """
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part)


def split(name: str) -> tuple[tuple[str, ...], str]:
    """Return the module path and the role of a tensor.

    Example:
        >>> split("dense_1/dense_1/kernel:0")
        (('dense_1',), 'weight')
        >>> split("enc_w")
        (('enc',), 'weight')
    """
    parts = [part for part in re.split(r"[./]", SUFFIXES.sub("", name.split(";")[0])) if part] or [name]
    parts = [part for n, part in enumerate(parts) if n == 0 or part != parts[n - 1] or part.isdigit()]
    path, last = tuple(parts[:-1]), parts[-1]
    if found := RECURRENT.match(last):
        kind = "weight" if found["kind"].lower().startswith("w") else "bias"
        return (*path, *filter(None, [found["path"]])), f"{kind}_{found['side']}{found['layer']}"
    if last == "log_std":
        return (*path, last), last
    if WHOLE.match(last) and (path or last.startswith("in_proj")):
        return path, last
    if len(path) > 1 and path[-1] in CELL_PARTS and "cell" in path[-2]:
        return path[:-1], f"{path[-1]}_{ROLE_OF.get(last.lower(), last)}"
    if last.lower() in ROLE_OF and path:
        return path, ROLE_OF[last.lower()]
    match = STARTS.match(last) or ENDS.match(last) or JOINED.match(last)
    if match and len(last) > 1:
        return (*path, match["path"]), ROLE_OF[match["role"].lower()]
    return (*path, last), last


def groups(header: Header) -> list[Group]:
    """Return the modules of a checkpoint with their float tensors, in data-flow order as far as names show it."""
    found: dict[tuple[str, ...], dict[str, TensorInfo]] = {}
    for name, info in header.tensors.items():
        if info.is_float:
            path, role = split(name)
            held = found.setdefault(path, {})
            if role in held:
                held = found.setdefault((*path, role, name), {})
            held[role] = info
    return [Group(".".join(path), tensors) for path, tensors in found.items()]


def is_sorted(header: Header) -> bool:
    """Whether the file lists names by alphabet, so that their order says nothing."""
    by_dtype: dict[str, list[str]] = {}
    for name, info in header.tensors.items():
        by_dtype.setdefault(info.dtype, []).append(name)
    return all(names == sorted(names) for names in by_dtype.values())
