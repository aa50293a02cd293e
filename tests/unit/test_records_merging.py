"""What becomes of a stored Patient when further records speak of the same person."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.resources import same_content
from fhir_server.records.identity import contradicts, number_facts
from fhir_server.records.merging import merge

DATE = "urn:vn-basic:StructureDefinition:record-date"


def said(sender: str, record: str = "1", day: str = "2026-01-01", **elements: Any) -> dict[str, Any]:
    meta = {"source": f"{sender}#{record}", "extension": [{"url": DATE, "valueDateTime": day}]}
    return {"resourceType": "Patient", "id": "p", "meta": meta, **elements}


def number(value: str) -> dict[str, str]:
    return {"system": "urn:x", "value": value}


phones = st.lists(st.sampled_from(["1", "2", "3"]), max_size=2, unique=True)
patients = st.builds(
    lambda sender, record, day, own, numbers, name, more: said(
        sender,
        record,
        day,
        **({"telecom": [{"system": "phone", "value": one} for one in own]} if own else {}),
        **({"identifier": [number(one) for one in numbers]} if numbers else {}),
        name=[{"text": name}],
        **more,
    ),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["2026-01-01", "2026-02-01"]),
    phones,
    phones,
    st.sampled_from(["An", "Anh"]),
    st.sampled_from([{}, {"active": True}, {"extension": [{"url": "u", "valueCode": "x"}]}, {"gender": "male"}]),
)


@given(st.lists(patients, min_size=1, max_size=5, unique_by=lambda one: one["meta"]["source"]))
def test_sending_the_same_records_again_changes_nothing(records: list[dict[str, Any]]) -> None:
    stored = records[0]
    for one in records[1:]:
        stored, _ = merge(stored, one)
    for one in records:
        again, _ = merge(stored, one)
        assert same_content(again, stored)


@given(patients, patients)
def test_numbers_are_only_ever_added(stored: dict[str, Any], fresh: dict[str, Any]) -> None:
    merged, _ = merge(stored, fresh)
    held = {one["value"] for one in merged.get("identifier", ())}
    assert held == {one["value"] for side in (stored, fresh) for one in side.get("identifier", ())}


def test_neither_side_is_changed() -> None:
    stored, fresh = said("a", telecom=[{"value": "1"}]), said("b", telecom=[{"value": "2"}])
    merge(stored, fresh)
    assert (stored["telecom"], fresh["telecom"]) == ([{"value": "1"}], [{"value": "2"}])


def test_another_sender_s_contradiction_is_named_and_changes_no_element() -> None:
    stored = said("a", name=[{"text": "Nguyễn Văn An"}], birthDate="1985-03-02")
    merged, differing = merge(stored, said("b", name=[{"text": "Nguyễn An"}], birthDate="1985-04-02"))
    assert {**merged, "meta": None} == {**stored, "meta": None}
    assert merged["meta"]["tag"] == [{"system": "urn:vn-basic:CodeSystem:record-source", "code": "b"}]
    assert differing == ["name", "birthDate"]


def test_a_name_in_capitals_and_a_coarser_birth_date_are_no_contradiction() -> None:
    stored = said("a", name=[{"text": "Nguyễn Văn An"}], birthDate="1985-03-02")
    assert merge(stored, said("b", name=[{"text": "NGUYỄN  VĂN AN"}], birthDate="1985"))[1] == []


def test_what_others_added_outlives_the_first_sender_s_next_record() -> None:
    first = said("a", telecom=[{"system": "phone", "value": "1"}])
    both, _ = merge(first, said("b", telecom=[{"system": "phone", "value": "2"}], active=True))
    newer, _ = merge(both, said("a", "2", "2026-03-01", telecom=[{"system": "phone", "value": "3"}]))
    assert [one["value"] for one in newer["telecom"]] == ["3", "1", "2"]
    assert newer["active"] is True


def test_sex_and_birth_year_speak_against_being_one_person_only_where_both_are_known() -> None:
    assert contradicts({"gender": "male"}, {"gender": "female"}) == "sex"
    assert contradicts({"gender": "male"}, {"gender": "unknown"}) == ""
    assert contradicts({"birthDate": "1985"}, {"birthDate": "1986-01-01"}) == "birth year"
    assert contradicts({"birthDate": "1985"}, {"birthDate": "1985-01-01"}) == ""
    assert contradicts({}, {"birthDate": "1985"}) == ""


def test_a_personal_number_tells_sex_and_year() -> None:
    assert number_facts("038085000123") == ("male", 1985)
    assert number_facts("038185000123") == ("female", 1985)
    assert number_facts("001326000123") == ("female", 2026)


def test_where_a_number_was_issued_is_added_to_the_number_that_another_sender_told_bare() -> None:
    issued = {**number("1"), "period": {"start": "2021-05-03"}, "assigner": {"display": "Cục Cảnh sát"}}
    merged, _ = merge(said("a", identifier=[number("1")]), said("b", identifier=[issued]))
    assert merged["identifier"] == [issued]
    assert merge(merged, said("a", "2", "2026-02-01", identifier=[number("1")]))[0]["identifier"] == [issued]
