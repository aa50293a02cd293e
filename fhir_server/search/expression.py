"""The FHIRPath of search parameters as a syntax tree: the part that R4 search expressions are written in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from fhir_server.errors import FhirError, Kind

# An expression of an operator's own SearchParameter is refused beyond this; the longest of R4 has 1,900 characters.
_LONGEST = 8_000
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier at the start of a path: a type (`Patient`) or an element of the item at hand."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`%resource`, `%context` or `$this`."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    value: str | bool | int


@dataclass(frozen=True, slots=True)
class Member:
    target: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function; target is None when it stands at the start (`where(resolve() is Patient)`)."""

    target: Expression | None
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Index:
    target: Expression
    place: int


@dataclass(frozen=True, slots=True)
class Binary:
    """operator: `|`, `=`, `!=`, `and`, `or`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class TypeTest:
    """operator: `is` or `as`."""

    operator: str
    target: Expression
    type: str


Expression = Name | Variable | Constant | Member | Call | Index | Binary | TypeTest

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>\d{1,6})|(?P<variable>[%$][A-Za-z]+)"
    r"|(?P<word>[A-Za-z_]\w*|`[^`]+`)|(?P<sign>!=|[.()\[\]|=,]))",
    re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")

# Binary operators from the loosest to the tightest.
_LEVELS = (("or",), ("and",), ("=", "!="), ("|",))


@lru_cache(maxsize=2_048)  # most of R4 stand at several types
def parse(text: str) -> Expression:
    """The tree of an expression. Raises FhirError(UNPROCESSABLE) for what is no FHIRPath or beyond this part of it."""
    if len(text) > _LONGEST:
        raise refused(text, f"it is longer than {_LONGEST} characters")
    return _Parser(text).whole()


def refused(text: str, why: str) -> FhirError:
    return FhirError(Kind.UNPROCESSABLE, f"the expression {text[:200]!r} cannot be searched by: {why}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._read_tokens()
        self._place = 0
        self._depth = 0

    def _read_tokens(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        place, end = 0, len(self._text.rstrip())
        while place < end:
            found = _TOKEN.match(self._text, place)
            if found is None or found.lastgroup is None:
                raise refused(self._text, f"unknown sign at character {place + 1}")
            tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        return tokens

    def whole(self) -> Expression:
        tree = self._level(0)
        if self._place < len(self._tokens):
            raise refused(self._text, f"{self._tokens[self._place][1]!r} is out of place")
        return tree

    def _peek(self) -> str | None:
        """The next sign or word; None at the end and before a string."""
        if self._place < len(self._tokens):
            kind, sign = self._tokens[self._place]
            return None if kind == "string" else sign
        return None

    def _take(self, token: str) -> bool:
        if self._peek() == token:
            self._place += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise refused(self._text, f"{token!r} is missing")

    def _next(self, kind: str) -> str:
        if self._place >= len(self._tokens) or self._tokens[self._place][0] != kind:
            raise refused(self._text, f"a {kind} is missing")
        self._place += 1
        return self._tokens[self._place - 1][1]

    def _level(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._typed()
        tree = self._level(level + 1)
        while (operator := self._peek()) in _LEVELS[level]:
            assert operator is not None
            self._place += 1
            tree = Binary(operator, tree, self._level(level + 1))
        return tree

    def _typed(self) -> Expression:
        tree = self._postfix()
        while (operator := self._peek()) in ("is", "as"):
            assert operator is not None
            self._place += 1
            tree = TypeTest(operator, tree, self._type_name())
        return tree

    def _type_name(self) -> str:
        """`Patient`, `FHIR.Patient` or `System.String`, by its last part."""
        name = self._next("word")
        while self._take("."):
            name = self._next("word")
        return name

    def _postfix(self) -> Expression:
        tree = self._primary()
        while True:
            if self._take("."):
                tree = self._member(tree)
            elif self._take("["):
                tree = Index(tree, int(self._next("number")))
                self._expect("]")
            else:
                return tree

    def _member(self, target: Expression | None) -> Expression:
        name = self._next("word").strip("`")
        if not self._take("("):
            return Member(target, name) if target is not None else Name(name)
        if name in ("as", "is", "ofType") and target is not None:
            tree = TypeTest("is" if name == "is" else "as", target, self._type_name())
            self._expect(")")
            return tree
        arguments: list[Expression] = []
        while not self._take(")"):
            arguments.append(self._nested())
            self._take(",")
        return Call(target, name, tuple(arguments))

    def _nested(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise refused(self._text, f"it is nested more than {_DEEPEST} deep")
        tree = self._level(0)
        self._depth -= 1
        return tree

    def _primary(self) -> Expression:
        if self._place >= len(self._tokens):
            raise refused(self._text, "it ends too early")
        kind, sign = self._tokens[self._place]
        if kind == "word" and sign not in ("true", "false"):
            return self._member(None)
        self._place += 1
        if kind == "string":
            return Constant(_ESCAPE.sub(r"\1", sign[1:-1]))
        if kind == "number":
            return Constant(int(sign))
        if kind == "word":
            return Constant(sign == "true")
        if kind == "variable":
            return Variable(sign)
        if sign != "(":
            raise refused(self._text, f"{sign!r} is out of place")
        tree = self._nested()
        self._expect(")")
        return tree
