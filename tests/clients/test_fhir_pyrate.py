"""fhir-pyrate (Python), which makes tables of searches, against a running server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from fhir_pyrate import Pirate
from people import CARD, CCCD, HISTORY, NAME, a_transaction
from running_server import RunningServer


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """What Pirate asks with; it only reads, so the tests write with it."""
    with requests.Session() as made:
        yield made


@pytest.fixture
def pirate(server: RunningServer, session: requests.Session) -> Iterator[Pirate]:
    with Pirate(server.base, auth=session, num_processes=1) as made:
        yield made


def stored(session: requests.Session, base: str, family: str) -> str:
    """Stores a patient with a disease, an immunisation and an allergy, and gives the patient's id."""
    answer = session.post(base, json=a_transaction(family))
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["201"] * 4
    id: str = answer.json()["entry"][0]["response"]["location"].split("Patient/")[1].split("/")[0]
    return id


@pytest.mark.parametrize("criterion", [{"name": NAME}, {"identifier": CCCD}, {"identifier": CARD}])
def test_a_person_is_found_by_name_personal_number_and_card_number(pirate: Pirate, criterion: dict[str, str]) -> None:
    table = pirate.steal_bundles_to_dataframe("Patient", criterion, fhir_paths=[("name", "Patient.name.text")])
    assert table["name"].tolist() == ["Nguyễn Văn An"]


def test_pages_are_walked_to_the_end_and_counted(
    pirate: Pirate, session: requests.Session, server: RunningServer
) -> None:
    ids = {stored(session, server.base, "Đặngcướp") for _ in range(5)}
    criteria = {"family": "Đặngcướp", "_sort": "_id", "_count": "2"}
    table = pirate.steal_bundles_to_dataframe("Patient", criteria, fhir_paths=["id"])
    assert table["id"].tolist() == sorted(ids)
    assert len(list(pirate.steal_bundles("Patient", criteria))) == 3
    assert pirate.get_bundle_total("Patient", {"family": "Đặngcướp"}) == 5


def test_the_rows_of_one_table_lead_to_the_resources_of_another(
    pirate: Pirate, session: requests.Session, server: RunningServer
) -> None:
    ids = {stored(session, server.base, "Hoàngcướp") for _ in range(3)}
    people = pirate.steal_bundles_to_dataframe("Patient", {"family": "Hoàngcướp"}, fhir_paths=["id"])
    for type in HISTORY:
        path = "subject" if type == "Condition" else "patient"
        found = pirate.trade_rows_for_dataframe(
            people, type, {"patient": "id"}, fhir_paths=[("patient_of", f"{type}.{path}.reference")]
        )
        assert set(found["patient_of"]) == {f"Patient/{id}" for id in ids}


def test_a_resource_is_created_read_updated_patched_and_deleted_and_its_history_tells_all(
    pirate: Pirate, session: requests.Session, server: RunningServer
) -> None:
    def current() -> list[str]:
        return pirate.steal_bundles_to_dataframe("Patient", {"_id": id}, fhir_paths=["gender"])["gender"].tolist()

    made = session.post(f"{server.base}/Patient", json={"resourceType": "Patient", "name": [{"text": "Ngô Văn Phúc"}]})
    id = made.json()["id"]
    url = f"{server.base}/Patient/{id}"
    assert session.put(url, json=made.json() | {"gender": "unknown"}).json()["meta"]["versionId"] == "2"
    assert current() == ["unknown"]
    assert session.patch(url, json={"gender": "male"}).status_code == 200
    assert current() == ["male"]
    assert session.delete(url).status_code == 204
    assert session.get(url).status_code == 410
    (history,) = pirate.steal_bundles(f"Patient/{id}/_history")
    assert [entry.request.method for entry in history.entry] == ["DELETE", "PATCH", "PUT", "POST"]
