"""From FHIR back to the formats: nothing that was mapped is lost on the way there and back."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from records_round_trip import Sameness, back, bare, day_of, filled, mapped, resources_of, rows_of
from records_sources import FORMATS, as_json, basic, dossier, health_record, one, person, read, total

from fhir_server.records.export import export_of
from fhir_server.records.export_files import body, forms, together
from fhir_server.records.files import find_files, read_files
from fhir_server.records.importing import formats_for
from fhir_server.records.inverse import is_invertible
from fhir_server.records.record import Record
from fhir_server.records.sample import generate, write_sample
from fhir_server.records.sample_envelope import envelope_end, envelope_start
from fhir_server.records.sample_ksk import check_up
from fhir_server.records.scopes import split_path

EXAMPLES = int(os.environ.get("FHIR_TEST_EXAMPLES", "200"))
CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
NAMES = ("hssk831", "basic", "bhxh", "ksk", "tiemchung")


@pytest.fixture(scope="module")
def commune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated records, enough of every format, with all oddities."""
    folder = tmp_path_factory.mktemp("commune")
    write_sample(EXAMPLES * 4 + 100, 831, folder)
    check_ups = [check_up(one.person, one.health, one.household, 831) for one in generate(EXAMPLES + 20, 831)]
    body = b"".join([envelope_start("KHAMSUCKHOE", "38901", len(check_ups)), *check_ups, envelope_end("KHAMSUCKHOE")])
    (folder / "ksk" / "0001.xml").write_bytes(body)  # one of everybody, not of every tenth
    return folder


def generated(folder: Path, name: str) -> Iterator[Record]:
    count = 0
    for source in read_files(find_files([folder / name]), FORMATS):
        if source.format == name and source.content is not None and count < EXAMPLES:
            record = mapped(FORMATS.by_name[name], source.content)
            if not record.refused:
                count += 1
                yield record
    assert count == EXAMPLES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(36_000)
def test_a_generated_record_comes_back_equal_in_every_mapped_field_and_so_does_its_fhir(
    commune: Path, name: str
) -> None:
    for record in generated(commune, name):
        resources = resources_of(record)
        exported = back(record, resources)
        same = Sameness(record.format, day_of(record), record.facility)
        assert same.of(exported.content) == same.of(record.source.content), record.key
        assert exported.left == (), record.key
        again = mapped(record.format, exported.content)
        assert not again.refused, again.mapped.problems
        assert bare(resources_of(again)) == bare(resources), record.key


@pytest.mark.parametrize("name", NAMES)
def test_every_mapped_field_has_a_way_back_or_a_reason(name: str) -> None:
    format = FORMATS.by_name[name]
    export = export_of(format)
    first = {path for path, row in rows_of(format) if is_invertible(row) and _is_first(path, row)}
    filled = {(*split_path(fill["at"]), fill["field"]) for fill in export.data.get("fill", ())}
    reasons = {(*split_path(one["at"]), field) for one in export.data.get("one_way", ()) for field in one["fields"]}
    assert {path for path, _ in rows_of(format)} - first - filled - reasons == set()
    assert all(one["vi"] and one["en"] for one in export.data["one_way"])


def _is_first(path: tuple[str, ...], row: Any) -> bool:
    sources = row["source"] if isinstance(row["source"], list) else [row["source"]]
    return path[-1:] == split_path(sources[0])[-1:] or not split_path(sources[0])


def content(record: Record) -> Any:
    exported = back(record, resources_of(record))
    return exported.content


def test_the_parts_of_a_record_come_back_where_they_stood() -> None:
    history = {"TIEUSU_BENHTAT": {"DIUNG": {"DSDIUNG": {"LOAI": "1", "TEN": "Penicillin", "MOTA": "Nổi mẩn"}}}}
    made = content(one(health_record(person(history=history, DIENTHOAI_DD="0912000001", EMAIL="an@example.vn"))))
    people = made["HOSOSUCKHOE"]["THONGTINCHUNG"]
    assert (people["HOTEN"], people["NGAYSINH"], people["GIOITINH"]) == ("Nguyễn Văn An", "02/03/1985", "1")
    assert (people["DIENTHOAI_DD"], people["EMAIL"], people["MAXA_HIENTAI"]) == ("0912000001", "an@example.vn", "14758")
    (allergy,) = made["HOSOSUCKHOE"]["TIENSU"]["TIEUSU_BENHTAT"]["DIUNG"]["DSDIUNG"]
    assert allergy == {"LOAI": "1", "TEN": "Penicillin", "MOTA": "Nổi mẩn"}
    assert list(people)[:2] == ["MADINHDANH", "MABHXH"]  # the order of the gateway's table


