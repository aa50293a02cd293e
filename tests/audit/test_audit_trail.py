"""Every access is on record, as clients find it: GET /AuditEvent."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import unquote

from pymongo.database import Database

from fhir_server.audit.access import Origin
from fhir_server.cli.audit import consents
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.interactions.rights import Caller
from fhir_server.routes import respond
from tests.api.conftest import Client

Event = dict[str, Any]


def a_patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": "Nguyễn", "given": ["Văn", "Thử"]}], **more}


def a_condition(patient: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "subject": {"reference": f"Patient/{patient}"}, **more}


async def events(client: Client, query: str) -> list[Event]:
    answer = await client.get(f"AuditEvent?{query}")
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


async def of_request(client: Client, request: str) -> list[Event]:
    """The events of a request id, the oldest first."""
    found = await events(client, "_count=200")
    return [one for one in reversed(found) if request in str(one.get("entity"))]


def references(event: Event) -> list[str]:
    return [entity["what"]["reference"] for entity in event["entity"] if "what" in entity]


def query_of(event: Event) -> str:
    (query,) = (entity["query"] for entity in event["entity"] if "query" in entity)
    return unquote(base64.b64decode(query).decode())


def told(event: Event) -> tuple[str, str, str]:
    return event["subtype"][0]["code"], event["action"], event["outcome"]


async def test_a_read_tells_who_what_and_whose_and_how_it_ended(served: Client) -> None:
    patient = await served.created(a_patient())
    condition = await served.created(a_condition(patient["id"]))
    await served.get(f"Condition/{condition['id']}", x_request_id="read-1")
    (event,) = await of_request(served, "read-1")
    assert told(event) == ("read", "R", "0")
    assert event["agent"][0]["name"] == "open"
    assert event["agent"][0]["network"] == {"address": "127.0.0.1", "type": "2"}
    assert references(event) == [f"Condition/{condition['id']}/_history/1", f"Patient/{patient['id']}"]


async def test_versions_and_histories_are_on_record(served: Client) -> None:
    patient = await served.created(a_patient())
    name = f"Patient/{patient['id']}"
    await served.get(f"{name}/_history/1", x_request_id="vread-1")
    await served.get(f"{name}/_history", x_request_id="history-1")
    (vread,), (history,) = await of_request(served, "vread-1"), await of_request(served, "history-1")
    assert told(vread) == ("vread", "R", "0")
    assert references(vread) == [f"{name}/_history/1"]
    assert told(history) == ("history-instance", "R", "0")
    assert references(history) == [name]


async def test_refusals_are_on_record(served: Client) -> None:
    await served.get("Patient/nobody-here", x_request_id="gone-1")
    await served.get("Patient?birthdate=never", x_request_id="wrong-1", prefer="handling=strict")
    await served.send("POST", "Patient", {"resourceType": "Patient", "gender": "?"}, x_request_id="invalid-1")
    await served.send("POST", "Patient", b"{", x_request_id="broken-1")
    await served.get("Nothing", x_request_id="type-1")
    for request, interaction, status in (
        ("gone-1", "read", "404"),
        ("wrong-1", "search-type", "400"),
        ("invalid-1", "create", "400"),
        ("broken-1", "create", "400"),
        ("type-1", "search-type", "404"),
    ):
        (event,) = await of_request(served, request)
        assert (event["subtype"][0]["code"], event["outcome"], event["outcomeDesc"]) == (interaction, "4", status)
    (event,) = await of_request(served, "gone-1")
    assert references(event) == ["Patient/nobody-here"]


async def test_a_search_without_a_hit_is_on_record_without_the_number(served: Client) -> None:
    await served.get("Patient?identifier=079200000123&name=Nguyễn", x_request_id="search-1")
    form = "identifier=079200000123"
    headers = {"content-type": "application/x-www-form-urlencoded", "x-request-id": "search-2"}
    await served.http.post("/fhir/Patient/_search", content=form, headers=headers)
    (one,), (other,) = await of_request(served, "search-1"), await of_request(served, "search-2")
    assert told(one) == told(other) == ("search-type", "E", "0")
    hidden = query_of(other).partition("identifier=")[2]
    assert query_of(one) == f"Patient?identifier={hidden}&name=Nguyễn"
    assert hidden.startswith("~")
    assert "079200000123" not in str(one) + str(other)


async def test_a_search_names_the_patients_that_it_showed_and_the_one_it_asked_for(served: Client) -> None:
    first, second = await served.created(a_patient()), await served.created(a_patient(gender="other"))
    await served.get("Patient?gender=other&name=thu", x_request_id="shown-1")
    await served.get(f"Condition?patient={first['id']}", x_request_id="asked-1")
    (shown,), (asked,) = await of_request(served, "shown-1"), await of_request(served, "asked-1")
    assert f"Patient/{second['id']}" in references(shown)
    assert f"Patient/{first['id']}" not in references(shown)
    assert references(asked) == [f"Patient/{first['id']}"]


async def test_later_pages_tell_the_search_that_they_belong_to(served: Client) -> None:
    for _ in range(3):
        await served.created(a_patient(gender="unknown"))
    page = (await served.get("Patient?gender=unknown&_count=2")).json()
    (following,) = (link["url"] for link in page["link"] if link["relation"] == "next")
    await served.get(following.partition("/fhir/")[2], x_request_id="page-2")
    (event,) = await of_request(served, "page-2")
    assert query_of(event) == "Patient?gender=unknown&_count=2"


async def test_each_entry_of_a_batch_is_on_record(served: Client) -> None:
    patient = await served.created(a_patient())
    urls = (("GET", f"Patient/{patient['id']}"), ("GET", "Patient/nobody"), ("GET", "Condition?code=x"))
    entries = [{"request": {"method": method, "url": url}} for method, url in urls]
    entries.append({"resource": a_patient(), "request": {"method": "POST", "url": "Patient"}})
    await served.send("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}, x_request_id="batch-1")
    found = sorted(told(event) for event in await of_request(served, "batch-1"))
    assert found == [
        ("batch", "E", "0"),
        ("create", "C", "0"),
        ("read", "R", "0"),
        ("read", "R", "4"),
        ("search-type", "E", "0"),
    ]


async def test_a_transaction_is_on_record_by_what_it_did_with_every_version(served: Client) -> None:
    patient = await served.created(a_patient())
    name = f"Patient/{patient['id']}"
    entries = [
        {"resource": {**a_patient(), "id": patient["id"]}, "request": {"method": "PUT", "url": name}},
        {"resource": a_condition(patient["id"]), "request": {"method": "POST", "url": "Condition"}},
        {"resource": a_condition(patient["id"]), "request": {"method": "POST", "url": "Condition"}},
        {"request": {"method": "GET", "url": name}},
    ]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = await served.send("POST", "", body, x_request_id="transaction-1")
    made = [entry["response"]["location"].partition("/fhir/")[2] for entry in answer.json()["entry"][1:3]]
    by_kind = {event["subtype"][0]["code"]: event for event in await of_request(served, "transaction-1")}
    assert by_kind.keys() == {"create", "update", "read"}
    assert references(by_kind["create"]) == [*made, name]
    assert references(by_kind["update"]) == [f"{name}/_history/1"]  # the same content makes no new version


async def test_a_refused_transaction_tells_what_it_was_about(served: Client) -> None:
    entries = [
        {"resource": a_condition("p"), "request": {"method": "POST", "url": "Condition"}},
        {"request": {"method": "DELETE", "url": "Patient/p-1"}},
        {
            "resource": {**a_patient(), "id": "p-2"},
            "request": {"method": "PUT", "url": "Patient/p-2", "ifMatch": 'W/"7"'},
        },
    ]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert (await served.send("POST", "", body, x_request_id="refused-1")).status_code == 412
    (event,) = await of_request(served, "refused-1")
    assert (told(event), event["outcomeDesc"]) == (("transaction", "E", "4"), "412")
    assert references(event) == ["Patient/p-1", "Patient/p-2"]


async def test_an_answer_that_is_given_again_is_on_record_again(served: Client) -> None:
    for request in ("once-1", "once-2"):
        await served.send("POST", "Patient", a_patient(), x_request_id=request, idempotency_key='"k-1"')
    (first,), (again,) = await of_request(served, "once-1"), await of_request(served, "once-2")
    assert len(references(first)) == 1
    assert told(again) == ("create", "C", "0")


async def test_events_are_found_by_what_fhir_searches_them_by(served: Client) -> None:
    patient = await served.created(a_patient())
    name = f"Patient/{patient['id']}"
    await served.get(name, x_request_id="find-1")
    (event,) = await of_request(served, "find-1")
    recorded = event["recorded"]
    for query in (
        f"patient={patient['id']}&subtype=read",
        f"entity={name}&action=R",
        f"entity={name}/_history/1&action=R",
        f"patient={patient['id']}&date={recorded}",
        f"patient={patient['id']}&date=ge{recorded[:10]}&agent-name=open&outcome=0&action=R",
        f"_id={event['id']}",
        f"patient={patient['id']}&subtype=http://hl7.org/fhir/restful-interaction|read&address=127.0.0.1",
        f"patient={patient['id']}&action=R&_sort=date&type=rest",
        f"patient:Patient.name=thu&entity={name}&action=R",
    ):
        assert [one["id"] for one in await events(served, query)] == [event["id"]], query
    assert await events(served, f"patient={patient['id']}&subtype=read&date=lt{recorded[:10]}") == []
    assert await events(served, f"patient={patient['id']}&subtype=read&outcome=4") == []
    assert (await served.get(f"AuditEvent/{event['id']}")).json() == event
    assert (await served.get(f"AuditEvent/{event['id']}/_history/1")).json() == event


async def test_pages_of_events_walk_through_all_of_them_in_order(served: Client) -> None:
    patient = await served.created(a_patient())
    for _ in range(7):
        await served.get(f"Patient/{patient['id']}")
    whole = [one["id"] for one in await events(served, f"patient={patient['id']}&_count=100")]
    walked: list[str] = []
    url = f"AuditEvent?patient={patient['id']}&_count=3&subtype=read,create"
    while url:
        page = (await served.get(url)).json()
        walked += [entry["resource"]["id"] for entry in page["entry"]]
        url = next((link["url"].partition("/fhir/")[2] for link in page["link"] if link["relation"] == "next"), "")
    assert walked == [id for id in whole if id in walked]
    assert len(walked) == 8
    counted = await served.get(f"AuditEvent?patient={patient['id']}&subtype=read&_summary=count")
    assert counted.json()["total"] == 7


async def test_nobody_writes_events_but_the_server(served: Client) -> None:
    (event, *_) = await events(served, "_count=1")
    name = f"AuditEvent/{event['id']}"
    patch = [{"op": "replace", "path": "/outcome", "value": "0"}]
    for method, path, body in (
        ("POST", "AuditEvent", event),
        ("PUT", name, event),
        ("PUT", f"AuditEvent?_id={event['id']}", event),
        ("PATCH", name, patch),
        ("DELETE", name, None),
        ("DELETE", f"AuditEvent?_id={event['id']}", None),
    ):
        answer = await served.send(method, path, body)
        assert answer.status_code == 405, (method, path)
        assert answer.json()["resourceType"] == "OperationOutcome"
    entry = {"request": {"method": "DELETE", "url": name}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await served.send("POST", "", bundle)).status_code == 400
    assert (await served.get(name)).json() == event


async def test_events_stand_only_where_they_are_named(served: Client) -> None:
    patient = await served.created(a_patient())
    name = f"Patient/{patient['id']}"
    await served.get(name)
    for query in (f"{name}/*", f"Patient?_id={patient['id']}&_revinclude=*", "_history", "?_lastUpdated=ge2020"):
        answer = await served.get(query)
        assert answer.status_code == 200, answer.text
        assert all(
            entry["resource"]["resourceType"] != "AuditEvent" for entry in answer.json()["entry"] if "resource" in entry
        )
    named = (await served.get(f"?_type=AuditEvent&_lastUpdated=ge2020&patient={patient['id']}")).json()
    assert {entry["resource"]["resourceType"] for entry in named["entry"]} == {"AuditEvent"}
    joined = (await served.get(f"Patient?_id={patient['id']}&_revinclude=AuditEvent:patient")).json()
    assert "AuditEvent" in {entry["resource"]["resourceType"] for entry in joined["entry"]}


async def test_who_deletes_a_person_does_not_delete_what_was_done(served: Client) -> None:
    patient = await served.created(a_patient())
    await served.send("DELETE", f"Patient/{patient['id']}")
    found = await events(served, f"patient={patient['id']}")
    assert [told(event)[0] for event in found] == ["delete", "create"]


async def test_what_holds_nobodys_data_is_not_on_record(served: Client, database: Database[dict[str, Any]]) -> None:
    await served.get("metadata", x_request_id="public-1")
    await served.http.get("/health", headers={"x-request-id": "public-1"})
    assert await of_request(served, "public-1") == []


async def test_an_import_is_one_event_a_group_and_one_for_the_whole(served: Client) -> None:
    row = {"ho_ten": "Trần Thị Nhập", "ngay_sinh": "1980-05-06", "gioi_tinh": "nữ", "so_dinh_danh": "038180000017"}
    headers = {"content-type": "application/x-ndjson"}
    body = "\n".join(json.dumps({**row, "ma_ho_so": str(number)}, ensure_ascii=False) for number in range(3))
    answer = await served.http.post("/records", content=body.encode(), headers=headers)
    refused = await served.http.post("/records", content=b"x", headers={"content-type": "text/plain"})
    assert (answer.status_code in (200, 422), refused.status_code) == (True, 415)
    found = await events(served, "type=http://dicom.nema.org/resources/ontology/DCM|110107&_count=50")
    details = [
        [one["valueString"] for one in entity.get("detail", ())] for event in found for entity in event["entity"]
    ]
    assert ["1", "3", str(answer.json()["refused"])] in details
    assert len(found) <= 2


async def test_every_version_of_a_consent_leaves_evidence_that_nobody_can_change(
    served: Client, own_settings: Settings, database: Database[dict[str, Any]]
) -> None:
    person = await served.created(a_patient())
    consent = {
        "resourceType": "Consent",
        "meta": {"source": "urn:channel:commune-counter"},
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{person['id']}"},
        "dateTime": "2026-03-01T08:00:00+07:00",
        "performer": [{"reference": f"Patient/{person['id']}"}],
        "policy": [{"uri": "https://example.vn/consent|2026-1"}],
    }
    made = await served.created(consent)
    await served.send("PUT", f"Consent/{made['id']}", {**made, "status": "inactive"})
    await served.app.state.context().trail.flush()
    told = [json.loads(line) for line in await asyncio.to_thread(consents, own_settings, person["id"])]
    assert [one["consent"] for one in told] == [f"Consent/{made['id']}/_history/{version}" for version in (2, 1)]
    assert [one["status"] for one in told] == ["inactive", "active"]
    assert told[1]["text"] == "https://example.vn/consent|2026-1"
    assert told[1]["channel"] == "urn:channel:commune-counter"
    assert (told[1]["given"], told[1]["by"]) == ("2026-03-01T08:00:00+07:00", f"Patient/{person['id']}")
    assert [one["unchanged"] for one in told] == [True, True]
    old = {"i": made["id"]}
    raw = database["Consent_history"].find_one(old)["raw"].replace(b"2026-1", b"2026-2")  # type: ignore[index]
    database["Consent_history"].update_one(old, {"$set": {"raw": raw}})
    told = [json.loads(line) for line in await asyncio.to_thread(consents, own_settings, person["id"])]
    assert [one["unchanged"] for one in told] == [True, False]


async def test_every_write_has_a_provenance_with_agent_and_source_when_that_is_set(served: Client) -> None:
    context: Context = served.app.state.context()
    caller = Caller("key", client="his", subject="bac-si", user="Practitioner/1", organisation="h1")
    settings = context.settings.model_copy(update={"provenance": "all"})
    own = context.with_(settings=settings, caller=caller, origin=Origin(request="write-1"))
    answer = await respond(own, FhirRequest("POST", ("Patient",), body=json.dumps(a_patient()).encode()))
    made = json.loads(answer.body)
    found = (await served.get(f"Provenance?target=Patient/{made['id']}")).json()["entry"]
    (provenance,) = [entry["resource"] for entry in found]
    assert provenance["target"] == [{"reference": f"Patient/{made['id']}/_history/1"}]
    author, application = provenance["agent"]
    assert (author["who"], author["onBehalfOf"]) == (
        {"reference": "Practitioner/1"},
        {"reference": "Organization/h1"},
    )
    assert application["who"]["identifier"]["value"] == "his"
    assert provenance["entity"][0]["what"]["identifier"]["value"] == "write-1"
    plain = await respond(context, FhirRequest("POST", ("Patient",), body=json.dumps(a_patient()).encode()))
    id = json.loads(plain.body)["id"]
    assert (await served.get(f"Provenance?target=Patient/{id}&_summary=count")).json()["total"] == 0
