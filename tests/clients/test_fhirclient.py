"""fhirclient (SMART, Python) against a running server: its models refuse every answer that is not R4."""

from __future__ import annotations

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.allergyintolerance import AllergyIntolerance
from fhirclient.models.bundle import Bundle
from fhirclient.models.fhirdate import FHIRDate
from fhirclient.models.humanname import HumanName
from fhirclient.models.immunization import Immunization
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRServer
from people import CARD, CCCD, HISTORY, NAME, a_transaction
from requests import HTTPError
from running_server import RunningServer


@pytest.fixture(scope="module")
def smart(server: RunningServer) -> FHIRServer:
    client = FHIRClient(settings={"app_id": "test", "api_base": server.base})
    client.prepare()
    return client.server


def test_the_capability_statement_is_read_and_asks_for_no_login(smart: FHIRServer) -> None:
    assert smart.capabilityStatement.fhirVersion == "4.0.1"
    assert smart.ready


@pytest.mark.parametrize("criterion", [{"name": NAME}, {"identifier": CCCD}, {"identifier": CARD}])
def test_a_person_is_found_by_name_personal_number_and_card_number(
    smart: FHIRServer, criterion: dict[str, str]
) -> None:
    found = list(Patient.where(dict(criterion)).perform_resources_iter(smart))
    assert [patient.name[0].text for patient in found] == ["Nguyễn Văn An"]


def test_one_search_gives_a_person_with_diseases_immunisations_and_allergies(smart: FHIRServer) -> None:
    search = Patient.where({"identifier": CCCD})
    search.include("patient", Immunization, reverse=True).include("patient", AllergyIntolerance, reverse=True)
    path = f"{search.construct()}&_revinclude=Condition:patient"
    bundle = Bundle.read_from(path, smart)
    assert {entry.resource.resource_type for entry in bundle.entry} == {"Patient", *HISTORY}


def test_a_transaction_stores_a_new_patient_with_four_resources(smart: FHIRServer) -> None:
    answer = Bundle(Bundle(a_transaction()).create(smart))
    assert [entry.response.status[:3] for entry in answer.entry] == ["201"] * 4


def test_pages_are_walked_to_the_end(smart: FHIRServer) -> None:
    for _ in range(5):
        Bundle(a_transaction("Đặngsách")).create(smart)
    search = Patient.where({"family": "dangsach", "_count": "2"})
    assert len({patient.id for patient in search.perform_resources_iter(smart)}) == 5
    assert len(list(search.perform_iter(smart))) == 3


def test_a_resource_is_created_read_updated_patched_and_deleted_and_its_history_tells_all(smart: FHIRServer) -> None:
    patient = Patient()
    patient.name = [HumanName({"text": "Phạm Văn Cường"})]
    id = patient.create(smart)["id"]
    read = Patient.read(id, smart)
    read.birthDate = FHIRDate("1979-11-02")
    assert read.update(smart)["meta"]["versionId"] == "2"
    assert Patient.read(id, smart).birthDate.isostring == "1979-11-02"
    # It has no call for PATCH; its session has.
    json_patch = [{"op": "add", "path": "/gender", "value": "male"}]
    headers = {"Content-Type": "application/json-patch+json"}
    smart.session.patch(f"{smart.base_uri}Patient/{id}", json=json_patch, headers=headers).raise_for_status()
    assert Patient.read(id, smart).gender == "male"
    read.delete(smart)
    with pytest.raises(HTTPError, match="410"):
        Patient.read(id, smart)
    history = Bundle.read_from(f"Patient/{id}/_history", smart)
    assert [entry.request.method for entry in history.entry] == ["DELETE", "PATCH", "PUT", "POST"]


def test_an_unknown_id_is_not_found(smart: FHIRServer) -> None:
    with pytest.raises(FHIRNotFoundException):
        Patient.read("nobody-has-this-id", smart)
