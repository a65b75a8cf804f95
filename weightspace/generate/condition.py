"""What is asked of generated networks: values or ranges of properties, checked against what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from weightspace.errors import GeneratorError
from weightspace.generate.codes import Code, name_text

Condition = Mapping[str, Any]
"""By property: a name, a number, or a pair of numbers for a range, None where it has no end."""


def read_condition(asked: str | Sequence[str] | Condition) -> dict[str, Any]:
    """Return a condition from text such as `test_accuracy=0.9,activation=relu`, or from a mapping as it is.

    Args:
        asked: Parts `key=value` or `key=low..high` (an end may be missing), between commas or one a piece.

    Raises:
        GeneratorError: A part is not of this form, or a property is asked for twice.

    Example:
        >>> read_condition("test_accuracy=0.9.., activation=relu")
        {'test_accuracy': (0.9, None), 'activation': 'relu'}
    """
    if isinstance(asked, Mapping):
        return dict(asked)
    parts = [p.strip() for text in ([asked] if isinstance(asked, str) else asked) for p in text.split(",")]
    found: dict[str, Any] = {}
    for part in filter(None, parts):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise GeneratorError(f"condition {part!r} is not of the form key=value or key=low..high.")
        if key in found:
            raise GeneratorError(f"condition: {key!r} is asked for twice; give it once.")
        found[key] = _value(part, value)
    return found


def _value(part: str, text: str) -> Any:
    low, dots, high = text.partition("..")
    try:
        if dots:
            return tuple(float(end) if end.strip() else None for end in (low, high))
        return float(text)
    except ValueError:
        if dots:
            raise GeneratorError(f"condition {part!r}: the ends of a range must be numbers.") from None
        return text


class Asked:
    """A condition held against what was seen.

    Args:
        condition: See `Condition`.
        codes: Of the properties that are known.
        rows: Codes of all rows seen, `(rows, columns)`, in the order of `codes`.
        beyond: Whether numbers outside of what was seen may be asked for.

    Raises:
        GeneratorError: A property or name is unknown, or no row seen comes near; the nearest possible is named.
    """

    def __init__(self, condition: Condition, codes: Sequence[Code], rows: np.ndarray, *, beyond: bool = False) -> None:
        self.codes, self.rows = {code.name: code for code in codes}, rows
        self.starts = dict(zip(self.codes, np.cumsum([0, *(c.columns for c in codes)]), strict=False))
        self.condition = {name: self._checked(name, value) for name, value in condition.items()}
        self.seen = {name: code.read(self._part(name)) for name, code in self.codes.items() if name in self.condition}
        self.fitting = np.flatnonzero(self._fits())
        self._refuse_impossible(beyond)

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return what is asked of each of so many networks: of a range, values that fitting rows have together."""
        picked = rng.choice(self.fitting, count) if len(self.fitting) else np.zeros(count, int)
        found = {}
        for name, value in self.condition.items():
            is_range = isinstance(value, tuple)
            found[name] = self.seen[name][picked] if is_range else np.full(count, value, object)
        return found

    def _part(self, name: str) -> np.ndarray:
        start = self.starts[name]
        return self.rows[:, start : start + self.codes[name].columns]

    def _checked(self, name: str, value: Any) -> Any:
        """The value in the form in which it is known."""
        if name not in self.codes:
            near = get_close_matches(name, list(self.codes), 1)
            hint = f" Nearest: {near[0]!r}." if near else ""
            raise GeneratorError(f"no property {name!r} is known.{hint} There are {', '.join(sorted(self.codes))}.")
        code = self.codes[name]
        if code.names:
            return self._checked_name(code, value)
        if isinstance(value, tuple) and len(value) == 2:
            low, high = (None if end is None else float(end) for end in value)
            if low is not None and high is not None and low > high:
                raise GeneratorError(f"condition: {name} from {low:g} to {high:g} is empty; exchange the ends.")
            return (-np.inf if low is None else low, np.inf if high is None else high)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            raise GeneratorError(f"condition: {name} must be a number or low..high, not {value!r}.")
        return number

    def _checked_name(self, code: Code, value: Any) -> str | tuple[float, float]:
        if isinstance(value, tuple):
            raise GeneratorError(f"condition: {code.name} is one of {', '.join(code.names)}; a range is not.")
        if name_text(value) in code.names:
            return name_text(value)
        near = get_close_matches(str(value), code.names, 1, 0.0)
        try:
            near = [min(code.names, key=lambda known: abs(float(known) - float(value)))]
        except ValueError:
            pass
        raise GeneratorError(
            f"condition: {code.name}={name_text(value)} was never seen. Nearest possible: {code.name}={near[0]} "
            f"(of {', '.join(code.names)})."
        )

    def _fits(self, numbers: bool = True) -> np.ndarray:
        """Which rows have the names asked for and lie in the ranges."""
        good = np.ones(len(self.rows), bool)
        for name, value in self.condition.items():
            if isinstance(value, tuple) and numbers:
                good &= (self.seen[name] >= value[0] - 1e-6) & (self.seen[name] <= value[1] + 1e-6)
            elif isinstance(value, str):
                good &= self.seen[name] == value
        return good

    def _refuse_impossible(self, beyond: bool) -> None:
        named = self._fits(numbers=False)
        numbers = {n: v for n, v in self.condition.items() if isinstance(v, float)}
        outside = [n for n, v in numbers.items() if named.any() and not self._within(self.seen[n][named], v)]
        if len(self.fitting) and (beyond or not outside):
            return
        near = self._nearest(named if named.any() else np.ones(len(named), bool))
        told = ", ".join(f"{name}={name_text(values[near])}" for name, values in self.seen.items())
        asked = ", ".join(f"{name}={_told(value)}" for name, value in self.condition.items())
        raise GeneratorError(
            f"condition: no network seen is near {asked}. Nearest possible: {told}."
            + (" Numbers beyond what was seen must be asked for as such (beyond)." if outside else "")
        )

    def _within(self, seen: np.ndarray, value: float) -> bool:
        slack = 0.01 * (seen.max() - seen.min()) + 1e-6 * abs(value)
        return bool(seen.min() - slack <= value <= seen.max() + slack)

    def _nearest(self, among: np.ndarray) -> int:
        """The row among some that misses the numbers least, and then most names."""
        miss = np.zeros(len(self.rows))
        for name, value in self.condition.items():
            seen = self.seen[name]
            if isinstance(value, str):
                miss += seen != value
                continue
            low, high = value if isinstance(value, tuple) else (value, value)
            code = self.codes[name]
            off = np.maximum(np.maximum(low - seen, seen - high), 0)
            miss += off / max(code.high - code.low, 1e-12)
        return int(np.where(among, miss, np.inf).argmin())


def _told(value: Any) -> str:
    if not isinstance(value, tuple):
        return name_text(value)
    return "..".join("" if np.isinf(end) else f"{end:g}" for end in value)
