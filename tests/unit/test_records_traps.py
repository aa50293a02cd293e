"""The conventions of Vietnamese records that break naive converters, each by name."""

from __future__ import annotations

from typing import Any

import pytest
from records_sources import (
    as_json,
    basic,
    dossier,
    element,
    file_part,
    health_record,
    of_type,
    one,
    patient,
    person,
    records,
    rules,
    total,
    visit,
)

BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"


def extension(element: dict[str, Any], ending: str) -> dict[str, Any] | None:
    return next((one for one in element.get("extension", ()) if one["url"].endswith(ending)), None)


def codes(concept: dict[str, Any]) -> list[str]:
    return [coding["code"] for coding in concept["coding"]]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("198500000000", "1985"),
        ("198503000000", "1985-03"),
        ("198503020000", "1985-03-02"),
        ("19850302", "1985-03-02"),
        ("202602281435", "2026-02-28"),
    ],
)
def test_a_birth_date_is_as_precise_as_it_is_known(written: str, meant: str) -> None:
    assert patient(visit(NGAY_SINH=written))["birthDate"] == meant


def test_0000_is_no_time_of_birth() -> None:
    assert "_birthDate" not in patient(visit(NGAY_SINH="202602280000"))


def test_the_minute_of_a_newborn_s_birth_is_kept_as_birth_time_in_vietnamese_time() -> None:
    found = patient(visit(NGAY_SINH="202602281435"))["_birthDate"]
    assert found == {"extension": [{"url": BIRTH_TIME, "valueDateTime": "2026-02-28T14:35:00+07:00"}]}


@pytest.mark.parametrize("written", ["198513010000", "198502300000", "85", "0000", "198503022500", "abc"])
def test_a_birth_date_that_no_calendar_has_refuses_the_record(written: str) -> None:
    record = visit(NGAY_SINH=written)
    assert record.refused
    (problem,) = [one for one in record.mapped.problems if one.severity == "error"]
    assert (problem.field, problem.found, problem.allowed[0]) == ("NGAY_SINH", written, "yyyymmddHHMM or yyyymmdd")


def test_a_birth_after_the_visit_refuses_the_record() -> None:
    assert visit(NGAY_SINH="202704010000").refused


@pytest.mark.parametrize(
    ("number", "system"),
    [
        ("038185000124", "http://fhir.ehealth.gov.vn/core/sid/national_id"),
        ("172345678", "http://fhir.ehealth.gov.vn/core/sid/citizen_id"),
        ("B1234567", "http://fhir.ehealth.gov.vn/core/sid/passport_number"),
    ],
)
def test_so_cccd_is_what_its_shape_says(number: str, system: str) -> None:
    assert {"system": system, "value": number}.items() <= patient(visit(SO_CCCD=number))["identifier"][0].items()


@pytest.mark.parametrize("number", ["b1234567", "VN-2291", "0381850001"])
def test_so_cccd_of_no_known_shape_gets_no_system(number: str) -> None:
    found = patient(visit(SO_CCCD=number))["identifier"][0]
    assert found == {"type": {"text": "Tài khoản định danh điện tử"}, "value": number}


@pytest.mark.parametrize(("written", "meant"), [("1", "male"), ("2", "female"), ("3", "unknown")])
def test_gender_3_is_unknown_and_not_other(written: str, meant: str) -> None:
    assert patient(visit(GIOI_TINH=written))["gender"] == meant


def test_a_gender_outside_the_list_refuses_the_record_and_tells_what_is_allowed() -> None:
    record = visit(GIOI_TINH="9")
    (problem,) = [one for one in record.mapped.problems if one.severity == "error"]
    assert (problem.field, problem.found) == ("GIOI_TINH", "9")
    assert "1 (Nam), 2 (Nữ), 3" in problem.allowed[0]


