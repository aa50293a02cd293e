"""Files of code systems as rows: the Ministry's ICD-10, plain lists, RF2, LOINC, and CodeSystem resources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.errors import FhirError
from fhir_server.store.table_contract import Row
from fhir_server.terminology.code_systems import period_of
from fhir_server.terminology.loaded import aliases, concept_of_row
from fhir_server.terminology.neighbours import nearest, variants
from fhir_server.terminology.staging import Staging
from fhir_server.terminology.table_files import TableFile, describe, read
from fhir_server.terminology.tabular import Told
from tests.terminology_files import (
    DISEASE,
    DISEASES,
    FINDING,
    ICD10_HEADER,
    ROOT,
    SITE,
    THROAT,
    icd10_csv,
    icd10_rows,
    loinc_zip,
    snomed_zip,
    xlsx,
)


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    made = Staging(tmp_path / "staging.sqlite")
    yield made
    made.close()


def staged(staging: Staging, file: TableFile) -> tuple[dict[str, Row], Told]:
    told = read(describe(file), staging, lambda done: None)
    count = staging.end()
    rows = list(staging.rows())
    assert [row.code for row in rows] == sorted(row.code for row in rows)
    assert len(rows) == count
    return {row.code: row for row in rows}, told


ICD = TableFile(Path(), version="06/2026/TT-BYT")


def test_the_ministrys_table_becomes_chapters_groups_types_and_diseases(tmp_path: Path, staging: Staging) -> None:
    file = TableFile(icd10_csv(tmp_path / "icd.csv"), version="06/2026/TT-BYT")
    rows, told = staged(staging, file)
    assert told.skipped == 0
    assert set(rows) == {"J00-J99", "J00-J06", "J00", "J02", "J02.0", "J02.8", "J02.80", "J02.9", "J03", "J03.9"}
    assert rows["J02.9"].display == "Viêm họng cấp, không đặc hiệu"
    assert [(one.language, one.value) for one in concept_of_row(rows["J02.9"]).designations] == [
        ("en", "Disease J02.9")
    ]
    assert rows["J02.9"].parents == ("J02",)
    assert rows["J02.80"].parents == ("J02.8",)
    assert set(rows["J02.80"].above) == {"J02.80", "J02.8", "J02", "J00-J06", "J00-J99"}
    assert concept_of_row(rows["J00-J06"]).abstract
    assert "viem" in rows["J02.9"].words
    assert concept_of_row(rows["J03.9"]).values("dagger") == (True,)


def test_a_workbook_says_the_same_as_a_csv_file(tmp_path: Path) -> None:
    made = []
    book = xlsx(tmp_path / "icd.xlsx", [["Danh mục"], [], ICD10_HEADER, *icd10_rows(DISEASES)])
    for path in (icd10_csv(tmp_path / "icd.csv"), book):
        staging = Staging(tmp_path / f"{path.suffix}.sqlite")
        made.append(staged(staging, TableFile(path, version="06/2026/TT-BYT"))[0])
        staging.close()
    assert made[0] == made[1]


def test_the_layout_of_29_columns_is_read_by_place(tmp_path: Path, staging: Staging) -> None:
    header = [f"cột {number}" for number in range(1, 30)]
    rows = []
    for code, main, female in (("N80.0", "x", "x"), ("N809", "", "1"), ("U13/9", "", "")):
        row = [""] * 29
        row[17], row[20], row[23], row[27] = code, f"Bệnh {code}", main, female
        rows.append(row)
    path = xlsx(tmp_path / "icd.xlsx", [header, *rows])
    made, told = staged(staging, TableFile(path, version="06/2026/TT-BYT", columns={"vi": 21}))
    assert set(made) == {"N80.0", "N80.9"}  # the dot that was missing is there
    assert concept_of_row(made["N80.0"]).values("not-main") == (True,)
    assert concept_of_row(made["N80.9"]).values("female-only") == (True,)
    assert "female-only=true" in made["N80.9"].values
    assert made["N80.9"].display == "Bệnh N809"
    assert told.examples == ["row 4: 'U13/9' is no code of this system"]


def test_a_known_edition_knows_its_days_and_its_other_name(tmp_path: Path) -> None:
    path = icd10_csv(tmp_path / "icd.csv")
    old, new = (describe(TableFile(path, version=version)).head for version in ("4469/QĐ-BYT", "06/2026/TT-BYT"))
    assert str(period_of(old).end) == "2026-06-30"
    assert str(period_of(new).start) == "2026-07-01"
    assert aliases(new) == ["http://hl7.org/fhir/sid/icd-10"]
    assert (old["id"], new["id"]) == ("vnicd10-4469-qd-byt", "vnicd10-06-2026-tt-byt")
    said = describe(TableFile(path, version="06/2026/TT-BYT", start="2026-08-01")).head
    assert str(period_of(said).start) == "2026-08-01"


def test_the_digest_tells_whether_anything_has_changed(tmp_path: Path) -> None:
    path = icd10_csv(tmp_path / "icd.csv")
    first = describe(TableFile(path, version="1")).digest
    assert describe(TableFile(path, version="1")).digest == first
    assert describe(TableFile(path, version="2")).digest != first
    icd10_csv(path, DISEASES[:2])
    assert describe(TableFile(path, version="1")).digest != first


def test_a_plain_list_has_parents_and_every_other_column_as_a_property(tmp_path: Path, staging: Staging) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "Mã,Tên,Mã cha,Display EN,Đơn vị,Hết hiệu lực\nA,Nhóm A,,Group A,,\nA1,Con,A,Child,mmol/L,\nA2,Cũ,A,,,x\n",
        encoding="utf-8",
    )
    rows, _ = staged(staging, TableFile(path, "list", "1", "urn:test:lab", "Xét nghiệm"))
    assert rows["A1"].parents == ("A",)
    assert concept_of_row(rows["A1"]).values("don-vi") == ("mmol/L",)
    assert (rows["A1"].inactive, rows["A2"].inactive) == (False, True)
    assert not concept_of_row(rows["A2"]).active()


def test_a_release_of_snomed_ct_gives_names_properties_and_the_hierarchy(tmp_path: Path, staging: Staging) -> None:
    file = TableFile(snomed_zip(tmp_path / "sct.zip"))
    described = describe(file)
    assert (described.form, described.head["version"]) == (
        "snomed",
        "http://snomed.info/sct/900000000000207008/version/20260101",
    )
    rows, _ = staged(staging, file)
    pharyngitis = concept_of_row(rows["363746003"])
    assert pharyngitis.display == "Acute pharyngitis"
    assert {one.value for one in pharyngitis.designations} == {
        "Acute pharyngitis (disorder)",
        "Acute pharyngitis",
        "Acute sore throat",
    }
    assert set(rows["363746003"].above) == {"363746003", DISEASE, FINDING, ROOT}
    assert pharyngitis.values(SITE) == (THROAT,)
    assert rows[THROAT].parents == (ROOT,)  # the other relationship is not active
    assert rows["1000004"].inactive


def test_a_release_of_loinc_gives_terms_parts_and_answers(tmp_path: Path, staging: Staging) -> None:
    file = TableFile(loinc_zip(tmp_path / "Loinc_2.80.zip"))
    assert describe(file).head["version"] == "2.80"
    rows, _ = staged(staging, file)
    assert set(rows["9001-9"].above) == {"9001-9", "LP9001-9", "LP9000-1"}
    assert "CLASS=CHEM" in rows["9001-9"].values
    assert rows["9002-7"].inactive
    assert concept_of_row(rows["LA9001-1"]).values("answer-list") == ("LL900-1",)


def test_a_code_system_as_json_becomes_rows(tmp_path: Path, staging: Staging) -> None:
    resource = {
        "resourceType": "CodeSystem",
        "url": "urn:test:tree",
        "version": "3",
        "name": "Tree",
        "status": "active",
        "content": "complete",
        "concept": [
            {"code": "b", "concept": [{"code": "a", "display": "Lá", "designation": [{"value": "leaf"}]}]},
            {
                "code": "c",
                "property": [{"code": "parent", "valueCode": "b"}, {"code": "status", "valueCode": "retired"}],
            },
        ],
    }
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(resource), encoding="utf-8")
    rows, _ = staged(staging, TableFile(path))
    assert rows["a"].parents == rows["c"].parents == ("b",)
    assert rows["c"].inactive
    assert "leaf" in rows["a"].words


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("a.csv", b"x,y\n1,2\n", {"version": "1"}, "no row of the first"),
        ("a.csv", b"\xff\xfe\x00", {"version": "1"}, "UTF-8"),
        ("a.csv", "MÃ BỆNH\nJ00\n".encode(), {}, "which version"),
        ("a.csv", "MÃ BỆNH\nJ00\n".encode(), {"version": "TT 06/2026"}, "one word"),
        ("a.csv", "Mã\nA\n".encode(), {"version": "1", "form": "list"}, "which code system"),
        ("a.xlsx", b"PK nothing", {"version": "1"}, "no XLSX"),
        ("a.json", b'{"resourceType": "Patient"}', {}, "no CodeSystem"),
        ("a.json", b"{", {}, "not valid JSON"),
        ("a.zip", b"PK", {"version": "1", "form": "snomed"}, "no ZIP"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_with_the_reason(
    tmp_path: Path, staging: Staging, name: str, content: bytes, options: dict[str, Any], said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FhirError, match=said):
        read(describe(TableFile(path, **options)), staging, lambda done: None)


def test_neighbours_are_the_codes_with_the_fewest_slips_between() -> None:
    listed = ["J02.0", "J02.9", "J20.9", "K02.9", "J03.9", "A00"]
    assert nearest("J02.8", listed, 3) == ["J02.0", "J02.9"] or nearest("J02.8", listed, 3)[:2] == ["J02.0", "J02.9"]
    assert nearest("j029", listed, 1) == ["J02.9"]
    assert nearest("J0.29", listed, 1) == ["J02.9"]
    assert nearest("J02.9", listed, 1) != ["J02.9"]
    assert nearest("ZZZZZZ", listed, 3) == []


def test_the_variants_of_a_code_are_all_that_one_slip_makes_of_it() -> None:
    made = set(variants("J02.9"))
    assert {"J02.8", "J029", "J20.9", "J02.91", "K02.9"} <= made
    assert "J02.9" not in made
    assert len(variants("9" * 500)) < 2_000
