"""Files of records are held to the rights of who sends them: marked, narrowed, telling nothing of who is hidden."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.builders import CCCD, a_patient
from tests.security.callers import Caller, living_in
from tests.security.conftest import Ask
from tests.security.people import HA_NOI, THANH_HOA, directory

SENDER = "urn:vn-basic:CodeSystem:sender"
IMPORT = "operation/import-records"
OURS, THEIRS, NEW, OTHER, WOMAN = (f"0380850000{n:02d}" for n in range(1, 6))


def known(id: str, number: str, **more: Any) -> dict[str, Any]:
    return a_patient(f"Nguyễn Văn {id}", id=id, identifier=[{"system": CCCD, "value": number}], **more)


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    people = [
        known("ours", OURS, managingOrganization={"reference": "Organization/h1"}, address=[living_in(THANH_HOA)]),
        known("woman", WOMAN, gender="female", birthDate="1990"),
        known("theirs", THEIRS, managingOrganization={"reference": "Organization/h2"}, address=[living_in(HA_NOI)]),
    ]
    for resource in [*directory()[:2], *people]:
        assert (await admin.put(resource)).status_code == 201


def record(number: str, id: str = "1", **more: Any) -> dict[str, Any]:
    """A person with one visit, as the basic group has it."""
    return {
        "ma_ho_so": f"{number}-{id}",
        "ma_cskcb": "38901",
        "ngay_cap_nhat": "2026-06-30",
        "hanh_chinh": {"ho_ten": "Nguyễn Văn Tên Khác", "ngay_sinh": "1985-03-02", "gioi_tinh": "1", **more}
        | {"so_dinh_danh": number},
        "tien_su": {"benh_tat": [{"ma_benh": "E11", "ten_benh": "Đái tháo đường", "trang_thai": "1"}]},
    }


async def send(caller: Caller, *records: dict[str, Any]) -> httpx.Response:
    return await caller.post("$import-records", list(records), content_type="application/json")


async def of(admin: Caller, number: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The one Patient who bears the number, and the Conditions of that person."""
    patients = (await admin.get(f"Patient?identifier={CCCD}|{number}")).json()["entry"]
    assert len(patients) == 1
    person = patients[0]["resource"]
    found = (await admin.get(f"Condition?patient={person['id']}")).json()
    return person, [entry["resource"] for entry in found.get("entry", ())]


def marks(resource: dict[str, Any]) -> list[str]:
    return [tag["code"] for tag in resource["meta"].get("tag", ()) if tag["system"] == SENDER]


@pytest.fixture
def hospital(ask: Ask) -> Caller:
    return ask(f"system/*.cruds {IMPORT}", organization="h1")


async def test_what_a_facility_sends_bears_its_mark_and_is_its_own_to_see(hospital: Caller, admin: Caller) -> None:
    answer = await send(hospital, record(NEW))
    assert answer.status_code == 200, answer.text
    person, conditions = await of(admin, NEW)
    assert [marks(one) for one in (person, *conditions)] == [["h1"], ["h1"]]
    assert (await hospital.get(f"Patient/{person['id']}")).status_code == 200
    assert [one["id"] for one in conditions] == [
        name.partition("/")[2] for name in await hospital.ids(f"Condition?patient={person['id']}")
    ]
    provenance = await admin.ids(f"Provenance?patient={person['id']}")
    assert len(provenance) == 1
    again = await send(hospital, record(NEW))
    assert again.status_code == 200
    assert (await of(admin, NEW))[0]["meta"]["versionId"] == person["meta"]["versionId"]


async def test_the_person_that_another_has_sent_stays_as_it_is(hospital: Caller, admin: Caller) -> None:
    before, _ = await of(admin, OURS)
    answer = await send(hospital, record(OURS, sdt="0900000001"))
    assert answer.status_code == 200, answer.text
    after, conditions = await of(admin, OURS)
    assert after == before
    assert [marks(one) for one in conditions] == [["h1"]]
    assert "differs" in answer.text or "otherwise" in answer.text


