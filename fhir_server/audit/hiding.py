"""What was searched for, as it may be kept: personal numbers become a keyed hash, tokens go altogether.

Who holds the number can find the searches for it (`fhir-server audit hash`); who reads the record cannot find the
number. The key is one of the store's secrets.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from urllib.parse import quote

from fhir_server.audit.access import Pairs
from fhir_server.model.remember import LONGEST

SECRET = "audit-numbers"  # noqa: S105  # its name, not the secret
# CCCD, CMND, BHXH, telephone numbers, and insurance cards with their two letters.
_NUMBER = re.compile(r"[A-Za-z]{0,2}\d{9,}")
# Parameters whose whole value is somebody's number or address, however it is written.
_NUMBERS = frozenset({"identifier", "phone", "email", "telecom", "vn-cccd", "vn-bhyt", "vn-bhyt-card"})
_TOKENS = frozenset({"access_token", "id_token", "client_assertion", "client_secret"})
_WORDS = re.compile(r"[.:]")
_SAFE = "/:,|$*~()'-_.!"


def holds_number(text: str) -> bool:
    return _NUMBER.search(text) is not None


class Hiding:
    """Hides with one key, 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._remembered = lru_cache(maxsize=1_000)(self._url)

    def hash(self, number: str) -> str:
        """`~` and 16 hexadecimal digits: the same for the same letters and digits."""
        plain = "".join(letter for letter in number if letter.isalnum()).upper()
        return "~" + hashlib.blake2b(plain.encode(), key=self._key, digest_size=8).hexdigest()

    def text(self, text: str) -> str:
        """The text with every personal number in it hidden."""
        return _NUMBER.sub(lambda found: self.hash(found[0]), text)

    def url(self, path: tuple[str, ...], query: Pairs) -> str:
        """A relative URL with what is personal in it hidden. Short ones are asked for again and again."""
        is_short = sum([len(name) + len(value) for name, value in query]) <= LONGEST
        return (self._remembered if is_short else self._url)(path, query)

    def _url(self, path: tuple[str, ...], query: Pairs) -> str:
        asked = "&".join(f"{_quoted(self.text(name))}={_quoted(self._value(name, value))}" for name, value in query)
        place = "/".join(_quoted(self.text(part)) for part in path)
        return f"{place}?{asked}" if asked else place

    def _value(self, name: str, value: str) -> str:
        if name in _TOKENS:
            return "~"
        words = _WORDS.split(name)  # of a chain and its modifiers: `subject:Patient.identifier:of-type`
        if _NUMBERS.isdisjoint(words) or words[-1] == "missing":
            return self.text(value)
        return ",".join(self._number(one) for one in value.split(","))

    def _number(self, value: str) -> str:
        """`system|value`: the system stays. What stands alone is taken for the value."""
        system, bar, number = value.rpartition("|")
        return f"{system}{bar}{self.hash(number)}" if number else value


def _quoted(text: str) -> str:
    return quote(text, _SAFE, errors="replace")
