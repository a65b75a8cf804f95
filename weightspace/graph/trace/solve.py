"""Powers from the equations between them: homogeneous, sparse, over the rationals or over signs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

Number = int | Fraction
Row = Mapping[int, Number]


class System:
    """Equations that each sum to zero, kept so that the last unknown of each is told by earlier ones.

    Args:
        modulus: 2 for signs, of which only odd powers count; 0 for rational powers.
    """

    def __init__(self, rows: Iterable[Row], modulus: int):
        self.modulus = modulus
        self.known: dict[int, dict[int, Number]] = {}
        for row in rows:
            self._add(row)

    def _number(self, value: Number) -> Number:
        return value % self.modulus if self.modulus else value

    def _reduced(self, row: Row) -> dict[int, Number]:
        """Express a sum by unknowns that nothing tells yet."""
        found: dict[int, Number] = {}
        left = dict(row)
        while left:
            unknown, factor = left.popitem()
            told = self.known.get(unknown)
            target, new = (found, {unknown: 1}) if told is None else (left, told)
            for other, by in new.items():
                target[other] = self._number(target.get(other, 0) + factor * by)
                if not target[other]:
                    del target[other]
        return found

    def _add(self, row: Row) -> None:
        left = self._reduced(row)
        left = {unknown: by for unknown, by in left.items() if self._number(by)}
        if left:
            last = max(left)
            factor = left.pop(last)
            self.known[last] = {other: self._number(Fraction(-by) / factor) for other, by in left.items()}

    def solve(self, unknowns: Iterable[int]) -> dict[int, Number]:
        """Return a solution in which every unknown that no earlier one tells is 1.

        Example:
            >>> System([{0: 1, 1: -1}, {1: 1, 2: 1}], 0).solve([0, 1, 2])
            {0: 1, 1: Fraction(1, 1), 2: Fraction(-1, 1)}
        """
        found: dict[int, Number] = {}
        for unknown in sorted(unknowns):
            told = self._reduced({unknown: 1})
            found[unknown] = self._number(sum((by for by in told.values()), 0))
        return found