async def test_a_record_of_a_hidden_person_is_filed_and_tells_nothing_of_the_person(
    hospital: Caller, admin: Caller, ask: Ask
) -> None:
    before, _ = await of(admin, THEIRS)
    answer = await send(hospital, record(THEIRS, gioi_tinh="1"))
    assert answer.status_code == 200, answer.text
    assert "theirs" not in answer.text
    assert "otherwise" not in answer.text
    after, conditions = await of(admin, THEIRS)
    assert after == before
    assert [marks(one) for one in conditions] == [["h1"]]
    assert await hospital.ids(f"Condition?_id={conditions[0]['id']}") == {f"Condition/{conditions[0]['id']}"}
    assert (await hospital.get("Patient/theirs")).status_code == 404
    assert (
        await ask("user/*.rs", administrative_unit=f"ward:{HA_NOI}").get(f"Condition/{conditions[0]['id']}")
    ).is_success


async def test_a_mother_is_linked_with_the_newborn_of_a_sender_who_may_see_it_only(
    hospital: Caller, admin: Caller, ask: Ask
) -> None:
    newborn = {"ngay_sinh": "2026-06-20", "ho_ten": "Con bà Lê Thị Hai", "gioi_tinh": "2"}
    mother = {"ngay_sinh": "1990-03-02", "ho_ten": "Lê Thị Hai", "gioi_tinh": "2"}
    for number, is_linked in (("038190000777", False), ("038190000778", True)):
        sender = hospital if is_linked else ask(f"system/*.cruds {IMPORT}", organization="h2")
        assert (await send(sender, record(number, "c", **newborn))).status_code == 200
        assert (await send(hospital, record(number, "m", **mother))).status_code == 200
        person, _ = await of(admin, number)
        assert ([link["type"] for link in person.get("link", ())] == ["seealso"]) is is_linked


async def test_that_a_record_contradicts_a_hidden_person_is_not_told(hospital: Caller, admin: Caller) -> None:
    for sender, told in ((hospital, False), (admin, True)):
        answer = await send(sender, record(WOMAN, str(told)))
        assert answer.status_code == 200, answer.text
        assert ("another person" in answer.text) == told


async def test_a_record_of_another_sender_is_not_overwritten(hospital: Caller, admin: Caller, ask: Ask) -> None:
    first = await send(hospital, record(OTHER))
    assert first.status_code == 200, first.text
    other = ask(f"system/*.cruds {IMPORT}", organization="h2")
    changed = record(OTHER) | {"tien_su": {}}
    answer = await send(other, changed)
    assert answer.status_code == 422, answer.text
    _, conditions = await of(admin, OTHER)
    assert [marks(one) for one in conditions] == [["h1"]]


async def test_a_facility_of_the_directory_is_added_and_never_changed(hospital: Caller, admin: Caller) -> None:
    found = (await admin.get("Organization?identifier=38901")).json()["entry"]
    assert len(found) == 1
    made = found[0]["resource"]
    changed = {**made, "name": "Tên do sở đặt"}
    assert (await admin.put(changed)).status_code == 200
    answer = await send(hospital, record(NEW, "3") | {"ten_cskcb": "Tên khác"})
    assert answer.status_code == 200, answer.text
    assert (await admin.get(f"Organization/{made['id']}")).json()["name"] == "Tên do sở đặt"


async def test_one_refused_record_loses_no_other(ask: Ask, admin: Caller) -> None:
    officer = ask(f"user/*.cruds {IMPORT}", administrative_unit=f"ward:{THANH_HOA}")
    mine, others = record(OURS, "4"), record(THEIRS, "4")
    answer = await send(officer, mine, others)
    assert answer.status_code == 200, answer.text
    text = answer.text
    assert "outside of what the caller may write" in text
    assert len((await of(admin, OURS))[1]) == 2
    assert len((await of(admin, THEIRS))[1]) == 1


async def test_citizens_import_nothing_even_with_the_scope(ask: Ask, admin: Caller) -> None:
    citizen = ask(f"patient/*.cruds {IMPORT}", patient="ours")
    answer = await send(citizen, record(OURS, "5"))
    assert answer.status_code == 422, answer.text
    assert len((await of(admin, OURS))[1]) == 2


async def test_records_sent_beside_the_interface_are_held_to_the_same_rights(
    hospital: Caller, admin: Caller, http: httpx.AsyncClient
) -> None:
    headers = {**hospital.headers, "content-type": "application/json"}
    answer = await http.post("/records", json=[record(THEIRS, "6")], headers=headers)
    assert answer.status_code == 200, answer.text
    assert "theirs" not in answer.text
    refused = await http.post("/records", json=[record(THEIRS, "6")], headers={"content-type": "application/json"})
    assert refused.status_code == 401
