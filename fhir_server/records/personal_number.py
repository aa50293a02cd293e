"""What a personal identification number (CCCD, NĐ 137/2015) says of who bears it."""

from __future__ import annotations

import re

PARENT_YEARS = 12  # by which a parent is older, at least
_SHAPE = re.compile(r"\d{12}", re.ASCII)


def number_facts(cccd: str) -> tuple[str, int]:
    """(sex, year of birth) that a personal identification number says: its digits 4 to 6."""
    digit = int(cccd[3])
    return ("female" if digit % 2 else "male"), 1900 + 100 * (digit // 2) + int(cccd[4:6])


def is_of_a_parent(number: str, born: int) -> bool:
    """True for a personal number that somebody bears who was born so long before the year `born` as a parent was."""
    return _SHAPE.fullmatch(number) is not None and born - number_facts(number)[1] >= PARENT_YEARS
