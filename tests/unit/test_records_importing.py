"""Importing into a real store: whole records, one person once, and nothing changed by sending again."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from records_desk import Desk
from records_sources import as_json, basic, dossier, health_record, person, total

from fhir_server.app import open_context
from fhir_server.errors import FhirError, Kind
from fhir_server.records.importing import Part, formats_for, import_records
from fhir_server.records.report import ImportReport, RecordOutcome
from fhir_server.records.sample import write_sample
from fhir_server.records.source import Share


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.read, report.stored, report.unchanged, report.refused


async def test_a_record_becomes_resources_that_refer_to_each_other(desk: Desk) -> None:
    report = await desk.send(dossier(total(MA_BENH_KT="J02.9", MA_THE_BHYT="DN4383820000123")))
    assert counts(report) == (1, 1, 0, 0)
    (patient,) = await desk.stored("Patient")
    (encounter,) = await desk.stored("Encounter")
    (organization,) = await desk.stored("Organization")
    (coverage,) = await desk.stored("Coverage")
    conditions = await desk.stored("Condition")
    me = {"reference": f"Patient/{patient['id']}"}
    assert encounter["subject"] == coverage["beneficiary"] == me
    assert encounter["serviceProvider"] == {"reference": f"Organization/{organization['id']}"}
    assert {one["encounter"]["reference"] for one in conditions} == {f"Encounter/{encounter['id']}"}
    assert {one["condition"]["reference"] for one in encounter["diagnosis"]} == {
        f"Condition/{one['id']}" for one in conditions
    }


async def test_sending_a_file_again_changes_nothing(desk: Desk) -> None:
    body = health_record(person(), person(MADINHDANH="038185000124", MABHXH=None, HOTEN="Lê Thị Bình", GIOITINH="2"))
    await desk.send(body)
    before = await desk.versions()
    again = await desk.send(body, "another-name.xml")
    assert counts(again) == (2, 0, 2, 0)
    assert await desk.versions() == before


async def test_a_commune_sent_twice_in_all_formats_is_stored_once(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "commune"
    write_sample(60, 7, folder)
    first = await import_records(desk.context, [folder])
    assert first.refused == 0
    before = await desk.versions()
    assert first.written == sum(one for name, one in before.items() if not name.startswith(("Provenance/", "Task/")))
    again = await import_records(desk.context, [folder])
    assert (again.stored, again.unchanged) == (0, first.stored + first.unchanged)
    assert await desk.versions() == before
    kinds = Counter(name.split("/")[0] for name in before)
    assert 60 <= kinds["Patient"] <= 63  # a newborn under its mother's name is a person of its own for now


async def test_a_broken_record_is_refused_by_place_while_its_neighbours_go_in(desk: Desk) -> None:
    broken = person(MADINHDANH="038085000125", NGAYSINH="31/02/1985")
    body = health_record(person(), broken, person(MADINHDANH="038185000124", GIOITINH="2"))
    report = await desk.send(body)
    assert counts(report) == (3, 2, 0, 1)
    (refused,) = [one for one in report.records if one.status == "refused"]
    (problem,) = [one for one in refused.problems if one.severity == "error"]
    assert (refused.place.file, refused.place.record) == (str(desk.folder / "a.xml"), 2)
    assert (problem.field, problem.found, problem.allowed[0]) == ("NGAYSINH", "31/02/1985", "dd/MM/yyyy")
    assert len(await desk.stored("Patient")) == 2


async def test_what_r4_forbids_is_refused_with_the_source_fields_it_came_from(desk: Desk) -> None:
    report = await desk.send(dossier(total(NGAY_RA="202603010000"), total(MA_LK="LK2")))
    assert counts(report) == (2, 1, 0, 1)
    (refused,) = [one for one in report.records if one.status == "refused"]
    (problem,) = [one for one in refused.problems if one.severity == "error"]
    assert (problem.rule, problem.field) == ("r4", "NGAY_VAO, NGAY_RA")
    assert problem.text[0].startswith("Encounter.period: ")


async def test_a_patient_number_without_its_facility_tells_nobody(desk: Desk) -> None:
    anonymous = dossier(total(MA_CSKCB=None, SO_CCCD=None)).replace(b"<MACSKCB>38280</MACSKCB>", b"")
    await desk.send(anonymous)
    other = dossier(total(MA_CSKCB=None, SO_CCCD=None, MA_LK="LK2")).replace(b"<MACSKCB>38280</MACSKCB>", b"")
    await desk.send(other, "b.xml")
    assert len(await desk.stored("Patient")) == 2


async def test_personal_numbers_are_masked_in_every_form_of_the_report(desk: Desk) -> None:
    report = await desk.send(health_record(person(GIOITINH="2", NGAYSINH="31/02/1985")))
    formats = formats_for("moh", "+07:00")
    texts = [report.as_text(formats), report.as_text(formats, "en"), str(report.as_json(formats))]
    texts += [str(report.as_outcome())]
    assert not any("038085000123" in text for text in texts)
    assert "ngày" in texts[0] or "giá trị không hợp lệ" in texts[0]


async def test_the_same_person_in_three_formats_is_one_patient_with_all_numbers(desk: Desk) -> None:
    await desk.send(health_record(person()), "a.xml")
    await desk.send(as_json(basic()), "b.json")
    numbers = {"SO_CCCD": "038085000123", "NGAY_SINH": "198503020000", "GIOI_TINH": "1", "HO_TEN": "NGUYỄN VĂN AN"}
    await desk.send(dossier(total(**numbers)), "c.xml")
    (patient,) = await desk.stored("Patient")
    assert {one["value"] for one in patient["identifier"]} == {"038085000123", "3820000123", "BN1"}
    assert patient["name"][0]["text"] == "Nguyễn Văn An"


async def test_a_person_is_found_by_any_known_uri_of_the_number(desk: Desk) -> None:
    resource = {
        "resourceType": "Patient",
        "id": "known",
        "identifier": [{"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "038085000123"}],
        "gender": "male",
        "birthDate": "1985-03-02",
    }
    from fhir_server.interactions.planning import draft
    from fhir_server.store.values import Put

    made = await draft(desk.context, resource, "known")
    await desk.context.store.transact(lambda transaction: transaction.apply([Put(made)]))
    await desk.send(health_record(person()))
    (patient,) = await desk.stored("Patient")
    assert patient["id"] == "known"
    assert {one["value"] for one in patient["identifier"]} == {"038085000123", "3820000123"}


async def test_a_card_alone_tells_nobody_without_the_birth_date(desk: Desk) -> None:
    card = "DN4383820000123"
    await desk.send(dossier(total(SO_CCCD=None, MA_THE_BHYT=card)))
    other = total(MA_LK="LK2", MA_BN="BN2", SO_CCCD=None, MA_THE_BHYT=card, NGAY_SINH="198504020000")
    same = total(MA_LK="LK3", MA_BN="BN3", SO_CCCD=None, MA_THE_BHYT=card, NGAY_SINH="198500000000")
    await desk.send(dossier(other), "b.xml")
    assert len(await desk.stored("Patient")) == 2
    await desk.send(dossier(same), "c.xml")
    assert len(await desk.stored("Patient")) == 2


async def test_a_name_alone_tells_nobody(desk: Desk) -> None:
    await desk.send(dossier(total(SO_CCCD=None), total(SO_CCCD=None, MA_LK="LK2", MA_BN="BN2")))
    assert len(await desk.stored("Patient")) == 2


@pytest.mark.parametrize("other", [{"GIOITINH": "2"}, {"NGAYSINH": "02/03/1990"}])
async def test_records_that_disagree_on_sex_or_birth_year_are_kept_apart_and_told(
    desk: Desk, other: dict[str, str]
) -> None:
    await desk.send(health_record(person()))
    report = await desk.send(health_record(person(**other), sender="38281"), "b.xml")
    assert len(await desk.stored("Patient")) == 2
    assert report.rules[("warning", "kept-apart")] >= 1
    before = await desk.versions()
    await desk.send(health_record(person(**other), sender="38281"), "c.xml")
    assert await desk.versions() == before


async def test_a_newborn_is_not_merged_with_its_mother(desk: Desk) -> None:
    mother = total(SO_CCCD="038190000124", NGAY_SINH="199003020000", MA_BN="ME", DIEN_THOAI="0912000124")
    child = total(
        MA_LK="LK2", MA_BN="CON", SO_CCCD="038190000124", NGAY_SINH="202603010815", MA_DOITUONG_KCB="1.7",
        DIEN_THOAI="0912000124", NGAY_VAO="202603020815", GIOI_TINH="2",
    )  # fmt: skip
    await desk.send(dossier(mother, child))
    patients = {one["identifier"][-1]["value"]: one for one in await desk.stored("Patient")}
    assert set(patients) == {"ME", "CON"}
    assert [one["value"] for one in patients["CON"]["identifier"]] == ["CON"]
    assert patients["CON"]["name"][0]["use"] == "temp"


async def test_twins_under_their_mother_s_name_are_two(desk: Desk) -> None:
    child = {"SO_CCCD": "038190000124", "NGAY_SINH": "202603010815", "MA_DOITUONG_KCB": "1.7"}
    await desk.send(dossier(total(MA_BN="C1", **child), total(MA_LK="LK2", MA_BN="C2", **child)))
    assert len(await desk.stored("Patient")) == 2


async def test_a_newer_record_of_a_sender_replaces_its_own_content_as_a_new_version(desk: Desk) -> None:
    await desk.send(health_record(person(DIENTHOAI_DD="0912000001")))
    newer = health_record(person(DIENTHOAI_DD="0912000002"), day="05/03/2026")
    await desk.send(newer, "b.xml")
    (patient,) = await desk.stored("Patient")
    assert ([one["value"] for one in patient["telecom"]], patient["meta"]["versionId"]) == (["0912000002"], "2")


async def test_another_sender_adds_what_is_missing_and_overwrites_nothing(desk: Desk) -> None:
    await desk.send(health_record(person(DIENTHOAI_DD="0912000001")))
    other = health_record(person(HOTEN="Nguyễn An", DIENTHOAI_DD="0912000002", EMAIL="an@example.vn"), sender="38281")
    report = await desk.send(other, "b.xml")
    (patient,) = await desk.stored("Patient")
    assert [one["value"] for one in patient["telecom"]] == ["0912000001", "0912000002", "an@example.vn"]
    assert patient["name"][0]["text"] == "Nguyễn Văn An"
    assert report.rules[("warning", "differs")] == 1


async def test_what_a_newer_record_no_longer_says_is_deleted(desk: Desk) -> None:
    def with_allergies(*names: str) -> str:
        return person(history={"TIEUSU_BENHTAT": {"DIUNG": {"DSDIUNG": [{"LOAI": "1", "TEN": one} for one in names]}}})

    await desk.send(health_record(with_allergies("Penicillin", "Aspirin")))
    before = {one["code"]["text"]: one["id"] for one in await desk.stored("AllergyIntolerance")}
    await desk.send(health_record(with_allergies("Aspirin"), day="05/03/2026"), "b.xml")
    after = {one["code"]["text"]: one["id"] for one in await desk.stored("AllergyIntolerance")}
    assert after == {"Aspirin": before["Aspirin"]}


async def test_an_older_record_that_comes_late_does_not_undo_a_newer_one(desk: Desk) -> None:
    old, new = total(DIA_CHI="Nhà cũ", NGAY_VAO="202501020815"), total(MA_LK="LK2", DIA_CHI="Nhà mới")
    await desk.send(dossier(new))
    await desk.send(dossier(old), "b.xml")
    (patient,) = await desk.stored("Patient")
    assert [one["text"] for one in patient["address"]] == ["Nhà mới"]


async def test_a_correction_made_on_the_server_is_not_undone_by_the_same_file(desk: Desk) -> None:
    from fhir_server.interactions.planning import draft
    from fhir_server.store.values import Put

    body = dossier(total())
    await desk.send(body)
    (patient,) = await desk.stored("Patient")
    corrected = {**patient, "name": [{"text": "Trần Thị Mai Anh"}]}
    made = await draft(desk.context, corrected, patient["id"])
    await desk.context.store.transact(lambda transaction: transaction.apply([Put(made)]))
    await desk.send(body, "b.xml")
    (patient,) = await desk.stored("Patient")
    assert patient["name"] == [{"text": "Trần Thị Mai Anh"}]


async def test_one_record_twice_in_one_file_is_stored_once(desk: Desk) -> None:
    report = await desk.send(dossier(total(), total()))
    assert report.refused == 0
    assert len(await desk.stored("Encounter")) == 1
    assert (await desk.stored("Provenance"))[0]["entity"][0]["role"] == "source"


async def test_two_imports_at_once_make_one_person(desk: Desk) -> None:
    for number in range(6):
        folder = desk.folder / str(number % 2)
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.xml").write_bytes(dossier(total(MA_LK=f"LK{number}")))
    both = [import_records(desk.context, [desk.folder / name]) for name in ("0", "1")]
    reports = await asyncio.gather(*both)
    assert [one.refused for one in reports] == [0, 0]
    assert len(await desk.stored("Patient")) == 1
    assert len(await desk.stored("Encounter")) == 6


async def test_a_newcomer_whose_id_somebody_else_has_gets_another(desk: Desk) -> None:
    from fhir_server.interactions.planning import draft
    from fhir_server.store.values import Put

    await desk.send(dossier(total()))
    (patient,) = await desk.stored("Patient")
    stranger = {"resourceType": "Patient", "id": patient["id"], "name": [{"text": "Người khác"}]}
    made = await draft(desk.context, stranger, patient["id"])
    await desk.context.store.transact(lambda transaction: transaction.apply([Put(made)]))
    report = await desk.send(dossier(total(MA_LK="LK2")), "b.xml")
    assert counts(report) == (1, 1, 0, 0)
    assert len(await desk.stored("Patient")) == 2


async def test_every_outcome_and_the_progress_are_told(desk: Desk) -> None:
    path = desk.folder / "a.xml"
    path.write_bytes(dossier(total(), total(MA_LK="LK2", NGAY_SINH="x")))
    outcomes: list[RecordOutcome] = []
    steps: list[int] = []
    await import_records(desk.context, [path], lambda done, _: steps.append(done), outcomes.append)
    assert sorted(one.status for one in outcomes) == ["refused", "stored"]
    assert steps == [1, 2]


async def test_a_path_that_is_not_there_is_an_error(desk: Desk) -> None:
    with pytest.raises(FileNotFoundError):
        await import_records(desk.context, [desk.folder / "none.xml"])


async def test_the_failure_of_the_store_ends_the_import(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise FhirError(Kind.UNAVAILABLE, "the database is gone")

    path = desk.folder / "a.xml"
    path.write_bytes(dossier(total()))
    monkeypatch.setattr(desk.context.store, "transact", fail)
    with pytest.raises(FhirError) as caught:
        await import_records(desk.context, [path])
    assert caught.value.kind is Kind.UNAVAILABLE


async def test_two_processes_that_meet_a_new_person_under_different_numbers_make_one(desk: Desk) -> None:
    people = range(12)
    both = [person(MADINHDANH=f"0380850001{n:02d}", MABHXH=f"38200001{n:02d}", HOTEN=f"Nguyễn {n}") for n in people]
    one = [person(MADINHDANH=None, MABHXH=f"38200001{n:02d}", HOTEN=f"Nguyễn {n}") for n in people]
    (desk.folder / "a.xml").write_bytes(health_record(*both))
    (desk.folder / "b.xml").write_bytes(health_record(*one, sender="38281"))
    async with open_context(desk.context.settings) as other:
        reports = await asyncio.gather(
            import_records(desk.context, [desk.folder / "a.xml"]), import_records(other, [desk.folder / "b.xml"])
        )
    assert [report.refused for report in reports] == [0, 0]
    assert len(await desk.stored("Patient")) == len(people)


async def test_parts_of_an_import_take_every_record_once_and_refuse_the_second_of_a_key(desk: Desk) -> None:
    write_sample(25, 3, desk.folder / "commune")
    sheet = b"".join(orjson.dumps(basic(ma_ho_so=f"L{number}")) + b"\n" for number in range(11))
    sheet += b"".join(
        orjson.dumps(basic(ma_ho_so=f"L{number}", ngay_cap_nhat="2026-03-09")) + b"\n" for number in range(11)
    )
    (desk.folder / "commune" / "large.ndjson").write_bytes(sheet)
    parts = [Part(Share(number, 3), puts_off_indexes=False) for number in range(3)]
    whole = ImportReport()
    for part in parts:
        whole.join(await import_records(desk.context, [desk.folder / "commune"], part=part))
    again = await import_records(desk.context, [desk.folder / "commune"])
    assert (whole.read, whole.refused) == (again.read, 11)
    assert (again.unchanged, again.stored, again.refused) == (again.read - 11, 0, 11)
    refused = [one for one in whole.records if one.status == "refused"]
    assert sorted(one.place.record for one in refused) == list(range(12, 23))
    assert {problem.rule for one in refused for problem in one.problems} == {"duplicate-key"}


async def test_the_last_file_counts_whichever_process_is_the_first(desk: Desk) -> None:
    for name, main in (("a", "I10"), ("b", "I11.9")):
        visits = [total(MA_LK=f"LK{number}", MA_BENH_CHINH=main) for number in range(5)]
        for number, visit in enumerate(visits):
            desk.put(dossier(visit), f"{name}{number}.xml")
    for number in (1, 0):
        await import_records(desk.context, [desk.folder], part=Part(Share(number, 2), puts_off_indexes=False))
    conditions = await desk.stored("Condition")
    codes = Counter(coding["code"] for one in conditions for coding in one["code"].get("coding", ()))
    assert (codes["I10"], codes["I11.9"]) == (0, 5)


async def test_how_far_an_import_is_can_be_estimated(desk: Desk) -> None:
    lines = [orjson.dumps(basic(ma_ho_so=f"L{number}")) + b"\n" for number in range(60)]
    path = desk.folder / "a.ndjson"
    path.write_bytes(b"".join(lines))
    told: list[tuple[int, int | None]] = []
    await import_records(desk.context, [path], lambda done, total: told.append((done, total)))
    assert told[-1] == (60, 60)
    assert all(total is None or total >= done for done, total in told)


async def test_base_validation_passes_over_the_profiles_that_are_claimed(desk: Desk) -> None:
    calls: list[bool] = []
    validator = desk.context.validator

    class Watching:
        def validate(self, resource: Any, type: str, claims: bool) -> list[Any]:
            calls.append(claims)
            return validator.validate(resource, type, claims=claims)

    settings = desk.context.settings.model_copy(update={"record_validation": "base"})
    desk.context = desk.context.with_(settings=settings, validator=Watching())
    report = await desk.send(health_record(person()))
    assert report.stored == 1
    assert set(calls) == {False}


async def test_the_number_of_a_message_is_used_once_for_one_content(desk: Desk) -> None:
    first = health_record(person(), person(MADINHDANH="038185000124", GIOITINH="2", MABHXH=None), request="R-1")
    assert counts(await desk.send(first)) == (2, 2, 0, 0)
    before = await desk.versions()
    other = health_record(person(), person(MADINHDANH="038185000124", GIOITINH="2", HOTEN="Lê"), request="R-1")
    report = await desk.send(other, "b.xml")
    assert counts(report) == (2, 0, 1, 1)
    (told,) = [problem for one in report.records for problem in one.problems if problem.severity == "error"]
    assert (told.rule, told.field, told.found) == ("request-id-conflict", "REQUEST_ID", "R-1")
    assert await desk.versions() == before
    assert counts(await desk.send(other.replace(b"R-1", b"R-2"), "c.xml")) == (2, 1, 1, 0)


async def test_the_number_of_a_refused_message_may_be_used_again(desk: Desk) -> None:
    assert (await desk.send(health_record(person(NGAYSINH="31/02/1985"), request="R-3"))).refused == 1
    assert (await desk.send(health_record(person(), request="R-3"), "b.xml")).stored == 1


async def test_another_sender_may_use_the_same_number(desk: Desk) -> None:
    assert (await desk.send(health_record(person(), request="R-4"))).stored == 1
    other = health_record(person(MADINHDANH="038185000124", GIOITINH="2"), request="R-4", sender="38281")
    assert (await desk.send(other, "b.xml")).stored == 1


async def test_of_versions_in_several_files_of_one_import_the_last_file_wins_with_all_its_parts(desk: Desk) -> None:
    first, second = total(MA_BENH_KT="J02.9;E11.9"), total(MA_BENH_KT="J02.9")
    for name, visit in zip("abc", (first, second, first), strict=True):
        desk.put(dossier(visit), f"{name}.xml")
    await import_records(desk.context, [desk.folder / "a.xml", desk.folder / "b.xml"])
    assert len(await desk.stored("Condition")) == 3
    await import_records(desk.context, [desk.folder / "c.xml", desk.folder / "b.xml", desk.folder / "a.xml"])
    assert len(await desk.stored("Condition")) == 4
    report = await import_records(desk.context, [desk.folder])  # the first is what is stored, then two that are not
    assert counts(report) == (3, 2, 1, 0)
    assert len(await desk.stored("Condition")) == 4


async def test_an_older_version_that_comes_late_changes_nothing_of_the_person(desk: Desk) -> None:
    late = dossier(total(DIA_CHI="Nhà cũ", MA_THE_BHYT="DN4383820000123"))
    await desk.send(dossier(total(DIA_CHI="Nhà mới")))
    await desk.send(late.replace(b"20260302</NGAYLAP>", b"20260301</NGAYLAP>"), "b.xml")
    (patient,) = await desk.stored("Patient")
    assert [one["text"] for one in patient["address"]] == ["Nhà mới"]
    assert "DN4383820000123" in [one["value"] for one in patient["identifier"]]


async def test_a_number_of_a_message_used_twice_in_one_import_is_refused_the_second_time(desk: Desk) -> None:
    other = person(MADINHDANH="038185000124", GIOITINH="2", MABHXH=None)
    desk.put(health_record(person(), request="R-5"), "a.xml")
    desk.put(health_record(other, request="R-5"), "b.xml")
    report = await import_records(desk.context, [desk.folder])
    assert counts(report) == (2, 1, 0, 1)
    (refused,) = [one for one in report.records if one.status == "refused"]
    assert (Path(refused.place.file).name, refused.problems[-1].rule) == ("b.xml", "request-id-conflict")


async def test_a_blood_group_that_cannot_be_read_is_stored_as_text_and_refuses_nothing(desk: Desk) -> None:
    for body in (dossier(total(NHOM_MAU="chưa rõ")), health_record(person(NHOMMAU_HERH="Không"))):
        report = await desk.send(body)
        assert (report.stored, report.refused) == (1, 0), report.records
    assert {one["valueCodeableConcept"]["text"] for one in await desk.stored("Observation")} == {"chưa rõ", "Không"}


async def test_what_is_said_of_an_insurance_without_a_card_is_stored_and_refuses_nothing(desk: Desk) -> None:
    report = await desk.send(dossier(total(MA_THE_BHYT=None, MA_DKBD=None, MA_KHUVUC="K2")))
    assert (report.stored, report.refused) == (1, 0), report.records
    (coverage,) = await desk.stored("Coverage")
    assert ("identifier" in coverage, "profile" in coverage.get("meta", {})) == (False, False)
    assert [one["valueCodeableConcept"]["coding"][0]["code"] for one in coverage["extension"]] == ["K2"]