def test_a_semicolon_list_of_cards_is_one_coverage_each_with_its_own_dates() -> None:
    record = visit(
        MA_THE_BHYT="DN4383820000123; GD4383820000123",
        MA_DKBD="38280;38281",
        GT_THE_TU="20260101;20260301",
        GT_THE_DEN="20260228;20261231",
    )
    first, second = of_type(record, "Coverage")
    assert (first["subscriberId"], first["period"]) == ("DN4383820000123", {"start": "2026-01-01", "end": "2026-02-28"})
    assert (second["subscriberId"], second["period"]["start"]) == ("GD4383820000123", "2026-03-01")
    assert second["extension"][0]["valueReference"]["identifier"]["value"] == "38281"
    cards = [one["value"] for one in patient(record)["identifier"] if one["system"].endswith("insurance_number")]
    assert cards == ["DN4383820000123", "GD4383820000123"]


def test_each_accompanying_diagnosis_is_a_condition_ranked_after_the_main_one() -> None:
    record = visit(MA_BENH_KT="J02.9;E11.9; K29")
    (encounter,) = of_type(record, "Encounter")
    by_id = {f"Condition/{one['id']}": one for one in of_type(record, "Condition")}
    ranked = {
        one["rank"]: by_id[one["condition"]["reference"]]["code"]["coding"][0]["code"]
        for one in encounter["diagnosis"]
        if "rank" in one
    }
    assert ranked == {1: "I10", 2: "J02.9", 3: "E11.9", 4: "K29"}


@pytest.mark.parametrize("written", ["1", "01"])
def test_visit_type_1_is_01(written: str) -> None:
    (encounter,) = of_type(visit(MA_LOAI_KCB=written), "Encounter")
    assert codes(encounter["type"][0]) == ["01"]


@pytest.mark.parametrize("written", ["1", "01"])
def test_ethnic_group_1_is_01(written: str) -> None:
    found = extension(patient(visit(MA_DANTOC=written)), "extension-race")
    assert found is not None
    assert codes(found["valueCodeableConcept"]) == ["01"]


@pytest.mark.parametrize("written", ["1.1", "1.10", "1.9", "2"])
def test_the_patient_category_is_a_string_so_1_10_is_not_1_1(written: str) -> None:
    (encounter,) = of_type(visit(MA_DOITUONG_KCB=written), "Encounter")
    found = extension(encounter, "patient-category")
    assert found is not None
    assert codes(found["valueCodeableConcept"]) == [written]


def test_a_patient_category_that_the_list_of_the_day_has_no_more_is_kept_and_told() -> None:
    old, new = ({"NGAY_VAO": f"{day}0815", "NGAY_RA": f"{day}1130"} for day in ("20251016", "20251017"))
    told = [("warning", "unknown-code") in rules(visit(MA_DOITUONG_KCB="1.10", **when)) for when in (old, new)]
    assert told == [False, True]


@pytest.mark.parametrize(
    ("type", "category", "meant"),
    [("03", "1.1", "IMP"), ("04", "1.1", "IMP"), ("09", "1.1", "IMP"), ("01", "1.1", "AMB"), ("03", "2", "EMER")],
)
def test_the_class_follows_from_visit_type_and_emergency(type: str, category: str, meant: str) -> None:
    (encounter,) = of_type(visit(MA_LOAI_KCB=type, MA_DOITUONG_KCB=category), "Encounter")
    assert encounter["class"]["code"] == meant


@pytest.mark.parametrize(("day", "meant"), [("20260731", "UNK"), ("20260801", "HH")])
def test_a_visit_type_means_nothing_before_its_list_has_it(day: str, meant: str) -> None:
    record = visit(MA_LOAI_KCB="12", NGAY_VAO=f"{day}0815", NGAY_RA=f"{day}1130")
    (encounter,) = of_type(record, "Encounter")
    assert encounter["class"]["code"] == meant
    assert (("warning", "unknown-code") in rules(record)) is (meant == "UNK")


def test_a_class_that_is_not_told_is_unknown_and_not_guessed() -> None:
    (encounter,) = of_type(visit(MA_LOAI_KCB=None), "Encounter")
    assert encounter["class"]["code"] == "UNK"


def test_local_times_are_given_the_offset_of_viet_nam() -> None:
    (encounter,) = of_type(visit(), "Encounter")
    assert encounter["period"] == {"start": "2026-03-02T08:15:00+07:00", "end": "2026-03-02T11:30:00+07:00"}


