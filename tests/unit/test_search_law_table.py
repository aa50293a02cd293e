"""The law of search for every type with every prefix and modifier: a search built from a stored value finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_in_memory import entry, finds, model

from fhir_server.errors import FhirError
from fhir_server.search.parse import parse_parameter

PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
# What R4 gives to each type beside its plain value, by the sections on modifiers and prefixes of 3.1.1.4; `type` is
# `:[type]`. Combinations have no :missing.
R4: dict[str, frozenset[str]] = {
    "number": PREFIXES | {"missing"},
    "date": PREFIXES | {"missing"},
    "quantity": PREFIXES | {"missing"},
    "string": frozenset({"", "exact", "contains", "missing"}),
    "token": frozenset({"", "not", "text", "in", "not-in", "above", "below", "of-type", "missing"}),
    "reference": frozenset({"", "type", "identifier", "above", "below", "missing"}),
    "uri": frozenset({"", "above", "below", "missing"}),
    "composite": frozenset({""}),
    "special": frozenset({"", "missing"}),
}
# Hierarchies of resources are followed by queries: tests/api/search/test_search_parameters.py.
PROVED_ELSEWHERE = {("reference", "above")}


class Claim(NamedTuple):
    """`name=value`, by a prefix or modifier of R4, finds the stored resource or must not."""

    by: str
    name: str
    value: str
    found: bool


class Stored(NamedTuple):
    resource: dict[str, Any]
    claims: list[Claim]

    def hold(self) -> None:
        type = self.resource["resourceType"]
        document, empty = entry(self.resource), entry({"resourceType": type, "id": "empty"})
        for claim in self.claims:
            assert finds(document, type, claim.name, claim.value) is claim.found, claim
            complement = claim.by in ("not", "not-in", "missing")
            if complement:  # what is absent satisfies the complement alone
                assert finds(empty, type, claim.name, claim.value) is (claim.value != "false"), claim
            else:
                assert claim.by == "ne" or not finds(empty, type, claim.name, claim.value), claim


def missing(code: str) -> list[Claim]:
    return [Claim("missing", f"{code}:missing", "true", False), Claim("missing", f"{code}:missing", "false", True)]


Number = Decimal | int


class Extent(NamedTuple):
    """The range of a stored value, None for an open end. text: the value itself when it is written as one."""

    first: Number | None
    last: Number | None
    text: str | None = None


def of_range(code: str, extent: Extent, step: int, suffix: str = "") -> Iterator[Claim]:
    """What every prefix finds of a range, by values that lie a step beyond its ends."""
    first, last, text = extent
    low, high = (last if first is None else first), (first if last is None else last)
    assert low is not None
    assert high is not None
    is_open = first is None or last is None
    before, after = f"{low - step}{suffix}", f"{high + step}{suffix}"

    def claim(prefix: str, value: str, found: bool) -> Claim:
        return Claim(prefix, code, prefix + value, found)

    for prefix, found in (("eq", False), ("ne", True)):
        yield from (claim(prefix, value, found) for value in (before, after))
    for prefix in ("gt", "ge"):
        yield from (claim(prefix, before, True), claim(prefix, after, last is None))
    for prefix in ("lt", "le"):
        yield from (claim(prefix, after, True), claim(prefix, before, first is None))
    yield from (claim("sa", before, first is not None), claim("sa", after, False))
    yield from (claim("eb", after, last is not None), claim("eb", before, False))
    yield from (claim("ap", f"{low}{suffix}", True), claim("ap", f"{high + 100 * step}{suffix}", last is None))
    if first == last or is_open:
        yield from (claim("eq", f"{low}{suffix}", not is_open), claim("ne", f"{low}{suffix}", is_open))
    if text is not None:
        yield Claim("eq", code, text + suffix, True)
        yield from (claim(prefix, text + suffix, True) for prefix in ("eq", "ge", "le", "ap"))
        yield from (claim(prefix, text + suffix, False) for prefix in ("ne", "gt", "lt", "sa", "eb"))
    yield from missing(code)


# --- dates of every precision, periods with open ends, timings -------------------------------------------------------

YEARS = st.integers(1905, 2095)
FORMS = st.sampled_from(["", "-06", "-06-15", "-06-15T10:00:00+07:00", "-06-15T10:00:00.25Z"])
ENDS = st.tuples(YEARS, YEARS).map(sorted)


@st.composite
def periods(draw: st.DrawFn) -> tuple[dict[str, str], Extent]:
    first, last = draw(ENDS)
    given = draw(st.sampled_from([("start", "end"), ("start",), ("end",)]))
    form = draw(FORMS)
    period = {name: f"{year}{form}" for name, year in (("start", first), ("end", last)) if name in given}
    return period, Extent(first if "start" in given else None, last if "end" in given else None)


@st.composite
def dates(draw: st.DrawFn) -> Stored:
    kind = draw(st.sampled_from(["birthDate", "onsetDateTime", "abatementDateTime", "Instant", "Timing", "Period"]))
    year, form = draw(YEARS), draw(FORMS)
    text = f"{year}{form[:6] if kind == 'birthDate' else form}"
    value: Any = text
    extent = Extent(year, year, text)
    if kind == "Instant":
        value = text = f"{year}-06-15T10:00:00+07:00"
        extent = Extent(year, year)  # it has no width, and lies within the second that its text stands for
    elif kind == "Timing":
        last = draw(st.integers(year, 2099))
        value, extent = {"event": [f"{year}{form}", f"{last}{form}"]}, Extent(year, last)
        if draw(st.booleans()):
            period, extent = draw(periods())
            value = {"repeat": {"boundsPeriod": period}}
    elif kind == "Period":
        value, extent = draw(periods())
        kind = draw(st.sampled_from(["onsetPeriod", "abatementPeriod"]))
    type, code, element = {
        "birthDate": ("Patient", "birthdate", kind),
        "Instant": ("Observation", "date", "effectiveInstant"),
        "Timing": ("Observation", "date", "effectiveTiming"),
    }.get(kind, ("Condition", "onset-date" if kind.startswith("onset") else "abatement-date", kind))
    return Stored({"resourceType": type, "id": "x", element: value}, list(of_range(code, extent, 3)))


# --- numbers and quantities ------------------------------------------------------------------------------------------

DECIMALS = st.integers(-5000, 5000) | st.decimals(-1000, 1000, places=3)
UCUM = "http://unitsofmeasure.org"


@st.composite
def ranges(draw: st.DrawFn, **unit: str) -> tuple[dict[str, Any], Extent]:
    first, last = sorted(draw(st.tuples(DECIMALS, DECIMALS)))
    given = draw(st.sampled_from([("low", "high"), ("low",), ("high",)]))
    ends = {name: {"value": value, **unit} for name, value in (("low", first), ("high", last)) if name in given}
    return ends, Extent(first if "low" in given else None, last if "high" in given else None)


@st.composite
def numbers(draw: st.DrawFn) -> Stored:
    value: Any = draw(DECIMALS)
    element, extent = "probabilityDecimal", Extent(value, value, f"{value}")
    if draw(st.booleans()):
        element = "probabilityRange"
        value, extent = draw(ranges())
    resource = {"resourceType": "RiskAssessment", "id": "x", "prediction": [{element: value}]}
    return Stored(resource, list(of_range("probability", extent, 9000)))


@st.composite
def quantities(draw: st.DrawFn) -> Stored:
    code = draw(st.sampled_from(["a", "mg", "mmol/L", "Cel", "[degF]", "{score}", "mm[Hg]", "unknown"]))
    unit = {"unit": "đơn vị", "system": UCUM, "code": code}
    suffix = draw(st.sampled_from(["", f"|{UCUM}|{code}", f"||{code}", "||đơn vị", f"|{UCUM}"]))
    if draw(st.booleans()):
        value, extent = draw(ranges(**unit))
        resource = {"resourceType": "Condition", "id": "x", "onsetRange": value}
        return Stored(resource, list(of_range("onset-age", extent, 9000, suffix)))
    number = draw(DECIMALS)
    resource = {"resourceType": "Observation", "id": "x", "valueQuantity": {"value": number, **unit}}
    return Stored(resource, list(of_range("value-quantity", Extent(number, number, f"{number}"), 9000, suffix)))


# --- the others ------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["Nguyễn Văn An", "Lê", "trần thị  Bình", "ĐỨC", "O'Brien", "Ngô-Đình", "1a"])
CODES = st.sampled_from(["I10", "a", "E11.9", "x y", "ĐỎ"])
SYSTEMS = st.sampled_from(["http://loinc.org", "urn:oid:1.2.3", "http://x.vn/cs"])


@st.composite
def strings(draw: st.DrawFn) -> Stored:
    text = draw(WORDS)
    type, code, element = draw(
        st.sampled_from([("Patient", "name", "name"), ("Patient", "family", "name"), ("Organization", "name", "name")])
    )
    value = [{"family": text}] if type == "Patient" else text
    claims = [
        *(Claim("", code, sought, True) for sought in (text, text.upper(), text[:2])),
        *(Claim(by, f"{code}:{by}", text, True) for by in ("exact", "contains")),
        Claim("contains", f"{code}:contains", text[1:], True),
        Claim("exact", f"{code}:exact", text.swapcase() + "x", False),
        Claim("contains", f"{code}:contains", text + "x", False),
        Claim("", code, f"zz{text}", False),
    ]
    return Stored({"resourceType": type, "id": "x", element: value}, claims + missing(code))


@st.composite
def tokens(draw: st.DrawFn) -> Stored:
    code, system, text = draw(CODES), draw(SYSTEMS), draw(WORDS)
    if draw(st.booleans()):
        type = {"coding": [{"system": "urn:types", "code": "NI"}]}
        identifier = {"system": system, "value": code, "type": type}
        resource: dict[str, Any] = {"resourceType": "Patient", "id": "x", "identifier": [identifier]}
        name = "identifier"
        more = [
            Claim("of-type", "identifier:of-type", f"urn:types|{kind}|{code}", kind == "NI") for kind in ("NI", "X")
        ]
    else:
        coding = {"coding": [{"system": system, "code": code}], "text": text}
        resource = {"resourceType": "Condition", "id": "x", "code": coding}
        name = "code"
        more = [
            Claim("text", "code:text", text, True),
            Claim("text", "code:text", "zz", False),
            *(Claim(by, f"code:{by}", f"{system}|{code}", True) for by in ("in", "above", "below")),
            *(Claim(by, f"code:{by}", f"{system}|zz", False) for by in ("in", "above", "below")),
            Claim("not-in", "code:not-in", f"{system}|{code}", False),
            Claim("not-in", "code:not-in", f"{system}|zz", True),
        ]
    values = {code: True, f"{system}|{code}": True, f"{system}|": True, f"|{code}": False, "zz": False}
    claims = [Claim("", name, value, found) for value, found in values.items()]
    claims += [Claim("not", f"{name}:not", value, not found) for value, found in values.items()]
    return Stored(resource, claims + more + missing(name))


@st.composite
def references(draw: st.DrawFn) -> Stored:
    if draw(st.booleans()):
        version = draw(st.sampled_from(["", "|1", "|1.2"]))
        resource: dict[str, Any] = {
            "resourceType": "CarePlan", "id": "x", "instantiatesCanonical": [f"http://x.vn/PlanDefinition/p{version}"],
        }  # fmt: skip
        name = "instantiates-canonical"
        claims = [
            Claim("", name, f"http://x.vn/PlanDefinition/p{version}", True),
            Claim("below", f"{name}:below", "http://x.vn/PlanDefinition/p", True),
            Claim("below", f"{name}:below", "http://x.vn/PlanDefinition/p|1", bool(version)),
            Claim("below", f"{name}:below", "http://x.vn/PlanDefinition", False),
        ]
        return Stored(resource, claims + missing(name))
    id = draw(st.from_regex(r"[A-Za-z0-9\-.]{1,8}", fullmatch=True))
    base = draw(st.sampled_from(["", "http://elsewhere.example/fhir/", "http://test.vn/fhir/"]))
    number = {"system": "urn:numbers", "value": "12"}
    resource = {
        "resourceType": "Observation",
        "id": "x",
        "subject": {"reference": f"{base}Patient/{id}", "identifier": number},
    }
    here = base != "http://elsewhere.example/fhir/"
    claims = [
        Claim("", "subject", id, here),
        Claim("", "subject", f"Patient/{id}", here),
        Claim("", "subject", f"{base}Patient/{id}", True),
        Claim("", "patient", f"Patient/{id}", here),
        Claim("", "subject", f"Patient/{id}zz", False),
        Claim("type", "subject:Patient", id, here),
        Claim("type", "subject:Device", id, False),
        Claim("identifier", "subject:identifier", "urn:numbers|12", True),
        Claim("identifier", "subject:identifier", "12", True),
        Claim("identifier", "subject:identifier", "urn:numbers|13", False),
    ]
    return Stored(resource, claims + missing("subject"))


@st.composite
def uris(draw: st.DrawFn) -> Stored:
    steps = draw(st.lists(st.sampled_from(["a", "b", "cd"]), min_size=1, max_size=3))
    uri = "/".join(["http://x.vn", *steps])
    claims = [
        Claim("", "url", uri, True),
        Claim("", "url", f"{uri}/zz", False),
        *(Claim(by, f"url:{by}", uri, True) for by in ("above", "below")),
        Claim("below", "url:below", "http://x.vn", True),
        Claim("below", "url:below", f"{uri}z", False),
        Claim("above", "url:above", f"{uri}/zz/y", True),
        Claim("above", "url:above", f"{uri}zz", False),
    ]
    return Stored({"resourceType": "ValueSet", "id": "x", "url": uri}, claims + missing("url"))


@st.composite
def composites(draw: st.DrawFn) -> Stored:
    code, other = draw(CODES), draw(st.integers(1, 9))
    components = [
        {"code": {"coding": [{"system": "urn:c", "code": name}]}, "valueQuantity": {"value": value}}
        for name, value in ((code, other), ("second", other + 100))
    ]
    name = "component-code-value-quantity"
    claims = [
        Claim("", name, f"{code}${other}", True),
        Claim("", name, f"urn:c|{code}$gt{other - 1}", True),
        Claim("", name, f"second${other}", False),
        Claim("", name, f"{code}$gt{other + 50}", False),
    ]
    return Stored({"resourceType": "Observation", "id": "x", "component": components}, claims)


@st.composite
def places(draw: st.DrawFn) -> Stored:
    latitude, longitude = draw(st.integers(-80, 80)), draw(st.integers(-179, 179))
    resource = {"resourceType": "Location", "id": "x", "position": {"latitude": latitude, "longitude": longitude}}
    claims = [
        Claim("", "near", f"{latitude}|{longitude}|1|km", True),
        Claim("", "near", f"{latitude}|{longitude}", True),
        Claim("", "near", f"{latitude + 1}|{longitude}|100|km", False),
        Claim("", "near", f"{latitude + 1}|{longitude}|120|km", True),
    ]
    return Stored(resource, claims + missing("near"))


LAW: dict[str, Callable[[], st.SearchStrategy[Stored]]] = {
    "number": numbers,
    "date": dates,
    "quantity": quantities,
    "string": strings,
    "token": tokens,
    "reference": references,
    "uri": uris,
    "composite": composites,
    "special": places,
}


@pytest.mark.parametrize("type", LAW)
def test_a_search_built_from_a_stored_value_finds_it_by_every_prefix_and_modifier_of_its_type(type: str) -> None:
    proved: set[tuple[str, bool]] = set()

    @settings(max_examples=60)
    @given(LAW[type]())
    def law(stored: Stored) -> None:
        stored.hold()
        proved.update((claim.by, claim.found) for claim in stored.claims)

    law()
    assert {by for by, _ in proved} | {by for of, by in PROVED_ELSEWHERE if of == type} == R4[type]
    # Each finds something, and each does not find something.
    assert {by for by, found in proved if found} == {by for by, found in proved if not found}


MODIFIERS = {modifier for allowed in R4.values() for modifier in allowed if modifier and modifier not in PREFIXES}
A_PARAMETER = {
    "number": ("RiskAssessment", "probability"),
    "date": ("Patient", "birthdate"),
    "quantity": ("Observation", "value-quantity"),
    "string": ("Patient", "name"),
    "token": ("Condition", "code"),
    "reference": ("Encounter", "location"),
    "uri": ("ValueSet", "url"),
    "composite": ("Observation", "code-value-quantity"),
    "special": ("Location", "near"),
}


@pytest.mark.parametrize("type", R4)
def test_a_modifier_is_taken_when_r4_gives_it_to_the_type_and_refused_otherwise(type: str) -> None:
    owner, code = A_PARAMETER[type]
    taken = set()
    for modifier in sorted(MODIFIERS | {"sometimes"}):
        written = "Location" if modifier == "type" else modifier
        try:
            parse_parameter(model().parameters, owner, f"{code}:{written}", "true")
            taken.add(modifier)
        except FhirError:
            continue
    assert taken == R4[type] - PREFIXES - {""}
