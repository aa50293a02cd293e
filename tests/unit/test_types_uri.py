import pytest
from search_index import Index

from fhir_server.errors import FhirError


@pytest.fixture(scope="module", autouse=True)
def _stored(index: Index) -> None:
    for id, url in {
        "fhir": "http://acme.org/fhir",
        "set": "http://acme.org/fhir/ValueSet/123",
        "other": "http://acme.org/fhir-other",
        "oid": "urn:oid:1.2.3",
        "oid-below": "urn:oid:1.2.3.4",
    }.items():
        index.put({"resourceType": "ValueSet", "id": id, "url": url, "version": "1.0"})
    index.put({"resourceType": "ValueSet", "id": "none", "meta": {"profile": ["http://p.org/x|2"]}})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("url=http://acme.org/fhir", {"fhir"}),
        ("url=http://ACME.org/fhir", set()),
        ("url=urn:oid:1.2.3", {"oid"}),
        ("url:below=http://acme.org/fhir", {"fhir", "set"}),
        ("url:below=http://acme.org/fhir/", {"fhir", "set"}),
        ("url:below=http://acme.org", {"fhir", "set", "other"}),
        ("url:below=urn:oid:1.2", set()),
        ("url:above=http://acme.org/fhir/ValueSet/123/_history/5", {"fhir", "set"}),
        ("url:above=urn:oid:1.2.3.4", set()),
        ("url:missing=true", {"none"}),
        ("url=http://acme.org/fhir|1.0", {"fhir"}),
        ("url=http://acme.org/fhir|2.0", set()),
        ("_profile=http://p.org/x", {"none"}),
        ("_profile=http://p.org/x|2", {"none"}),
        ("_profile=http://p.org/x|3", set()),
    ],
)
def test_a_uri_is_found_whole_or_by_its_path_segments(index: Index, query: str, found: set[str]) -> None:
    assert index.find(f"ValueSet?{query}") == found


@pytest.mark.parametrize("query", ["url=", "url:exact=http://acme.org", "url:missing=x"])
def test_what_a_uri_cannot_have_is_refused_by_name(index: Index, query: str) -> None:
    with pytest.raises(FhirError, match="url"):
        index.find(f"ValueSet?{query}")
