"""What no log and no error text may repeat: personal numbers, and what may be somebody's name."""

from __future__ import annotations

import re

# Personal numbers of Việt Nam have nine digits (CMND) or more. Ids that we make ourselves are told apart by their form.
_NUMBER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32,64}\b|(\d{9,})")
_RUN = re.compile(r"\d{9}")  # without which there is nothing to hide: most texts, and this is far quicker to see
_QUOTED = re.compile(r"(?<!\w)'([^'\n]*)'(?!\w)")
# Letters beyond ASCII, or several words: a name, an address or another free text, and no code, date or number.
_FREE_TEXT = re.compile(r"[^\x00-\x7f]|[A-Za-z]{2,}\s+[A-Za-z]")
_PART = re.compile(r"[^.:?=/&|]*[^\x00-\x7f][^.:?=/&|]*")


def without_numbers(text: str) -> str:
    """The text with `…` in place of every run of nine or more digits."""
    if _RUN.search(text) is None:
        return text
    return _NUMBER.sub(lambda found: "…" if found[1] else found[0], text)


def without_values(text: str) -> str:
    """The same, with `'…'` in place of every quoted text that may be a name."""
    return without_numbers(_QUOTED.sub(lambda found: "'…'" if _FREE_TEXT.search(found[1]) else found[0], text))


def without_quotes(text: str) -> str:
    """The text with `'…'` in place of everything quoted: where that may be what is stored, and not what was sent."""
    return _QUOTED.sub("'…'", text)


def place_without_values(place: str) -> str:
    """A FHIRPath or the name of a parameter, with `…` for a part that is none: `name:…`."""
    return without_numbers(_PART.sub("…", place))