def test_two_cards_and_several_diagnoses_come_back_in_their_lists() -> None:
    fields = {
        "MA_THE_BHYT": "DN4383820000123;GD4383820000123", "MA_DKBD": "38280;38281", "GT_THE_TU": "20260101;20260201",
        "GT_THE_DEN": "20261231;", "MA_BENH_KT": "J02.9;E11.9;I10",
    }  # fmt: skip
    made = content(one(dossier(total(**fields))))["XML1"]
    assert {name: made[name] for name in fields} == fields


def test_the_time_of_birth_and_the_parts_of_a_blood_group_come_back_in_one_field() -> None:
    made = content(one(dossier(total(NGAY_SINH="202603010815", NHOM_MAU="AB+", SO_CCCD=None))))["XML1"]
    assert (made["NGAY_SINH"], made["NHOM_MAU"]) == ("202603010815", "AB+")


def test_a_newborn_s_record_bears_again_the_number_that_was_put_aside() -> None:
    child = {"SO_CCCD": "038190000124", "NGAY_SINH": "202603010815", "MA_DOITUONG_KCB": "1.7"}
    assert content(one(dossier(total(**child))))["XML1"]["SO_CCCD"] == "038190000124"


def test_what_was_entered_in_error_is_not_exported() -> None:
    record = one(as_json(basic(tien_su={"di_ung": [{"loai": "1", "ten": "Aspirin"}]})), "a.json")
    resources = resources_of(record)
    for resource in resources:
        if resource["resourceType"] == "AllergyIntolerance":
            resource["verificationStatus"] = {"coding": [{"code": "entered-in-error"}]}
    exported = back(record, resources)
    assert "tien_su" not in exported.content
    assert [left.partition("/")[0] for left in exported.left] == ["AllergyIntolerance"]


