"""Comparison of numbers by prefix, for number and quantity parameters (R4 Search, Prefixes and number)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fhir_server.search.escapes import unescape
from fhir_server.search.lookup import unusable
from fhir_server.search.numbers import HIGHEST, LOWEST, Written, approximately, decimal_of, sortable, written
from fhir_server.search.parts import Part, Sought
from fhir_server.store.values import Filter

PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
_AFTER_ALL = HIGHEST + "~"

Convert = Callable[[Decimal], Decimal]


def unchanged(value: Decimal) -> Decimal:
    return value


def range_ends(value: Any) -> tuple[Any, Any]:
    """The numbers at the ends of a Range, None for an open one."""
    return (value.get("low") or {}).get("value"), (value.get("high") or {}).get("value")


def span_part(low: Any, high: Any, names: str = "lh", convert: Convert = unchanged) -> tuple[Part, ...]:
    """A number or a range of numbers with the sortable texts of both ends as facts; nothing when it has no number."""
    first = decimal_of(low)
    last = first if high is low else decimal_of(high)
    if first is None and last is None:
        return ()
    low_text = LOWEST if first is None else sortable(convert(first))
    high_text = low_text if high is low else HIGHEST if last is None else sortable(convert(last))
    heads = (low_text,) if low_text == high_text else (low_text, high_text)
    return (Part(heads, {names[0]: low_text, names[1]: high_text}),)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A prefix and a number as written in a query."""

    prefix: str
    number: Written

    def sought(self, low_name: str = "l", high_name: str = "h", convert: Convert = unchanged) -> Sought:
        """The condition on both ends of one value, and the range of heads in which a match has one."""
        condition, low, high = self._terms(low_name, high_name, convert)
        return Sought(condition, low=low, high=high, is_whole=self.prefix == "ne")

    def _terms(self, low_name: str, high_name: str, convert: Convert) -> tuple[Filter, str, str]:
        if self.prefix == "ap":
            low, high = (sortable(convert(end)) for end in approximately(self.number))
            # A Range may begin before and end after.
            return {low_name: {"$lt": high}, high_name: {"$gte": low}}, LOWEST, high
        low, high = sortable(convert(self.number.low)), sortable(convert(self.number.high))
        at = sortable(convert(self.number.value))
        beyond = at + "\0"
        # FHIR: 3.1.1.4.6: beside a comparison the number is exact, whatever its digits.
        match self.prefix:
            case "ne":
                return {"$or": [{low_name: {"$lt": low}}, {high_name: {"$gte": high}}]}, LOWEST, _AFTER_ALL
            case "gt":
                return {high_name: {"$gt": at}}, beyond, _AFTER_ALL
            case "lt":
                return {low_name: {"$lt": at}}, LOWEST, at
            case "ge":
                return {high_name: {"$gte": at}}, at, _AFTER_ALL
            case "le":
                return {low_name: {"$lte": at}}, LOWEST, beyond
            case "sa":
                return {low_name: {"$gt": at}}, beyond, _AFTER_ALL
            case "eb":
                return {high_name: {"$lt": at}}, LOWEST, at
        return {low_name: {"$gte": low}, high_name: {"$lt": high}}, low, high


def read_number(param: str, value: str) -> Comparison:
    """`ge5.4` taken apart. Raises FhirError for a text that is no number."""
    text = unescape(value)
    prefix, text = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    number = written(text)
    if number is None:
        raise unusable(param, value, "is not a number")
    return Comparison(prefix, number)
