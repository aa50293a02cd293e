"""Every parser of what strangers send either reads it or refuses it by FhirError; nothing else comes out of any.

FHIR_TEST_EXAMPLES says how many examples each gets; `make fuzz` gives them many.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.xml_format import XmlFormat
from fhir_server.errors import FhirError
from fhir_server.http.negotiate import is_fhir, sent, wanted
from fhir_server.interactions.entries import entry_request
from fhir_server.interactions.fhirpath_patch import FhirpathPatch
from fhir_server.interactions.headers import if_match, is_create_only, is_unchanged, prefer, prefer_return
from fhir_server.interactions.patch import json_patch, merge_patch
from fhir_server.model.dates import range_of
from fhir_server.model.duplicates import first_duplicate
from fhir_server.model.json_body import decode_body
from fhir_server.model.references import conditional, literal, references, rewriter
from fhir_server.model.resources import decode, encode
from fhir_server.search.page_links import unseal
from fhir_server.search.parameters import Parameters
from fhir_server.search.parse import parse, query_pairs
from fhir_server.store.values import Stored
from fhir_server.validation.validate import Validator
from tests.builders import a_patient
from tests.unit.resource_strategies import DEFINITIONS, resources

BOUND = settings(
    max_examples=int(os.environ.get("FHIR_TEST_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
XML = XmlFormat(DEFINITIONS)
VALIDATOR = Validator(DEFINITIONS)
PARAMETERS = Parameters(DEFINITIONS, Capability.load(DATA_ROOT / "capability_statement.json"))
PATCHES = FhirpathPatch(DEFINITIONS)
VERSION = Stored("Patient", "1", 3, 1_700_000_000_000, b"{}")

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
HEADER = st.text(st.characters(max_codepoint=255), max_size=60) | st.from_regex(r'(W/)?"[^"]*"(, ?(W/)?"[^"]*")*')
NAMES = [
    "resourceType",
    "extension",
    "url",
    "name",
    "id",
    "path",
    "op",
    "value",
    "given",
    "_given",
    "meta",
    "$x",
    "a.b",
]
FHIRLIKE = st.recursive(
    SCALARS | st.sampled_from(["Patient", "1", 'W/"1"', "urn:x", "2020", "#a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=15,
)


def refused(read: Callable[[], Any]) -> bool:
    """False when it was read. Any other error is let through and fails the test."""
    told: FhirError | None = None
    try:
        read()
    except FhirError as fault:
        told = fault
    assert told is None or (told.kind.status < 500 and told.diagnostics)
    return told is not None


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(b'{"a":1,"a":2}')
@BOUND
def test_json(body: bytes) -> None:
    refused(lambda: decode_body(body))


@given(VALUES)
@BOUND
def test_json_without_duplicates_is_read_as_it_was_written(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False)):
        assert encode(decode_body(text.encode())) == encode(decode(text.encode()))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "\\u0061", "b:", '\\"', "é"]), SCALARS), min_size=1, max_size=5), st.data()
)
@BOUND
def test_a_duplicate_is_refused_wherever_it_stands_and_only_then(
    pairs: list[tuple[str, Any]], data: st.DataObject
) -> None:
    colon = data.draw(st.sampled_from([":", " : ", "\n:"]))
    body = "{" + ",".join(f'"{name}"{colon}{json.dumps(value)}' for name, value in pairs) + "}"
    body = data.draw(st.sampled_from(["%s", '[{"x":":"},%s]', '{"x":[1,%s],"y":{}}'])) % body
    names = [json.loads(f'"{name}"') for name, _ in pairs]
    is_double = len(set(names)) < len(names)
    assert refused(lambda: decode_body(body.encode())) == is_double
    assert (first_duplicate(body.encode()) is not None) == is_double


@given(st.binary(max_size=60) | resources().map(XML.to_xml), st.data())
@BOUND
def test_xml(body: bytes, data: st.DataObject) -> None:
    """Whole documents, noise, and documents with a piece cut out or doubled."""
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    for broken in (body, body[:start] + body[end:], body[:end] + body[start:]):
        refused(lambda broken=broken: XML.from_xml(broken))  # type: ignore[misc]


@given(FHIRLIKE)
@BOUND
def test_validation_tells_faults_and_raises_none(value: Any) -> None:
    resource = (
        {**value, "resourceType": "Patient"} if isinstance(value, dict) else {"resourceType": "Patient", "name": value}
    )
    VALIDATOR.validate(resource, "Patient")
    list(references(resource))
    rewriter(lambda link: link, frozenset({"url"}))(resource)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]) | VALUES,
                "path": st.sampled_from(["", "/", "/name", "/name/0", "/name/-", "/name/0/text", "/gender", "/~1"])
                | st.text(max_size=9)
                | VALUES,
                "from": st.sampled_from(["/name", "/name/0", ""]) | VALUES,
                "value": FHIRLIKE,
            },
        )
        | VALUES,
        max_size=5,
    )
)
@BOUND
def test_json_patches(operations: list[Any]) -> None:
    before = a_patient()
    refused(lambda: json_patch(operations)(before))
    assert before == a_patient()


@given(st.dictionaries(st.sampled_from([*NAMES, "gender", "birthDate"]), FHIRLIKE, max_size=4))
@BOUND
def test_merge_patches(partial: dict[str, Any]) -> None:
    before = a_patient()
    refused(lambda: merge_patch(partial)(before))
    assert before == a_patient()


PATHS = ["Patient", "Patient.name", "Patient.name[0]", "Patient.name.where(text = 'x')", "Patient.gender", "name"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.just("operation")},
            optional={
                "part": st.lists(
                    st.sampled_from(["type", "path", "name", "value", "index", "source", "destination"]).flatmap(
                        lambda name: st.fixed_dictionaries(
                            {"name": st.just(name)},
                            optional={
                                "valueCode": st.sampled_from(["add", "insert", "delete", "replace", "move", "x"]),
                                "valueString": st.sampled_from(PATHS) | st.text(max_size=12),
                                "valueInteger": st.integers(-3, 3),
                                "part": VALUES,
                            },
                        )
                    ),
                    max_size=6,
                )
            },
        )
        | VALUES,
        max_size=3,
    )
)
@BOUND
def test_fhirpath_patches(rows: list[Any]) -> None:
    before = a_patient()
    refused(lambda: PATCHES.change({"resourceType": "Parameters", "parameter": rows})(before))
    assert before == a_patient()


@given(st.text(max_size=40) | st.from_regex(r"Patient(\.[a-z]{1,9}(\[\d\]|\.where\([a-z]{1,5} = '[^']*'\))?){0,4}"))
@BOUND
def test_paths_of_fhirpath_patches(path: str) -> None:
    part = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
    rows = [{"name": "operation", "part": part}]
    refused(lambda: PATCHES.change({"resourceType": "Parameters", "parameter": rows})(a_patient()))


@given(HEADER)
@BOUND
def test_headers(text: str) -> None:
    for read in (
        lambda: wanted(text, None),
        lambda: wanted("", text),
        lambda: sent(text),
        lambda: is_fhir(text),
        lambda: if_match({"if-match": text}),
        lambda: is_create_only({"if-none-match": text}),
        lambda: is_unchanged({"if-none-match": text}, VERSION),
        lambda: is_unchanged({"if-modified-since": text}, VERSION),
        lambda: prefer({"prefer": text}),
        lambda: prefer_return({"prefer": text}, "minimal"),
    ):
        refused(read)


@given(
    st.text(max_size=60) | st.from_regex(r"([a-z_]{1,12}(:[a-z]{1,8})?(\.[a-z]{1,8})?=[^&]{0,20}&?){1,4}"),
    st.booleans(),
)
@BOUND
def test_queries(text: str, strict: bool) -> None:
    refused(lambda: parse(PARAMETERS, ("Patient",), query_pairs(text), strict=strict))


CODES = st.sampled_from(sorted(PARAMETERS.of("Observation")))
MODIFIERS = st.sampled_from(
    ["", ":exact", ":missing", ":not", ":of-type", ":in", ":identifier", ":Patient", ":above", ":x"]
)


@given(CODES, MODIFIERS, st.text(max_size=20) | st.from_regex(r"(eq|ne|gt|ge|lt|le|sa|eb|ap)?[0-9.\-:TZ+e|$,]{0,25}"))
@BOUND
def test_values_of_search_parameters(code: str, modifier: str, text: str) -> None:
    refused(lambda: parse(PARAMETERS, ("Observation",), ((code + modifier, text),), strict=True))


@given(st.text(max_size=50))
@BOUND
def test_page_links_references_and_dates(text: str) -> None:
    assert refused(lambda: unseal(text, b"k" * 32))
    literal(text)
    conditional(text)
    range_of(text, "+07:00")


@given(FHIRLIKE, VALUES)
@BOUND
def test_bundle_entries(entry: Any, request: Any) -> None:
    for item in (entry, {"request": request}, {"request": {"method": "PUT", "url": str(request)}, "resource": entry}):
        refused(lambda item=item: entry_request(item, "Bundle.entry[0]", "http://test/fhir", {}))  # type: ignore[misc]


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b"[" * 1000, b'"' + b"\\" * 999 + b'"'])
def test_edges_of_json(body: bytes) -> None:
    assert refused(lambda: decode_body(body))
