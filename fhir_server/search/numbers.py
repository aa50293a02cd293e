"""Decimals as texts that sort as the numbers do, and the ranges that written ones stand for (R4 Search, number)."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

import msgspec

from fhir_server.model.resources import Digits

_NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,3}))?", re.ASCII)
_LONGEST = 60
_EXACT = Context(prec=120, Emin=-9_999, Emax=9_999)

# Signs of the sortable text: below every number, negative, zero, positive, above every number.
LOWEST, _NEGATIVE, _ZERO, _POSITIVE, HIGHEST = "0", "1", "2", "3", "4"
_BIAS = 500
_DIGITS = 40
_COMPLEMENT = str.maketrans("0123456789", "9876543210")

APPROXIMATELY = Decimal("0.1")


def sortable(number: Decimal) -> str:
    """A text that compares with those of other numbers as the numbers do, exact to 40 digits."""
    if isinstance(number, Digits) and len(number.text) > _DIGITS:
        return _sortable(number)
    return _remembered(number)


def _sortable(number: Decimal) -> str:
    _, digits, exponent = number.as_tuple()
    if not number or not isinstance(exponent, int):
        return _ZERO
    magnitude = len(digits) + exponent
    if abs(magnitude) >= _BIAS:
        return _ZERO if magnitude < 0 else LOWEST if number < 0 else HIGHEST
    text = "".join(map(str, digits[:_DIGITS])).rstrip("0")
    if number < 0:
        return f"{_NEGATIVE}{_BIAS - magnitude:04d}{text.translate(_COMPLEMENT)}~"
    return f"{_POSITIVE}{_BIAS + magnitude:04d}{text}"


_remembered = lru_cache(maxsize=16_384)(_sortable)


def decimal_of(value: Any) -> Decimal | None:
    """A JSON number as a Decimal; None for anything else."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return number if number.is_finite() else None


class Written(msgspec.Struct, frozen=True):
    """A number as it stands in a query: its value, and the range [low, high) its digits stand for."""

    value: Decimal
    low: Decimal
    high: Decimal


def written(text: str) -> Written | None:
    """`5.4` as 5.4 with [5.35, 5.45); None for a text that is no number R4 can write."""
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    value = Decimal(text)
    _, digits, last = value.as_tuple()
    assert isinstance(last, int)
    # FHIR: 3.1.1.4.6 says that 1e2 stands for [95, 105), although one significant figure would make it [50, 150).
    if found[2] and len(digits) == 1:
        last -= 1
    half = Decimal((0, (5,), last - 1))
    return Written(value, _EXACT.subtract(value, half), _EXACT.add(value, half))


def approximately(number: Written) -> tuple[Decimal, Decimal]:
    """The range of `ap`: the written range, widened by a tenth of the value on both sides (3.1.1.4.5)."""
    slack = _EXACT.multiply(abs(number.value), APPROXIMATELY)
    return _EXACT.subtract(number.low, slack), _EXACT.add(number.high, slack)
