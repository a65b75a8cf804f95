"""Moving averages (EMA, SWA) kept beside the weights that they average."""

from __future__ import annotations

import re

from weightspace.checkpoint.header import Header
from weightspace.checkpoint.resolve.plan import Finding

MARKS = ("ema", "ema_model", "model_ema", "module_ema", "ema_network", "swa_model", "averaged_model", "shadow")
SHELLS = ("", "model.", "module.", "online_model.", "net.")
ENDS = re.compile(r"(_ema|_swa)$")


def find_averages(header: Header) -> Finding:
    """Names that are another's with a mark of averaging, of the same shape; the weights themselves stay.

    Names whose dots were dropped (`model_ema.blocks0weight`) are found too; counters of the average go with it.
    """
    plain = {name.replace(".", ""): name for name in header.tensors}
    left_out: dict[str, str] = {}
    marked: dict[str, str] = {}
    for name, info in header.tensors.items():
        rest, mark = _unmarked(name)
        if mark is None:
            continue
        marked[name] = mark
        twins = [plain.get(f"{shell}{rest}".replace(".", "")) for shell in SHELLS]
        twin = next(
            (twin for twin in twins if twin and twin != name and header.tensors[twin].shape == info.shape), None
        )
        if twin:
            left_out[name] = f"moving average of {twin!r}"
    used = {marked[name] for name in left_out}
    counters = [name for name in marked if name not in left_out and marked[name] in used]
    left_out |= {name: "counter of a moving average" for name in counters if header.tensors[name].size <= 1}
    return Finding(left_out=left_out)


def _unmarked(name: str) -> tuple[str, str | None]:
    parts = name.split(".")
    for index, part in enumerate(parts[:-1]):
        if part in MARKS:
            return ".".join(parts[:index] + parts[index + 1 :]), ".".join(parts[: index + 1])
    return (ENDS.sub("", name), "suffix") if ENDS.search(name) else (name, None)
