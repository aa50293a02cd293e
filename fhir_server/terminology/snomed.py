"""SNOMED CT from a release in format RF2 (Snapshot files). R4 page "Using SNOMED CT with FHIR" names what is told."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from zipfile import ZipFile

from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.filters import REFERENCE_SET, SNOMED
from fhir_server.terminology.staging import Staging

_INTERNATIONAL = "900000000000207008"
_FSN, _SYNONYM = "900000000000003001", "900000000000013009"
_USES = {_FSN: "Fully specified name", _SYNONYM: "Synonym"}
_IS_A = "116680003"
_PREFERRED, _AMERICAN = "900000000000548007", "900000000000509007"
_DEFINED = "900000000000073002"
_CONCEPTS = re.compile(r"sct2_Concept_Snapshot_([^/_]*)_(\d{8})\.txt$")
# What a display is chosen by, best first.
_AMERICAN_NAME, _PREFERRED_NAME, _OTHER_NAME, _FULL_NAME = range(4)

Row = Mapping[str, str]


def is_release(archive: ZipFile) -> bool:
    return any(_CONCEPTS.search(name) for name in archive.namelist())


def release_version(archive: ZipFile) -> str | None:
    """The version URI of the international edition, `…/sct/900000000000207008/version/20260101`; None for another
    edition, whose module the name of the file does not tell."""
    found = next(found for name in archive.namelist() if (found := _CONCEPTS.search(name)))
    return f"{SNOMED}/{_INTERNATIONAL}/version/{found[2]}" if found[1] == "INT" else None


def read_release(archive: ZipFile, staging: Staging, on_row: Callable[[int], None]) -> None:
    """Puts concepts, descriptions, active relationships and members of simple reference sets into the staging.

    Raises FhirError(INVALID) for an archive that lacks one of the files or has rows of another shape.
    """
    done = 0
    for pattern, read in _FILES:
        names = [name for name in archive.namelist() if pattern.search(name)]
        if not names and read not in (_language, _reference_set):
            raise FhirError(Kind.INVALID, f"the release has no file {pattern.pattern}")
        for name in names:
            with archive.open(name) as stream, io.TextIOWrapper(stream, "utf-8", newline="") as text:
                for row in csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE):
                    try:
                        read(staging, row)
                    except KeyError as column:
                        raise FhirError(Kind.INVALID, f"{name} has no column {column}") from None
                    done += 1
                    on_row(done)


def _language(staging: Staging, row: Row) -> None:
    if row["active"] == "1" and row["acceptabilityId"] == _PREFERRED:
        rank = _AMERICAN_NAME if row["refsetId"] == _AMERICAN else _PREFERRED_NAME
        staging.note(row["referencedComponentId"], rank)


def _reference_set(staging: Staging, row: Row) -> None:
    if row["active"] == "1":
        staging.property(row["referencedComponentId"], REFERENCE_SET, "valueCode", row["refsetId"])


def _description(staging: Staging, row: Row) -> None:
    if row["active"] != "1":
        return
    kind = row["typeId"]
    rank = _FULL_NAME if kind == _FSN else min(_OTHER_NAME, staging.noted(row["id"], _OTHER_NAME))
    use = {"system": SNOMED, "code": kind, "display": _USES[kind]} if kind in _USES else None
    staging.designation(row["conceptId"], row["term"], row["languageCode"], use, rank)


def _concept(staging: Staging, row: Row) -> None:
    code = row["id"]
    staging.concept(code, inactive=row["active"] != "1")
    staging.property(code, "sufficientlyDefined", "valueBoolean", row["definitionStatusId"] == _DEFINED)
    staging.property(code, "moduleId", "valueCode", row["moduleId"])
    staging.property(code, "effectiveTime", "valueString", row["effectiveTime"])


def _relationship(staging: Staging, row: Row) -> None:
    if row["active"] != "1":
        return
    if row["typeId"] == _IS_A:
        staging.edge(row["sourceId"], row["destinationId"])
    else:
        staging.property(row["sourceId"], row["typeId"], "valueCode", row["destinationId"])


_FILES: tuple[tuple[re.Pattern[str], Callable[[Staging, Row], None]], ...] = (
    (re.compile(r"der2_cRefset_LanguageSnapshot-[^/]*\.txt$"), _language),
    (re.compile(r"sct2_Description_Snapshot-[^/]*\.txt$"), _description),
    (_CONCEPTS, _concept),
    (re.compile(r"sct2_Relationship_Snapshot_[^/]*\.txt$"), _relationship),
    (re.compile(r"der2_Refset_SimpleSnapshot[^/]*\.txt$"), _reference_set),
)