@pytest.mark.parametrize("type", ["02", "5", "07"])
def test_ngay_ra_of_a_long_prescription_is_the_end_of_the_medicine_and_no_discharge(type: str) -> None:
    (encounter,) = of_type(visit(MA_LOAI_KCB=type, NGAY_RA="202604012359"), "Encounter")
    assert "end" not in encounter["period"]
    found = extension(encounter, "drug-supply-end")
    assert found is not None
    assert found["valueDateTime"] == "2026-04-01T23:59:00+07:00"


@pytest.mark.parametrize(("result", "died"), [("5", True), ("8", True), ("6", False), ("1", False)])
def test_results_5_and_8_say_that_the_patient_died(result: str, died: bool) -> None:
    assert ("deceasedBoolean" in patient(visit(KET_QUA_DTRI=result))) is died


def test_the_discharge_text_stands_with_the_main_diagnosis_only() -> None:
    found = of_type(visit(MA_BENH_KT="J02.9"), "Condition")
    texts = {one["code"].get("text") or one["code"]["coding"][0]["code"]: one.get("note") for one in found}
    assert texts == {"I10": [{"text": "Tăng huyết áp; viêm họng"}], "J02.9": None, "Đau đầu": None}


def test_the_admission_diagnosis_is_provisional() -> None:
    found = {
        one["verificationStatus"]["coding"][0]["code"] for one in of_type(visit(), "Condition") if "text" in one["code"]
    }
    assert found == {"provisional"}


def test_an_icd_code_without_its_dot_is_given_one() -> None:
    found = [one["code"] for one in of_type(visit(MA_BENH_CHINH="J029"), "Condition")]
    assert codes(found[0]) == ["J02.9"]


def test_a_marked_icd_code_loses_its_dagger_in_the_code_and_keeps_it_in_the_text() -> None:
    found = of_type(visit(MA_BENH_CHINH="A17.0†"), "Condition")[0]["code"]
    assert (codes(found), found["text"]) == (["A17.0"], "A17.0†")


def test_a_diagnosis_that_has_not_the_shape_of_a_code_is_kept_as_text_and_told() -> None:
    record = visit(MA_BENH_CHINH="cao HA")
    assert of_type(record, "Condition")[0]["code"] == {"text": "cao HA"}
    assert ("warning", "icd10-shape") in rules(record)


def test_a_weight_keeps_its_decimals_and_0_is_no_weight() -> None:
    (weight,) = of_type(visit(CAN_NANG="50.10"), "Observation")
    assert weight["valueQuantity"]["value"].text == "50.10"
    assert of_type(visit(CAN_NANG="0"), "Observation") == []


@pytest.mark.parametrize(
    ("written", "abo", "rh"),
    [("A", "A", None), ("O+", "O", "+"), ("AB Rh-", "AB", "-"), ("O Rh(D) dương", "O", "+"), ("B(-)", "B", "-")],
)
def test_a_blood_group_is_read_in_all_the_ways_it_is_written(written: str, abo: str, rh: str | None) -> None:
    found = [
        one["valueCodeableConcept"]["coding"][-1]["code"] for one in of_type(visit(NHOM_MAU=written), "Observation")
    ]
    assert found == [part for part in (abo, rh) if part]


def test_a_blood_group_that_cannot_be_read_is_kept_as_text_and_told() -> None:
    record = visit(NHOM_MAU="chưa rõ")
    (found,) = of_type(record, "Observation")
    assert found["valueCodeableConcept"] == {"text": "chưa rõ"}
    assert ("warning", "blood-group") in rules(record)


@pytest.mark.parametrize(("field", "written"), [("NHOMMAU_HEABO", "-"), ("NHOMMAU_HERH", "Không")])
def test_a_part_of_a_blood_group_with_a_field_of_its_own_is_kept_as_text_too(field: str, written: str) -> None:
    record = one(health_record(person(**{field: written})))
    (found,) = of_type(record, "Observation")
    assert found["valueCodeableConcept"] == {"text": written}
    assert ("warning", "blood-group") in rules(record)


