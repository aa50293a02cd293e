"""Writes are narrowed as reads are: citizens their own reports, facilities what they sent, communes their ward."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from fhir_server.interactions.exchange import Context
from tests.builders import CCCD, a_condition, a_patient, an_entry
from tests.security.callers import SENSITIVE, Caller, living_in
from tests.security.conftest import Ask
from tests.security.people import HA_NOI, THANH_HOA, consent, observation, patient, settle

PATRPT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PATRPT"}
SENDER = "urn:vn-basic:CodeSystem:sender"


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)


@pytest.fixture
def citizen(ask: Ask) -> Caller:
    return ask("patient/*.cruds", patient="an")


@pytest.fixture
def hospital(ask: Ask) -> Caller:
    return ask("system/*.cruds", organization="h1")


@pytest.fixture
def officer(ask: Ask) -> Caller:
    return ask("user/*.cruds", administrative_unit=f"ward:{THANH_HOA}")


@pytest.fixture
def narrowed(citizen: Caller, hospital: Caller, officer: Caller) -> list[Caller]:
    return [citizen, hospital, officer]


async def stored(admin: Caller, name: str) -> dict[str, Any]:
    answer = await admin.get(name)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def no_id(answer: httpx.Response, id: str) -> tuple[int, str]:
    return answer.status_code, answer.text.replace(id, "")


async def test_citizens_change_what_is_administrative_in_their_own_record(citizen: Caller, admin: Caller) -> None:
    own = await stored(admin, "Patient/an")
    changed = {**own, "telecom": [{"system": "phone", "value": "0900000001"}]}
    answer = await citizen.put(changed)
    assert answer.status_code == 200, answer.text
    assert (await stored(admin, "Patient/an"))["telecom"] == changed["telecom"]
    provenance = (await admin.get("Provenance?target=Patient/an")).json()["entry"][-1]["resource"]
    assert provenance["agent"][0]["who"] == {"reference": "Patient/an"}
    version = answer.json()["meta"]["versionId"]
    assert provenance["target"] == [{"reference": f"Patient/an/_history/{version}"}]


@pytest.mark.parametrize(
    "change",
    [
        {"birthDate": "1990-01-01"},
        {"name": [{"text": "Nguyễn Văn Khác"}]},
        {"identifier": [{"system": CCCD, "value": "038085000001"}]},
        {"managingOrganization": {"reference": "Organization/h2"}},
        {"deceasedBoolean": True},
        {"meta": {"security": [PATRPT]}},
        {"_birthDate": {"extension": [{"url": "urn:x", "valueString": "y"}]}},
    ],
)
async def test_citizens_do_not_change_who_they_are(citizen: Caller, admin: Caller, change: dict[str, Any]) -> None:
    own = await stored(admin, "Patient/an")
    answer = await citizen.put({**own, **change})
    assert answer.status_code == 403, answer.text
    patch = await citizen.send("PATCH", "Patient/an", change, content_type="application/merge-patch+json")
    assert patch.status_code == 403, patch.text
    assert (await stored(admin, "Patient/an"))["meta"]["versionId"] == own["meta"]["versionId"]


async def test_what_citizens_report_is_theirs_labelled_and_unconfirmed(citizen: Caller, admin: Caller) -> None:
    answer = await citizen.post("Condition", a_condition("Patient/an", "J45"))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["meta"]["security"] == [PATRPT]
    assert made["verificationStatus"]["coding"][0]["code"] == "unconfirmed"
    name = f"Condition/{made['id']}"
    assert (await admin.get(f"Provenance?target={name}&_summary=count")).json()["total"] == 1
    assert (await citizen.put({**made, "note": [{"text": "từ nhỏ"}]})).status_code == 200
    assert (await citizen.send("DELETE", name)).status_code == 204
    assert (await admin.get(name)).status_code == 410


async def test_citizens_confirm_nothing_and_touch_no_record_of_a_facility(citizen: Caller, admin: Caller) -> None:
    confirmed = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]
    }
    made = await citizen.post("Condition", a_condition("Patient/an", "J45", verificationStatus=confirmed))
    assert made.status_code == 403
    plain = await stored(admin, "Condition/an-plain")
    unlabelled = {**plain, "note": [{"text": "của tôi"}]}
    for resource in (unlabelled, {**unlabelled, "meta": {"security": [PATRPT]}}):
        assert (await citizen.put(resource)).status_code == 403
    assert (await citizen.send("DELETE", "Condition/an-plain")).status_code == 403
    assert (await stored(admin, "Condition/an-plain"))["meta"]["versionId"] == plain["meta"]["versionId"]
    assert (await citizen.post("Encounter", await stored(admin, "Encounter/an-encounter"))).status_code == 403


async def test_nobody_writes_into_a_record_that_is_not_theirs(
    citizen: Caller, hospital: Caller, officer: Caller
) -> None:
    for caller in (citizen, hospital, officer):
        answer = await caller.post("Condition", a_condition("Patient/binh", "J45"))
        assert answer.status_code == 403, answer.text
        nobody = await caller.post("Condition", a_condition("Patient/nobody", "J45"))
        assert no_id(nobody, "nobody") == no_id(answer, "binh")


async def test_ids_cannot_be_tried_out_by_writing(narrowed: list[Caller]) -> None:
    """Hidden and unknown are answered alike by every kind of write."""
    for caller in narrowed:
        for hidden, unknown in (("binh-plain", "nobody-plain"), ("binh-hiv", "nobody-hiv")):
            answers = []
            for id in (hidden, unknown):
                resource = a_condition("Patient/binh", id=id)
                patch = [{"op": "replace", "path": "/subject/reference", "value": "Patient/an"}]
                found = [
                    await caller.put(resource),
                    await caller.put(resource, if_match='W/"1"'),
                    await caller.put(resource, if_none_match="*"),
                    await caller.send("PUT", "Condition?code=http://hl7.org/fhir/sid/icd-10|X99", resource),
                    await caller.send("PATCH", f"Condition/{id}", patch, content_type="application/json-patch+json"),
                    await caller.send("DELETE", f"Condition/{id}"),
                    await caller.send("DELETE", f"Condition/{id}", if_match='W/"1"'),
                    await caller.send("DELETE", f"Condition?_id={id}"),
                    await caller.post("", _transaction(an_entry("PUT", f"Condition/{id}", resource))),
                    await caller.post("", _transaction(an_entry("DELETE", f"Condition/{id}"))),
                ]
                answers.append([no_id(answer, id) for answer in found])
            assert answers[0] == answers[1]
            assert [status for status, _ in answers[0]] == [403, 403, 403, 403, 404, 204, 412, 204, 403, 200]


async def test_what_was_hidden_from_the_writer_is_still_there(admin: Caller) -> None:
    for name in ("Condition/binh-plain", "Condition/binh-hiv", "Condition/an-hiv"):
        await stored(admin, name)
    assert (await admin.get("Condition/nobody-plain")).status_code == 404


def _transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


async def test_facilities_write_what_they_send_and_it_bears_their_mark(
    hospital: Caller, ask: Ask, admin: Caller
) -> None:
    forged = {"tag": [{"system": SENDER, "code": "h2"}, {"system": "urn:own", "code": "kept"}]}
    answer = await hospital.post("Condition", a_condition("Patient/an", "J45", meta=forged))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["meta"]["tag"] == [{"system": "urn:own", "code": "kept"}, {"system": SENDER, "code": "h1"}]
    assert (await hospital.put({**made, "note": [{"text": "x"}]})).status_code == 200
    other = ask("system/*.cruds", organization="h2")
    assert (await other.get(f"Condition/{made['id']}")).status_code == 404
    assert (await hospital.put(await stored(admin, "Condition/an-plain"))).status_code == 403
    assert (await hospital.send("DELETE", "Condition/an-plain")).status_code == 403
    assert (await hospital.send("DELETE", f"Condition/{made['id']}")).status_code == 204


async def test_facilities_take_over_nothing_that_names_them(ask: Ask, admin: Caller) -> None:
    other = ask("system/*.cruds", organization="h2")
    seen = (await other.get("Encounter/an-encounter")).json()
    assert (await other.put({**seen, "status": "cancelled"})).status_code == 403


async def test_a_patient_and_the_record_arrive_together(hospital: Caller) -> None:
    person = a_patient("Lê Thị Mới", identifier=[{"system": CCCD, "value": "038185000777"}])
    entries = (
        an_entry("POST", "Patient", person, full_url="urn:uuid:p"),
        an_entry("POST", "Condition", a_condition("urn:uuid:p")),
    )
    answer = await hospital.post("", _transaction(*entries))
    assert answer.status_code == 200, answer.text
    found = await hospital.ids("Condition?patient.name=moi")
    assert len(found) == 1


async def test_communes_create_and_correct_in_their_ward(officer: Caller, admin: Caller) -> None:
    answer = await officer.post("Patient", a_patient("Phạm Văn Xã", address=[living_in(THANH_HOA)]))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (await officer.put({**made, "birthDate": "1970-01-01"})).status_code == 200
    assert (await officer.post("Condition", a_condition(f"Patient/{made['id']}", "E11"))).status_code == 201
    for elsewhere in ([living_in(HA_NOI)], [{"text": "không rõ"}]):
        assert (await officer.post("Patient", a_patient("Khác", address=elsewhere))).status_code == 403
        assert (await officer.put({**made, "address": elsewhere})).status_code == 403
    dung = await stored(admin, "Condition/dung-plain")
    assert (await officer.put({**dung, "note": [{"text": "đã sửa"}]})).status_code == 200


async def test_a_person_who_moves_takes_the_record_to_the_new_ward(ask: Ask, admin: Caller) -> None:
    there, here = (ask("user/*.rs", administrative_unit=f"ward:{ward}") for ward in (HA_NOI, THANH_HOA))
    vo = patient("vo")
    assert "Condition/vo-plain" not in await there.ids("Condition") | await here.ids("Condition")
    for ward, sees, blind in ((HA_NOI, there, here), (THANH_HOA, here, there)):
        assert (await admin.put({**vo, "address": [living_in(ward)]})).status_code == 200
        assert "Condition/vo-plain" in await sees.ids("Condition")
        assert "Condition/vo-plain" not in await blind.ids("Condition")
        assert (await sees.get("Condition/vo-plain/_history/1")).status_code == 200
        assert (await blind.get("Condition/vo-plain/_history/1")).status_code == 404
        assert (await blind.get("Observation/vo-gone")).status_code == 404


async def test_restricted_resources_are_written_with_their_scope_alone(officer: Caller, ask: Ask) -> None:
    hiv = a_condition("Patient/dung", "B20")
    assert (await officer.post("Condition", hiv)).status_code == 403
    cleared = ask(f"user/*.cruds {SENSITIVE}", administrative_unit=f"ward:{THANH_HOA}")
    answer = await cleared.post("Condition", hiv)
    assert answer.status_code == 201
    name = f"Condition/{answer.json()['id']}"
    assert (await officer.get(name)).status_code == 404
    plain = {**answer.json(), "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10"}]}}
    assert (await officer.put(plain)).status_code == 403
    assert (await cleared.put(plain)).status_code == 200
    assert (await officer.get(name)).status_code == 200
    assert (await officer.get(f"{name}/_history/1")).status_code == 404


async def test_a_number_that_a_hidden_person_has_is_not_given_twice_nor_told_of(officer: Caller, admin: Caller) -> None:
    number = f"0010{uuid4().int % 10**8:08d}"
    hidden = a_patient("Vũ Văn Ẩn", identifier=[{"system": CCCD, "value": number}], address=[living_in(HA_NOI)])
    made = (await admin.post("Patient", hidden)).json()
    own = {**hidden, "address": [living_in(THANH_HOA)]}
    for answer in (
        await officer.post("Patient", own, if_none_exist=f"identifier={CCCD}|{number}"),
        await officer.send("PUT", f"Patient?identifier={CCCD}|{number}", own),
        await officer.post(
            "", _transaction(an_entry("POST", "Patient", own, ifNoneExist=f"identifier={CCCD}|{number}"))
        ),
    ):
        assert answer.status_code == 409
        assert made["id"] not in answer.text
        assert number not in answer.text
    other = await officer.post("Patient", own, if_none_exist="name=vu van an")
    assert other.status_code == 201, "a condition that is no number asks only about what the caller sees"
    reference = a_condition(f"Patient?identifier={CCCD}|{number}")
    found = await officer.post("", _transaction(an_entry("POST", "Condition", reference)))
    assert found.status_code == 200, "the conditional reference means the one that is seen"


async def test_a_batch_raises_nobodys_rights_and_a_transaction_is_undone_whole(citizen: Caller, admin: Caller) -> None:
    before = (await admin.get("Condition?_summary=count")).json()["total"]
    entries = [
        an_entry("POST", "Condition", a_condition("Patient/an", "J45")),
        an_entry("POST", "Condition", a_condition("Patient/binh", "J45")),
        an_entry("POST", "Organization", {"resourceType": "Organization", "name": "x"}),
        an_entry("GET", "$reindex"),
        an_entry("GET", "Patient/binh"),
        an_entry("DELETE", "Condition/an-plain"),
    ]
    answer = await citizen.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    statuses = [entry["response"]["status"][:3] for entry in answer.json()["entry"]]
    assert statuses == ["201", "403", "403", "403", "404", "403"]
    assert (await admin.get("Condition?_summary=count")).json()["total"] == before + 1
    assert (await citizen.post("", _transaction(*entries[:2]))).status_code == 403
    assert (await admin.get("Condition?_summary=count")).json()["total"] == before + 1


async def test_a_transaction_is_told_of_every_entry_that_its_caller_may_not_write(
    hospital: Caller, admin: Caller
) -> None:
    theirs = await stored(admin, "Condition/an-plain")
    news = an_entry("POST", "Patient", a_patient("Lê Văn Mới"), "urn:uuid:p")
    entries = [
        an_entry("POST", "Condition", a_condition("urn:uuid:p")),
        an_entry("POST", "Condition", a_condition("Patient/nobody")),
        an_entry("PUT", "Condition/an-plain", {**theirs, "note": [{"text": "x"}]}),
        an_entry("PUT", "Condition/chosen", a_condition("urn:uuid:p", id="chosen")),
    ]
    strangers = await hospital.post("", _transaction(news, *entries[:2]))
    assert (strangers.status_code, _entries(strangers)) == (403, [2])
    all_told = await hospital.post("", _transaction(news, *entries))
    assert (all_told.status_code, _entries(all_told)) == (403, [2, 3, 4])


async def test_who_may_not_write_a_type_is_told_what_else_is_wrong_and_nothing_of_what_is_stored(ask: Ask) -> None:
    citizen = ask("patient/Condition.cruds", patient="an")
    person, condition = a_patient("Lê Văn Mới"), a_condition("Patient/an")
    answer = await citizen.post(
        "",
        _transaction(
            an_entry("PUT", "Patient/an", {**person, "id": "an"}, ifMatch='W/"99"'),
            an_entry("POST", "Patient", person, full_url="urn:uuid:p", ifNoneExist="name=an"),
            an_entry("DELETE", "Patient?name=an"),
            an_entry("PUT", "Condition/an-plain", {**condition, "id": "an-plain"}, ifMatch='W/"99"'),
            an_entry("POST", "Condition", condition, ifNoneExist="cod=1"),
        ),
    )
    assert _entries(answer) == [0, 1, 2, 3, 4]
    told = [issue["code"] for issue in answer.json()["issue"]]
    assert told == ["forbidden", "forbidden", "forbidden", "conflict", "not-supported"]


def _entries(answer: httpx.Response) -> list[int]:
    return [int(issue["expression"][0].split("[")[1].split("]")[0]) for issue in answer.json()["issue"]]


async def test_an_answer_that_is_kept_is_given_to_its_caller_alone(ask: Ask, citizen: Caller) -> None:
    key = str(uuid4())
    first = await citizen.post("Condition", a_condition("Patient/an", "J45"), idempotency_key=key)
    again = await citizen.post("Condition", a_condition("Patient/an", "J45"), idempotency_key=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    other = ask("patient/*.cruds", patient="an", sub="another")
    mine = await other.post("Condition", a_condition("Patient/an", "J45"), idempotency_key=key)
    assert mine.json()["id"] != first.json()["id"]


async def test_an_answer_that_is_kept_is_given_again_by_the_rights_of_now_alone(
    ask: Ask, admin: Caller, running: Context
) -> None:
    basic = {"resourceType": "Basic", "code": {"text": "x"}}
    sent = _transaction(an_entry("GET", "Patient/an"), an_entry("POST", "Basic", basic))
    claims = {"organization": "h1", "sub": "one", "client_id": "app"}
    wide, narrow = (ask(scope, **claims) for scope in ("user/*.cruds btg", "user/Basic.cruds user/Patient.r"))
    reason = "Patient/an unconscious in the emergency room"
    assert (await wide.post("", sent, idempotency_key="glass", x_break_glass=reason)).status_code == 200
    for other in (wide, narrow):
        assert (await other.post("", sent, idempotency_key="glass")).status_code == 422
    assert (await wide.post("", sent, idempotency_key="plain")).status_code == 200
    again = await wide.post("", sent, idempotency_key="plain", x_request_id="replayed")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    await running.trail.flush()
    seen = await admin.get("AuditEvent?patient=an&_sort=-date&_count=200")
    assert "replayed" in seen.text, "who is shown a kept answer is on record as having seen whom it tells of"
    assert (await admin.put(consent({"type": "deny"}))).is_success
    assert (await wide.post("", sent, idempotency_key="plain")).status_code == 409
    assert (await admin.send("DELETE", "Consent/of-an")).is_success
    assert (await wide.post("", sent, idempotency_key="plain")).status_code == 200


async def test_nobody_makes_themselves_or_others_the_representative_of_hidden_people(
    hospital: Caller, officer: Caller, admin: Caller
) -> None:
    """A Person who links a patient and another's RelatedPerson would act for that other's child."""
    hidden = {"resourceType": "RelatedPerson", "id": "of-binh", "active": True}
    assert (await admin.put({**hidden, "patient": {"reference": "Patient/binh"}})).status_code == 201
    for caller in (hospital, officer):
        answers = []
        for target in ("RelatedPerson/of-binh", "RelatedPerson/nobody", "Patient/binh", "Patient/nobody"):
            links = [{"target": {"reference": name}} for name in ("Patient/an", target)]
            answer = await caller.post("Person", {"resourceType": "Person", "link": links})
            answers.append((answer.status_code, answer.text))
        assert answers[0] == answers[1]
        assert answers[2] == answers[3]
        assert {status for status, _ in answers} == {403}
    own = [{"target": {"reference": "Patient/an"}}]
    assert (await officer.post("Person", {"resourceType": "Person", "link": own})).status_code == 201


async def test_who_is_on_another_server_is_nobody_here_whose_id_they_bear(
    ask: Ask, hospital: Caller, admin: Caller
) -> None:
    """A hospital may store what it likes of other servers' people: no rights over ours follow from that."""
    elsewhere = {"reference": "https://other.example.vn/fhir/Patient/chi"}
    related = {"resourceType": "RelatedPerson", "active": True, "patient": elsewhere}
    made = (await hospital.post("RelatedPerson", related)).json()["id"]
    assert (await ask("user/*.rs", fhirUser=f"RelatedPerson/{made}").get("Patient/chi")).status_code == 403
    person = {"resourceType": "Person", "link": [{"target": elsewhere}]}
    linked = (await admin.post("Person", person)).json()["id"]
    assert (await ask("user/*.rs", fhirUser=f"Person/{linked}").get("Patient/chi")).status_code == 403
    foreign = {"reference": "https://other.example.vn/fhir/Organization/h1"}
    report = (await admin.post("Observation", observation("x", "dung", performer=[foreign]))).json()["id"]
    assert (await hospital.get(f"Observation/{report}")).status_code == 404


