"""The escapes of search values: `\\,` `\\$` `\\|` `\\\\` (R4 Search, Escaping Search Parameters)."""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"\\([,$|\\])")


def unescape(text: str) -> str:
    """The text that is meant; a backslash before any other sign is kept.

    Half a surrogate pair, which is no text, becomes a question mark.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def escape(text: str) -> str:
    """The text as one part of a value, with the signs that would divide it escaped."""
    return re.sub(r"([,$|\\\\])", r"\\\1", text)


def split(text: str, separator: str, most: int = -1) -> list[str]:
    """The parts between unescaped separators, escapes still in them; at most `most` cuts when it is not negative."""
    if separator not in text:
        return [text]
    if "\\" not in text:
        return text.split(separator, most)
    parts, start, place = [], 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == separator and most:
            parts.append(text[start:place])
            start, most = place + 1, most - 1
        place += 1
    return [*parts, text[start:]]
