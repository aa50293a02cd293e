"""Search as Việt Nam needs it: its numbers under every guide's URI, its names, its wards before and after 2025."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from scripts.build_vn_search_parameters import TARGET, made
from tests.api.conftest import Client
from tests.builders import a_patient

CCCD = "038085900001"
GUIDES = ("http://fhir.hl7.org.vn/core/sid/cccd", "http://fhir.ehealth.gov.vn/core/sid/national_id")
WARD = "urn:vn-basic:CodeSystem:ward"
PROVINCE = "urn:vn-basic:CodeSystem:province"


def living_in(unit: str, system: str, code: str) -> dict[str, Any]:
    address = "http://fhir.ehealth.gov.vn/core/StructureDefinition/extension-administrative-address"
    inner = {"url": unit, "valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}
    return a_patient(address=[{"text": "x", "extension": [{"url": address, "extension": [inner]}]}])


async def found(client: Client, query: str) -> list[str]:
    answer = await client.get(query, prefer="handling=strict")
    assert answer.status_code == 200, answer.text
    return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


def test_the_parameters_are_those_that_the_naming_systems_make() -> None:
    assert TARGET.read_text(encoding="utf-8") == made()
    assert TARGET.is_relative_to(DATA_ROOT)


@pytest.mark.parametrize("written", GUIDES)
async def test_a_number_is_found_under_every_known_uri(client: Client, written: str) -> None:
    person = await client.created(a_patient(identifier=[{"system": written, "value": CCCD}]))
    for asked in ("", *(f"{uri}|" for uri in GUIDES), "urn:vn-basic:sid:cccd|"):
        assert await found(client, f"Patient?identifier={asked}{CCCD}") == [person["id"]]
        assert await found(client, f"Patient?vn-cccd={asked}{CCCD}") == [person["id"]]
    assert await found(client, f"Patient?identifier=|{CCCD}") == []
    assert await found(client, f"Patient?vn-bhyt={CCCD}") == []


async def test_a_card_number_finds_the_person_and_the_coverage(client: Client) -> None:
    card = {"system": "http://fhir.hl7.org.vn/core/sid/bhyt", "value": "GD4383890000001"}
    person = await client.created(a_patient(identifier=[card]))
    payor = [{"display": "BHXH"}]
    beneficiary = {"reference": f"Patient/{person['id']}"}
    coverage = {"resourceType": "Coverage", "status": "active", "payor": payor, "beneficiary": beneficiary}
    cover = await client.created({**coverage, "identifier": [card]})
    for asked in ("", "http://fhir.ehealth.gov.vn/core/sid/insurance_number|"):
        assert await found(client, f"Patient?vn-bhyt={asked}{card['value']}") == [person["id"]]
        assert await found(client, f"Coverage?vn-bhyt-card={asked}{card['value']}") == [cover["id"]]


@pytest.mark.parametrize("asked", ["nguyễn đức", "Nguyễn Đức", "nguyen duc", "duc nguyen", "ĐỨC", "NGUYE", "ngu\u0303"])
async def test_a_name_is_found_without_marks_in_any_order_and_composition(client: Client, asked: str) -> None:
    person = await client.created(a_patient("Nguyễn Văn Đức"))
    await client.created(a_patient("Trần Thị Bình"))
    assert await found(client, f"Patient?name={asked}") == [person["id"]]


async def test_exact_respects_marks(client: Client) -> None:
    person = await client.created({"resourceType": "Patient", "name": [{"family": "Nguyễn", "given": ["Đức"]}]})
    assert await found(client, "Patient?family:exact=Nguyễn") == [person["id"]]
    assert await found(client, "Patient?family:exact=Nguyen") == []
    assert await found(client, "Patient?family=NGUYEN") == [person["id"]]


async def test_a_province_code_that_is_in_use_again_means_one_era(client: Client) -> None:
    now = await client.created(living_in("state", PROVINCE, "24"))  # Bắc Ninh since 2025-07-01
    before = await client.created(living_in("state", f"{PROVINCE}-legacy", "24"))  # Bắc Giang until then
    assert await found(client, f"Patient?residence={PROVINCE}|24") == [now["id"]]
    assert await found(client, f"Patient?residence={PROVINCE}-legacy|24") == [before["id"]]


async def test_a_lineage_finds_people_under_predecessors_and_successors_when_asked(client: Client) -> None:
    now = await client.created(living_in("state", PROVINCE, "24"))
    giang = await client.created(living_in("state", f"{PROVINCE}-legacy", "24"))
    ninh = await client.created(living_in("state", f"{PROVINCE}-legacy", "27"))
    await client.created(living_in("state", PROVINCE, "38"))
    every = {now["id"], giang["id"], ninh["id"]}
    assert set(await found(client, f"Patient?residence-lineage={PROVINCE}|24")) == every
    assert set(await found(client, f"Patient?residence-lineage={PROVINCE}-legacy|27")) == {ninh["id"], now["id"]}
    ward = await client.created(living_in("ward", f"{WARD}-legacy", "14845"))
    assert await found(client, f"Patient?residence-lineage={WARD}|14845") == [ward["id"]]


async def test_a_lineage_without_an_era_is_refused(client: Client) -> None:
    for query in ("residence-lineage=24", "residence-lineage=|24", "residence-lineage:text=a|24"):
        assert (await client.get(f"Patient?{query}", prefer="handling=strict")).status_code == 400