def test_a_state_of_a_disease_that_is_neither_0_nor_1_is_kept() -> None:
    history = {"TIEUSU_BENHTAT": {"BENHTAT": {"DSBENH": [{"LOAIBENH": "2", "TRANGTHAI": "9"}]}}}
    (found,) = of_type(one(health_record(person(history=history))), "Condition")
    assert "clinicalStatus" not in found
    assert extension(found, "kept") == {
        "url": "urn:vn-basic:StructureDefinition:kept",
        "extension": [{"url": "TRANGTHAI", "valueString": "9"}],
    }


@pytest.mark.parametrize(
    ("whose", "table", "row"),
    [
        ("TIEUSU_BENHTAT", "DIUNG", {"LOAI": "4", "TEN": "Không", "MOTA": "Hắt hơi"}),
        ("TIENSU_GIADINH", "DIUNG", {"LOAI": "3", "TEN": "-", "MASO": "DU003", "NGUOIMAC": "Mẹ"}),
        ("TIEUSU_BENHTAT", "BENHTAT", {"LOAIBENH": "2", "TENBENH": "không", "TRANGTHAI": "1"}),
        ("TIENSU_GIADINH", "BENHTAT", {"LOAIBENH": "2", "TENBENH": "Không có", "MOTA": "Từ nhỏ", "NGUOIMAC": "Mẹ"}),
    ],
)
def test_what_is_said_to_be_none_and_has_details_is_told(whose: str, table: str, row: dict[str, str]) -> None:
    list_of = {"DIUNG": "DSDIUNG", "BENHTAT": "DSBENH"}[table]
    record = one(health_record(person(history={whose: {table: {list_of: [row]}}})))
    assert [problem.rule for problem in record.mapped.problems] == ["none-with-details"]
    plain = {name: value for name, value in row.items() if name.startswith(("TEN", "NGUOI"))}
    assert rules(one(health_record(person(history={whose: {table: {list_of: [plain]}}})))) == set()


def test_an_allergy_of_the_basic_group_that_is_said_to_be_none_and_has_details_is_told() -> None:
    record = one(as_json(basic(tien_su={"di_ung": [{"loai": "1", "ten": "Không", "mo_ta": "Sốc phản vệ"}]})), "a.json")
    assert [problem.rule for problem in record.mapped.problems] == ["none-with-details"]


def test_a_province_of_the_police_list_is_taken_by_its_last_two_digits() -> None:
    address = patient(visit(MATINH_CU_TRU="038"))["address"][0]
    assert address["state"] == "Tỉnh Thanh Hóa"


@pytest.mark.parametrize(
    ("day", "name", "system"),
    [
        ("202406010800", "Tỉnh Bắc Giang", "province-legacy"),
        ("202603020800", "Tỉnh Bắc Ninh", "province"),
    ],
)
def test_province_24_is_another_before_and_after_july_2025(day: str, name: str, system: str) -> None:
    address = patient(visit(MATINH_CU_TRU="24", NGAY_VAO=day, MAXA_CU_TRU=None))["address"][0]
    (nested,) = address["extension"][0]["extension"]
    assert nested["valueCodeableConcept"]["coding"][0] == {
        "system": f"urn:vn-basic:CodeSystem:{system}",
        "code": "24",
        "display": name,
    }


def test_a_phone_of_patient_or_relative_is_given_no_use() -> None:
    assert patient(visit(DIEN_THOAI="0912000123"))["telecom"] == [{"system": "phone", "value": "0912000123"}]


def test_a_visit_key_and_a_patient_number_belong_to_their_facility() -> None:
    record = visit()
    (encounter,) = of_type(record, "Encounter")
    assert encounter["identifier"][0]["system"].endswith("/38280")
    assert patient(record)["identifier"][-1]["system"].endswith("/38280")
    assert visit(MA_CSKCB="38281").id != record.id


def test_a_newborn_without_papers_bears_a_temporary_name() -> None:
    found = patient(visit(MA_DOITUONG_KCB="1.7", NGAY_SINH="202603010815", SO_CCCD=None))
    assert (found["name"][0]["use"], found["name"][0]["text"]) == ("temp", "Trần Thị Mai")


