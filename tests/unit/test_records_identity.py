"""Who a record is about: by numbers in their order, never by name; and what is left for a human to settle."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database
from records_desk import Desk
from records_sources import FORMATS, as_json, basic, dossier, element, health_record, person, records, total

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.planning import draft
from fhir_server.records.doubts import settle_as_different
from fhir_server.records.export import export_of
from fhir_server.records.export_people import records_of
from fhir_server.records.groups import Group
from fhir_server.records.identity import ORDER, Known, choose, numbers
from fhir_server.records.newborns import REGISTER, link_stored
from fhir_server.records.patient_merge import merge_patients
from fhir_server.records.patient_unmerge import unmerge_patients
from fhir_server.records.storing import Stores
from fhir_server.store.values import Put

NAMING = FORMATS.tools.naming
SYSTEMS = {kind: NAMING.uri(kind, "moh", "38280" if NAMING.by_kind[kind].scoped else None) for kind, _ in ORDER}
STRENGTH = [kind for kind, _ in ORDER]


def patient(birth: str = "1985-03-02", gender: str = "male", **held: str) -> dict[str, Any]:
    """held: kind of number (`_` for `-`) -> value."""
    marks = [{"system": SYSTEMS[kind.replace("_", "-")], "value": value} for kind, value in held.items()]
    made = {"resourceType": "Patient", "identifier": marks, "gender": gender, "name": [{"text": "Nguyễn Văn An"}]}
    return {**made, "birthDate": birth} if birth else made


def chosen(fresh: dict[str, Any], **stored: dict[str, Any]) -> tuple[str | None, dict[str, str]]:
    """(id of the one found, {id: reason} of those kept apart)."""
    people = [Known(id, 1, one) for id, one in stored.items()]
    wanted = numbers(fresh, NAMING)
    by_number = {number: [one for one in people if number in numbers(one.resource, NAMING)] for number in wanted}
    choice = choose(fresh, by_number, None, NAMING)
    return choice.known.id if choice.known else None, {one.id: reason for _, reason, one in choice.apart}


@pytest.mark.parametrize("place", range(len(STRENGTH) - 1))
def test_the_stronger_number_decides_and_who_bears_the_weaker_one_is_a_doubt(place: int) -> None:
    stronger, weaker = (kind.replace("-", "_") for kind in STRENGTH[place : place + 2])
    both = patient(**{stronger: "1", weaker: "2"})
    assert chosen(both, a=patient(**{weaker: "2"}), b=patient(**{stronger: "1"})) == ("b", {"a": "number"})


@pytest.mark.parametrize(("kind", "needs_birth"), ORDER)
@pytest.mark.parametrize(
    ("birth", "gender", "found", "reason"),
    [
        ("1985-03-02", "male", True, None),
        ("1985", "unknown", True, None),
        ("1985-03-02", "female", False, "sex"),
        ("1986-03-02", "male", False, "birth year"),
        ("1985-04-02", "male", None, "birth date"),
        ("", "male", None, None),
    ],
)
def test_each_number_tells_as_the_table_says(
    kind: str, needs_birth: bool, birth: str, gender: str, found: bool | None, reason: str | None
) -> None:
    """found None: only by a number that tells without the birth date."""
    name = kind.replace("-", "_")
    is_found = (not needs_birth) if found is None else found
    told = {"a": reason} if reason is not None and not is_found else {}
    assert chosen(patient(birth, gender, **{name: "1"}), a=patient(**{name: "1"})) == ("a" if is_found else None, told)


def test_a_name_a_birth_date_and_a_number_of_another_kind_tell_nobody() -> None:
    assert chosen(patient(cccd="1"), a=patient(bhxh="1"), b=patient()) == (None, {})


def test_who_was_joined_stands_for_the_other_with_all_that_was_said_of_both() -> None:
    target = Known("t", 1, patient(gender="female", cccd="2"))
    source = Known("s", 1, patient(cccd="1"), into=target)
    fresh = patient(cccd="1")
    (number,) = numbers(fresh, NAMING)
    assert choose(fresh, {number: [source, target]}, None, NAMING).known is target
    assert choose(fresh, {}, source, NAMING).known is target


# --- in a store ------------------------------------------------------------------------------------------------------


async def planned(desk: Desk, visit: str) -> tuple[Stores, Group]:
    """One record as an import of its own has planned it, not committed yet."""
    stores = Stores(desk.context, FORMATS)
    return stores, await stores.plan(records(dossier(visit)), careful=True)


async def commit(desk: Desk, stores: Stores, group: Group) -> None:
    ops = await stores.ops(group)

    async def work(transaction: Any) -> None:
        await stores.confirm(group, transaction)
        await transaction.apply(ops)

    await desk.context.store.transact(work)


async def test_a_doubt_is_listed_once_and_stays_until_it_is_settled(desk: Desk) -> None:
    other = health_record(person(GIOITINH="2"), sender="38281")
    await desk.send(health_record(person()))
    await desk.send(other)
    ((reason, _, _),) = await desk.doubts()
    assert reason == "sex"
    (task,) = await desk.stored("Task")
    assert "038085000123" not in str(task)
    await desk.send(other.replace(b"R1", b"R2"))
    assert len(await desk.doubts()) == 1
    await settle_as_different(desk.context, task["id"])
    assert await desk.doubts() == []
    await desk.send(health_record(person(GIOITINH="2", EMAIL="a@example.vn"), sender="38281"))
    assert await desk.doubts() == []
    assert [one["businessStatus"]["coding"][0]["code"] for one in await desk.stored("Task")] == ["different-people"]
    with pytest.raises(FhirError) as caught:
        await settle_as_different(desk.context, task["id"])
    assert caught.value.kind is Kind.BUSINESS_RULE


async def test_a_merge_settles_the_doubt_and_its_undoing_raises_it_again(desk: Desk) -> None:
    await desk.send(health_record(person()))
    await desk.send(health_record(person(GIOITINH="2"), sender="38281"))
    ((_, source, target),) = await desk.doubts()
    ids = source.removeprefix("Patient/"), target.removeprefix("Patient/")
    merged = await merge_patients(desk.context, *ids)
    assert any("gender" in text for text in merged.told)
    assert await desk.doubts() == []
    await unmerge_patients(desk.context, ids[0])
    assert await desk.doubts() == [("sex", source, target)]


async def test_a_card_of_somebody_who_was_joined_stays_one_coverage(desk: Desk) -> None:
    card = {"MA_THE_BHYT": "DN4383820000123"}
    await desk.send(dossier(total(SO_CCCD=None, MA_BN="BN7", **card)))
    await desk.send(dossier(total(MA_LK="LK2", MA_BN="BN8")))
    source, target = (await desk.of_number("BN7"))["id"], (await desk.of_number("BN8"))["id"]
    await merge_patients(desk.context, source, target)
    await desk.send(dossier(total(MA_LK="LK3", MA_BN="BN8", NGAY_VAO="202604020815", NGAY_RA="202604021130", **card)))
    (coverage,) = await desk.stored("Coverage")
    assert coverage["beneficiary"] == {"reference": f"Patient/{target}"}
    assert len(await desk.stored("Patient")) == 2


async def test_a_record_whose_numbers_lead_to_two_people_is_one_s_and_the_other_a_doubt(desk: Desk) -> None:
    await desk.send(health_record(person(MABHXH=None)))
    await desk.send(dossier(total(SO_CCCD=None, GIOI_TINH="1", MA_BN="BN7", MA_THE_BHYT="DN4383820000123")))
    assert len(await desk.stored("Patient")) == 2
    both = total(MA_LK="LK2", SO_CCCD="038085000123", GIOI_TINH="1", MA_BN="BN7")
    report = await desk.send(dossier(both))
    assert report.rules[("warning", "several-people")] == 1
    ((reason, about, other),) = await desk.doubts()
    assert reason == "number"
    assert about == f"Patient/{(await desk.of_number('038085000123'))['id']}" != other


MOTHER = {"SO_CCCD": "038190000124", "NGAY_SINH": "199003020000", "MA_BN": "ME"}
CHILD = {"SO_CCCD": "038190000124", "NGAY_SINH": "202603010815", "MA_DOITUONG_KCB": "1.7"}


async def test_a_newborn_under_its_mother_s_number_is_listed_and_she_is_linked(desk: Desk) -> None:
    mother = total(**MOTHER)
    child = total(MA_LK="LK2", MA_BN="CON", **CHILD)
    await desk.send(dossier(child, mother))
    (relative,) = await desk.stored("RelatedPerson")
    held = {one["identifier"][-1]["value"]: one for one in await desk.stored("Patient")}
    baby, she = held["CON"], held["ME"]
    assert relative["patient"] == {"reference": f"Patient/{baby['id']}"}
    assert she["link"] == [{"other": {"reference": f"RelatedPerson/{relative['id']}"}, "type": "seealso"}]
    assert await desk.doubts() == [("newborn", f"Patient/{baby['id']}", f"RelatedPerson/{relative['id']}")]
    newer = total(MA_LK="LK3", NGAY_VAO="202604020815", **MOTHER)
    await desk.send(dossier(newer))
    assert (await desk.of_number("ME"))["link"] == she["link"]


async def test_a_mother_who_comes_after_her_newborns_is_linked_with_each_that_still_stands_under_her_number(
    desk: Desk,
) -> None:
    await desk.send(dossier(total(MA_LK="LK2", MA_BN="CON 1", **CHILD)))
    await desk.send(dossier(total(MA_LK="LK3", MA_BN="CON 2", **CHILD)))
    await desk.send(dossier(total(MA_LK="LK4", MA_BN="CON 3", **CHILD)))
    await desk.send(dossier(total(MA_LK="LK4", MA_BN="CON 3", **{**CHILD, "SO_CCCD": None})))  # corrected
    relatives = sorted(f"RelatedPerson/{one['id']}" for one in await desk.stored("RelatedPerson"))
    await desk.send(dossier(total(**{**MOTHER, "SO_CCCD": None})))
    assert "link" not in await desk.of_number("ME")
    report = await desk.send(dossier(total(**MOTHER)))
    links = (await desk.of_number("ME"))["link"]
    assert (report.stored, len(relatives)) == (1, 2)
    assert [(one["other"]["reference"], one["type"]) for one in links] == [(one, "seealso") for one in relatives]


async def test_a_mother_and_her_newborn_that_two_imports_meet_at_once_do_not_miss_each_other(desk: Desk) -> None:
    number = {"SO_CCCD": "038190000126"}
    stores, mother = await planned(desk, total(**{**MOTHER, **number}))
    _, child = await planned(desk, total(MA_LK="LK2", MA_BN="CON", **{**CHILD, **number}))
    await commit(desk, stores, child)
    with pytest.raises(FhirError) as raised:
        await commit(desk, stores, mother)
    assert raised.value.kind is Kind.CONFLICT
    _, mother = await planned(desk, total(**{**MOTHER, **number}))
    await commit(desk, stores, mother)
    assert [one["type"] for one in (await desk.of_number("ME"))["link"]] == ["seealso"]


async def test_somebody_else_under_the_number_of_a_stored_record_takes_nothing_from_it(desk: Desk) -> None:
    doses = {"TENVACXIN": "Lao", "NGAYTIEM": "02/03/2026"}
    hers = health_record(person(doses=doses))
    another = {"HOTEN": "Lê Thị Bé", "GIOITINH": "2", "NGAYSINH": "02/03/1987"}
    theirs = health_record(person(doses={**doses, "TENVACXIN": "Sởi"}, **another))
    assert [(await desk.send(one)).stored for one in (hers, theirs)] == [1, 1]
    assert [one["text"] for one in sorted_names(await desk.stored("Immunization"))] == ["Lao", "Sởi"]
    assert [reason for reason, _, _ in await desk.doubts()] == ["sex"]
    assert [(await desk.send(one)).unchanged for one in (hers, theirs, hers)] == [1, 1, 1]
    corrected = health_record(person(doses={**doses, "TENVACXIN": "Dại"}, **{**another, "NGAYSINH": "02/04/1987"}))
    assert (await desk.send(corrected)).stored == 1
    assert [one["text"] for one in sorted_names(await desk.stored("Immunization"))] == ["Dại", "Lao"]


async def test_a_record_whose_sex_or_year_is_corrected_takes_the_place_of_what_it_said(desk: Desk) -> None:
    doses = {"TENVACXIN": "Lao", "NGAYTIEM": "02/03/2026"}
    await desk.send(health_record(person(doses=doses)))
    await desk.send(health_record(person(doses=doses, GIOITINH="2", HOTEN="NGUYỄN VĂN AN")))
    assert len(await desk.stored("Immunization")) == 1


def sorted_names(doses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((one["vaccineCode"] for one in doses), key=lambda code: str(code["text"]))


BY_SENDER = {
    "bhxh": {
        "mother": dossier(total(**MOTHER)),
        "child": dossier(total(MA_LK="LK2", MA_BN="CON", **CHILD)),
    },
    "hssk831": {
        "mother": health_record(person(MADINHDANH="038190000124", NGAYSINH="02/03/1990", GIOITINH="2", MABHXH=None)),
        "child": health_record(
            person(MADINHDANH="038190000124", NGAYSINH="01/03/2026", GIOITINH="2", MABHXH=None, HOTEN="Con bà Mai")
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("first", ["mother", "child"])
@pytest.mark.parametrize("of_mother", BY_SENDER)
@pytest.mark.parametrize("of_child", BY_SENDER)
async def test_a_mother_and_her_newborn_are_linked_once_with_provenance_in_any_order_and_format(
    desk: Desk, first: str, of_mother: str, of_child: str
) -> None:
    sent = {"mother": BY_SENDER[of_mother]["mother"], "child": BY_SENDER[of_child]["child"]}
    second = "child" if first == "mother" else "mother"
    for who in (first, second, first):
        await desk.send(sent[who])
    (relative,) = await desk.stored("RelatedPerson")
    she, baby = sorted(await desk.stored("Patient"), key=lambda one: str(one["birthDate"]))
    stands_for_her = {"reference": f"RelatedPerson/{relative['id']}"}
    assert (she["link"], "link" in baby) == ([{"other": stands_for_her, "type": "seealso"}], False)
    (event,) = [one for one in await desk.stored("Provenance") if "activity" in one]
    assert event["activity"]["coding"][0]["code"] == "link"
    assert (event["target"], event["entity"][0]["what"]) == ([{"reference": f"Patient/{she['id']}"}], stands_for_her)


async def test_a_mother_and_her_twins_under_one_number_keep_a_record_each_of_one_sender(desk: Desk) -> None:
    fields = {"MADINHDANH": "038190000124", "MABHXH": None}
    dose = {"TENVACXIN": "Lao", "NGAYTIEM": "01/03/2026"}
    family = [
        person(NGAYSINH="02/03/1990", GIOITINH="2", **fields),
        *(person(NGAYSINH="01/03/2026", HOTEN=name, doses=dose, **fields) for name in ("Con bà Mai 1", "Con bà Mai 2")),
    ]
    together = health_record(*family)
    apart = [health_record(one) for one in family]
    assert (await desk.send(together)).stored == 3
    assert [(await desk.send(one)).unchanged for one in apart] == [1, 1, 1]
    assert (len(await desk.stored("Patient")), len(await desk.stored("Immunization"))) == (3, 2)


async def put(desk: Desk, resource: dict[str, Any]) -> None:
    op = Put(await draft(desk.context, resource, resource["id"]))
    await desk.context.store.transact(lambda transaction: transaction.apply([op]))


async def test_whoever_got_the_number_of_a_newborn_by_other_ways_is_linked_when_a_record_of_hers_comes(
    desk: Desk,
) -> None:
    await desk.send(dossier(total(MA_LK="LK2", MA_BN="CON", **CHILD)))
    held = [{"system": SYSTEMS["cccd"], "value": "038190000124"}]
    await put(desk, {"resourceType": "Patient", "id": "she", "identifier": held, "birthDate": "1990-03-02"})
    await desk.send(dossier(total(**MOTHER)))
    assert [one["type"] for one in (await desk.of_number("ME"))["link"]] == ["seealso"]


async def test_newborns_that_an_earlier_program_left_unlinked_are_linked_and_registered_by_a_migration(
    desk: Desk, shared: tuple[Any, Database[dict[str, Any]]]
) -> None:
    await desk.send(dossier(total(**MOTHER), total(MA_LK="LK2", MA_BN="CON", **CHILD)))
    await desk.send(dossier(total(MA_LK="LK3", MA_BN="CON 2", **{**CHILD, "SO_CCCD": "038190000128"})))
    she = await desk.of_number("ME")
    await put(desk, {name: value for name, value in she.items() if name != "link"})
    await put(desk, {**(await desk.stored("RelatedPerson"))[0], "id": "x", "relationship": []})
    shared[1]["registers"].delete_many({"r": REGISTER})
    assert [await link_stored(desk.context, NAMING) for _ in range(2)] == [1, 0]
    (link,) = (await desk.of_number("ME"))["link"]
    assert link == she["link"][0]  # and none with the one who is no newborn's
    await desk.send(dossier(total(MA_LK="LK4", **{**MOTHER, "SO_CCCD": "038190000128", "MA_BN": "ME 2"})))
    assert len((await desk.of_number("ME 2"))["link"]) == 1


async def test_nobody_is_linked_with_a_newborn_of_another_number(desk: Desk) -> None:
    await desk.send(dossier(total(MA_LK="LK2", MA_BN="CON", **CHILD)))
    await desk.send(dossier(total(**{**MOTHER, "SO_CCCD": "038190000125"})))
    assert "link" not in await desk.of_number("ME")


BIRTH = {
    "MA_THE_TAM": "TE1383820000999", "HO_TEN_CON": "Trần Bé Gái", "GIOI_TINH_CON": "2", "NGAY_SINH_CON": "202603010815",
    "HO_TEN_NND": "Trần Thị Mai", "SO": "12", "QUYEN_SO": "1", "CAN_NANG_CON": "3200", "NGAY_CT": "20260302",
}  # fmt: skip


def with_birth(**fields: str) -> bytes:
    certificate = element("DU_LIEU_GIAY_CHUNG_SINH", {**BIRTH, **fields})
    paper = element("CHI_TIEU_DU_LIEU_GIAY_CHUNG_SINH", {"DSACH_GIAYCHUNGSINH": "@"}).replace("@", certificate)
    return dossier(total(), XML9=paper)


async def test_the_newborn_of_a_birth_certificate_is_the_child_of_its_own_dossier_in_either_order(desk: Desk) -> None:
    fields = {
        "NGAY_SINH": "202603010815",
        "NGAY_VAO": "202603050815",
        "NGAY_RA": "202603060815",
        "HO_TEN": "Trần Bé Gái",
    }
    own = dossier(total(MA_LK="LK9", MA_BN="CON", SO_CCCD=None, MA_THE_BHYT="TE1383820000999", **fields))
    await desk.send(with_birth())
    await desk.send(own)
    child = await desk.of_number("TE1383820000999")
    assert (len(await desk.stored("Patient")), child["birthDate"]) == (2, "2026-03-01")
    assert "CON" in [one["value"] for one in child["identifier"]]
    (mother,) = [one for one in await desk.stored("Patient") if one["id"] != child["id"]]
    (carer,) = [one for one in await desk.stored("RelatedPerson") if one["name"][0]["text"] == "Trần Thị Mai"]
    assert carer["patient"] == {"reference": f"Patient/{child['id']}"}
    assert mother["link"] == [{"other": {"reference": f"RelatedPerson/{carer['id']}"}, "type": "seealso"}]
    await desk.send(with_birth(CAN_NANG_CON="3300"))
    assert "CON" in [one["value"] for one in (await desk.of_number("TE1383820000999"))["identifier"]]
    await desk.send(dossier(total(CHAN_DOAN_RV="Khác")))  # the mother's dossier comes again without the certificate
    assert (await desk.of_number("TE1383820000999"))["id"] == child["id"]
    assert [one["valueQuantity"]["value"] for one in await desk.stored("Observation")] == []


async def test_a_newborn_that_came_first_by_itself_is_the_one_of_the_certificate(desk: Desk) -> None:
    own = total(MA_BN="CON", SO_CCCD=None, NGAY_SINH="202603010815", MA_THE_BHYT="TE1383820000999", MA_LK="LK9")
    await desk.send(dossier(own))
    before = (await desk.of_number("TE1383820000999"))["id"]
    await desk.send(with_birth())
    assert (await desk.of_number("TE1383820000999"))["id"] == before
    (weight,) = [one for one in await desk.stored("Observation") if one["code"]["text"] == "Cân nặng lúc sinh"]
    assert weight["subject"] == {"reference": f"Patient/{before}"}


def allergies(*names: str, day: str, **fields: Any) -> bytes:
    history = {"di_ung": [{"loai": "1", "ten": name} for name in names]}
    return as_json(basic(ngay_cap_nhat=day, tien_su=history, **fields))


async def test_an_older_version_of_a_record_brings_nothing_back_whatever_the_order(desk: Desk) -> None:
    old, new = allergies("Aspirin", day="2026-03-02"), allergies("Penicillin", day="2026-03-05")
    await desk.send(old, "a.json")
    await desk.send(new, "a.json")
    report = await desk.send(old, "a.json")
    assert [one["code"]["text"] for one in await desk.stored("AllergyIntolerance")] == ["Penicillin"]
    assert (report.unchanged, report.rules[("warning", "older")]) == (1, 1)
    await desk.send(allergies("Sulfa", day="2026-03-05"), "a.json")  # corrected on the same day
    assert [one["code"]["text"] for one in await desk.stored("AllergyIntolerance")] == ["Sulfa"]


async def test_a_dossier_is_older_by_the_day_on_which_its_file_was_made(desk: Desk) -> None:
    first = dossier(total(CHAN_DOAN_RV="Viêm họng", MA_BENH_CHINH="J02.9"))
    second = dossier(total(CHAN_DOAN_RV="Tăng huyết áp")).replace(b"<NGAYLAP>20260302", b"<NGAYLAP>20260305")
    await desk.send(second)
    await desk.send(first)
    codes = {one["code"]["coding"][0]["code"] for one in await desk.stored("Condition") if "coding" in one["code"]}
    assert codes == {"I10"}


async def test_changed_content_is_a_new_version_with_a_provenance_that_says_where_it_came_from(desk: Desk) -> None:
    await desk.send(allergies("Penicillin", day="2026-03-02"), "a.json")
    (before,) = await desk.stored("Provenance")
    await desk.send(allergies("Penicillin", "Aspirin", day="2026-03-03"), "a.json")
    (after,) = await desk.stored("Provenance")
    assert (before["meta"]["versionId"], after["meta"]["versionId"]) == ("1", "2")
    assert after["entity"][0]["what"]["display"].startswith("a.json #1")
    assert after["entity"][0]["what"]["identifier"]["value"].startswith("ni:///sha-256;")
    assert after["policy"] == [FORMATS.by_name["basic"].plan]
    assert after["recorded"] >= before["recorded"]
    named = {one["reference"] for one in after["target"]}
    assert {f"AllergyIntolerance/{one['id']}" for one in await desk.stored("AllergyIntolerance")} <= named


async def test_of_two_imports_that_meet_by_a_weaker_number_the_second_looks_again(desk: Desk) -> None:
    """The one adds a card to somebody who is stored, the other has the card alone: neither knows of the other."""
    card = "DN4383820000123"
    await desk.send(dossier(total()))
    adding = await planned(desk, total(MA_LK="LK2", MA_THE_BHYT=card))
    alone = await planned(desk, total(MA_LK="LK3", MA_BN="BN9", SO_CCCD=None, MA_THE_BHYT=card))
    await commit(desk, *adding)
    with pytest.raises(FhirError) as caught:
        await commit(desk, *alone)
    assert caught.value.kind is Kind.CONFLICT
    await desk.send(dossier(total(MA_LK="LK3", MA_BN="BN9", SO_CCCD=None, MA_THE_BHYT=card)))
    assert len(await desk.stored("Patient")) == 1


async def test_the_same_in_the_other_order_leaves_a_doubt_and_never_two_in_silence(desk: Desk) -> None:
    card = "DN4383820000123"
    await desk.send(dossier(total()))
    adding = await planned(desk, total(MA_LK="LK2", MA_THE_BHYT=card))
    await desk.send(dossier(total(MA_LK="LK3", MA_BN="BN9", SO_CCCD=None, MA_THE_BHYT=card)))
    with pytest.raises(FhirError):
        await commit(desk, *adding)
    await desk.send(dossier(total(MA_LK="LK2", MA_THE_BHYT=card)))
    assert [reason for reason, _, _ in await desk.doubts()] == ["number"]


async def test_the_certificate_comes_back_in_the_mother_s_dossier_and_only_there(desk: Desk) -> None:
    await desk.send(with_birth())
    export = export_of(FORMATS.by_name["bhxh"])
    ids = [one["id"] for one in await desk.stored("Patient")]
    (made,) = [one async for one in records_of(desk.context, export, ids)]
    table = made.content["XML9"]["DSACH_GIAYCHUNGSINH"]["DU_LIEU_GIAY_CHUNG_SINH"]
    (row,) = table if isinstance(table, list) else [table]
    assert {name: row.get(name) for name in BIRTH} == BIRTH
