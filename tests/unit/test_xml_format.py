"""JSON and XML are two forms of one resource. R4 XML Representation of Resources."""

from __future__ import annotations

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.xml_format import XmlFormat
from fhir_server.errors import FhirError
from fhir_server.model.resources import decode, encode

XML = XmlFormat(Definitions.load(DATA_ROOT))


def xml(inner: str, root: str = "Patient") -> bytes:
    return f'<{root} xmlns="http://hl7.org/fhir">{inner}</{root}>'.encode()


def places(body: bytes) -> list[str]:
    with pytest.raises(FhirError) as refused:
        XML.from_xml(body)
    return [path for issue in refused.value.all_issues() for path in issue.expression]


WHOLE = """{"resourceType":"Patient","id":"a","meta":{"versionId":"1"},
"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><p>An &amp; <b>Bình</b></p></div>"},
"contained":[{"resourceType":"Organization","id":"o","name":"Trạm y tế"}],
"extension":[{"url":"urn:x","valueDecimal":1.10},{"url":"urn:y","extension":[{"url":"z","valueBoolean":false}]}],
"identifier":[{"id":"i1","system":"urn:s","value":"1"}],"name":[{"text":"Nguyễn Văn An","given":["Văn",null,"An"],
"_given":[null,{"extension":[{"url":"urn:x","valueCode":"masked"}]},{"id":"g"}]}],
"birthDate":"1985","_birthDate":{"id":"b"},"multipleBirthInteger":2,
"contact":[{"id":"c","name":{"family":"Trần"}}]}"""


def test_everything_comes_back_as_it_was_sent() -> None:
    resource = decode(WHOLE.encode())
    assert encode(XML.from_xml(XML.to_xml(resource))) == encode(resource)


def test_narrative_is_xhtml_and_no_value() -> None:
    body = xml('<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p>An</p></div></text>')
    read = XML.from_xml(body)
    assert read["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml"><p>An</p></div>'
    assert b'<div xmlns="http://www.w3.org/1999/xhtml"><p>An</p></div></text>' in XML.to_xml(read)


def test_elements_are_written_in_the_order_of_the_definitions() -> None:
    text = XML.to_xml(decode(b'{"resourceType":"Patient","birthDate":"1985","name":[{"text":"A"}],"id":"a"}')).decode()
    assert text.index("<id ") < text.index("<name>") < text.index("<birthDate ")


def test_decimals_keep_their_digits() -> None:
    body = xml('<status value="final"/><valueQuantity><value value="1.10"/></valueQuantity>', "Observation")
    assert b"1.10" in encode(XML.from_xml(body))


def test_comments_and_white_space_mean_nothing() -> None:
    assert XML.from_xml(xml("<!-- c -->\n <active value='true'/> <?p i?>")) == {
        "resourceType": "Patient",
        "active": True,
    }


def test_characters_that_xml_cannot_carry_are_replaced() -> None:
    assert "A\ufffdB" in XML.to_xml({"resourceType": "Patient", "name": [{"text": "A\x01B"}]}).decode()


def test_an_unknown_element_attribute_or_text_is_told_by_place() -> None:
    assert places(xml("<nonsense/>")) == ["Patient"]
    assert places(xml('<active value="true" x="1"/>')) == ["Patient.active"]
    assert places(xml("<name>An</name>")) == ["Patient.name[0]"]
    assert places(xml('<active value="true"/><active value="true"/>')) == ["Patient.active"]
    assert places(xml("<contained/>")) == ["Patient.contained[0]"]


@pytest.mark.parametrize(
    ("inner", "place"),
    [
        ('<gender value="male"/><active value="true"/>', "Patient.active"),
        ('<name/><gender value="male"/><name/>', "Patient.name"),
        ('<name><given value="An"/><family value="Lê"/></name>', "Patient.name[0].family"),
        ('<multipleBirthInteger value="2"/><deceasedBoolean value="true"/>', "Patient.deceasedBoolean"),
        ('<active value="true"/><id value="a"/>', "Patient.id"),
    ],
)
def test_elements_out_of_the_order_of_the_definitions_are_refused_by_place(inner: str, place: str) -> None:
    assert places(xml(inner)) == [place]


def test_text_beside_elements_is_refused_and_never_lost() -> None:
    assert places(xml('<active value="true"/>An')) == ["Patient"]
    assert places(xml('<active value="true">An</active>')) == ["Patient.active"]
    assert places(xml("<name><text value='An'/>Bình</name>")) == ["Patient.name[0]"]


def test_all_faults_are_told_at_once() -> None:
    assert places(xml("<x/><name><y/></name>")) == ["Patient", "Patient.name[0]"]


def test_a_wrong_namespace_is_refused() -> None:
    assert places(b'<Patient xmlns="urn:other"/>') == ["Patient"]
    assert places(b"<Patient/>") == ["Patient"]


def test_doctypes_and_entities_are_refused() -> None:
    bomb = b'<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Patient xmlns="http://hl7.org/fhir"/>'
    with pytest.raises(FhirError, match="DOCTYPE"):
        XML.from_xml(bomb)
    file = b'<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir">&a;</Patient>'
    with pytest.raises(FhirError, match="DOCTYPE"):
        XML.from_xml(file)


@pytest.mark.parametrize("body", [b"", b"<", b"<Patient>", b"\xff\xfe<", b"{}", xml("<extension>" * 5000)])
def test_what_is_no_xml_is_refused(body: bytes) -> None:
    with pytest.raises(FhirError, match="well-formed"):
        XML.from_xml(body)


def test_deep_nesting_is_refused_by_place() -> None:
    body = xml("<extension>" * 120 + "</extension>" * 120)
    assert places(body)[0].startswith("Patient.extension[0].extension[0]")