def test_a_temporary_card_marks_a_newborn_and_an_older_child_s_card_does_not() -> None:
    newborn = visit(MA_THE_BHYT="TE1383820000123", MA_DKBD="38000", NGAY_SINH="202602010815", SO_CCCD=None)
    child = visit(MA_THE_BHYT="TE1383820000123", MA_DKBD="38280", NGAY_SINH="202202010000", SO_CCCD=None)
    assert (newborn.newborn, patient(newborn)["name"][0]["use"]) == (True, "temp")
    assert (child.newborn, patient(child)["name"][0]["use"]) == (False, "official")


def test_the_mother_s_number_on_a_newborn_s_record_is_kept_apart_from_the_newborn() -> None:
    record = visit(MA_DOITUONG_KCB="1.7", NGAY_SINH="202603010815", SO_CCCD="038190000124")
    assert [one["value"] for one in patient(record)["identifier"]] == ["BN1"]
    (relative,) = of_type(record, "RelatedPerson")
    assert relative["identifier"][0]["value"] == "038190000124"
    assert ("warning", "number-of-another") in rules(record)


def test_a_newborn_s_own_number_stays_its_own() -> None:
    record = visit(NGAY_SINH="202603010815", SO_CCCD="038326000124")
    assert patient(record)["identifier"][0]["value"] == "038326000124"


def test_a_number_against_sex_or_year_is_a_warning_and_no_refusal() -> None:
    record = visit(SO_CCCD="038060000124")
    assert not record.refused
    assert {("warning", "number-against-sex"), ("warning", "number-against-year")} <= rules(record)


def test_base64_may_hold_blanks_lines_a_bom_and_crlf() -> None:
    plain, broken_up = one(dossier(total())), one(dossier(total(), blanks=True))
    assert patient(broken_up) == patient(plain)
    assert broken_up.digest == plain.digest


def test_dates_of_one_format_are_not_those_of_the_other() -> None:
    record = one(health_record(person(NGAYSINH="05/03/1985")))
    assert patient(record)["birthDate"] == "1985-03-05"
    assert one(health_record(person(NGAYSINH="198503050000"))).refused


@pytest.mark.parametrize(("written", "meant"), [("1985", "1985"), ("03/1985", "1985-03"), ("5/3/1985", "1985-03-05")])
def test_a_health_record_s_birth_date_may_be_partial_too(written: str, meant: str) -> None:
    assert patient(one(health_record(person(NGAYSINH=written))))["birthDate"] == meant


def test_an_allergy_of_a_relative_is_family_history_and_no_allergy_of_the_patient() -> None:
    history = {"TIEUSU_BENHTAT": {"DIUNG": {"DSDIUNG": [{"LOAI": "3", "TEN": "Tôm", "NGUOIMAC": "Mẹ"}]}}}
    record = one(health_record(person(history=history)))
    assert of_type(record, "AllergyIntolerance") == []
    (found,) = of_type(record, "FamilyMemberHistory")
    assert (codes(found["relationship"])[0], found["condition"][0]["code"]["text"]) == ("MTH", "Dị ứng: Tôm")


@pytest.mark.parametrize("word", ["Không", "không có", "KHÔNG"])
def test_an_allergy_named_none_is_no_allergy(word: str) -> None:
    history = {"TIEUSU_BENHTAT": {"DIUNG": {"DSDIUNG": [{"LOAI": "1", "TEN": word}]}}}
    assert of_type(one(health_record(person(history=history))), "AllergyIntolerance") == []


def test_allergy_kind_4_has_no_category() -> None:
    history = {
        "TIEUSU_BENHTAT": {"DIUNG": {"DSDIUNG": [{"LOAI": "4", "TEN": "Bụi nhà"}, {"LOAI": "1", "TEN": "Aspirin"}]}}
    }
    found = of_type(one(health_record(person(history=history))), "AllergyIntolerance")
    assert [one.get("category") for one in found] == [None, ["medication"]]


def test_a_disease_group_is_not_an_icd_code() -> None:
    history = {
        "TIEUSU_BENHTAT": {"BENHTAT": {"DSBENH": [{"LOAIBENH": "2", "TENBENH": "Cao huyết áp", "TRANGTHAI": "1"}]}}
    }
    (found,) = of_type(one(health_record(person(history=history))), "Condition")
    assert found["code"] == {
        "coding": [{"system": "urn:vn-basic:CodeSystem:disease-group", "code": "2", "display": "Tăng huyết áp"}],
        "text": "Cao huyết áp",
    }
    assert found["category"][0]["coding"][0]["code"] == "problem-list-item"


