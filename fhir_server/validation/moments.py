"""Dates, times and quantities that an expression itself makes: `today()`, `@2020-01`, `18 years`, and arithmetic.

FHIRPath 1 (N1), sections 5.8 (Utility Functions), 6.2 (Comparison), 6.6 (Math) and 6.7 (Date/Time Arithmetic).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from fhir_server.definitions.fhirpath import FhirPathError
from fhir_server.model.dates import TICKS_PER_SECOND, offset_of, span_of

UCUM = "http://unitsofmeasure.org"
_MONTHS = {"a": 12, "mo": 1}
_SECONDS = {
    "wk": Decimal(604_800), "d": Decimal(86_400), "h": Decimal(3_600), "min": Decimal(60), "s": Decimal(1),
    "ms": Decimal("0.001"),
}  # fmt: skip
_DAY = 86_400
_LARGEST = 2**63
_LONGEST = Decimal(10) ** 12  # of a duration: any such leaves the years 1 to 9999

_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)
_WHOLE_SECOND = re.compile(r"(\d\d:\d\d:\d\d)(?![.\d])", re.ASCII)
_ZONE = re.compile(r"(Z|[+-]\d\d:\d\d)$", re.ASCII)
_TO_THE_MINUTE = re.compile(r"T\d\d:\d\d(?!:)", re.ASCII)


class Moment(str):
    """A date, dateTime or time as FHIR writes it, of which the expression says that it is one."""

    __slots__ = ()


class Amount(dict[str, Any]):
    """A Quantity that the expression itself makes, its unit a code of UCUM."""

    __slots__ = ()


def amount(value: int | Decimal, unit: str) -> Amount:
    return Amount(value=value, system=UCUM, code=unit)


def literal_moment(text: str, zone: str) -> Moment:
    """zone: of a moment that names none. Raises FhirPathError for what no calendar has."""
    whole = f"2000-01-01T{text}" if _TIME.fullmatch(text) else text
    if "T" in text and _ZONE.search(text) is None:
        text += zone
    if span_of(whole, "Z") is None:
        raise FhirPathError(f"@{text} is no date")
    return Moment(text)


# --- the clock


def _now(zone: str) -> datetime:
    return datetime.now(timezone(timedelta(seconds=offset_of(zone) // TICKS_PER_SECOND)))


# Function → what it gives in a zone.
CLOCK: Mapping[str, Callable[[str], Moment]] = {
    "today": lambda zone: Moment(_now(zone).date().isoformat()),
    "now": lambda zone: Moment(_now(zone).isoformat(timespec="milliseconds")),
    "timeOfDay": lambda zone: Moment(_now(zone).time().isoformat(timespec="milliseconds")),
}


# --- comparison


def order_of_moments(one: str, other: str) -> int | None:
    """-1, 0 or 1; None where the precision of one does not tell, and for what is no date or time."""
    are_times = [_TIME.fullmatch(text) is not None for text in (one, other)]
    if any(are_times):
        if not all(are_times):
            return None
        one, other = f"2000-01-01T{one}", f"2000-01-01T{other}"
    elif ("T" in one) != ("T" in other):
        return order_of_days(one, other)
    # Seconds and their fractions are one precision.
    first, second = (span_of(_WHOLE_SECOND.sub(r"\1.0", text), "Z") for text in (one, other))
    return None if first is None or second is None else order_of_spans(first, second)


def order_of_spans(first: tuple[int, int], second: tuple[int, int]) -> int | None:
    return -1 if first[1] < second[0] else 1 if first[0] > second[1] else 0 if first == second else None


def order_of_days(one: str, other: str) -> int | None:
    """A day against a moment: by the calendar both wrote, since the day names no zone."""
    shorter = min(len(one.partition("T")[0]), len(other.partition("T")[0]))
    first, second = one[:shorter], other[:shorter]
    return -1 if first < second else 1 if first > second else None


# --- arithmetic, of one item on either side; what has no result is empty

Work = Callable[[Any, Any], list[Any]]


def _of_one(work: Work) -> Work:
    return lambda left, right: work(left[0], right[0]) if len(left) == len(right) == 1 else []


def is_number(item: Any) -> bool:
    return isinstance(item, int | Decimal) and not isinstance(item, bool)


def _numbers(work: Callable[[Decimal, Decimal], Decimal]) -> Work:
    def apply(one: Any, other: Any) -> list[Any]:
        if not (is_number(one) and is_number(other)):
            return []
        try:
            found = work(Decimal(one), Decimal(other))
        except ArithmeticError:  # divided by zero, or more than a decimal holds
            return []
        if isinstance(one, int) and isinstance(other, int) and found == found.to_integral_value():
            return [int(found)] if abs(found) < _LARGEST else []
        return [found]

    return apply


_SUM, _DIFFERENCE = _numbers(Decimal.__add__), _numbers(Decimal.__sub__)


def _add(one: Any, other: Any) -> list[Any]:
    if isinstance(one, str):
        return [one + other] if isinstance(other, str) else _moved(one, other, 1)
    return _combined(one, other, _SUM)


def _subtract(one: Any, other: Any) -> list[Any]:
    return _moved(one, other, -1) if isinstance(one, str) else _combined(one, other, _DIFFERENCE)


def _combined(one: Any, other: Any, work: Work) -> list[Any]:
    """Numbers, or quantities of one unit."""
    first, second = measure(one), measure(other)
    if first is None or second is None:
        return work(one, other)
    return [amount(value, first[1]) for value in work(first[0], second[0])] if first[1] == second[1] else []


def measure(item: Any) -> tuple[int | Decimal, str] | None:
    """The value and the UCUM code of a Quantity."""
    if not isinstance(item, dict) or item.get("system") != UCUM or not is_number(item.get("value")):
        return None
    return item["value"], str(item.get("code"))


def negative(items: list[Any]) -> list[Any]:
    found = measure(items[0]) if len(items) == 1 else None
    return [amount(-found[0], found[1])] if found else [-item for item in items if is_number(item)]


ARITHMETIC: Mapping[str, Work] = {
    "+": _of_one(_add),
    "-": _of_one(_subtract),
    "*": _of_one(_numbers(Decimal.__mul__)),
    "/": _of_one(_numbers(Decimal.__truediv__)),
    "div": _of_one(_numbers(Decimal.__floordiv__)),  # both towards zero, as Decimal has them
    "mod": _of_one(_numbers(Decimal.__mod__)),
}


def _moved(text: str, duration: Any, sign: int) -> list[Any]:
    """A date, dateTime or time, later or earlier by a duration, as precise as it was; a time of day goes round."""
    found = measure(duration)
    if found is None or not -_LONGEST < found[0] < _LONGEST:
        return []
    value, unit = sign * found[0], found[1]
    is_time = _TIME.fullmatch(text) is not None
    whole = f"2000-01-01T{text}" if is_time else text
    if unit in _MONTHS and not is_time:
        months, seconds = int(value) * _MONTHS[unit], Decimal(0)
    elif unit in _SECONDS and not (is_time and unit in ("wk", "d")):
        months, seconds = 0, (value if unit in ("s", "ms") else int(value)) * _SECONDS[unit]
    else:
        return []
    try:
        moved = _later(whole, months, seconds)
    except (ValueError, OverflowError):  # no date, or one outside the years 1 to 9999
        return []
    return [Moment(moved[11:] if is_time else moved)]


def _later(text: str, months: int, seconds: Decimal) -> str:
    """Raises ValueError for what is no date, and OverflowError."""
    precision = len(text)
    start = datetime.fromisoformat(text + "0000-01-01"[precision:])
    if precision == 4:  # whole years; of a day's length 365 make one, and 30 a month
        months = 12 * (int(months / 12) + int(seconds / _DAY / 365))
    elif precision == 7:
        months += int(seconds / _DAY / 30)
    elif precision == 10:
        start += timedelta(days=int(seconds / _DAY))
    else:
        is_rough = _TO_THE_MINUTE.search(text) is not None
        start += timedelta(minutes=int(seconds / 60)) if is_rough else timedelta(microseconds=int(seconds * 1_000_000))
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = monthrange(year, month + 1)[1] if 1 <= year <= 9999 else 31
    moved = start.replace(year=year, month=month + 1, day=min(start.day, last))
    if precision <= 10:
        return moved.isoformat()[:precision]
    return moved.isoformat(timespec="minutes" if _TO_THE_MINUTE.search(text) else "auto")
