"""Quantity parameters: with a unit, converted when it is UCUM, or without (R4 Search, quantity).

Facts of a value: `l` and `h` as written, `s` number of the unit's system, `c` its code, `u` the unit for people; and
for a UCUM unit `q`, the canonical unit, with `m` and `n`, both ends in it. Quantity.comparator plays no part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from fhir_server.model.remember import remembered
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import PART, Entry, Write, plain
from fhir_server.search.escapes import split, unescape
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier
from fhir_server.search.number_ranges import range_ends, read_number, span_part
from fhir_server.search.numbers import decimal_of
from fhir_server.search.parts import Part, Parts, Sought, part_writers
from fhir_server.search.path import Path
from fhir_server.search.tree import Leaf
from fhir_server.search.units import UCUM, unit
from fhir_server.store.values import NOTHING, Filter

_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity"})
_CURRENCIES = "urn:iso:std:iso:4217"
_CANONICAL = "u"

MODIFIERS: frozenset[str] = frozenset()


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    return part_writers(letters, readers(paths, setting))


def readers(paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Parts]]:
    for path in paths:
        if path.type in _QUANTITIES:
            yield path, lambda value, entry: _parts(value.get("value"), value.get("value"), value, entry)
        elif path.type == "Range":
            yield path, _range_parts
        elif path.type == "Money":
            yield path, _money_parts
        elif path.type == "Ratio":
            yield path, _ratio_parts


def _range_parts(value: Any, entry: Entry) -> tuple[Part, ...]:
    return _parts(*range_ends(value), value.get("low") or value.get("high") or {}, entry)


def _money_parts(value: Any, entry: Entry) -> tuple[Part, ...]:
    number = value.get("value")
    return _parts(number, number, {"system": _CURRENCIES, "code": value.get("currency")}, entry)


def _ratio_parts(value: Any, entry: Entry) -> tuple[Part, ...]:
    """Numerator by denominator, in the quotient of their units."""
    above, below = value.get("numerator") or {}, value.get("denominator") or {}
    numerator, denominator = decimal_of(above.get("value")), decimal_of(below.get("value"))
    if numerator is None or not denominator:
        return ()
    quotient: dict[str, Any] = {}
    if above.get("system") == below.get("system") == UCUM:
        quotient = {"system": UCUM, "code": f"{above.get('code') or '1'}/{below.get('code') or '1'}"}
    number = numerator / denominator
    return _parts(number, number, quotient, entry)


def _parts(low: Any, high: Any, measure: Any, entry: Entry) -> tuple[Part, ...]:
    """measure: what has the unit's system, code and unit."""
    for part in span_part(low, high):
        system, code = measure.get("system"), measure.get("code")
        facts = part.facts
        heads = part.heads
        if system:
            facts["s"] = entry.number(system)
        if code:
            facts["c"] = plain(code)
        if measure.get("unit"):
            facts["u"] = plain(measure["unit"])
        if system == UCUM and code:
            measured = _measured(code, low, high)
            if measured is not None:
                name, converted = measured
                facts.update(converted.facts, q=name)
                heads += converted.heads
        return (Part(heads, facts),)
    return ()


@remembered(16_384)
def _measured(code: str, low: Any, high: Any) -> tuple[str, Part] | None:
    """The canonical unit and both ends in it; None for a unit that is not known."""
    measured = unit(code)
    if measured is None:
        return None
    name = measured.canonical
    (converted,) = span_part(low, high, "mn", measured.convert)
    return name, Part(tuple(f"{_CANONICAL}{name}{PART}{head}" for head in converted.heads), converted.facts)


# --- queries ---------------------------------------------------------------------------------------------------------


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """Raises FhirError for a modifier or value that quantities do not have, and UnknownSystems."""
    if leaf.modifier is not None:
        raise unknown_modifier(leaf)
    sought = [seek(leaf, value, (), lookup) for value in leaf.values]
    return disjunction(NOTHING if one is None else one.filter(letters) for one in sought)


def seek(leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> Sought | None:
    """What `number`, `number|system|code`, `number||unit` or `number|system` asks of one quantity; None for a system
    that nothing has. Raises FhirError for no number, and UnknownSystems.
    """
    number, system, code = ([unescape(part) for part in split(value, "|", 2)] + ["", ""])[:3]
    comparison = read_number(leaf.param.code, number)
    if not system and not code:
        return comparison.sought()
    if not system:
        return _also(comparison.sought(), {"$or": [{"c": plain(code)}, {"u": plain(code)}]})
    measured = unit(code) if system == UCUM else None
    if measured is not None:
        converted = comparison.sought("m", "n", measured.convert)
        return _also(converted, {"q": measured.canonical}, f"{_CANONICAL}{measured.canonical}{PART}")
    known = lookup.number(system)
    if known is None:
        return None
    return _also(comparison.sought(), {"s": known, "c": plain(code)} if code else {"s": known})


def _also(sought: Sought, condition: Filter, start: str = "") -> Sought:
    """The same with a condition on the unit, below heads that begin with `start`."""
    low, high = f"{start}{sought.low}", f"{start}{sought.high}"
    return replace(sought, condition={"$and": [sought.condition, condition]}, low=low, high=high)
