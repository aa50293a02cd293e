"""Names of codes compared without case, marks, spaces and punctuation."""

from __future__ import annotations

import unicodedata

_MINUS = "\N{MINUS SIGN}"


def fold_name(text: str) -> str:
    """`Hmông`, `H'Mông` and `HMÔNG` are `hmong`; `DPT - VGB-Hib` is `dptvgbhib`. A plus is kept, and a minus that
    ends the name or stands in brackets: `Rh(-)` and `Rh-` are not `Rh`.

    Only for names of coded things; strings of a search fold otherwise (words are kept apart there).
    """
    marked = text.strip().replace("–", "-").replace("(-)", _MINUS)
    if marked.endswith("-"):
        marked = marked[:-1] + _MINUS
    letters = unicodedata.normalize("NFD", marked.casefold().replace("đ", "d"))
    return "".join(c for c in letters if c.isalnum() or c in ("+", _MINUS))


def fold_words(text: str) -> tuple[str, ...]:
    """The folded words of a text, for filters: `Tỉnh Thanh Hóa` is `("tinh", "thanh", "hoa")`."""
    letters = unicodedata.normalize("NFD", text.casefold().replace("đ", "d"))
    kept = "".join(c if c.isalnum() else " " if not unicodedata.combining(c) else "" for c in letters)
    return tuple(kept.split())
