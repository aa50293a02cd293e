"""Folding of text for search: case, marks, đ, punctuation and repeated blanks do not matter (R4 Search, string)."""

from __future__ import annotations

import unicodedata

from fhir_server.model.remember import remembered

# Inside a word these are dropped (O'Brien is found by obrien); other punctuation parts words (Nguyễn-Trần).
_DROPPED = frozenset("'’ʼ‘`´")


class _Folding(dict[int, str]):
    """What becomes of each code point after NFD, worked out when one is first met."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        category = unicodedata.category(character)
        if character in _DROPPED or category[0] == "M" or category in ("Cf", "Cs"):
            folded = ""
        elif category[0] in "PZ" or category == "Cc":
            folded = " "
        elif character in "đĐ":
            folded = "d"
        else:
            # By way of the capital: the dotless ı has none of its own and is found by I.
            folded = character.upper().casefold()
            if folded != character:
                folded = unicodedata.normalize("NFD", folded).translate(self)
        self[point] = folded
        return folded


_FOLDING = _Folding()


@remembered(65_536)
def fold(text: str) -> str:
    """`Nguyễn-Văn  ĐỨC` (in NFC or NFD) as `nguyen van duc`.

    A text of nothing but punctuation is kept as it is, in lower case, so that it stays a value of its own.
    """
    if text.isascii() and text.isalnum():
        return text.lower()
    plain = unicodedata.normalize("NFD", text).translate(_FOLDING)
    return " ".join(plain.split()) or text.casefold().strip()


def words(text: str) -> list[str]:
    """The folded words of a text."""
    return fold(text).split(" ")