async def test_a_resource_about_several_people_is_its_subjects_else_the_first_ones(ask: Ask, admin: Caller) -> None:
    here, there = (ask("user/*.rs", administrative_unit=f"ward:{ward}") for ward in (THANH_HOA, HA_NOI))
    performer = [{"reference": "Patient/binh"}]
    made = {"resourceType": "Observation", "status": "final", "performer": performer, "code": {"text": "x"}}
    observation = (await admin.post("Observation", made | {"subject": {"reference": "Patient/dung"}})).json()["id"]
    links = [{"target": {"reference": f"Patient/{id}"}} for id in ("dung", "an", "binh")]
    person = (await admin.post("Person", {"resourceType": "Person", "link": links})).json()["id"]
    for name in (f"Observation/{observation}", f"Person/{person}"):
        assert [(await caller.get(name)).status_code for caller in (here, there)] == [200, 404]


async def test_scopes_name_what_may_be_written(ask: Ask) -> None:
    creator = ask("patient/Condition.c", patient="an")
    made = await creator.post("Condition", a_condition("Patient/an", "J45"))
    assert made.status_code == 201
    assert (await creator.send("DELETE", f"Condition/{made.json()['id']}")).status_code == 403
    assert (await creator.send("PATCH", f"Condition/{made.json()['id']}", {"note": []})).status_code == 403
    assert (await creator.post("Condition", a_condition("Patient/an"), if_none_exist="code=x")).status_code == 403
    assert (await creator.post("Observation", {"resourceType": "Observation"})).status_code == 403


