"""The law of search: a search built from a stored value finds the resource in which it was stored."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_in_memory import entry, extractor, finds
from search_index import Index, definitions

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.search.path import At, Child, Path, Truth, Where


def escaped(text: str) -> str:
    """A text as a search value: R4's own escapes, then those of a URL."""
    return quote(re.sub(r"([\\,$|])", r"\\\1", text), safe="")


# --- any value of the types that searches are about ------------------------------------------------------------------

LETTERS = st.characters(codec="utf-8", exclude_categories=["C"])
TEXTS = st.text(LETTERS, min_size=1, max_size=30).filter(str.strip) | st.sampled_from(
    ["Nguyễn Văn An", "ĐỨC", "a,b", "x|y", "1$2", "back\\slash", "O'Brien", "?", "Lê-Trần", "  two  blanks "]
)
CODES = st.text(LETTERS, min_size=1, max_size=20).filter(lambda text: text == text.strip() and bool(text))
SYSTEMS = st.sampled_from(["http://loinc.org", "urn:old:cccd", "urn:new:cccd", "http://x.vn/a|b"])


def part_of(text: str) -> str:
    """The end of a text, as long as that is more than punctuation, which is ignored within a text."""
    end = text[len(text) // 3 :].strip()
    return end if any(character.isalnum() for character in end) else text


@given(TEXTS, TEXTS)
def test_a_name_is_found_by_itself_by_each_word_by_its_case_and_exactly(index: Index, family: str, given: str) -> None:
    index.only({"resourceType": "Patient", "id": "p", "name": [{"family": family, "given": [given]}]})
    for name, value in [
        ("name", family), ("name", given), ("family", family), ("given", given), ("name", f"{given} {family}"),
        ("family", family.upper()), ("family", family.lower()), ("family:exact", family), ("name:exact", given),
        ("family:contains", family), ("name:contains", part_of(given)),
    ]:  # fmt: skip
        assert index.find(f"Patient?{name}={escaped(value)}") == {"p"}, (name, value)


@given(TEXTS, st.integers(1, 30))
def test_another_text_is_found_by_its_beginning(index: Index, name: str, length: int) -> None:
    index.only({"resourceType": "Organization", "id": "o", "name": name})
    start = name[:length].strip() or name
    assert index.find(f"Organization?name={escaped(name)}") == {"o"}
    assert index.find(f"Organization?name:exact={escaped(name)}") == {"o"}
    if start.isascii() and start.isalnum():
        assert index.find(f"Organization?name={escaped(start)}") == {"o"}


@given(CODES, SYSTEMS | st.none(), TEXTS)
def test_a_coding_is_found_by_every_form_and_not_by_its_complement(
    index: Index, code: str, system: str | None, text: str
) -> None:
    coding = {"code": code} if system is None else {"system": system, "code": code}
    index.only({"resourceType": "Condition", "id": "c", "code": {"coding": [coding], "text": text}},
               {"resourceType": "Condition", "id": "empty"})  # fmt: skip
    pair = f"{escaped(system or '')}|{escaped(code)}"
    for query in [f"code={escaped(code)}", f"code={pair}", f"code:text={escaped(text)}"]:
        assert index.find(f"Condition?{query}") == {"c"}, query
    if system is not None:
        assert index.find(f"Condition?code={escaped(system)}|") == {"c"}
        assert index.find(f"Condition?code=|{escaped(code)}") == set()
    assert index.find(f"Condition?code:not={pair}") == {"empty"}
    assert index.find(f"Condition?code:not={escaped(code)}") == {"empty"}


@given(CODES, SYSTEMS, CODES)
def test_an_identifier_is_found_by_value_system_and_type(index: Index, value: str, system: str, type: str) -> None:
    identifier = {"system": system, "value": value, "type": {"coding": [{"system": "urn:types", "code": type}]}}
    index.only({"resourceType": "Patient", "id": "p", "identifier": [identifier]},
               {"resourceType": "Patient", "id": "empty"})  # fmt: skip
    for query in [f"={escaped(value)}", f"={escaped(system)}|{escaped(value)}", f"={escaped(system)}|",
                  f":of-type=urn:types|{escaped(type)}|{escaped(value)}"]:  # fmt: skip
        assert index.find(f"Patient?identifier{query}") == {"p"}, query
    assert index.find(f"Patient?identifier:not={escaped(value)}") == {"empty"}


# --- one value for each parameter that R4 defines --------------------------------------------------------------------

CODING = {"system": "http://x.vn/cs", "code": "c1", "display": "Mã một"}
SAMPLES: dict[str, Any] = {
    "Coding": CODING,
    "CodeableConcept": {"coding": [CODING]},
    "Identifier": {"system": "http://x.vn/id", "value": "c1"},
    "ContactPoint": {"value": "c1"},
    "HumanName": {"text": "c1"},
    "Address": {"text": "c1"},
    "Reference": {"reference": "Patient/1"},
    "Period": {"start": "2020-01-01", "end": "2020-02-01"},
    "Timing": {"event": ["2020-01-01"]},
    "Range": {"low": {"value": 5, "unit": "c1"}, "high": {"value": 5}},
    "Money": {"value": 5, "currency": "VND"},
    "Location.position": {"latitude": 21, "longitude": 105},
    "Resource": {"resourceType": "Patient", "id": "1"},
    "boolean": True,
    "date": "2020-01-01",
    "dateTime": "2020-01-01",
    "instant": "2020-01-01T00:00:00Z",
    "decimal": 5,
    "integer": 5,
    "positiveInt": 5,
    "unsignedInt": 5,
    "time": "10:00:00",
    **{type: {"value": 5, "unit": "c1"} for type in ("Quantity", "Age", "Count", "Distance", "Duration")},
}
QUERIES = {
    "string": ["c1"],
    "date": ["2020", "eq2020", "ne2030", "gt2019", "lt2030", "ge2019", "le2030", "sa2019", "eb2030", "ap2020"],
    "number": ["5", "eq5", "ne6", "gt4", "lt6", "ge5", "le5", "sa4", "eb6", "ap5"],
    "quantity": ["5", "eq5", "ne6", "gt4.9", "lt6", "ge5", "le5", "sa4", "eb6", "ap5"],
    "special": ["21|105|1"],
}
NOT_SEARCHED = {"SampledData", "Attachment"}


def sample(path: Path) -> Any:
    return SAMPLES.get(path.type, "http://x.vn/c1" if path.type in ("uri", "url", "canonical") else "c1")


def built(steps: tuple[Any, ...], value: Any) -> Any:
    """What has the value at the end of the steps, None when the tests on the way cannot be met here."""
    if not steps:
        return value
    match steps[0]:
        case Child(name, many):
            below = built(steps[1:], value)
            return None if below is None else {name: [below] if many and not isinstance(below, list) else below}
        case At():
            return built(steps[1:], value)
        case Where(_, label):
            below = built(steps[1:], value)
            if below is None or not isinstance(below, dict):
                return None
            equal = re.findall(r"left=Name\(name='(\w+)'\), right=Constant\(value='([^']*)'\)", label)
            below = {**below, **dict(equal)}
            points_at = re.search(r"name='resolve'.* type='(\w+)'", label)
            if points_at:
                below["reference"] = f"{points_at[1]}/1"
            extension = re.search(r"name='hasExtension', arguments=\(Constant\(value='([^']*)'", label)
            if extension:
                below["extension"] = [{"url": extension[1], "valueBoolean": True}]
            return below
        case Truth():
            return {}
    raise TypeError(steps[0])


def samples(type: str, param: SearchParameter, paths: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in paths:
        if path.type in NOT_SEARCHED or (path.steps and path.steps[0] == Child("extension", True)):
            continue
        resource = built(path.steps, sample(path))
        if resource is not None and "contained" not in resource:
            yield path, {"resourceType": type, "id": "x", **resource}


def queries(param: SearchParameter, path: Path, value: Any) -> list[str]:
    if param.type in QUERIES:
        return QUERIES[param.type]
    if param.type == "reference" and path.type in ("Reference", "Resource"):
        return [value["reference"] if path.type == "Reference" else f"{value['resourceType']}/{value['id']}"]
    if path.type == "CodeableConcept":
        value = value["coding"][0]
    if isinstance(value, dict) and "system" in value:
        code = value.get("code") or value["value"]
        if path.type == "ContactPoint":
            return [code]
        return [code, f"{value['system']}|{code}", f"{value['system']}|"]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [value if isinstance(value, str) else "c1"]


@pytest.mark.parametrize("first", ["AB", "CD", "EFGH", "IJKLM", "NOP", "QRS", "TUVWXYZ"])
def test_every_parameter_of_r4_finds_a_value_at_every_place_its_expression_names(first: str) -> None:
    tried = 0
    for type in sorted(definitions().resource_types):
        if type[0] not in first:
            continue
        empty = entry({"resourceType": type, "id": "empty"})
        for code, param in extractor().params(type).items():
            if param.type == "composite" or (code.startswith("_") and type not in ("Patient", "Bundle")):
                continue
            for path, resource in samples(type, param, extractor().paths(type, param)):
                if param.type == "date" and path.type not in ("date", "dateTime", "instant", "Period", "Timing"):
                    continue
                stored, derived = entry(resource), any(isinstance(step, Truth) for step in path.steps)
                for query in queries(param, path, path.walk()(resource)[0]):
                    assert finds(stored, type, code, query), (type, code, path, query)
                    assert derived or not finds(empty, type, code, query), (type, code, path, query)
                    if param.type == "token":
                        assert not finds(stored, type, f"{code}:not", query), (type, code, path, query)
                        assert derived or finds(empty, type, f"{code}:not", query), (type, code, path, query)
                for one, is_missing in ((stored, False), (empty, True)) if code != "_id" and not derived else ():
                    assert finds(one, type, f"{code}:missing", "true") is is_missing, (type, code)
                    assert finds(one, type, f"{code}:missing", "false") is not is_missing, (type, code)
                tried += 1
    assert tried > 50
