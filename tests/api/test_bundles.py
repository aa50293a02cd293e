"""batch and transaction over HTTP. R4 RESTful API, batch/transaction."""

from __future__ import annotations

import base64
import json

import pytest

from tests.api.conftest import Client
from tests.builders import (
    CCCD,
    a_bundle,
    a_condition,
    a_patient,
    an_allergy,
    an_entry,
    an_immunization,
    with_cccd,
)

PERSON = "urn:uuid:0f0c5d0a-0000-4000-8000-000000000001"


async def test_a_transaction_writes_a_person_with_all_four_types_and_links_them(client: Client) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Condition", a_condition(PERSON), "urn:uuid:0f0c5d0a-0000-4000-8000-000000000002"),
        an_entry("POST", "Patient", with_cccd("038085900010"), PERSON),
        an_entry("POST", "Immunization", an_immunization(PERSON)),
        an_entry("POST", "AllergyIntolerance", an_allergy(PERSON)),
    )
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["type"] == "transaction-response"
    assert [entry["response"]["status"][:3] for entry in told["entry"]] == ["201"] * 4
    person = told["entry"][1]["response"]["location"].split("/")[-3]
    condition = told["entry"][0]["response"]["location"].split("/fhir/")[1].split("/_history")[0]
    assert (await client.get(condition)).json()["subject"]["reference"] == f"Patient/{person}"


async def test_a_transaction_with_one_fault_writes_nothing_and_tells_every_fault(client: Client) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_patient()),
        an_entry("POST", "Patient", a_patient(gender="?")),
        an_entry("POST", "Patient", a_patient(birthDate="soon")),
    )
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 400
    places = {path for issue in answer.json()["issue"] for path in issue["expression"]}
    assert places == {"Bundle.entry[1].resource.gender", "Bundle.entry[2].resource.birthDate"}
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


async def test_faults_of_shape_of_content_and_of_conditions_are_all_told_at_once_by_place(client: Client) -> None:
    bundle = a_bundle(
        "transaction",
        {"resource": a_patient()},
        an_entry("STEAL", "Patient", a_patient()),
        an_entry("POST", "Patient"),
        an_entry("PUT", "Patient", a_patient()),
        an_entry("POST", "Nonsense", a_patient()),
        an_entry("POST", "Patient", a_patient(gender="?")),
        an_entry("DELETE", "Patient?identifer=1"),
        an_entry("POST", "Patient", a_patient(managingOrganization={"reference": "Organization?nmae=x"})),
        an_entry("PUT", "Patient/no_id", a_patient(id="no_id")),
        an_entry("POST", "Patient", a_patient()),
    )
    answer = await client.send("POST", "", bundle | {"total": 1})
    assert answer.status_code == 400
    assert [issue["expression"] for issue in answer.json()["issue"]] == [
        ["Bundle"],  # a total is for answers
        ["Bundle.entry[0].request"],
        ["Bundle.entry[1].request.method"],
        ["Bundle.entry[2].resource"],
        ["Bundle.entry[3].request.url"],
        ["Bundle.entry[4]"],
        ["Bundle.entry[5].resource.gender"],
        ["Bundle.entry[6].request.url"],
        ["Bundle.entry[7].resource.managingOrganization.reference"],
        ["Bundle.entry[8].request.url"],
    ]
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


EXPANDING = {
    "resourceType": "Parameters",
    "parameter": [{"name": "url", "valueUri": "http://hl7.org/fhir/ValueSet/administrative-gender"}],
}


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_operations_that_only_read_are_entries_and_carry_their_answers(client: Client, kind: str) -> None:
    bundle = a_bundle(
        kind,
        an_entry("POST", "ValueSet/$expand", EXPANDING),
        an_entry("GET", "CodeSystem/$lookup?system=http://hl7.org/fhir/administrative-gender&code=male"),
        an_entry("POST", "Patient/$validate", a_patient(gender="?")),
        an_entry("POST", "Patient", a_patient()),
    )
    answer = await client.send("POST", "", bundle)
    told = answer.json()["entry"]
    assert [entry["response"]["status"][:3] for entry in told] == ["200", "200", "200", "201"]
    found = [entry.get("resource", {}).get("resourceType") for entry in told]
    assert found == ["ValueSet", "Parameters", "OperationOutcome", None]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_a_head_entry_is_answered_as_a_get_without_the_resource(client: Client, kind: str) -> None:
    there = await client.created(a_patient())
    bundle = a_bundle(kind, *[an_entry(method, f"Patient/{there['id']}") for method in ("HEAD", "GET")])
    head, got = (await client.send("POST", "", bundle)).json()["entry"]
    assert head == {"response": got["response"]}
    assert got["resource"] == there


