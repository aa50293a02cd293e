import pytest
from search_index import BASE, Index

from fhir_server.errors import FhirError


@pytest.fixture(scope="module", autouse=True)
def _stored(index: Index) -> None:
    def condition(id: str, **subject: object) -> dict[str, object]:
        return {"resourceType": "Condition", "id": id, "subject": subject}

    index.put(
        condition("relative", reference="Patient/1"),
        condition("own", reference=f"{BASE}/Patient/1"),
        condition("versioned", reference="Patient/1/_history/3"),
        condition("foreign", reference="http://other.vn/fhir/Patient/1"),
        condition("group", reference="Group/1"),
        condition("contained", reference="#p"),
        condition("urn", reference="urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", type="Patient"),
        condition("logical", type="Patient", identifier={"system": "urn:old:cccd", "value": "079"}),
        {
            "resourceType": "QuestionnaireResponse",
            "id": "v1",
            "questionnaire": "http://example.org/q|1.2",
        },
        {"resourceType": "QuestionnaireResponse", "id": "v2", "questionnaire": "http://example.org/q|2.0"},
        {"resourceType": "QuestionnaireResponse", "id": "any", "questionnaire": "http://example.org/q"},
        {
            "resourceType": "Bundle",
            "id": "b",
            "type": "document",
            "entry": [{"resource": {"resourceType": "Composition", "id": "c1"}}],
        },
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("subject=Patient/1", {"relative", "own", "versioned"}),
        ("subject=1", {"relative", "own", "versioned", "group"}),
        (f"subject={BASE}/Patient/1", {"relative", "own", "versioned"}),
        ("subject=Patient/1/_history/3", {"versioned"}),
        ("subject=Patient/1/_history/4", set()),
        ("subject=http://other.vn/fhir/Patient/1", {"foreign"}),
        ("subject=Group/1", {"group"}),
        ("subject=urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", {"urn"}),
        ("subject=%23p", set()),
        ("subject=patient/1", set()),
        ("subject=Patient/1,Group/1", {"relative", "own", "versioned", "group"}),
        ("patient=1", {"relative", "own", "versioned"}),
        ("patient=Patient/1", {"relative", "own", "versioned"}),
        ("patient=Group/1", set()),
        ("patient=http://other.vn/fhir/Patient/1", {"foreign"}),
        ("patient=urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", {"urn"}),
        ("subject:identifier=urn:new:cccd|079", {"logical"}),
        ("subject:identifier=079", {"logical"}),
        ("subject:identifier=|079", set()),
        ("subject:identifier=urn:old:cccd|", {"logical"}),
        ("subject=079", set()),
        ("subject:missing=true", {"contained"}),
    ],
)
def test_a_reference_is_found_by_id_type_url_version_or_identifier(index: Index, query: str, found: set[str]) -> None:
    assert index.find(f"Condition?{query}") == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("questionnaire=http://example.org/q", {"v1", "v2", "any"}),
        ("questionnaire=http://example.org/q\\|1.2", {"v1"}),
        ("questionnaire:below=http://example.org/q", {"v1", "v2", "any"}),
        ("questionnaire:below=http://example.org/q\\|1", {"v1"}),
        ("questionnaire:below=http://example.org/q\\|1.2", {"v1"}),
        ("questionnaire:below=http://example.org/q\\|1.", set()),
    ],
)
def test_a_canonical_is_found_with_and_without_its_version(index: Index, query: str, found: set[str]) -> None:
    assert index.find(f"QuestionnaireResponse?{query}") == found
    assert index.find(f"QuestionnaireResponse?{query}".replace("\\", "")) == found


def test_a_resource_nested_in_a_bundle_is_referred_to(index: Index) -> None:
    assert index.find("Bundle?composition=Composition/c1") == {"b"}
    assert index.find("Bundle?composition=c1") == {"b"}


@pytest.mark.parametrize("query", ["subject=", "subject:exact=1", "subject:identifier=|", "subject:below=1"])
def test_what_a_reference_cannot_have_is_refused_by_name(index: Index, query: str) -> None:
    with pytest.raises(FhirError, match="subject"):
        index.find(f"Condition?{query}")