async def test_definitions_that_change_the_server_are_not_for_narrowed_callers(
    hospital: Caller, officer: Caller
) -> None:
    definition = {"resourceType": "SearchParameter", "code": "x", "base": ["Patient"], "type": "token"}
    for caller in (hospital, officer):
        assert (await caller.post("SearchParameter", definition)).status_code == 403


def joining(source: str, target: str, **more: Any) -> dict[str, Any]:
    named = {"source-patient": source, "target-patient": target}
    rows = [{"name": name, "valueReference": {"reference": f"Patient/{id}"}} for name, id in named.items()]
    rows += [{"name": name, **value} for name, value in more.items()]
    return {"resourceType": "Parameters", "parameter": rows}


async def test_people_are_joined_by_those_who_may_change_both_and_nobody_else(ask: Ask, admin: Caller) -> None:
    own = await stored(admin, "Patient/an")
    mother = ask("user/*.cruds operation/merge", fhirUser="Patient/an")
    hospital = ask("system/*.cruds operation/merge", organization="h1")
    officer = ask("user/*.cruds operation/merge", administrative_unit=f"ward:{THANH_HOA}")
    assert (await hospital.post("Patient", {**patient("an"), "id": "of-h1"})).status_code == 201
    sent = (await hospital.get("Patient?_tag=urn:vn-basic:CodeSystem:sender|h1")).json()["entry"][0]["resource"]["id"]
    for caller, source, target in ((mother, "chi", "an"), (hospital, sent, "an"), (hospital, "an", sent)):
        for preview in (True, False):
            body = joining(source, target, preview={"valueBoolean": preview})
            answer = await caller.post("Patient/$merge", body)
            assert answer.status_code == 403, answer.text
    hidden = await officer.post("Patient/$merge", joining("an", "binh"))
    unknown = await officer.post("Patient/$merge", joining("an", "nobody"))
    assert no_id(hidden, "binh") == no_id(unknown, "nobody")
    assert hidden.status_code == 404
    assert (await stored(admin, "Patient/an"))["meta"]["versionId"] == own["meta"]["versionId"]


async def test_a_merge_moves_what_is_hidden_and_neither_counts_nor_names_it(ask: Ask, admin: Caller) -> None:
    officer = ask("user/*.cruds operation/merge operation/unmerge", administrative_unit=f"ward:{THANH_HOA}")
    seen = len(await officer.ids("Condition?patient=dung"))
    told = (await officer.post("Patient/$merge", joining("dung", "chi"))).json()["parameter"]
    outcome = next(one["resource"] for one in told if one["name"] == "outcome")
    assert f" {seen} Condition" in outcome["issue"][0]["diagnostics"]
    hiv = await stored(admin, "Condition/dung-hiv")
    assert hiv["subject"]["reference"] == "Patient/chi"
    assert (await admin.put({**hiv, "note": [{"text": "meanwhile"}]})).is_success
    alone = {"name": "source-patient", "valueReference": {"reference": "Patient/dung"}}
    answer = await officer.post("Patient/$unmerge", {"resourceType": "Parameters", "parameter": [alone]})
    assert answer.status_code == 200, answer.text
    assert "dung-hiv" not in answer.text
    assert (await stored(admin, "Condition/dung-hiv"))["subject"]["reference"] == "Patient/dung"