async def test_an_operation_that_writes_is_no_part_of_a_transaction(client: Client) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_patient()),
        an_entry("POST", "Patient/$merge", {"resourceType": "Parameters", "parameter": [{"name": "x"}]}),
    )
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 400
    assert "$merge writes by itself" in answer.text
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].request.url"]
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


async def test_two_entries_for_one_identity_are_refused(client: Client) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("PUT", "Patient/an", a_patient(id="an")),
        an_entry("DELETE", "Patient/an"),
    )
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 400
    assert (await client.get("Patient/an")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_two_entries_that_would_create_under_one_condition_are_refused(client: Client, method: str) -> None:
    condition = f"identifier={CCCD}|038085900012"
    entries = [
        an_entry("POST", "Patient", with_cccd("038085900012"), ifNoneExist=condition)
        if method == "POST"
        else an_entry("PUT", f"Patient?{condition}", with_cccd("038085900012"))
        for _ in range(2)
    ]
    answer = await client.send("POST", "", a_bundle("transaction", *entries))
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource"]
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


async def test_what_one_entry_finds_and_another_deletes_is_refused(client: Client) -> None:
    there = await client.created(with_cccd("038085900013"))
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", with_cccd("038085900013"), ifNoneExist=f"identifier={CCCD}|038085900013"),
        an_entry("DELETE", f"Patient/{there['id']}"),
    )
    assert (await client.send("POST", "", bundle)).status_code == 400
    assert (await client.get(f"Patient/{there['id']}")).status_code == 200


async def test_if_none_exist_in_a_transaction_links_to_the_one_that_is_there(client: Client) -> None:
    there = await client.created(with_cccd("038085900011"))
    condition = f"identifier={CCCD}|038085900011"
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", with_cccd("038085900011"), PERSON, ifNoneExist=condition),
        an_entry("POST", "Condition", a_condition(PERSON)),
    )
    told = (await client.send("POST", "", bundle, prefer="return=representation")).json()
    assert told["entry"][0]["response"]["status"][:3] == "200"
    assert told["entry"][1]["resource"]["subject"]["reference"] == f"Patient/{there['id']}"
    assert (await client.get("Patient?_summary=count")).json()["total"] == 1


async def test_links_in_narrative_attachments_and_extensions_are_rewritten(client: Client) -> None:
    report = {
        "resourceType": "DocumentReference",
        "status": "current",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{PERSON}">x</a></div>',
        },
        "extension": [{"url": "urn:x", "valueUri": PERSON}],
        "content": [{"attachment": {"url": PERSON, "title": PERSON}}],
    }
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_patient(), PERSON),
        an_entry("POST", "DocumentReference", report),
    )
    told = (await client.send("POST", "", bundle, prefer="return=representation")).json()
    person = f"Patient/{told['entry'][0]['resource']['id']}"
    made = told["entry"][1]["resource"]
    assert f'href="{person}"' in made["text"]["div"]
    assert made["extension"][0]["valueUri"] == person
    assert made["content"][0]["attachment"] == {"url": person, "title": PERSON}


async def test_order_is_delete_post_put_get_and_answers_stand_in_the_order_asked(client: Client) -> None:
    await client.send("PUT", "Patient/old", with_cccd("038085900012", id="old"))
    condition = f"identifier={CCCD}|038085900012"
    bundle = a_bundle(
        "transaction",
        an_entry("GET", f"Patient?{condition}"),
        an_entry("PUT", "Patient/kept", a_patient(id="kept")),
        an_entry("POST", "Patient", with_cccd("038085900012")),
        an_entry("DELETE", "Patient/old"),
    )
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 200, answer.text
    told = answer.json()["entry"]
    assert [entry["response"]["status"][:3] for entry in told] == ["200", "201", "201", "204"]
    found = [entry["resource"]["id"] for entry in told[0]["resource"]["entry"]]
    assert found == [told[2]["response"]["location"].split("/")[-3]]


async def test_every_condition_that_fails_is_told_with_its_place(client: Client) -> None:
    for _ in range(2):
        await client.created(with_cccd("038085900014"))
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    twice = f"identifier={CCCD}|038085900014"
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_patient(), ifNoneExist=twice),
        an_entry("DELETE", f"Patient?{twice}"),
        an_entry("PUT", f"Patient?{twice}", a_patient()),
        an_entry("POST", "Patient", a_patient(), ifNoneExist="identifer=1"),
    )
    refused = await client.send("POST", "", bundle)
    assert refused.status_code == 400  # they differ: three are 412, the misspelt parameter is 400
    assert [issue["expression"][0] for issue in refused.json()["issue"]] == [
        "Bundle.entry[0].request.ifNoneExist",
        "Bundle.entry[1].request.url",
        "Bundle.entry[2].request.url",
        "Bundle.entry[3].request.ifNoneExist",
    ]


