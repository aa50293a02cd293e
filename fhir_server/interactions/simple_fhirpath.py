"""The part of FHIRPath that R4 asks of a patch: names, indexes, where(), first(), last(), ofType(). R4 3.1.0.5.1."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Steps = list[tuple[str, Any]]
# A condition: given what tells the values of a path below an element, whether the element is meant.
Test = Callable[[Callable[[Steps], list[str]]], bool]


class Impossible(Exception):
    """An operation or path that cannot be done; the text says why."""


_TOKEN = re.compile(
    r"\s*(?:(?P<name>`[^`]+`|[A-Za-z_]\w*)|(?P<number>-?\d+(?:\.\d+)?)|(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<mark>!=|[.\[\]()=]))"
)
_LONGEST = 2000


def steps(text: str) -> Steps:
    """(kind, argument) pairs of a path: name, index, where, ofType, first, last. The argument of where is a Test.

    Raises Impossible for what is not a simple FHIRPath.
    """
    tokens = _Tokens(text)
    found = list(_path(tokens))
    if tokens.peek() is not None:
        raise Impossible(f"the path {text[:80]!r} goes beyond the FHIRPath that a patch may use")
    return found


class _Tokens:
    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[tuple[str, str]] = []
        place = 0
        text = text.strip()
        if len(text) > _LONGEST:
            raise Impossible(f"the path is longer than {_LONGEST} characters")
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise Impossible(f"the path {text[:80]!r} cannot be read at character {place}")
            self._found.append((str(found.lastgroup), found[str(found.lastgroup)]))
            place = found.end()
        self._place = 0

    def peek(self) -> tuple[str, str] | None:
        return self._found[self._place] if self._place < len(self._found) else None

    def take(self, expected: str | None = None) -> tuple[str, str]:
        token = self.peek()
        if token is None or (expected is not None and token[1] != expected):
            raise Impossible(f"the path {self._text[:80]!r} is not complete")
        self._place += 1
        return token

    def accept(self, mark: str) -> bool:
        token = self.peek()
        if token is not None and token[1] == mark:
            self._place += 1
            return True
        return False


def _path(tokens: _Tokens) -> Iterator[tuple[str, Any]]:
    while True:
        kind, name = tokens.take()
        if kind != "name":
            raise Impossible(f"a name is needed, not {name!r}")
        name = name.strip("`")
        if tokens.accept("("):
            yield _call(tokens, name)
        else:
            yield "name", name
        while tokens.accept("["):
            kind, number = tokens.take()
            if kind != "number" or not number.isdigit():
                raise Impossible("an index is a whole number")
            tokens.take("]")
            yield "index", int(number)
        if not tokens.accept("."):
            return


def _call(tokens: _Tokens, name: str) -> tuple[str, Any]:
    if name in ("first", "last"):
        tokens.take(")")
        return name, None
    if name == "ofType":
        type = tokens.take()[1]
        tokens.take(")")
        return "ofType", type
    if name == "where":
        test = _test(tokens)
        tokens.take(")")
        return "where", test
    raise Impossible(f"the function {name}() is not part of the FHIRPath that a patch may use")


def _test(tokens: _Tokens) -> Test:
    """comparison (and|or comparison)*, left to right."""
    made = _comparison(tokens)
    while (token := tokens.peek()) and token[1] in ("and", "or"):
        tokens.take()
        made = _joined(token[1], made, _comparison(tokens))
    return made


def _joined(word: str, one: Test, other: Test) -> Test:
    if word == "and":
        return lambda values: one(values) and other(values)
    return lambda values: one(values) or other(values)


def _comparison(tokens: _Tokens) -> Test:
    path = list(_path_or_exists(tokens))
    if path[-1:] == [("exists", None)]:
        return lambda values: bool(values(path[:-1]))
    operator = tokens.take()[1]
    kind, literal = tokens.take()
    if operator not in ("=", "!=") or kind not in ("text", "number", "name"):
        raise Impossible("a condition compares a path with a literal by = or !=")
    wanted = re.sub(r"\\(.)", r"\1", literal[1:-1]) if kind == "text" else literal
    equal = operator == "="
    return lambda values: (wanted in values(path)) is equal


def _path_or_exists(tokens: _Tokens) -> Iterator[tuple[str, Any]]:
    kind, name = tokens.take()
    if kind != "name":
        raise Impossible(f"a name is needed, not {name!r}")
    yield "name", name.strip("`")
    while tokens.accept("."):
        name = tokens.take()[1]
        if name == "exists" and tokens.accept("("):
            tokens.take(")")
            yield "exists", None
            return
        yield "name", name.strip("`")
