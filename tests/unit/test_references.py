"""References: their forms, and rewriting them. R4 Resource References; R4 RESTful API, transaction."""

from __future__ import annotations

from fhir_server.model.references import Literal, by_table, conditional, is_id, literal, references, rewriter


def test_a_restful_reference_is_taken_apart() -> None:
    assert literal("Patient/1") == Literal(None, "Patient", "1", None)
    assert literal("http://a.b/fhir/Patient/1/_history/2") == Literal("http://a.b/fhir/", "Patient", "1", "2")
    for other in ("urn:uuid:1", "#p", "Patient?identifier=1", "Patient", "Patient/1/2", "patient/1", ""):
        assert literal(other) is None


def test_a_conditional_reference_is_a_type_and_a_query() -> None:
    assert conditional("Patient?identifier=a|b") == ("Patient", "identifier=a|b")
    assert conditional("Patient/1") is None
    assert conditional("http://a.b/Patient?x=1") is None


def test_ids_are_those_of_r4() -> None:
    assert is_id("a-B.9")
    for other in ("", "a b", "x" * 65, "$op", "a/b", None, 1):
        assert not is_id(other)


def test_every_reference_is_found_with_its_path() -> None:
    resource = {"subject": {"reference": "Patient/1"}, "contained": [{"a": [{"reference": "#x"}]}]}
    assert list(references(resource)) == [("subject.reference", "Patient/1"), ("contained[0].a[0].reference", "#x")]


def test_rewriting_reaches_references_links_and_narrative_and_nothing_else() -> None:
    resource = {
        "resourceType": "Basic",
        "subject": {"reference": "urn:uuid:1", "display": "urn:uuid:1"},
        "extension": [{"url": "urn:x", "valueUri": "urn:uuid:1"}, {"url": "urn:y", "valueString": "urn:uuid:1"}],
        "text": {"div": "<a href=\"urn:uuid:1#part\">urn:uuid:1</a><img src='urn:uuid:1'/>"},
    }
    made = rewriter(by_table({"urn:uuid:1": "Patient/9"}), {"valueUri", "url"})(resource)
    assert made["subject"] == {"reference": "Patient/9", "display": "urn:uuid:1"}
    assert [item.get("valueUri", item.get("valueString")) for item in made["extension"]] == ["Patient/9", "urn:uuid:1"]
    assert made["text"]["div"] == "<a href=\"Patient/9#part\">urn:uuid:1</a><img src='Patient/9'/>"
    assert resource["subject"] == {"reference": "urn:uuid:1", "display": "urn:uuid:1"}
