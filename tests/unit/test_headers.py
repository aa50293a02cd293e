"""The headers that FHIR gives a meaning to. R4 RESTful API."""

from __future__ import annotations

import pytest

from fhir_server.errors import FhirError
from fhir_server.http.negotiate import JSON, XML, sent, wanted
from fhir_server.interactions.headers import if_match, is_create_only, is_unchanged, prefer, prefer_return
from fhir_server.store.values import ANY_VERSION, Stored

VERSION = Stored("Patient", "a", 3, 1_767_225_600_123, b"{}")


@pytest.mark.parametrize(("text", "version"), [('W/"3"', 3), ('"3"', 3), ("3", 3), ("*", ANY_VERSION), ("", None)])
def test_if_match_names_a_version(text: str, version: int | None) -> None:
    assert if_match({"if-match": text}) == version


@pytest.mark.parametrize("text", ['W/"x"', "soon", 'W/"3", W/"4"', "-1"])
def test_an_if_match_that_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(FhirError, match="If-Match"):
        if_match({"if-match": text})


def test_create_only_is_if_none_match_star() -> None:
    assert is_create_only({"if-none-match": "*"})
    assert not is_create_only({})
    with pytest.raises(FhirError, match="If-None-Match"):
        is_create_only({"if-none-match": 'W/"1"'})


def test_etags_go_before_dates_and_a_bad_date_is_ignored() -> None:
    late = "Thu, 01 Jan 2026 00:00:00 GMT"
    assert is_unchanged({"if-none-match": 'W/"2", W/"3"'}, VERSION)
    assert not is_unchanged({"if-none-match": 'W/"2"', "if-modified-since": late}, VERSION)
    assert is_unchanged({"if-modified-since": late}, VERSION)
    assert not is_unchanged({"if-modified-since": "whenever"}, VERSION)


def test_prefer_is_a_table_of_its_parts() -> None:
    assert prefer({"prefer": "return=minimal; handling=strict, respond-async"}) == {
        "return": "minimal",
        "handling": "strict",
        "respond-async": "",
    }
    assert prefer_return({"prefer": "return=presentation"}, "representation") == "representation"


@pytest.mark.parametrize(
    ("accept", "format", "media_type"),
    [
        ("", None, JSON),
        ("*/*", None, JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None, JSON),
        ("application/fhir+xml", None, XML),
        ("application/fhir+json;q=0.5, application/fhir+xml", None, XML),
        ("application/fhir+xml", "json", JSON),
        ("image/png", "application/fhir xml", XML),
        ("application/fhir+json, */*; q=0.1", None, JSON),
        ("application/fhir+json; fhirVersion=4.0", None, JSON),
    ],
)
def test_format_goes_before_accept_and_quality_decides(accept: str, format: str | None, media_type: str) -> None:
    assert wanted(accept, format) == media_type


@pytest.mark.parametrize(("accept", "format"), [("image/png", None), ("application/json;q=0", None), ("*/*", "ttl")])
def test_a_format_that_is_not_served_is_refused(accept: str, format: str | None) -> None:
    with pytest.raises(FhirError):
        wanted(accept, format)


def test_bodies_are_json_or_xml_in_utf8() -> None:
    assert sent("application/json-patch+json; charset=UTF-8") == JSON
    assert sent("application/fhir+xml") == XML
    assert sent("") == JSON
    for refused in ("text/csv", "application/octet-stream", "application/json; charset=latin-1"):
        with pytest.raises(FhirError):
            sent(refused)
