import pytest
from search_index import Index

from fhir_server.errors import FhirError


@pytest.fixture(scope="module", autouse=True)
def _stored(index: Index) -> None:
    index.put(
        {
            "resourceType": "Condition",
            "id": "told",
            "text": {
                "status": "generated",
                "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Hen <b>phế quản</b> n&#7863;ng &amp; ho</p></div>',
            },
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "J45"}]},
        },
        {
            "resourceType": "Condition",
            "id": "noted",
            "note": [{"text": "Dị ứng tôm"}],
            "subject": {"reference": "Patient/77"},
        },
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("_text=phe", {"told"}),
        ("_text=hen nặng", {"told"}),
        ("_text=nang hen", {"told"}),
        ("_text=he", {"told"}),
        ("_text=en", set()),
        ("_text=xmlns", set()),
        ("_text=b", set()),
        ("_text=J45", set()),
        ("_text=tom", set()),
        ("_text=hen,tôm", {"told"}),
        ("_text:missing=true", {"noted"}),
        ("_content=J45", {"told"}),
        ("_content=TÔM", {"noted"}),
        ("_content=phe,tom", {"told", "noted"}),
        ("_content=phe tom", set()),
        ("_content=77", set()),
        ("_content=$where", set()),
    ],
)
def test_words_of_the_narrative_or_of_everything_are_found_in_any_order(
    index: Index, query: str, found: set[str]
) -> None:
    assert index.find(f"Condition?{query}") == found


@pytest.mark.parametrize("query", ["_text=", "_content= ", "_text:exact=hen"])
def test_what_a_text_search_cannot_have_is_refused_by_name(index: Index, query: str) -> None:
    with pytest.raises(FhirError, match=r"_(text|content)"):
        index.find(f"Condition?{query}")