def test_a_dose_that_was_not_given_is_no_immunization_and_one_without_a_date_is_given_on_an_unknown_day() -> None:
    doses = [
        {"TENVACXIN": "BCG", "TRANGTHAI": "0"},
        {"TENVACXIN": "Sởi", "TRANGTHAI": "0", "NGAYHENTIEM": "01/09/2026"},
        {"TENVACXIN": "Uốn ván", "TRANGTHAI": "1"},
    ]
    record = one(health_record(person(doses=doses)))
    (given,) = of_type(record, "Immunization")
    assert (given["status"], given["occurrenceString"]) == ("completed", "Không rõ ngày")
    planned, due = of_type(record, "ImmunizationRecommendation")
    assert "dateCriterion" not in planned["recommendation"][0]
    assert due["recommendation"][0]["dateCriterion"][0]["value"] == "2026-09-01"
    assert ("warning", "dose-without-date") in rules(record)


def test_a_vaccine_is_matched_by_its_name_after_folding_and_else_kept_as_text() -> None:
    doses = [
        {"TENVACXIN": "sởi - RUBELLA", "TRANGTHAI": "1", "NGAYTIEM": "10/06/2024"},
        {"TENVACXIN": "Vắc xin lạ", "TRANGTHAI": "1", "NGAYTIEM": "11/06/2024"},
    ]
    record = one(health_record(person(doses=doses)))
    known, strange = of_type(record, "Immunization")
    assert known["vaccineCode"]["coding"][0] == {
        "system": "http://hl7.org/fhir/sid/cvx",
        "code": "04",
        "display": known["vaccineCode"]["coding"][0]["display"],
    }
    assert strange["vaccineCode"] == {"text": "Vắc xin lạ"}
    assert ("warning", "unknown-code") in rules(record)


def test_one_number_in_two_fields_is_one_identifier() -> None:
    found = patient(one(health_record(person(SOCMND="038085000123", NGAYCAP="01/02/2021", NOICAP="Cục C06"))))
    (number,) = [one for one in found["identifier"] if one["value"] == "038085000123"]
    assert (number["period"], number["assigner"]) == ({"start": "2021-02-01"}, {"display": "Cục C06"})


def test_tables_that_are_not_mapped_are_counted_and_not_dropped_in_silence() -> None:
    line = {"CHI_TIET_THUOC": [{"STT": "1"}, {"STT": "2"}]}
    drugs = element("CHITIEU_CHITIET_THUOC", {"DSACH_CHI_TIET_THUOC": line})
    record = one(dossier(total(STT="1"), XML12=drugs))
    assert record.kept_out == {"XML12": 2, "XML1/STT": 1}


def test_a_field_that_no_row_knows_is_counted() -> None:
    assert visit(TRUONG_LA="x").unknown == {"XML1/TRUONG_LA": 1}
    body = as_json(basic(hanh_chinh={**basic()["hanh_chinh"], "truong_la": "x"}))
    assert one(body, "a.json").unknown == {"hanh_chinh/truong_la": 1}


def test_parts_outside_of_any_dossier_are_one_dossier() -> None:
    body = dossier(total()).replace(b"<HOSO>", b"").replace(b"</HOSO>", b"")
    assert patient(one(body))["name"][0]["text"] == "Trần Thị Mai"


def test_stray_parts_of_two_visits_are_two_dossiers() -> None:
    parts = file_part("XML1", total()) + file_part("XML12", "<A><B>1</B></A>") + file_part("XML1", total(MA_LK="LK2"))
    body = f"<GIAMDINHHS><DANHSACHHOSO>{parts}</DANHSACHHOSO></GIAMDINHHS>".encode()
    assert [(one.key, dict(one.kept_out)) for one in records(body)] == [("LK1", {"XML12": 1}), ("LK2", {})]


