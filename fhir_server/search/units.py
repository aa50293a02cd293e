"""UCUM units as a factor to a canonical unit, for the units that clinical data uses (http://unitsofmeasure.org)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal

from fhir_server.model.remember import remembered

UCUM = "http://unitsofmeasure.org"

_EXACT = Context(prec=40)
# Converted values are equal to this many digits, however they were reached (60 /h and 1 /min).
_ROUNDED = Context(prec=24)
_ONE = Decimal(1)

_PREFIXES: dict[str, int] = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip

# Dimensions: the base units m, s, g, K, C, cd, rad, and one for each arbitrary unit.
# FHIR: UCUM makes the mole a plain number; here it is a dimension, so that mmol/L is never compared with a count.
_Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """value in this unit × factor (+ offset) = value in the base units named by dimensions."""

    factor: Decimal
    dimensions: _Dimensions
    offset: Decimal = Decimal(0)

    @property
    def canonical(self) -> str:
        """The base units as one text: `g.m-3`; `1` for a plain number."""
        return ".".join(f"{name}{power if power != 1 else ''}" for name, power in self.dimensions) or "1"

    def convert(self, value: Decimal) -> Decimal:
        return _ROUNDED.plus(_EXACT.add(_EXACT.multiply(value, self.factor), self.offset))


def _unit(factor: str | int, **dimensions: int) -> Unit:
    return Unit(Decimal(factor), tuple(sorted(dimensions.items())))


_METRIC: dict[str, Unit] = {
    "m": _unit(1, m=1),
    "s": _unit(1, s=1),
    "g": _unit(1, g=1),
    "K": _unit(1, K=1),
    "C": _unit(1, C=1),
    "cd": _unit(1, cd=1),
    "rad": _unit(1, rad=1),
    "mol": _unit(1, mol=1),
    "L": _unit("1e-3", m=3),
    "l": _unit("1e-3", m=3),
    "Hz": _unit(1, s=-1),
    "N": _unit(1000, g=1, m=1, s=-2),
    "Pa": _unit(1000, g=1, m=-1, s=-2),
    "J": _unit(1000, g=1, m=2, s=-2),
    "W": _unit(1000, g=1, m=2, s=-3),
    "A": _unit(1, C=1, s=-1),
    "V": _unit(1000, g=1, m=2, s=-2, C=-1),
    "F": _unit("1e-3", g=-1, m=-2, s=2, C=2),
    "Ohm": _unit(1000, g=1, m=2, s=-1, C=-2),
    "S": _unit("1e-3", g=-1, m=-2, s=1, C=2),
    "T": _unit(1000, g=1, s=-1, C=-1),
    "Bq": _unit(1, s=-1),
    "Ci": _unit("3.7e10", s=-1),
    "Gy": _unit(1, m=2, s=-2),
    "Sv": _unit(1, m=2, s=-2),
    "kat": _unit(1, mol=1, s=-1),
    "U": Unit(_EXACT.divide(Decimal("1e-6"), Decimal(60)), (("mol", 1), ("s", -1))),
    "cal": _unit("4184", g=1, m=2, s=-2),
    "bar": _unit("1e8", g=1, m=-1, s=-2),
    "m[H2O]": _unit("9806650", g=1, m=-1, s=-2),
    "m[Hg]": _unit("133322000", g=1, m=-1, s=-2),
    "eq": _unit(1, mol=1),
    "osm": _unit(1, mol=1),
    "t": _unit("1e6", g=1),
    "[iU]": _unit(1, **{"[iU]": 1}),
    "[IU]": _unit(1, **{"[iU]": 1}),
    "B": _unit(1, B=1),
    "Np": _unit(1, Np=1),
    "dyn": _unit("1e-2", g=1, m=1, s=-2),
}
_PLAIN: dict[str, Unit] = {
    "10*": _unit(10),
    "10^": _unit(10),
    "%": _unit("0.01"),
    "[ppth]": _unit("1e-3"),
    "[ppm]": _unit("1e-6"),
    "[ppb]": _unit("1e-9"),
    "[pi]": _unit("3.1415926535897932384626433832795028841971"),
    "deg": _unit("0.0174532925199432957692369076848861271344", rad=1),
    "min": _unit(60, s=1),
    "h": _unit(3600, s=1),
    "d": _unit(86_400, s=1),
    "wk": _unit(604_800, s=1),
    "mo": _unit(2_629_800, s=1),
    "mo_j": _unit(2_629_800, s=1),
    "a": _unit(31_557_600, s=1),
    "a_j": _unit(31_557_600, s=1),
    "a_g": _unit(31_556_952, s=1),
    "[in_i]": _unit("0.0254", m=1),
    "[ft_i]": _unit("0.3048", m=1),
    "[yd_i]": _unit("0.9144", m=1),
    "[mi_i]": _unit("1609.344", m=1),
    "[nmi_i]": _unit(1852, m=1),
    "[in_us]": _unit("0.02540005080010160020320040640081280162560", m=1),
    "[ft_us]": _unit("0.3048006096012192024384048768097536195072", m=1),
    "[mi_us]": _unit("1609.347218694437388774777549555099110198", m=1),
    "[lb_av]": _unit("453.59237", g=1),
    "[oz_av]": _unit("28.349523125", g=1),
    "[st_av]": _unit("6350.29318", g=1),
    "[gr]": _unit("0.06479891", g=1),
    "[dr_av]": _unit("1.7718451953125", g=1),
    "[tsp_us]": _unit("4.92892159375e-6", m=3),
    "[tbs_us]": _unit("1.478676478125e-5", m=3),
    "[foz_us]": _unit("2.95735295625e-5", m=3),
    "[cup_us]": _unit("2.365882365e-4", m=3),
    "[pt_us]": _unit("4.73176473e-4", m=3),
    "[qt_us]": _unit("9.46352946e-4", m=3),
    "[gal_us]": _unit("3.785411784e-3", m=3),
    "[drp]": _unit("5e-8", m=3),
    "[psi]": _unit("6894757.293168", g=1, m=-1, s=-2),
    "atm": _unit("101325000", g=1, m=-1, s=-2),
    "[Cal]": _unit("4184000", g=1, m=2, s=-2),
    "[pH]": _unit(1, **{"[pH]": 1}),
    "[CFU]": _unit(1, **{"[CFU]": 1}),
    "[PFU]": _unit(1, **{"[PFU]": 1}),
    "[arb'U]": _unit(1, **{"[arb'U]": 1}),
    "[USP'U]": _unit(1, **{"[USP'U]": 1}),
    "[diop]": _unit(1, m=-1),
    "[HPF]": _unit(1),
    "[LPF]": _unit(100),
    "Cel": Unit(_ONE, (("K", 1),), Decimal("273.15")),
    "[degF]": Unit(
        Decimal("0.5555555555555555555555555555555555555556"), (("K", 1),),
        Decimal("255.3722222222222222222222222222222222222"),
    ),
}  # fmt: skip

_LONGEST = 80


@remembered(4_096)
def unit(code: str) -> Unit | None:
    """A UCUM code as a factor to base units; None for a code that this table does not know.

    `mg/dL`, `10*3/uL`, `mm[Hg]`, `kg.m-2`, `{score}`, `/min`, `mL/min/{1.73_m2}`. Annotations in braces mean nothing.
    """
    if not code or len(code) > _LONGEST:
        return None
    result = Unit(_ONE, ())
    divide = False
    for part in re.split(r"([./])", re.sub(r"\{[^{}]*\}", "", code)):
        if part in (".", "/"):
            divide = part == "/"
            continue
        if not part:
            continue
        factor = _component(part)
        if factor is None:
            return None
        if factor.offset:
            # A temperature scale stands alone: in a product it has no meaning.
            return factor if part == code else None
        result = _product(result, factor, -1 if divide else 1)
    return result


def _component(text: str) -> Unit | None:
    if text.isdigit():
        return Unit(Decimal(text), ())
    found = re.fullmatch(r"(10[*^]|.*?[^\d+\-])([+-]?\d{1,2})?", text)
    if found is None:
        return None
    atom = _atom(found[1])
    if atom is None or (atom.offset and found[2]):
        return None
    return _product(Unit(_ONE, ()), atom, int(found[2])) if found[2] else atom


def _atom(symbol: str) -> Unit | None:
    known = _PLAIN.get(symbol) or _METRIC.get(symbol)
    if known is not None:
        return known
    for length in (1, 2):
        power = _PREFIXES.get(symbol[:length])
        metric = _METRIC.get(symbol[length:])
        if power is not None and metric is not None:
            return Unit(_EXACT.multiply(metric.factor, Decimal((0, (1,), power))), metric.dimensions)
    return None


def _product(one: Unit, other: Unit, power: int) -> Unit:
    dimensions = dict(one.dimensions)
    for name, exponent in other.dimensions:
        dimensions[name] = dimensions.get(name, 0) + exponent * power
    factor = _EXACT.multiply(one.factor, _EXACT.power(other.factor, power))
    return Unit(factor, tuple(sorted((name, exponent) for name, exponent in dimensions.items() if exponent)))
