"""fhirpy (Python) against a running server, as its documentation shows it."""

from __future__ import annotations

from collections import Counter

import pytest
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound
from people import CARD, CCCD, HISTORY, NAME, a_transaction
from running_server import RunningServer


@pytest.fixture
def client(server: RunningServer) -> SyncFHIRClient:
    return SyncFHIRClient(server.base)


@pytest.mark.parametrize("criterion", [{"name": NAME}, {"identifier": CCCD}, {"identifier": CARD}])
def test_a_person_is_found_by_name_personal_number_and_card_number(
    client: SyncFHIRClient, criterion: dict[str, str]
) -> None:
    found = client.resources("Patient").search(**criterion).fetch_all()
    assert [patient.name[0].text for patient in found] == ["Nguyễn Văn An"]


def test_one_search_gives_a_person_with_diseases_immunisations_and_allergies(client: SyncFHIRClient) -> None:
    search = client.resources("Patient").search(identifier=CCCD)
    for type in HISTORY:
        search = search.revinclude(type, "patient")
    bundle = search.fetch_raw()
    assert [entry.search.mode for entry in bundle.entry].count("match") == 1
    assert {entry.resource.resourceType for entry in bundle.entry} == {"Patient", *HISTORY}


def test_a_transaction_stores_a_new_patient_with_four_resources_that_refer_to_it(client: SyncFHIRClient) -> None:
    answer = client.execute("", data=a_transaction())
    assert [entry.response.status[:3] for entry in answer.entry] == ["201"] * 4
    id = answer.entry[0].response.location.split("Patient/")[1].split("/")[0]
    found = Counter(
        resource.resource_type
        for type in HISTORY
        for resource in client.resources(type).search(patient=f"Patient/{id}").fetch_all()
    )
    assert found == dict.fromkeys(HISTORY, 1)


def test_a_resource_is_created_read_updated_patched_and_deleted_and_its_history_tells_all(
    client: SyncFHIRClient,
) -> None:
    patient = client.resource("Patient", name=[{"text": "Lê Thị Bình"}], gender="female")
    patient.create()
    read = client.reference("Patient", patient.id).to_resource()
    assert (read.name[0].text, read.meta.versionId) == ("Lê Thị Bình", "1")
    read["birthDate"] = "1992"
    read.update()
    read.patch(gender="unknown")
    assert client.get("Patient", patient.id)["gender"] == "unknown"
    read.delete()
    with pytest.raises(ResourceNotFound):
        client.reference("Patient", patient.id).to_resource()
    history = client.execute(f"Patient/{patient.id}/_history", method="get")
    assert [entry.request.method for entry in history.entry] == ["DELETE", "PATCH", "PUT", "POST"]


def test_pages_are_walked_to_the_end_and_counted(client: SyncFHIRClient) -> None:
    family = "Đặngtrang"
    for _ in range(5):
        client.execute("", data=a_transaction(family))
    search = client.resources("Patient").search(family="dangtrang")
    assert len({patient.id for patient in search.limit(2)}) == 5
    assert search.count() == 5


def test_get_or_create_makes_a_person_once(client: SyncFHIRClient) -> None:
    identifier = {"system": "http://example.org/so-kham", "value": "get-or-create"}
    search = client.resources("Patient").search(identifier="http://example.org/so-kham|get-or-create")
    first, created = search.get_or_create(client.resource("Patient", identifier=[identifier]))
    second, again = search.get_or_create(client.resource("Patient", identifier=[identifier]))
    assert (created, again) == (True, False)
    assert first.id == second.id
