"""A text to train character models on, generated: sums in words, right to the letter."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from weightspace.zoo.seeds import make_generator

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
CHARACTERS = "\n ,.-abcdefghijklmnopqrstuvwxyz"


def spell_number(number: int) -> str:
    """Return a number below 1,000 in English words.

    Example:
        >>> spell_number(342)
        'three hundred and forty-two'
    """
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_ONES[hundreds]} hundred" + (f" and {spell_number(rest)}" if rest else "")


def write_sums(characters: int) -> str:
    """Return a text of at least `characters` characters: true sums and differences of numbers below 100."""
    generator = make_generator("sums")
    lines, length = [], 0
    while length < characters:
        a, b, kind = torch.randint(0, 100, (3,), generator=generator).tolist()
        if kind % 2:
            line = f"{spell_number(a)} plus {spell_number(b)} is {spell_number(a + b)}.\n"
        else:
            line = f"{spell_number(max(a, b))} less {spell_number(min(a, b))} leaves {spell_number(abs(a - b))}.\n"
        lines.append(line)
        length += len(line)
    return "".join(lines)


def encode_text(text: str) -> Int[Tensor, " places"]:
    """Return the index of each character in `CHARACTERS`."""
    return torch.tensor([CHARACTERS.index(c) for c in text])
