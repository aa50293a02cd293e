"""Synthetic releases of code systems, in the forms in which their publishers give them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import openpyxl

_CHAPTER_COLUMNS = ("MÃ CHƯƠNG", "CHAPTER NAME", "TÊN CHƯƠNG")
_GROUP_COLUMNS = ("MÃ NHÓM CHÍNH", "MAIN GROUP NAME I", "TÊN NHÓM CHÍNH")
_TYPE_COLUMNS = ("MÃ LOẠI", "TYPE NAME", "TÊN LOẠI")
_DISEASE_COLUMNS = ("MÃ BỆNH", "MÃ BỆNH KHÔNG DẤU", "DISEASE NAME", "TÊN BỆNH")
ICD10_HEADER = ("STT", *_CHAPTER_COLUMNS, *_GROUP_COLUMNS, *_TYPE_COLUMNS, *_DISEASE_COLUMNS)
CHAPTER = ("J00-J99", "Diseases of the respiratory system", "Bệnh hệ hô hấp")
GROUP = ("J00-J06", "Acute upper respiratory infections", "Nhiễm trùng đường hô hấp trên cấp")


def icd10_rows(diseases: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Rows of the Ministry's table for codes below one group. The names are made up."""
    made = []
    for number, (code, name) in enumerate(diseases, 1):
        category = code.partition(".")[0].rstrip("†*")
        kind = (category, f"Type {category}", name if category == code else f"Loại {category}")
        disease = (code, code.replace(".", ""), f"Disease {code}", name)
        made.append([str(number), *CHAPTER, *GROUP, *kind, *disease])
    return made


DISEASES = (
    ("J02.0", "Viêm họng do liên cầu"),
    ("J02.8", "Viêm họng cấp do vi sinh vật khác"),
    ("J02.80", "Viêm họng cấp do vi rút"),
    ("J02.9", "Viêm họng cấp, không đặc hiệu"),
    ("J03.9†", "Viêm amiđan cấp"),
    ("J00", "Viêm mũi họng cấp"),
)


def icd10_csv(path: Path, diseases: Iterable[tuple[str, str]] = DISEASES) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, delimiter=";").writerows([ICD10_HEADER, *icd10_rows(diseases)])
    return path


def xlsx(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(list(row))
    book.save(path)
    return path


FSN, SYNONYM, IS_A = "900000000000003001", "900000000000013009", "116680003"
PREFERRED, AMERICAN = "900000000000548007", "900000000000509007"
CORE, DEFINED, PRIMITIVE = "900000000000207008", "900000000000073002", "900000000000074008"
ROOT, FINDING, DISEASE, SITE, THROAT = "138875005", "404684003", "64572001", "363698007", "54066008"
THROATS = "723264001"  # a reference set
# code -> (full name, other names of which the first is preferred, parents, active)
SNOMED: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...], bool]] = {
    ROOT: ("SNOMED CT Concept (SNOMED RT+CTV3)", ("SNOMED CT Concept",), (), True),
    FINDING: ("Clinical finding (finding)", ("Clinical finding",), (ROOT,), True),
    DISEASE: ("Disease (disorder)", ("Disease", "Disorder"), (FINDING,), True),
    "363746003": ("Acute pharyngitis (disorder)", ("Acute pharyngitis", "Acute sore throat"), (DISEASE,), True),
    THROAT: ("Pharyngeal structure (body structure)", ("Pharynx",), (ROOT,), True),
    SITE: ("Finding site (attribute)", ("Finding site",), (ROOT,), True),
    "1000004": ("Old thing (disorder)", ("Old thing",), (), False),
}


