"""The sample: deterministic, internally consistent, in the shapes that real files have, oddities where it says."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from lxml import etree

from fhir_server.errors import FhirError
from fhir_server.records.population import PEOPLE_A_WARD, TODAY, Person, population
from fhir_server.records.sample import Manifest, Sampled, generate, write_sample
from fhir_server.records.sample_oddities import ODDITIES
from fhir_server.terminology.load import Terminology

PEOPLE, SEED = 1000, 1
DAY = re.compile(r"(0[1-9]|[12]\d|3[01])/(0[1-9]|1[0-2])/(19|20)\d\d")
MINUTE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d")


CHECKS = json.loads((Path(__file__).parents[2] / "mappings/bhxh/checks.json").read_text(encoding="utf-8"))
TABLES = {table["at"].strip("/"): tuple(table["fields"]) for table in CHECKS["tables"]}
# Fields of what nobody in the sample has: a district after 2025-07-01, a pregnancy that was ended, a child that died,
# a patient who is referred with further diseases or from traditional medicine.
RARE = {
    "XML1/MAHUYEN_CU_TRU", "XML9/MAHUYEN_CU_TRU", "XML7/NGUYENNHAN_DINHCHI", "XML7/THOIGIAN_DINHCHI", "XML7/TUOI_THAI",
    "XML8/NGAY_SINHCON", "XML8/NGAY_CONCHET", "XML8/SO_CONCHET", "XML11/NGUYENNHAN_DINHCHI", "XML11/TUOI_THAI",
    "XML13/MA_BENH_YHCT", "XML13/MA_BENH_KT",
}  # fmt: skip


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return Terminology.load()


@pytest.fixture(scope="module")
def commune(terminology: Terminology) -> list[Sampled]:
    return list(generate(PEOPLE, SEED, terminology))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("sample")
    return folder, write_sample(PEOPLE, SEED, folder)


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            whole.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def insurance_tables(folder: Path) -> Iterator[tuple[str, etree._Element]]:
    for file in sorted((folder / "bhxh").glob("*.xml")):
        for part in etree.parse(file).iter("FILEHOSO"):
            text = base64.b64decode(part.findtext("NOIDUNGFILE", ""))
            yield part.findtext("LOAIHOSO", ""), etree.fromstring(text.removeprefix(b"\xef\xbb\xbf"))


def plain(commune: list[Sampled]) -> list[Person]:
    return [one.person for one in commune if not one.person.odd]


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_sample(120, seed, tmp_path / name)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


@pytest.mark.parametrize("people", [1, 2, 3, 17])
def test_a_commune_has_exactly_the_people_asked_for(people: int, tmp_path: Path) -> None:
    manifest = write_sample(people, 1, tmp_path)
    assert manifest.counts["people"] == people
    assert sum(count for kind, count in manifest.records.items() if kind not in ("bhxh", "ksk", "tiemchung")) == people


@pytest.mark.parametrize("people", [0, -1, 1_000_001])
def test_an_impossible_commune_is_refused(people: int, tmp_path: Path) -> None:
    with pytest.raises(FhirError, match="1 to 1000000"):
        write_sample(people, 1, tmp_path)


def test_personal_numbers_agree_with_sex_century_year_and_a_province_of_before_2025(
    commune: list[Sampled], terminology: Terminology
) -> None:
    provinces = terminology.code_system("province-legacy")
    assert provinces
    for person in plain(commune):
        assert person.cccd is not None
        assert re.fullmatch(r"0\d{2}[0-3]\d{2}9\d{5}", person.cccd)
        assert person.cccd[1:3] in provinces.concepts
        assert int(person.cccd[3]) == 2 * (person.born.year // 100 - 19) + (person.sex == "2")
        assert person.cccd[4:6] == f"{person.born.year % 100:02d}"


def test_no_two_people_share_a_number_a_card_or_a_telephone_unless_it_is_an_oddity(commune: list[Sampled]) -> None:
    people = plain(commune)
    for numbers in (
        [one.cccd for one in people],
        [one.bhxh for one in people],
        [one.card for one in people if one.card],
        [one.phone for one in people if one.phone],
    ):
        assert len(set(numbers)) == len(numbers)


def test_numbers_stay_distinct_beyond_a_hundred_thousand_people(terminology: Terminology) -> None:
    first = next(population(5, 1, terminology)).members[0]
    from dataclasses import replace

    from fhir_server.records.population import personal_number

    far = [replace(first, number=first.number + step * 100_000) for step in range(10)]
    assert len({personal_number(one, "038") for one in far}) == 10


def test_every_ward_is_a_real_commune_of_the_province(commune: list[Sampled], terminology: Terminology) -> None:
    for one in commune:
        place = one.person.place
        ward = terminology.lookup("ward", place.ward, TODAY)
        assert ward is not None
        assert ward.display == place.ward_name
        assert ward.values("province") == (place.province,)
    assert len({one.person.place.ward for one in commune}) == 1


def test_a_large_population_fills_several_wards(terminology: Terminology) -> None:
    wards = {household.members[0].place.ward for household in population(PEOPLE_A_WARD + 500, 3, terminology)}
    assert len(wards) == 2


def test_parents_are_older_than_their_children_and_give_them_the_family_name(commune: list[Sampled]) -> None:
    seen = 0
    for one in commune:
        child = one.person
        for number in (child.father, child.mother):
            parent = one.household.by_number(number)
            if parent is not None:
                seen += 1
                assert 17 <= (child.born - parent.born).days / 365.25 <= 55
        father = one.household.by_number(child.father)
        if father is not None:
            assert father.family == child.family
            assert father.sex == "1"
    assert seen > 200


def test_ages_make_a_plausible_pyramid(commune: list[Sampled]) -> None:
    ages = [one.person.age() for one in commune]
    assert 0.18 <= sum(age < 15 for age in ages) / PEOPLE <= 0.36
    assert 0.08 <= sum(age >= 60 for age in ages) / PEOPLE <= 0.20
    assert max(ages) <= 100
    assert min(ages) == 0


def test_nothing_happens_before_birth_or_after_the_day_of_the_commune(commune: list[Sampled]) -> None:
    for one in commune:
        born, health = one.person.born, one.health
        happened = [allergy.since for allergy in health.allergies]
        happened += [disease.since for disease in health.diseases]
        happened += [dose.given for dose in health.doses if dose.given]
        happened += [visit.start.date() for visit in health.station + health.hospital]
        assert all(born <= day <= TODAY for day in happened), one.person
        assert all(visit.start <= visit.end for visit in health.station + health.hospital)


def test_doses_follow_the_schedule_by_birth_date(commune: list[Sampled]) -> None:
    days = {"BCG": 2, "SOI": 274, "MR": 548, "VNNB": 366}
    seen = Counter[str]()
    for one in commune:
        for dose in one.health.doses:
            if dose.code in days and dose.number == 1 and dose.given:
                late = dose.given - one.person.born - timedelta(days=days[dose.code])
                assert timedelta(0) <= late <= timedelta(days=20)
                seen[dose.code] += 1
            if dose.code == "IPV" and dose.given:
                assert dose.given >= date(2018, 8, 1)
    assert min(seen[code] for code in days) > 50


def test_a_dose_that_is_due_is_not_given(commune: list[Sampled]) -> None:
    due = [dose for one in commune for dose in one.health.doses if dose.given is None]
    assert due
    assert all(dose.due is not None and not dose.lot for dose in due)


def test_about_one_in_ten_has_an_allergy(commune: list[Sampled]) -> None:
    assert 0.06 <= sum(bool(one.health.allergies) for one in commune) / PEOPLE <= 0.14


def test_every_dose_but_the_deliberately_unknown_one_has_a_name_of_the_vaccine_list(
    commune: list[Sampled], terminology: Terminology
) -> None:
    for one in commune:
        for dose in one.health.doses:
            known = terminology.find("vaccine", dose.name) is not None
            assert known == (not dose.name.startswith("Vắc xin thử nghiệm")), dose.name


def test_health_records_are_well_formed_and_write_days_as_dd_mm_yyyy(written: tuple[Path, Manifest]) -> None:
    folder, manifest = written
    files = sorted((folder / "hssk831").rglob("*.xml"))
    assert len(files) == manifest.records["hssk831"]
    for file in files:
        root = etree.parse(file).getroot()
        assert root.tag == "DATA"
        assert root.find("BODY/HOSOSUCKHOE/THONGTINCHUNG/HOTEN") is not None
        for element in root.iter("NGAYKHAM", "NGAYTIEM", "NGAYHENTIEM", "TRANSACTION_DATE"):
            assert not element.text or DAY.fullmatch(element.text), element.text
        born = root.findtext(".//NGAYSINH", "")
        assert DAY.fullmatch(born) or born.startswith("00/"), born


def test_insurance_files_count_their_dossiers_and_write_moments_as_twelve_digits(
    written: tuple[Path, Manifest],
) -> None:
    folder, manifest = written
    dossiers = 0
    for file in (folder / "bhxh").glob("*.xml"):
        root = etree.parse(file).getroot()
        found = len(root.findall(".//HOSO"))
        assert root.findtext(".//SOLUONGHOSO") == str(found)
        dossiers += found
    assert dossiers == manifest.records["bhxh"] == manifest.counts["visits to the hospital"]
    kinds = Counter[str]()
    for kind, table in insurance_tables(folder):
        kinds[kind] += 1
        if kind == "XML1":
            assert table.tag == "TONG_HOP"
            assert len(table) == 66
            assert MINUTE.fullmatch(table.findtext("NGAY_VAO", ""))
            assert MINUTE.fullmatch(table.findtext("NGAY_RA", ""))
            assert re.fullmatch(r"(19|20)\d{10}", table.findtext("NGAY_SINH", ""))
    assert kinds["XML1"] == dossiers
    assert kinds.keys() == set(TABLES) - {"XML6", "XML12", "XML15"}


def test_every_field_of_the_insurance_tables_is_in_the_sample(written: tuple[Path, Manifest]) -> None:
    folder, _ = written
    found = {kind: set[str]() for kind in TABLES}
    for kind, table in insurance_tables(folder):
        found[kind] |= {element.tag for element in table.iter() if element.text}
    never = {f"{kind}/{name}" for kind, names in found.items() if names for name in set(TABLES[kind]) - names}
    assert {name for name in never if not name.endswith("/DU_PHONG")} == RARE


def test_basic_records_have_the_published_shape(written: tuple[Path, Manifest]) -> None:
    import jsonschema_rs

    folder, manifest = written
    schema = json.loads((Path(__file__).parents[2] / "mappings/basic/schema.json").read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    lines = [json.loads(line) for file in (folder / "basic").glob("*.ndjson") for line in file.open(encoding="utf-8")]
    single = [json.loads(file.read_text(encoding="utf-8")) for file in (folder / "basic").glob("*.json")]
    assert (len(lines), len(single)) == (manifest.records["basic/ndjson"], manifest.records["basic/json"])
    for record in lines + single:
        assert [str(fault) for fault in validator.iter_errors(record)] == []


def test_a_csv_record_is_one_administrative_line_and_one_line_an_item(written: tuple[Path, Manifest]) -> None:
    folder, manifest = written
    with (folder / "basic" / "0001.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    kinds = Counter(row["loai_dong"] for row in rows)
    assert kinds["hanh_chinh"] == manifest.records["basic/csv"]
    assert kinds["tiem_chung"] > 0
    assert all(row["ma_ho_so"] and row["ma_cskcb"] for row in rows)


def test_every_oddity_is_in_the_manifest_with_a_file_that_is_there(written: tuple[Path, Manifest]) -> None:
    folder, manifest = written
    assert {one["oddity"] for one in manifest.oddities} == {one.name for one in ODDITIES}
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["oddities"] == manifest.oddities
    for one in manifest.oddities:
        assert one["files"]
        assert all((folder / file).is_file() for file in one["files"])


def odd(commune: list[Sampled], name: str) -> list[Sampled]:
    found = [one for one in commune if one.person.odd == (name,)]
    assert found, name
    return found


def test_oddities_of_papers_are_as_told(commune: list[Sampled]) -> None:
    for one in odd(commune, "number-against-sex"):
        assert one.person.cccd
        assert int(one.person.cccd[3]) % 2 != (one.person.sex == "2")
    for one in odd(commune, "number-against-year"):
        assert one.person.cccd
        assert one.person.cccd[4:6] != f"{one.person.born.year % 100:02d}"
    for one in odd(commune, "cmnd"):
        assert one.person.cccd is None
        assert re.fullmatch(r"\d{9}", one.person.cmnd or "")
    for one in odd(commune, "passport"):
        assert re.fullmatch(r"[A-Z]\d{7}", one.person.passport or "")
    for one in odd(commune, "no-number"):
        assert (one.person.cccd, one.person.cmnd, one.person.passport, one.person.card) == (None,) * 4
    for one in odd(commune, "shared-phone"):
        spouse = one.household.by_number(one.person.spouse)
        assert spouse
        assert spouse.phone == one.person.phone
    for one in odd(commune, "sex-not-determined"):
        assert one.person.sex == "3"


def test_oddities_of_insurance_files_are_as_told(commune: list[Sampled], written: tuple[Path, Manifest]) -> None:
    tables = {table.findtext("MA_LK"): table for kind, table in insurance_tables(written[0]) if kind == "XML1"}

    def field(one: Sampled, name: str) -> str:
        found = tables[one.health.hospital[0].key].findtext(name)
        return found or ""

    for one in odd(commune, "newborn-without-papers"):
        mother = one.household.by_number(one.person.mother)
        assert mother
        assert field(one, "HO_TEN") == mother.name != one.person.name
        assert field(one, "MA_DOITUONG_KCB") == "1.7"
        assert field(one, "MA_THE_BHYT").startswith("TE1")
        assert not field(one, "NGAY_SINH").endswith("0000")
    for one in odd(commune, "category-1.10"):
        assert field(one, "MA_DOITUONG_KCB") == "1.10"
    for one in odd(commune, "visit-type-without-zero"):
        assert field(one, "MA_LOAI_KCB") == "1"
    for one in odd(commune, "two-cards"):
        assert field(one, "MA_THE_BHYT").count(";") == 1
    for one in odd(commune, "prescription-to-23:59"):
        assert field(one, "NGAY_RA").endswith("2359")
    for one in odd(commune, "died-in-hospital"):
        assert field(one, "KET_QUA_DTRI") == "5"
        assert all(visit.end < one.health.hospital[0].start for visit in one.health.station)
    for one in odd(commune, "code-without-dot"):
        assert "." not in field(one, "MA_BENH_CHINH")
    for one in odd(commune, "hiv"):
        assert (field(one, "MA_DOITUONG_KCB"), field(one, "MA_BENH_CHINH")) == ("1.9", "B20.9")


def test_partial_birth_dates_are_written_as_each_format_writes_them(
    commune: list[Sampled], written: tuple[Path, Manifest]
) -> None:
    folder, manifest = written
    files = {one["person"]: one["files"][0] for one in manifest.oddities if one["oddity"] == "year-of-birth-only"}
    for one in odd(commune, "year-of-birth-only"):
        text = (folder / files[one.person.number]).read_text(encoding="utf-8")
        year = str(one.person.born.year)
        assert {"hssk831": f"<NGAYSINH>00/00/{year}<"}.get(one.form, year) in text


def test_a_decomposed_name_folds_to_the_same_letters(commune: list[Sampled], written: tuple[Path, Manifest]) -> None:
    folder, manifest = written
    files = {one["person"]: one["files"][0] for one in manifest.oddities if one["oddity"] == "decomposed-name"}
    for one in odd(commune, "decomposed-name"):
        text = (folder / files[one.person.number]).read_text(encoding="utf-8")
        assert unicodedata.normalize("NFD", one.person.name) in text


def test_an_old_address_has_codes_of_the_old_time(written: tuple[Path, Manifest], terminology: Terminology) -> None:
    folder, manifest = written
    files = [one["files"][0] for one in manifest.oddities if one["oddity"] == "address-before-2025"]
    assert files
    for file in files:
        root = etree.parse(folder / file).getroot()
        ward = terminology.lookup("ward-legacy", root.findtext(".//MAXA_HIENTAI", ""), date(2025, 3, 15))
        assert ward is not None
        assert ward.values("district") == (root.findtext(".//MAHUYEN_HIENTAI"),)


def test_progress_is_told_up_to_the_last_person(tmp_path: Path) -> None:
    told: list[int] = []
    write_sample(250, 1, tmp_path, told.append)
    assert told == [100, 200, 250]


def test_people_come_one_household_at_a_time(terminology: Terminology) -> None:
    first = next(generate(1_000_000, 1, terminology))
    assert first.person.number == 0


def test_every_field_of_the_health_record_is_in_the_sample(written: tuple[Path, Manifest]) -> None:
    folder, _ = written
    names = {
        element.tag
        for file in (folder / "hssk831").rglob("*.xml")
        for element in etree.parse(file).iter()
        if element.text or len(element)
    }
    checks = json.loads((Path(__file__).parents[2] / "mappings/hssk831/checks.json").read_text(encoding="utf-8"))
    wanted = {field for table in checks["tables"] for field in table["fields"]}
    assert wanted - names == {"TRANSACTION_TYPE", "TRANSACTION_NAME", "TRANSACTION_ID"}
