from decimal import Decimal

import pytest

from fhir_server.search.units import unit


@pytest.mark.parametrize(
    ("value", "code", "same", "other"),
    [
        ("5.4", "mg", "0.0054", "g"),
        ("100", "mg/dL", "1", "g/L"),
        ("23", "mm/h", "0.023", "m/h"),
        ("70", "kg", "70000", "g"),
        ("165", "cm", "1.65", "m"),
        ("120", "mm[Hg]", "15.99864", "kPa"),
        ("37", "Cel", "310.15", "K"),
        ("60", "/h", "1", "/min"),
        ("72", "{beats}/min", "1.2", "/s"),
        ("4.5", "10*3/uL", "4.5", "10*9/L"),
        ("5", "mmol/L", "5000", "umol/L"),
        ("1", "[mi_i]", "1.609344", "km"),
        ("1", "a", "365.25", "d"),
        ("22.5", "kg/m2", "22.5", "kg.m-2"),
        ("1", "[lb_av]", "453.59237", "g"),
        ("40", "U/L", "40", "mU/mL"),
        ("1", "meq/L", "1", "mmol/L"),
    ],
)
def test_equal_amounts_in_two_units_are_equal_when_converted(value: str, code: str, same: str, other: str) -> None:
    one, two = unit(code), unit(other)
    assert one is not None
    assert two is not None
    assert one.canonical == two.canonical
    assert one.convert(Decimal(value)) == two.convert(Decimal(same))


@pytest.mark.parametrize(
    ("one", "other"), [("mg", "mL"), ("mmol/L", "10*9/L"), ("[iU]/L", "U/L"), ("[pH]", "1"), ("s", "Hz")]
)
def test_amounts_of_different_kinds_have_different_canonical_units(one: str, other: str) -> None:
    first, second = unit(one), unit(other)
    assert first is not None
    assert second is not None
    assert first.canonical != second.canonical


def test_fahrenheit_and_celsius_are_one_scale() -> None:
    fahrenheit, celsius = unit("[degF]"), unit("Cel")
    assert fahrenheit is not None
    assert celsius is not None
    assert round(fahrenheit.convert(Decimal("98.6")), 10) == round(celsius.convert(Decimal(37)), 10)


@pytest.mark.parametrize("code", ["", "viên", "foo", "mg//foo", "Cel/min", "m" * 100, "kkg", "{", "mg/dl/foo"])
def test_an_unknown_unit_is_told_so(code: str) -> None:
    assert unit(code) is None
