"""FHIRPath text to a syntax tree: the grammar of FHIRPath 1 (N1) that R4 uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

# An expression of an operator's profile is parsed too: bound its length, its nesting and its chains.
_LONGEST = 20_000
_DEEPEST = 25
_LONGEST_CHAIN = 150


class FhirPathError(ValueError):
    """An expression that is not FHIRPath, or uses what this server does not evaluate."""


@dataclass(frozen=True, slots=True)
class Literal:
    """value: None is the empty collection `{}`."""

    value: str | bool | int | Decimal | None


@dataclass(frozen=True, slots=True)
class Date:
    """A date, dateTime or time, `@2020-01`, `@2020-01-01T12:00Z`, `@T12:00`, as FHIR writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """`4 'kg'`, `3 days`; unit: a code of UCUM."""

    value: int | Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class This:
    """`$this`, and the focus that an expression starts from."""


@dataclass(frozen=True, slots=True)
class Variable:
    """`%resource`, `%ucum`, … without the percent sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A child by name: `target.name`."""

    target: Tree
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function: `target.name(arguments)`."""

    target: Tree
    name: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`target[index]`, counted from 0."""

    target: Tree
    index: Tree


@dataclass(frozen=True, slots=True)
class Binary:
    """operator: and or xor implies = != ~ !~ < <= > >= + - * / & | in contains div mod."""

    operator: str
    left: Tree
    right: Tree


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`target is type` (test) or `target as type` (cast)."""

    operator: str
    target: Tree
    type: str


@dataclass(frozen=True, slots=True)
class Negative:
    target: Tree


Tree = Literal | Date | Quantity | This | Variable | Member | Call | Index | Binary | TypeTest | Negative

_CLOCK = r"[0-2]\d:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,18}(?:\.\d{1,18})?(?!\d))|'(?P<text>(?:[^'\\]|\\.)*)'|`(?P<quoted>[^`]*)`"
    rf"|@T(?P<time>{_CLOCK})|@(?P<date>\d{{4}}(?:-\d\d(?:-\d\d(?:T{_CLOCK}(?:Z|[+-]\d\d:\d\d)?)?)?)?)T?"
    r"|%(?:'(?P<quoted_variable>[^']*)'|`(?P<ticked_variable>[^`]*)`|(?P<variable>[A-Za-z][\w-]*))"
    r"|(?P<word>[$]?[A-Za-z_]\w*)|(?P<sign><=|>=|!=|!~|[-+*/&|=~<>().,\[\]{}]))",
    re.ASCII | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

# The UCUM codes that stand for calendar durations in FHIR (R4 FHIRPath, Use of FHIR Quantity).
_CALENDAR = {
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s",
    "millisecond": "ms",
}  # fmt: skip

# From loosest to tightest, FHIRPath section "Operator precedence".
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "~", "!=", "!~"),
    ("<", "<=", ">", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
    ("*", "/", "div", "mod"),
)


@lru_cache(maxsize=4096)
def parse(expression: str) -> Tree:
    """The tree of an expression. Raises FhirPathError."""
    if len(expression) > _LONGEST:
        raise FhirPathError(f"the expression has more than {_LONGEST} characters")
    parser = _Parser(tuple(_tokens(expression)))
    tree = parser.binary(0)
    if parser.kind != "end":
        raise FhirPathError(f"{parser.value!r} is not expected in {expression!r}")
    if _depth(tree) > _LONGEST_CHAIN:
        raise FhirPathError(f"the expression chains more than {_LONGEST_CHAIN} operators and steps")
    return tree


def _depth(tree: Tree) -> int:
    """How deep a tree is, chains such as `1 + 1 + 1` included, in which nothing nests."""
    deepest, left = 0, [(tree, 1)]
    while left:
        node, depth = left.pop()
        deepest = max(deepest, depth)
        for name in node.__slots__:
            value = getattr(node, name)
            parts = value if isinstance(value, tuple) else (value,)
            left += [(one, depth + 1) for one in parts if isinstance(one, Tree)]
    return deepest


def _tokens(expression: str) -> Sequence[tuple[str, str]]:
    """(kind, value) of each token: number, text, date, name (quoted), variable, word, sign; then one end."""
    found, place = [], 0
    expression = expression.rstrip()
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise FhirPathError(f"cannot read {expression[place : place + 20]!r}")
        kind = str(match.lastgroup)
        value = match[kind]
        found.append((_KINDS.get(kind, kind), _unescape(value) if kind == "text" else value))
        place = match.end()
    return [*found, ("end", "")]


_KINDS = {"time": "date", "quoted": "name", "quoted_variable": "variable", "ticked_variable": "variable"}


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2]), text)


class _Parser:
    """Recursive descent over tokens; each method consumes what it returns."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    @property
    def kind(self) -> str:
        return self._tokens[self._place][0]

    @property
    def value(self) -> str:
        return self._tokens[self._place][1]

    def _take(self, value: str) -> bool:
        if self.kind in ("sign", "word") and self.value == value:
            self._place += 1
            return True
        return False

    def _expect(self, value: str) -> None:
        if not self._take(value):
            raise FhirPathError(f"{value!r} is expected, {self.value!r} found")

    def _next(self) -> str:
        value = self.value
        self._place += 1
        return value

    def binary(self, level: int) -> Tree:
        """A chain of operators of one level, left to right."""
        if level == len(_LEVELS):
            return self._unary()
        left = self.binary(level + 1)
        while self.kind in ("sign", "word") and self.value in _LEVELS[level]:
            operator = self._next()
            if operator in ("is", "as"):
                left = TypeTest(operator, left, self._type_name())
            else:
                left = Binary(operator, left, self.binary(level + 1))
        return left

    def _unary(self) -> Tree:
        if self._take("-"):
            return Negative(self._nested(self._unary))
        if self._take("+"):
            return self._nested(self._unary)
        return self._steps(self._term())

    def _steps(self, tree: Tree) -> Tree:
        while True:
            if self._take("."):
                tree = self._named(tree)
            elif self._take("["):
                tree = Index(tree, self._nested(lambda: self.binary(0)))
                self._expect("]")
            else:
                return tree

    def _term(self) -> Tree:
        kind = self.kind
        if kind == "number":
            return self._number()
        if kind == "text":
            return Literal(self._next())
        if kind == "date":
            return Date(self._next())
        if kind == "variable":
            return Variable(self._next())
        if self._take("("):
            tree = self._nested(lambda: self.binary(0))
            self._expect(")")
            return tree
        if self._take("{"):
            self._expect("}")
            return Literal(None)
        if kind == "word" and self.value in ("true", "false"):
            return Literal(self._next() == "true")
        if self._take("$this"):
            return This()
        return self._named(This())

    def _number(self) -> Tree:
        """A number, or with a unit behind it a quantity."""
        text = self._next()
        value = Decimal(text) if "." in text else int(text)
        if self.kind == "text":
            return Quantity(value, self._next())
        if self.kind == "word" and self.value.removesuffix("s") in _CALENDAR:
            return Quantity(value, _CALENDAR[self._next().removesuffix("s")])
        return Literal(value)

    def _named(self, target: Tree) -> Tree:
        """A member or a function of target."""
        if self._take("$this"):
            return target
        if self.kind not in ("word", "name"):
            raise FhirPathError(f"a name is expected, {self.value!r} found")
        name = self._next()
        if not self._take("("):
            return Member(target, name)
        arguments: list[Tree] = []
        while not self._take(")"):
            if name in ("is", "as", "ofType"):
                arguments.append(Literal(self._type_name()))
            else:
                arguments.append(self._nested(lambda: self.binary(0)))
            if self.value != ")":
                self._expect(",")
        return Call(target, name, tuple(arguments))

    def _type_name(self) -> str:
        """`Patient`, `FHIR.Patient`, `System.String`."""
        name = self._next()
        while self._take("."):
            name = f"{name}.{self._next()}"
        return name

    def _nested(self, read: Callable[[], Tree]) -> Tree:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise FhirPathError(f"the expression nests deeper than {_DEEPEST}")
        tree = read()
        self._depth -= 1
        return tree
