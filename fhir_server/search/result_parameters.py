"""The parameters that shape an answer and choose no resource (R4 Search, Managing Returned Resources)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.search.parameters import Parameters

# The HTTP edge answers to these: they are repeated in links and mean nothing here.
_OF_THE_EDGE = frozenset({"_format", "_pretty"})
# Parameter -> the field of Results it sets, and the values it may have.
_CHOICES = {
    "_summary": ("summary", ("true", "text", "data", "count", "false")),
    "_total": ("total", ("none", "estimate", "accurate")),
    "_contained": ("contained", ("true", "false", "both")),
    "_containedType": ("contained_type", ("container", "contained")),
}
NAMES = frozenset({"_sort", "_count", "_include", "_revinclude", "_elements", *_CHOICES, *_OF_THE_EDGE})
_UNSORTABLE = frozenset({"composite", "special"})


class Unusable(Exception):
    """A parameter that this search cannot use: an error when handling is strict, told and left out when lenient."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of _sort; the parameter as defined for the first type searched."""

    param: SearchParameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Inclusion:
    """One _include or _revinclude: the resources that `param` of `source` joins, `*` for any of either.

    target: only resources of this type are pointed at. reverse: _revinclude. iterate: also from included resources.
    besides: types that are not pointed at, since the answer has them in another way.
    """

    source: str
    param: str
    target: str | None
    reverse: bool
    iterate: bool
    besides: frozenset[str] = frozenset()


class Results(msgspec.Struct, frozen=True):
    """How to answer. count: entries a page, 0 for the number of matches only. total: none | estimate | accurate, None
    when not asked for. summary: true | text | data | count | false. contained: true | false | both.
    """

    count: int
    sort: tuple[SortKey, ...] = ()
    inclusions: tuple[Inclusion, ...] = ()
    total: str | None = None
    summary: str = "false"
    elements: tuple[str, ...] = ()
    contained: str = "false"
    contained_type: str = "container"

    @property
    def only_count(self) -> bool:
        return self.count == 0 or self.summary == "count"

    @property
    def is_whole(self) -> bool:
        """True when resources are answered as they are stored."""
        return self.summary == "false" and not self.elements


class ResultReader:
    """Takes the result parameters of one search, one pair after the other. Raises FhirError and Unusable."""

    def __init__(self, parameters: Parameters, types: tuple[str, ...], page_size: int, page_limit: int) -> None:
        self._parameters = parameters
        self._types = types
        self._page_limit = page_limit
        self._seen: set[str] = set()
        self.results = Results(count=page_size)

    def take(self, name: str, value: str) -> None:
        """`name` may carry a modifier (`_include:iterate`)."""
        code, _, modifier = name.partition(":")
        if code in ("_include", "_revinclude"):
            inclusion = _inclusion(self._parameters, code, modifier, value)
            self.results = replace(self.results, inclusions=(*self.results.inclusions, inclusion))
            return
        if modifier:
            raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"{code} takes no modifier", (name,))
        if code in _OF_THE_EDGE:
            return
        if code == "_sort":
            self._take_sort(value)
            return
        if code in self._seen:
            raise FhirError(Kind.INVALID, f"{code} is given twice", (code,))
        self._seen.add(code)
        self._take_single(code, value)

    def _take_single(self, code: str, value: str) -> None:
        if code == "_count":
            self.results = replace(self.results, count=min(_whole_number(value), self._page_limit))
        elif code == "_elements":
            names = tuple(name.rpartition(".")[2] for name in value.split(",") if name)
            for name in names:
                if not any(self._parameters.has_element(type, name) for type in self._types):
                    raise Unusable(f"no resource type that is searched has an element {name[:64]!r}")
            self.results = replace(self.results, elements=names)
        else:
            field, choices = _CHOICES[code]
            if value not in choices:
                raise Unusable(f"{code} must be one of {', '.join(choices)}")
            change: dict[str, Any] = {field: value}
            self.results = replace(self.results, **change)

    def _take_sort(self, value: str) -> None:
        keys = tuple(self._sort_key(text) for text in value.split(",") if text)
        self.results = replace(self.results, sort=(*self.results.sort, *keys))

    def _sort_key(self, text: str) -> SortKey:
        code = text.removeprefix("-")
        for type in self._types:
            param = self._parameters.of(type).get(code)
            if param is None or param.type in _UNSORTABLE or not param.expression:
                raise Unusable(f"{type} cannot be sorted by {code[:64]!r}")
        return SortKey(self._parameters.of(self._types[0])[code], text.startswith("-"))


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise FhirError(Kind.VALUE, f"_count must be a whole number, not {text[:64]!r}", ("_count",))
    return int(text)


def _inclusion(parameters: Parameters, name: str, modifier: str, value: str) -> Inclusion:
    """`Observation:subject:Patient`, `Observation:*`, `*` or `*:*`. Raises FhirError for a type that is none."""
    # FHIR: `:recurse` is what STU3 called `:iterate`; clients still send it.
    if modifier not in ("", "iterate", "recurse"):
        raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"{name} has no modifier ':{modifier[:64]}'", (name,))
    source, param, target = _three(name, value)
    for type in (source, target):
        if type not in (None, "*") and type not in parameters.types:
            raise FhirError(Kind.VALUE, f"{name}: this server has no resource type {type[:64]!r}", (name,))
    inclusion = Inclusion(source, param, target, name == "_revinclude", bool(modifier))
    if inclusion.reverse and inclusion.iterate and param == "*":
        # FHIR: R4 (Search) leaves the depth of inclusion to the server and warns of iterated wild cards.
        raise Unusable("a _revinclude of every parameter (*) is not iterated")
    if param != "*" and source != "*":
        found = parameters.of(source).get(param)
        if found is None or found.type != "reference":
            raise Unusable(f"{source} has no reference parameter {param[:64]!r}")
    return inclusion


def _three(name: str, value: str) -> tuple[str, str, str | None]:
    parts = value.split(":")
    if value == "*":
        return "*", "*", None
    if len(parts) not in (2, 3) or not all(parts):
        text = f"{name} must be Type:parameter or Type:parameter:Type, not {value[:80]!r}"
        raise FhirError(Kind.VALUE, text, (name,))
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None