def test_a_fault_in_a_list_names_the_item_it_is_in() -> None:
    doses = [{"TENVACXIN": "BCG", "TRANGTHAI": "1", "NGAYTIEM": day} for day in ("01/02/2024", "31/02/2024")]
    record = one(health_record(person(doses=doses)))
    assert [problem.field for problem in record.mapped.problems] == ["THONGTINMUITIEM[2]/NGAYTIEM"]
    record = visit(MA_BENH_KT="I10;xx")
    assert [problem.field for problem in record.mapped.problems] == ["MA_BENH_KT[2]"]


@pytest.mark.parametrize(
    "fields",
    [
        {"MA_DOITUONG_KCB": "1.9"},
        {"MA_BENH_CHINH": "B20"},
        {"MA_BENH_KT": "I10; Z21"},
        {"MA_DOITUONG_KCB": "1.9", "MA_BENH_CHINH": "B20", "MA_BENH_KT": "Z21"},
    ],
)
def test_a_visit_that_tells_of_hiv_is_labelled_restricted_once(fields: dict[str, str]) -> None:
    for type in ("Encounter", "Condition"):
        for found in of_type(visit(**fields), type):
            assert [label["code"] for label in found["meta"]["security"]] == ["R"]
    assert "security" not in of_type(visit(), "Encounter")[0]["meta"]


def test_what_two_visits_of_one_record_hold_alike_stays_apart() -> None:
    def visit(key: str, day: str) -> dict[str, Any]:
        return {"MA_LK": key, "NGAYKHAM": day, "CANNANG": "50", "CHANDOANKETLUAN": {"CHANDOANBENH": {"MABENH": "I10"}}}

    record = one(health_record(person(visits=[visit("LK1", "01/02/2026"), visit("LK2", "01/03/2026")])))
    for type in ("Observation", "Condition"):
        assert len({resource["id"] for resource in of_type(record, type)}) == 2


def test_a_field_that_stands_twice_with_two_values_is_refused_and_neither_is_chosen() -> None:
    (twice,) = records(dossier(total(DIA_CHI="Thôn 3").replace("<DIA_CHI>", "<DIA_CHI>Thôn 2</DIA_CHI><DIA_CHI>")))
    (problem,) = [one for one in twice.mapped.problems if one.severity == "error"]
    assert (problem.field, problem.found, problem.allowed[0]) == ("DIA_CHI", "Thôn 2; Thôn 3", "one value")
    (same,) = records(dossier(total(DIA_CHI="Thôn 3").replace("<DIA_CHI>", "<DIA_CHI>Thôn 3</DIA_CHI><DIA_CHI>")))
    assert not same.refused


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("MA_LK", dossier(total().replace("<MA_LK>", "<MA_LK>LK0</MA_LK><MA_LK>"))),
        ("NGAY_VAO", dossier(total().replace("<NGAY_VAO>", "<NGAY_VAO>202601020815</NGAY_VAO><NGAY_VAO>"))),
        ("MADINHDANH", health_record(person(MADINHDANH=["038085000123", "038085000124"]))),
        (
            "SENDER_CODE",
            health_record(person()).replace(b"<SENDER_CODE>", b"<SENDER_CODE>1</SENDER_CODE><SENDER_CODE>"),
        ),
    ],
)
def test_a_record_whose_key_sender_or_day_stands_twice_with_two_values_is_refused(field: str, body: bytes) -> None:
    (record,) = records(body)
    assert field in {
        problem.field.rpartition("/")[2] for problem in record.mapped.problems if problem.severity == "error"
    }


def test_a_key_that_stands_twice_with_one_value_is_that_key() -> None:
    record = one(dossier(total().replace("<MA_LK>", "<MA_LK>LK1</MA_LK><MA_LK>")))
    assert (record.key, record.refused) == ("LK1", False)


def test_what_stands_beside_the_parts_of_a_dossier_is_told_as_unknown() -> None:
    body = (
        dossier(total())
        .replace(b"<HOSO>", b"<HOSO><MA_LK>LK1</MA_LK><TRONG/><DS>")
        .replace(b"</HOSO>", b"</DS></HOSO>")
    )
    record = one(body.replace(b"<LOAIHOSO>", b"<TENFILE>a.xml</TENFILE><LOAIHOSO>"))
    assert record.unknown == {"HOSO/MA_LK": 1, "HOSO/DS/FILEHOSO/TENFILE": 1}
