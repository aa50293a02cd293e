import pytest
from search_index import Index

from fhir_server.errors import FhirError
from fhir_server.search.lookup import no_codes

LOINC, ICD10 = "http://loinc.org", "http://hl7.org/fhir/sid/icd-10"
GENDER = "http://hl7.org/fhir/administrative-gender"


@pytest.fixture(scope="module", autouse=True)
def _stored(index: Index) -> None:
    def condition(id: str, **code: object) -> dict[str, object]:
        return {"resourceType": "Condition", "id": id, "code": code}

    index.put(
        condition("asthma", coding=[{"system": ICD10, "code": "J45", "display": "Hen phế quản"}]),
        condition("other", coding=[{"system": "urn:x", "code": "J45"}, {"system": ICD10, "code": "I10"}]),
        condition("bare", coding=[{"code": "J45"}]),
        condition("spoken", text="Bệnh tăng huyết áp vô căn"),
        {"resourceType": "Condition", "id": "none"},
        {
            "resourceType": "Patient",
            "id": "an",
            "active": True,
            "gender": "male",
            "telecom": [{"system": "phone", "value": "0912345678"}],
            "identifier": [
                {
                    "system": "urn:old:cccd",
                    "value": "079085000123",
                    "type": {"text": "Căn cước", "coding": [{"system": "urn:types", "code": "NI"}]},
                },
                {"value": "BN|1"},
            ],
        },
        {"resourceType": "Patient", "id": "binh", "gender": "female", "deceasedBoolean": True},
        {"resourceType": "Patient", "id": "chi", "deceasedDateTime": "2020"},
        {
            "resourceType": "DocumentReference",
            "id": "xml",
            "content": [{"attachment": {"contentType": "text/xml; charset=UTF-8"}}],
        },
        {
            "resourceType": "DocumentReference",
            "id": "plain",
            "content": [{"attachment": {"contentType": "text/plain"}}],
        },
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("code=J45", {"asthma", "other", "bare"}),
        (f"code={ICD10}|J45", {"asthma"}),
        ("code=|J45", {"bare"}),
        (f"code={ICD10}|", {"asthma", "other"}),
        ("code=urn:unheard-of|J45", set()),
        ("code=j45", set()),
        (f"code={ICD10}|I10,|J45", {"other", "bare"}),
        ("code:not=J45", {"spoken", "none"}),
        ("code:not=urn:unheard-of|J45", {"asthma", "other", "bare", "spoken", "none"}),
        (f"code:not={ICD10}|", {"bare", "spoken", "none"}),
        ("code:text=hen", {"asthma"}),
        ("code:text=PHẾ QUẢN", {"asthma"}),
        ("code:text=huyet ap", {"spoken"}),
        ("code:text=J45", set()),
        ("code:missing=true", {"none"}),
        ("code:missing=false", {"asthma", "other", "bare", "spoken"}),
    ],
)
def test_a_concept_is_found_by_code_system_both_or_text(index: Index, query: str, found: set[str]) -> None:
    assert index.find(f"Condition?{query}") == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("identifier=079085000123", {"an"}),
        ("identifier=urn:old:cccd|079085000123", {"an"}),
        ("identifier=urn:new:cccd|079085000123", {"an"}),
        ("identifier=urn:new:cccd|", {"an"}),
        ("identifier=|079085000123", set()),
        ("identifier=|BN\\|1", {"an"}),
        ("identifier=BN\\|1", {"an"}),
        ("identifier:of-type=urn:types|NI|079085000123", {"an"}),
        ("identifier:of-type=urn:types|NI|BN\\|1", set()),
        ("identifier:text=can cuoc", {"an"}),
        ("telecom=0912345678", {"an"}),
        ("phone=0912345678", {"an"}),
        ("email=0912345678", set()),
        ("active=true", {"an"}),
        ("active=false", set()),
        ("gender=male", {"an"}),
        (f"gender={GENDER}|male", {"an"}),
        ("gender=http://other.org|male", set()),
        (f"gender={GENDER}|", {"an", "binh"}),
        ("gender:not=male", {"binh", "chi"}),
        ("deceased=true", {"binh", "chi"}),
        ("deceased=false", {"an"}),
    ],
)
def test_identifiers_flags_contact_points_and_codes_are_tokens(index: Index, query: str, found: set[str]) -> None:
    assert index.find(f"Patient?{query}") == found


def test_a_mime_type_is_found_below_its_base(index: Index) -> None:
    assert index.find("DocumentReference?contenttype=text/xml") == set()
    assert index.find("DocumentReference?contenttype:below=text/xml") == {"xml"}


def test_the_codes_of_a_value_set_are_looked_for_by_system_and_code(index: Index) -> None:
    index.expand = lambda modifier, value: [(ICD10, "J45"), ("urn:x", "K00")]
    assert index.find("Condition?code:in=http://example.org/vs") == {"asthma"}
    assert index.find("Condition?code:not-in=http://example.org/vs") == {"other", "bare", "spoken", "none"}
    index.expand = lambda modifier, value: []
    assert index.find("Condition?code:in=http://example.org/vs") == set()


def test_tokens_on_strings_do_not_tell_case_apart(index: Index) -> None:
    index.put({"resourceType": "Medication", "id": "m", "batch": {"lotNumber": "Lô 7"}})
    assert index.find("Medication?lot-number=LÔ 7") == {"m"}


@pytest.mark.parametrize(
    "query",
    [
        "Patient?telecom=phone|0912345678",
        "Patient?active=x|true",
        "Patient?identifier=",
        "Patient?identifier=|",
        "Patient?identifier:of-type=urn:types|NI",
        "Patient?identifier:exact=1",
        "Patient?identifier:missing=perhaps",
        "Condition?code:of-type=a|b|c",
        "Condition?code:text= ",
        "Condition?code:in=http://example.org/unheard-of",
    ],
)
def test_what_a_token_cannot_have_is_refused_by_name(index: Index, query: str) -> None:
    index.expand = no_codes
    with pytest.raises(FhirError) as refused:
        index.find(query)
    assert refused.value.kind.status == 400
    name = query.partition("?")[2].partition("=")[0].partition(":")[0]
    assert name in refused.value.diagnostics or "value set" in refused.value.diagnostics
