"""`Location.near`: places within a distance of a point (R4 Location, Location search parameters).

Keys are the cells of three grids in which a place lies; a query looks into the few cells around its point in the grid
that suits the distance, and measures the great circle to each place found there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from fhir_server.search.clauses import each, key
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Entry, Write
from fhir_server.search.escapes import split, unescape
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.numbers import decimal_of, written
from fhir_server.search.path import Path
from fhir_server.search.tree import Leaf
from fhir_server.search.units import unit
from fhir_server.store.values import Filter

_EARTH_RADIUS = 6_371_008.8  # m, mean
_METRES_A_DEGREE = math.pi * _EARTH_RADIUS / 180
# The grids: name and width of a cell in degrees; 5, 50 and 500 km at the equator.
_GRIDS = (("a", 0.05), ("b", 0.5), ("c", 5.0))
# A query that would look into more cells than this takes the next wider grid.
_MOST_CELLS = 400
# FHIR: without a distance the server chooses one.
_NEAR_ENOUGH = Decimal(50_000)

MODIFIERS: frozenset[str] = frozenset()


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    for path in paths:
        if path.type == "Location.position":
            yield path, lambda value, entry: _write(letters, value, entry)


def _write(letters: str, value: Any, entry: Entry) -> None:
    latitude, longitude = decimal_of(value.get("latitude")), decimal_of(value.get("longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return
    place = float(latitude), float(longitude)
    for name, width in _GRIDS:
        entry.keys.add(letters + _cell(name, _row(place[0], width), _column(place[1], width)))
    entry.sort[letters] = {"a": place[0], "o": place[1]}


def _row(latitude: float, width: float) -> int:
    return math.floor((latitude + 90) / width)


def _column(longitude: float, width: float) -> int:
    return math.floor((longitude + 180) / width) % round(360 / width)


def _cell(name: str, row: int, column: int) -> str:
    return f"{name}{row}:{column}"


# --- queries ---------------------------------------------------------------------------------------------------------


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """`latitude|longitude|distance|units`. Raises FhirError for a modifier and for a value of another form."""
    if leaf.modifier is not None or leaf.param.code != "near":
        raise unknown_modifier(leaf)
    return disjunction(_near(leaf, value, letters) for value in leaf.values)


def _near(leaf: Leaf, value: str, letters: str) -> Filter:
    latitude, longitude, distance = _read(leaf, value)
    metres = float(distance)
    cells = _cells(latitude, longitude, metres)
    within = {"$expr": {"$lte": [_distance(f"$x.{letters}", latitude, longitude), metres]}}
    return each([disjunction(key(letters + cell) for cell in cells), within])


def _read(leaf: Leaf, value: str) -> tuple[float, float, Decimal]:
    """The point in degrees and the distance in metres."""
    parts = [unescape(part) for part in split(value, "|")]
    numbers = [written(part) for part in parts[:3] if part]
    if not 2 <= len(parts) <= 4 or None in numbers or len(numbers) < 2:
        raise unusable(leaf.param.code, value, "is not latitude|longitude|distance|units")
    latitude, longitude, *rest = (number.value for number in numbers if number is not None)
    # FHIR: a distance without a unit is in kilometres.
    measured = unit(parts[3] if len(parts) == 4 and parts[3] else "km")
    if measured is None or measured.canonical != "m":
        raise unusable(leaf.param.code, value, "has no UCUM unit of length")
    distance = measured.convert(rest[0]) if rest else _NEAR_ENOUGH
    if abs(latitude) > 90 or abs(longitude) > 180 or distance < 0:
        raise unusable(leaf.param.code, value, "is no place on earth or has a negative distance")
    return float(latitude), float(longitude), distance


def _cells(latitude: float, longitude: float, metres: float) -> list[str]:
    """The cells that a circle may reach into, in the finest grid that keeps them few."""
    reach = metres / _METRES_A_DEGREE * 1.001
    south, north = max(latitude - reach, -90.0), min(latitude + reach, 90.0)
    name, rows, columns = "", range(0), [0]
    for name, width in _GRIDS:  # noqa: B007  # the last one tried is taken
        rows = range(_row(south, width), _row(north, width) + 1)
        columns = _columns(longitude, _reach_east(latitude, reach), width)
        if len(rows) * len(columns) <= _MOST_CELLS:
            break
    return [_cell(name, row, column) for row in rows for column in columns]


def _reach_east(latitude: float, reach: float) -> float:
    """How many degrees of longitude a circle reaches to each side; 180 when it holds a pole."""
    if abs(latitude) + reach >= 90:
        return 180.0
    return math.degrees(math.asin(min(math.sin(math.radians(reach)) / math.cos(math.radians(latitude)), 1.0)))


def _columns(longitude: float, reach: float, width: float) -> list[int]:
    count = round(360 / width)
    first, last = math.floor((longitude - reach + 180) / width), math.floor((longitude + reach + 180) / width)
    if last - first + 1 >= count:
        return list(range(count))
    return [column % count for column in range(first, last + 1)]


def _distance(place: str, latitude: float, longitude: float) -> dict[str, Any]:
    """The haversine formula over the stored place, in metres, as an aggregation expression."""

    def half_square(difference: Any) -> dict[str, Any]:
        return {"$pow": [{"$sin": {"$divide": [{"$degreesToRadians": difference}, 2]}}, 2]}

    share = {
        "$add": [
            half_square({"$subtract": [f"{place}.a", latitude]}),
            {
                "$multiply": [
                    math.cos(math.radians(latitude)),
                    {"$cos": {"$degreesToRadians": f"{place}.a"}},
                    half_square({"$subtract": [f"{place}.o", longitude]}),
                ]
            },
        ]
    }
    return {"$multiply": [2 * _EARTH_RADIUS, {"$asin": {"$min": [1, {"$sqrt": share}]}}]}