async def test_what_the_store_alone_can_tell_is_told_beside_faults_of_content_and_of_reads(client: Client) -> None:
    for _ in range(2):
        await client.created(with_cccd("038085900015"))
    for id in ("a", "b", "c"):
        await client.send("PUT", f"Patient/{id}", a_patient(id=id))
    twice, nobody = f"identifier={CCCD}|038085900015", f"Patient?identifier={CCCD}|nobody"
    patch = {"resourceType": "Binary", "contentType": "application/merge-patch+json", "data": "eyJhY3RpdmUiOnRydWV9"}
    entries = [
        (an_entry("POST", "Patient", a_patient(gender="?"), PERSON), ["resource.gender"]),
        (an_entry("POST", "Condition", a_condition(PERSON)), []),
        (an_entry("PUT", "Patient/a", a_patient("B", id="a"), ifMatch='W/"2"'), ["resource"]),
        (an_entry("PATCH", "Patient/b", patch, ifMatch='W/"2"'), ["resource"]),
        (an_entry("PATCH", "Patient/absent", patch), ["resource"]),
        (an_entry("DELETE", "Patient/c", ifMatch='W/"2"'), [""]),
        (an_entry("DELETE", f"Patient?{twice}"), ["request.url"]),
        (an_entry("POST", "Patient", a_patient(), ifNoneExist=twice), ["request.ifNoneExist"]),
        (an_entry("PUT", f"Patient?identifier={CCCD}|x", a_patient(id="a")), ["resource.id"]),
        (an_entry("POST", "Condition", a_condition(nobody)), ["resource.subject.reference"]),
        (an_entry("POST", "AllergyIntolerance", an_allergy(nobody)), ["resource.patient.reference"]),
        (an_entry("PUT", "Patient/e", a_patient(id="e", gender="?"), ifMatch='W/"2"'), ["resource.gender", "resource"]),
        (an_entry("PUT", "Patient/d", a_patient(id="d")), []),
        (an_entry("GET", "Patient/nobody"), [""]),
        (an_entry("GET", "Patient?birthdate=soon"), ["birthdate"]),
        (an_entry("GET", "Patient/d"), []),  # for it would be there
    ]
    refused = await client.send("POST", "", a_bundle("transaction", *[entry for entry, _ in entries]))
    assert refused.status_code == 400
    assert [issue["expression"] for issue in refused.json()["issue"]] == [
        [f"Bundle.entry[{number}].{place}".rstrip(".")]
        for number, (_, places) in enumerate(entries)
        for place in places
    ]
    assert (await client.get("Patient?_summary=count")).json()["total"] == 5
    assert (await client.get("Condition?_summary=count")).json()["total"] == 0


async def test_faults_of_one_status_keep_it(client: Client) -> None:
    absent = [an_entry("GET", f"Patient/nobody{number}") for number in range(2)]
    refused = await client.send("POST", "", a_bundle("transaction", *absent))
    assert refused.status_code == 404
    assert [issue["expression"] for issue in refused.json()["issue"]] == [["Bundle.entry[0]"], ["Bundle.entry[1]"]]


async def test_every_version_that_is_not_current_is_told_with_its_place(client: Client) -> None:
    for id in ("a", "b", "c"):
        await client.send("PUT", f"Patient/{id}", a_patient(id=id))
    entries = [an_entry("PUT", f"Patient/{id}", a_patient("B", id=id), ifMatch='W/"2"') for id in ("a", "b")]
    refused = await client.send("POST", "", a_bundle("transaction", an_entry("DELETE", "Patient/c"), *entries))
    assert refused.status_code == 412
    assert [issue["expression"] for issue in refused.json()["issue"]] == [
        ["Bundle.entry[1].resource"],
        ["Bundle.entry[2].resource"],
    ]
    assert (await client.get("Patient/c")).status_code == 200


async def test_conditional_references_that_fail_are_all_told(client: Client) -> None:
    urls = [f"Patient?identifier={CCCD}|none", "Patient?identifer=none"]
    bundle = a_bundle("transaction", *[an_entry("POST", "Condition", a_condition(url)) for url in urls])
    refused = await client.send("POST", "", bundle)
    assert refused.status_code == 412
    assert [issue["expression"] for issue in refused.json()["issue"]] == [
        [f"Bundle.entry[{place}].resource.subject.reference"] for place in range(2)
    ]


async def test_a_full_url_that_stands_twice_is_told_with_its_place(client: Client) -> None:
    bundle = a_bundle("transaction", *[an_entry("POST", "Patient", a_patient(), PERSON) for _ in range(2)])
    refused = await client.send("POST", "", bundle)
    assert refused.status_code == 400
    assert [issue["expression"] for issue in refused.json()["issue"]] == [["Bundle.entry[1].fullUrl"]]