def test_a_patient_of_another_system_is_exported_as_far_as_the_format_goes() -> None:
    foreign = [
        {
            "resourceType": "Patient",
            "id": "p",
            "identifier": [
                {"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "038085000123"},
                {"system": "http://elsewhere", "value": "7"},
            ],
            "name": [{"family": "Nguyễn", "given": ["Văn", "An"]}],
            "gender": "male",
            "birthDate": "1985",
            "telecom": [{"system": "phone", "value": "0912000001", "use": "work"}],
        },
        {
            "resourceType": "Condition",
            "id": "c",
            "clinicalStatus": {"coding": [{"code": "resolved"}]},
            "category": [{"coding": [{"system": CATEGORY, "code": "problem-list-item"}]}],
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10"}], "text": "Tăng huyết áp"},
            "subject": {"reference": "Patient/p"},
        },
    ]
    exported = export_of(FORMATS.by_name["basic"]).record(foreign, "38280", None, None, "p")
    assert exported.content == {
        "ma_ho_so": "p",
        "ma_cskcb": "38280",
        "hanh_chinh": {
            "ho_ten": "Nguyễn Văn An",
            "ngay_sinh": "1985",
            "gioi_tinh": "1",
            "so_dinh_danh": "038085000123",
            "dien_thoai": "0912000001",
        },
        "tien_su": {"benh_tat": [{"ma_benh": "I10", "ten_benh": "Tăng huyết áp"}]},
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_exported_records_is_read_as_those_records(commune: Path, name: str) -> None:
    export = export_of(FORMATS.by_name[name])
    records = [record for record, _ in zip(generated_few(commune, name), range(6), strict=False)]
    contents = [back(record, resources_of(record)).content for record in records]
    groups = [contents] if together(export) else [[one] for one in contents]
    for form in forms(export):
        for group in groups:
            written = body(export, group, form, records[0].facility, date(2026, 7, 1))
            read_again = [source.content for source in read(written, f"a.{form}")]
            same = Sameness(export.format, day_of(records[0]), records[0].facility)
            assert [same.of(one) for one in read_again if one] == [same.of(one) for one in group], form


def generated_few(folder: Path, name: str) -> Iterator[Record]:
    for source in read_files(find_files([folder / name]), FORMATS):
        if source.format == name and source.content is not None:
            yield mapped(FORMATS.by_name[name], source.content)


def test_each_part_of_a_check_up_bears_the_name_that_it_came_with(commune: Path) -> None:
    export = export_of(FORMATS.by_name["ksk"])
    (sent,) = (commune / "ksk").glob("*.xml")
    parts = re.compile(r"<LOAIHOSO>(\w+)</LOAIHOSO>\s*<NOIDUNGFILE>([^<]*)")
    records = re.findall(r"<HOSO>.*?</HOSO>", sent.read_text(encoding="utf-8"), re.DOTALL)
    contents = [source.content for source in read_files([sent], FORMATS) if source.content]
    forms_seen = set()
    for came, content in zip(records, contents, strict=True):
        goes = body(export, [content], "xml", "38901", date(2026, 7, 1)).decode()
        assert sorted(names_of(parts, goes)) == sorted(names_of(parts, came))
        forms_seen.add(content["THONG_TIN_CHUNG_VE_LAN_KHAM"]["TYPE"])
    assert forms_seen == {"ChildUnder", "Minor", "Adult"}


def names_of(parts: re.Pattern[str], record: str) -> list[tuple[str, str]]:
    """(name, root element) of each part of a record."""
    roots = re.compile(r"<([A-Z][A-Z_]*)>")
    found = []
    for name, held in parts.findall(record):
        root = roots.search(base64.b64decode(held).decode())
        assert root is not None
        found.append((name, root[1]))
    return found


def test_text_that_is_markup_or_unfit_for_xml_is_written_harmlessly() -> None:
    export = export_of(FORMATS.by_name["hssk831"])
    content = {"HEADER": {"SENDER_CODE": "<&>"}, "HOSOSUCKHOE": {"THONGTINCHUNG": {"HOTEN": "A\x0b]]>B"}}}
    (source,) = read(body(export, [content], "xml", "", date(2026, 7, 1)))
    assert source.content == {
        "HEADER": {"SENDER_CODE": "<&>"},
        "HOSOSUCKHOE": {"THONGTINCHUNG": {"HOTEN": "A]]>B"}},
    }


def test_a_relative_who_is_no_guardian_is_not_exported_as_a_legal_representative() -> None:
    spouse = {"TEN_QUANHE": "Vợ", "HOTEN": "Lê Thị Bình", "GIAMHO": "0"}
    mother = {"TEN_QUANHE": "Mẹ", "HOTEN": "Lê Thị Ba", "GIAMHO": "1"}
    resources = resources_of(one(health_record(person(QUANHE_GIADINH=[spouse, mother]))))
    exported = export_of(FORMATS.by_name["basic"]).record(resources, "38280", None)
    assert [one["ho_ten"] for one in exported.content["hanh_chinh"]["nguoi_dai_dien"]] == ["Lê Thị Ba"]
    (left,) = exported.left
    assert left.startswith("RelatedPerson/")


@pytest.mark.parametrize(
    ("table", "setting"),
    [
        ("XML6/DSACH_HO_SO_BENH_AN_CHAM_SOC_VA_DIEU_TRI_HIV_AIDS/HO_SO_BENH_AN_CHAM_SOC_VA_DIEU_TRI_HIV_AIDS", "hiv"),
        ("XML15/DSACH_CHITIET_DIEUTRI_BENHLAO/CHITIET_DIEUTRI_BENHLAO", "tb"),
    ],
)
def test_a_restricted_table_comes_back_in_every_field_where_it_is_taken_in_at_all(table: str, setting: str) -> None:
    name, outer, inner = table.split("/")
    (source,) = read(dossier(total()))
    assert source.content is not None
    content = {**source.content, name: {outer: {inner: [filled(name, source.content["XML1"])]}}}
    record = mapped(formats_for("moh", "+07:00", setting).by_name["bhxh"], content)
    assert not record.refused, record.mapped.problems
    exported = back(record, resources_of(record))
    same = Sameness(record.format, day_of(record), record.facility)
    assert same.of(exported.content) == same.of(content)
    assert exported.left == ()
    kept_out = mapped(FORMATS.by_name["bhxh"], content)
    assert name not in back(kept_out, resources_of(kept_out)).content


def test_a_dose_given_elsewhere_than_at_its_sender_says_where_again() -> None:
    dose = {
        "ma_mui_tiem": "T1", "ma_doi_tuong": "D1", "ho_ten": "Trần Văn An", "ngay_sinh": "1990-05-06", "gioi_tinh": "1",
        "ten_vac_xin": "BCG", "ngay_tiem": "2026-03-02", "don_vi_gui": "38901", "ma_co_so": "38902",
        "ten_co_so": "Trạm B",
    }  # fmt: skip
    record = mapped(FORMATS.by_name["tiemchung"], dose)
    resources = resources_of(record)
    (actor,) = [one["performer"][0]["actor"] for one in resources if one["resourceType"] == "Immunization"]
    assert actor["display"] == "Trạm B"
    assert dose.items() <= back(record, resources).content.items()