def snomed_zip(path: Path) -> Path:
    """A release of seven concepts in format RF2."""
    concepts, descriptions, relationships, languages = [], [], [], []
    for code, (full, names, parents, active) in SNOMED.items():
        defined = PRIMITIVE if code == ROOT else DEFINED
        concepts.append((code, "20260101", "1" if active else "0", CORE, defined))
        for place, (name, kind) in enumerate([(full, FSN), *((name, SYNONYM) for name in names)]):
            id = f"{code}{place}"
            descriptions.append((id, "20260101", "1", CORE, code, "en", kind, name, "900000000000448009"))
            if place == 1:
                languages.append((f"u{id}", "20260101", "1", CORE, AMERICAN, id, PREFERRED))
        relationships += [(f"{code}9", "20260101", "1", CORE, code, parent, "0", IS_A, "x", "y") for parent in parents]
    relationships.append(("18", "20260101", "1", CORE, "363746003", THROAT, "1", SITE, "x", "y"))
    relationships.append(("28", "20250101", "0", CORE, THROAT, DISEASE, "0", IS_A, "x", "y"))
    folder = "SnomedCT_Test/Snapshot"
    with ZipFile(path, "w") as archive:
        for name, header, rows in (
            (
                "Terminology/sct2_Concept_Snapshot_INT_20260101.txt",
                "id effectiveTime active moduleId definitionStatusId",
                concepts,
            ),
            (
                "Terminology/sct2_Description_Snapshot-en_INT_20260101.txt",
                "id effectiveTime active moduleId conceptId languageCode typeId term caseSignificanceId",
                descriptions,
            ),
            (
                "Terminology/sct2_Relationship_Snapshot_INT_20260101.txt",
                "id effectiveTime active moduleId sourceId destinationId relationshipGroup typeId "
                "characteristicTypeId modifierId",
                relationships,
            ),
            (
                "Refset/Language/der2_cRefset_LanguageSnapshot-en_INT_20260101.txt",
                "id effectiveTime active moduleId refsetId referencedComponentId acceptabilityId",
                languages,
            ),
            (
                "Refset/Content/der2_Refset_SimpleSnapshot_INT_20260101.txt",
                "id effectiveTime active moduleId refsetId referencedComponentId",
                [(f"m{code}", "20260101", "1", CORE, THROATS, code) for code in ("363746003", THROAT)]
                + [("m1", "20260101", "0", CORE, THROATS, DISEASE)],
            ),
        ):
            lines = ["\t".join(header.split()), *("\t".join(row) for row in rows)]
            archive.writestr(f"{folder}/{name}", "\r\n".join(lines) + "\r\n")
    return path


def loinc_zip(path: Path) -> Path:
    """A release of three terms, two parts and one answer list."""
    terms = [
        ("LOINC_NUM", "COMPONENT", "CLASS", "STATUS", "SHORTNAME", "LONG_COMMON_NAME"),
        ("9001-9", "Made-up substance", "CHEM", "ACTIVE", "Substance Bld", "Made-up substance [Mass/volume] in Blood"),
        ("9002-7", "Made-up substance", "CHEM", "DEPRECATED", "Substance Ur", "Made-up substance in Urine"),
        ("9003-5", "Made-up group", "BLDBK", "ACTIVE", "Group Bld", "Made-up group in Blood"),
    ]
    hierarchy = [
        ("PATH_TO_ROOT", "SEQUENCE", "IMMEDIATE_PARENT", "CODE", "CODE_TEXT"),
        ("", "1", "", "LP9000-1", "Laboratory"),
        ("LP9000-1", "1", "LP9000-1", "LP9001-9", "Chemistry"),
        ("LP9000-1.LP9001-9", "1", "LP9001-9", "9001-9", "Made-up substance"),
        ("LP9000-1.LP9001-9", "2", "LP9001-9", "9002-7", "Made-up substance"),
    ]
    answers = [
        ("AnswerListId", "AnswerListName", "AnswerStringId", "DisplayText"),
        ("LL900-1", "Made-up groups", "LA9001-1", "Group one"),
        ("LL900-1", "Made-up groups", "LA9002-9", "Group two"),
    ]
    with ZipFile(path, "w") as archive:
        for name, rows in (
            ("LoincTable/Loinc.csv", terms),
            ("AccessoryFiles/ComponentHierarchyBySystem/ComponentHierarchyBySystem.csv", hierarchy),
            ("AccessoryFiles/AnswerFile/AnswerList.csv", answers),
        ):
            text = StringIO()
            csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
            archive.writestr(name, text.getvalue())
    return path
