"""Schemes of compression by name, one file each."""

from weightspace.decode.codec.schemes import absmax, distilled, feedback, lloyd, low_rank, rounding
from weightspace.decode.codec.schemes.scheme import Scheme

SCHEMES: dict[str, Scheme] = {
    "rounding": rounding.SCHEME,
    "distilled": distilled.SCHEME,
    "absmax": absmax.SCHEME,
    "lloyd": lloyd.SCHEME,
    "feedback": feedback.SCHEME,
    "low_rank": low_rank.SCHEME,
}
"""A stream names its scheme by its place here: add at the end."""
