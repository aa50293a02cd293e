"""The files that a table is filled from: what they are, and how they are read into a staging."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile, is_zipfile

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource, decode
from fhir_server.terminology import loinc, snomed
from fhir_server.terminology.code_systems import EFFECTIVE_PERIOD
from fhir_server.terminology.filters import SNOMED
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.loaded import ALIAS
from fhir_server.terminology.staging import Staging
from fhir_server.terminology.tabular import Told, read_table

Form = Literal["icd-10-vn", "list", "snomed", "loinc", "code-system"]
FORMS: tuple[Form, ...] = ("icd-10-vn", "list", "snomed", "loinc", "code-system")
# Of a CodeSystem as JSON, which is read as a whole.
_LARGEST_JSON = 256 << 20
# Grows when the same file makes other rows.
_EDITION = "1"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class TableFile:
    """What a person asks to be loaded.

    columns: where `code`, `vi` and `en` are, counted from 1. start, end: the days of its validity.
    """

    path: Path
    form: Form | None = None
    version: str | None = None
    system: str | None = None
    title: str | None = None
    start: str | None = None
    end: str | None = None
    columns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Described:
    """A file that is understood. head: the CodeSystem without concepts. digest: of all that the rows follow from."""

    file: TableFile
    form: Form
    head: Resource
    digest: str
    description: Mapping[str, Any]


def describe(file: TableFile) -> Described:
    """Raises FhirError(INVALID) for a file of no known form, FhirError(REQUIRED) when version or system must be said,
    OSError when the file cannot be read."""
    form = file.form or _form(file.path)
    description = _description(form) if form != "code-system" else {"code_system": _own_head(file.path)}
    head = _head(file, form, description)
    parts = (_EDITION, form, str(sorted(head.items(), key=str)), str(sorted(file.columns.items())), _sha256(file.path))
    return Described(file, form, head, hashlib.sha256("\n".join(parts).encode()).hexdigest(), description)


def read(described: Described, staging: Staging, on_row: Callable[[int], None]) -> Told:
    """Puts the content of a file into a staging. Raises FhirError(INVALID) for one that is not of its form."""
    path = described.file.path
    match described.form:
        case "snomed" | "loinc":
            with _archive(path) as archive:
                if described.form == "snomed":
                    snomed.read_release(archive, staging, on_row)
                else:
                    loinc.read_release(archive, described.description, staging, on_row)
            return Told()
        case "code-system":
            for number, (one, parent) in enumerate(_concepts(_json(path).get("concept", ()), None), 1):
                _stage(staging, one, parent)
                on_row(number)
            return Told()
    return read_table(path, described.description, described.file.columns, staging, on_row)


def _form(path: Path) -> Form:
    if path.suffix.lower() == ".json":
        return "code-system"
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        return "icd-10-vn"
    if is_zipfile(path):
        with _archive(path) as archive:
            if snomed.is_release(archive):
                return "snomed"
            if loinc.is_release(archive):
                return "loinc"
        raise FhirError(Kind.INVALID, f"{path.name} is neither an RF2 release of SNOMED CT nor LOINC")
    return "icd-10-vn"


def _archive(path: Path) -> ZipFile:
    try:
        return ZipFile(path)
    except BadZipFile as fault:
        raise FhirError(Kind.INVALID, f"{path.name} is no ZIP archive: {fault}") from None


def _description(form: Form) -> Mapping[str, Any]:
    content: Mapping[str, Any] = decode((DATA_ROOT / "terminology" / "tables" / f"{form}.json").read_bytes())
    return content


def _json(path: Path) -> Resource:
    if path.stat().st_size > _LARGEST_JSON:
        raise FhirError(Kind.INVALID, f"{path.name} is larger than {_LARGEST_JSON >> 20} MiB")
    resource = decode(path.read_bytes())
    if not isinstance(resource, dict) or resource.get("resourceType") != "CodeSystem" or not resource.get("url"):
        text = f"{path.name} is no CodeSystem with a url; POST other resources to the server"
        raise FhirError(Kind.INVALID, text)
    return resource


def _own_head(path: Path) -> Resource:
    dropped = ("id", "meta", "text", "concept", "content", "count", "contained")
    return {name: value for name, value in _json(path).items() if name not in dropped}


def _head(file: TableFile, form: Form, description: Mapping[str, Any]) -> Resource:
    head = dict(description["code_system"])
    url, version = file.system or head.get("url"), file.version or head.get("version") or _version(file.path, form)
    if not url:
        raise FhirError(Kind.REQUIRED, "say which code system the list is: --system URL")
    if not version:
        raise FhirError(Kind.REQUIRED, "say which version the file is, such as --code-version '06/2026/TT-BYT'")
    if any(letter.isspace() or letter == "|" for letter in version):
        raise FhirError(Kind.VALUE, f"the version {version!r} must be one word: it is a part of canonical URLs")
    title = file.title or head.get("title") or url
    head |= {"url": url, "version": version, "title": title, "content": "not-present"}
    head.setdefault("name", "".join(word.capitalize() for word in fold_words(title)) or "CodeSystem")
    edition = description.get("editions", {}).get(version, {})
    days = {"start": file.start or edition.get("start"), "end": file.end or edition.get("end")}
    period = {name: day for name, day in days.items() if day}
    extensions = [one for one in head.get("extension", ()) if one["url"] != EFFECTIVE_PERIOD or not period]
    if period:
        extensions.append({"url": EFFECTIVE_PERIOD, "valuePeriod": period})
    also = description.get("also", ()) if not file.system else ()
    extensions += [{"url": ALIAS, "valueUri": alias} for alias in also]
    if extensions:
        head["extension"] = extensions
    return {**head, "id": resource_id(head["name"], version)}


def _version(path: Path, form: Form) -> str | None:
    if form == "loinc":
        return loinc.release_version(path.name)
    if form == "snomed":
        with _archive(path) as archive:
            return snomed.release_version(archive)
    return None


def resource_id(name: str, version: str) -> str:
    """A logical id of R4 for a version of a code system: `vnicd10-06-2026-tt-byt`."""
    words = "-".join(fold_words(f"{name} {version.removeprefix(SNOMED)}"))
    return re.sub(r"[^A-Za-z0-9.-]", "", words)[:64].strip("-.") or "code-system"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _concepts(listed: Any, parent: str | None) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    for one in listed:
        yield one, parent
        yield from _concepts(one.get("concept", ()), one["code"])


def _stage(staging: Staging, one: Mapping[str, Any], parent: str | None) -> None:
    """A CodeSystem.concept."""
    code = one["code"]
    properties = one.get("property", ())
    told = {item["code"]: item for item in properties}
    inactive = _is_true(told.get("inactive")) or told.get("status", {}).get("valueCode") == "retired"
    abstract = _is_true(told.get("notSelectable"))
    staging.concept(code, one.get("display"), one.get("definition"), inactive, abstract)
    if parent is not None:
        staging.edge(code, parent)
    for item in one.get("designation", ()):
        staging.designation(code, item["value"], item.get("language"), item.get("use"))
    for item in properties:
        kind = next(key for key in item if key.startswith("value"))
        if item["code"] in ("parent", "subsumedBy"):
            staging.edge(code, item[kind])
        elif item["code"] not in ("inactive", "notSelectable", "child"):
            staging.property(code, item["code"], kind, item[kind])


def _is_true(property: Mapping[str, Any] | None) -> bool:
    return property is not None and property.get("valueBoolean") is True
