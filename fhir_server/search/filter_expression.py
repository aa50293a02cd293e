"""The expression language of `_filter` to the search tree that plain parameters make. R4 _filter Parameter."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.search.parameters import Parameters
from fhir_server.search.tree import And, Chain, Leaf, Node, Not, Or

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_TOKEN = re.compile(r"[^\s()\[\]]+")
_SPACE = re.compile(r"\s*")
_DEEPEST = 32  # brackets within brackets

_RANGES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb"})
_BY_PREFIX = frozenset({"number", "date", "quantity"})
# operator -> modifier, for each type of parameter to which R4 gives the operator a meaning (_filter Parameter).
_OPERATORS: dict[str, dict[str, str | None]] = {
    "string": {"eq": "equals", "co": "contains", "sw": None, "ew": "ends"},
    "token": {"eq": None, "ss": "above", "sb": "below", "in": "in"},
    "reference": {"eq": None, "re": None},
    "uri": {"eq": None, "sw": "starts"},
    "composite": {"eq": None},
}
_NEGATED = {"ne": "eq", "ni": "in"}

ParseParameter = Callable[[Parameters, str, str, str, int], Node]


def parse_filter(parameters: Parameters, type: str, text: str, parse_parameter: ParseParameter) -> Node:
    """The tree of one `_filter` value. Raises FhirError VALUE with the place of a fault, and Unusable."""
    reader = _Reader(parameters, text, parse_parameter)
    node = reader.expression(type, 0)
    reader.end()
    return node


class _Reader:
    """Recursive descent over the text; `at` is the place read next."""

    def __init__(self, parameters: Parameters, text: str, parse_parameter: ParseParameter) -> None:
        self._parameters = parameters
        self._text = text
        self._parse_parameter = parse_parameter
        self._at = 0

    def expression(self, type: str, depth: int) -> Node:
        """`a and b or c` is evaluated from left to right: R4 gives `and` and `or` one rank."""
        if depth > _DEEPEST:
            raise FhirError(Kind.TOO_COSTLY, f"_filter has more than {_DEEPEST} nested brackets", ("_filter",))
        node = self._term(type, depth)
        while True:
            if self._word("and"):
                node = And((node, self._term(type, depth)))
            elif self._word("or"):
                node = Or((node, self._term(type, depth)))
            else:
                return node

    def end(self) -> None:
        self._skip()
        if self._at < len(self._text):
            raise self._fault("the end")

    def _term(self, type: str, depth: int) -> Node:
        start = self._at
        negated = self._word("not")
        if self._mark("("):
            node = self.expression(type, depth + 1)
            self._expect(")")
            return Not(node) if negated else node
        self._at = start
        return self._path(type, depth)

    def _path(self, type: str, depth: int) -> Node:
        """`name`, `subject.name` or `subject[active eq true].name`, then operator and value."""
        name = self._match(_NAME, "a parameter name")
        condition = None
        param = self._parameters.of(type).get(name)
        if self._next("["):
            target = self._only_target(param, name)
            self._expect("[")
            condition = self.expression(target, depth + 1)
            self._expect("]")
        if self._next("."):
            self._expect(".")
            return self._chained(type, name, condition, depth)
        if condition is not None:
            raise self._fault("a dot after the bracket")
        return self._comparison(type, name)

    def _chained(self, type: str, name: str, condition: Node | None, depth: int) -> Node:
        param = self._parameters.of(type).get(name)
        if param is None or param.type != "reference":
            raise FhirError(Kind.VALUE, f"_filter: {type}.{name[:64]} is no reference", ("_filter",))
        start, branches = self._at, []
        fault: Exception | None = None
        for target in self._parameters.targets(param):
            self._at = start
            try:
                child = self._path(target, depth + 1)
            except FhirError as wrong:
                fault = wrong
                continue
            branches.append(
                Chain(type, param, (target,), child if condition is None else And((condition, child))),
            )
            end = self._at
        if not branches:
            raise fault or self._fault("a reference to a type that is served")
        self._at = end
        return branches[0] if len(branches) == 1 else Or(tuple(branches))

    def _only_target(self, param: SearchParameter | None, name: str) -> str:
        targets = self._parameters.targets(param) if param is not None and param.type == "reference" else ()
        if len(targets) != 1:
            text = f"_filter: [ ] may follow a reference to one type, which {name[:64]} is not"
            raise FhirError(Kind.VALUE, text, ("_filter",))
        return targets[0]

    def _comparison(self, type: str, name: str) -> Node:
        param = self._parameters.of(type).get(name)
        if param is None:
            raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"_filter: {type} has no parameter {name[:64]!r}", ("_filter",))
        operator = self._match(_NAME, "an operator")
        value = self._value()
        if operator == "pr":
            return self._present(type, name, value)
        if operator in _NEGATED and param.type not in _BY_PREFIX:
            return Not(self._leaf(type, param, _NEGATED[operator], value))
        return self._leaf(type, param, operator, value)

    def _leaf(self, type: str, param: SearchParameter, operator: str, value: str) -> Node:
        if param.type in _BY_PREFIX:
            if operator == "po":  # the ranges overlap: neither lies wholly before the other
                return And(tuple(Leaf(type, param, None, (prefix + value,)) for prefix in ("ge", "le")))
            if operator in _RANGES:
                return Leaf(type, param, None, (operator + _escape(value, param),))
        elif operator in _OPERATORS.get(param.type, {}):
            return Leaf(type, param, _OPERATORS[param.type][operator], (_escape(value, param),))
        text = f"_filter: {operator[:64]!r} has no meaning for {param.code}, which is of type {param.type}"
        raise FhirError(Kind.VALUE, text, ("_filter",))

    def _present(self, type: str, name: str, value: str) -> Node:
        if value not in ("true", "false"):
            raise FhirError(Kind.VALUE, "_filter: pr is followed by true or false", ("_filter",))
        missing = "false" if value == "true" else "true"
        return self._parse_parameter(self._parameters, type, f"{name}:missing", missing, 0)

    def _value(self) -> str:
        self._skip()
        if not self._text.startswith('"', self._at):
            return self._match(_TOKEN, "a value")
        literal = self._match(_STRING, "a string closed by a quote")
        try:
            return str(orjson.loads(literal))
        except orjson.JSONDecodeError:
            raise self._fault("a JSON string") from None

    def _word(self, word: str) -> bool:
        """Takes a keyword; `not` and `and` may also begin a longer name, which is then none."""
        self._skip()
        found = _NAME.match(self._text, self._at)
        if found is None or found[0] != word:
            return False
        self._at = found.end()
        return True

    def _next(self, mark: str) -> bool:
        return self._text.startswith(mark, self._at)

    def _mark(self, mark: str) -> bool:
        self._skip()
        if not self._next(mark):
            return False
        self._at += len(mark)
        return True

    def _expect(self, mark: str) -> None:
        if not self._mark(mark):
            raise self._fault(repr(mark))

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        self._skip()
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._fault(what)
        self._at = found.end()
        return found[0]

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        if found is not None:
            self._at = found.end()

    def _fault(self, wanted: str) -> FhirError:
        rest = self._text[self._at : self._at + 20]
        seen = f"found {rest!r}" if rest else "where it ends"
        return FhirError(Kind.VALUE, f"_filter: expected {wanted} at character {self._at + 1}, {seen}", ("_filter",))


def _escape(value: str, param: SearchParameter) -> str:
    """The value with the escapes of R4 Search, since `_filter` has none: a comma in it is only a comma."""
    marks = "\\,|$" if param.type in ("string", "uri") else "\\," if param.type == "composite" else "\\,$"
    for mark in marks:
        value = value.replace(mark, "\\" + mark)
    return value