async def test_a_full_url_that_is_another_resource_s_is_told_with_its_place(client: Client) -> None:
    strays = (
        an_entry("PUT", "Patient/b", a_patient(id="b"), "http://a.example/fhir/Patient/a"),
        an_entry("POST", "Patient", a_patient(id="b"), "http://a.example/fhir/Patient/b/_history/2"),
    )
    own = an_entry("PUT", "Patient/c", a_patient(id="c"), "http://a.example/fhir/Patient/c")
    told = await client.send("POST", "", a_bundle("transaction", *strays, own))
    assert told.status_code == 400
    places = [f"Bundle.entry[{number}].fullUrl" for number in (0, 1)]
    assert [issue["expression"] for issue in told.json()["issue"]] == [[place] for place in places]
    batch = (await client.send("POST", "", a_bundle("batch", *strays, own))).json()
    assert [entry["response"]["status"][:3] for entry in batch["entry"]] == ["400", "400", "201"]
    outcomes = [entry["response"]["outcome"]["issue"] for entry in batch["entry"][:2]]
    assert [issues[0]["expression"] for issues in outcomes] == [[place] for place in places]


async def test_history_inside_a_transaction_shows_what_the_transaction_writes(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    bundle = a_bundle(
        "transaction",
        an_entry("GET", "Patient/an/_history"),
        an_entry("GET", "Patient/an/_history/1"),
        an_entry("GET", "_history?_count=1"),
        an_entry("PUT", "Patient/an", a_patient("B", id="an")),
    )
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 200, answer.text
    of_one, version, of_all, _ = (entry.get("resource") for entry in answer.json()["entry"])
    assert [entry["response"]["etag"] for entry in of_one["entry"]] == ['W/"2"', 'W/"1"']
    assert of_one["total"] == 2
    assert version["meta"]["versionId"] == "1"
    assert [entry["resource"]["name"][0]["text"] for entry in of_all["entry"]] == ["B"]


async def test_a_read_that_fails_undoes_the_transaction(client: Client) -> None:
    bundle = a_bundle(
        "transaction",
        an_entry("PUT", "Patient/an", a_patient(id="an")),
        an_entry("GET", "Patient/nobody"),
    )
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 404
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert (await client.get("Patient/an")).status_code == 404


async def test_if_match_and_patch_inside_a_transaction(client: Client) -> None:
    await client.send("PUT", "Patient/a", a_patient(id="a"))
    await client.send("PUT", "Patient/b", a_patient(id="b"))
    operations = json.dumps([{"op": "add", "path": "/active", "value": True}]).encode()
    patch = {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": base64.b64encode(operations).decode(),
    }
    bundle = a_bundle(
        "transaction",
        an_entry("PUT", "Patient/a", a_patient("B", id="a"), ifMatch='W/"1"'),
        an_entry("PATCH", "Patient/b", patch),
    )
    assert (await client.send("POST", "", bundle)).status_code == 200
    assert (await client.get("Patient/b")).json()["active"] is True
    assert (await client.send("POST", "", bundle)).status_code == 412
    assert (await client.get("Patient/b")).json()["meta"]["versionId"] == "2"


async def test_a_batch_runs_each_entry_on_its_own(client: Client) -> None:
    bundle = a_bundle(
        "batch",
        an_entry("POST", "Patient", a_patient()),
        an_entry("POST", "Patient", a_patient(gender="?")),
        an_entry("GET", "Patient/nobody"),
        an_entry("PUT", "Patient/an", a_patient(id="an")),
        {"resource": a_patient()},
    )
    told = (await client.send("POST", "", bundle)).json()
    assert told["type"] == "batch-response"
    assert [entry["response"]["status"][:3] for entry in told["entry"]] == ["201", "400", "404", "201", "400"]
    outcome = told["entry"][1]["response"]["outcome"]
    assert outcome["issue"][0]["expression"] == ["Bundle.entry[1].resource.gender"]


async def test_other_bundles_are_stored_at_bundle_and_refused_at_the_base(client: Client) -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": a_patient(id="x")}]}
    assert (await client.send("POST", "", bundle)).status_code == 400
    assert (await client.send("POST", "Bundle", bundle)).status_code == 201


async def test_a_bundle_over_the_limit_is_refused_before_anything_is_written(client: Client) -> None:
    entry = an_entry("POST", "Patient", a_patient())
    answer = await client.send("POST", "", a_bundle("transaction", *[entry] * 25_001))
    assert answer.status_code == 403
    assert "25000" in answer.json()["issue"][0]["diagnostics"]
