"""Received files, kept byte for byte when the setting says so."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile

import pytest
from records_desk import Desk
from records_sources import FORMATS, as_json, basic, dossier, total

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.records import received
from fhir_server.records.files import STDIN
from fhir_server.records.importing import import_records
from fhir_server.records.report_files import as_csv
from fhir_server.validation.validate import Validator


@pytest.fixture
def keeping(desk: Desk) -> Desk:
    settings = desk.context.settings.model_copy(update={"keep_files": True})
    return Desk(desk.context.with_(settings=settings), desk.folder)


async def test_a_file_is_kept_in_parts_that_make_it_again_and_its_records_name_it(
    keeping: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received, "PART", 500)
    body = dossier(total(), total(MA_LK="LK2"))
    await keeping.send(body)
    (document,) = await keeping.stored("DocumentReference")
    parts = {one["id"]: one for one in await keeping.stored("Binary")}
    named = [one["attachment"]["url"].partition("/")[2] for one in document["content"]]
    assert len(named) == len(parts) > 1
    assert b"".join(base64.b64decode(parts[id]["data"]) for id in named) == body
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    assert document["masterIdentifier"]["value"] == f"ni:///sha-256;{digest}"
    for head in await keeping.stored("Provenance"):
        assert head["entity"][1]["what"]["reference"] == f"DocumentReference/{document['id']}"
        assert head["entity"][1]["what"]["identifier"]["value"].endswith(digest)
    validator = Validator(Definitions.load(DATA_ROOT))
    for one in (document, *parts.values()):
        assert validator.validate(one, one["resourceType"]) == []
        assert one["meta"]["security"][0]["code"] == "R"  # a file is many people's


async def test_the_same_file_is_kept_once_and_a_refused_one_too(keeping: Desk) -> None:
    await keeping.send(b"<GIAMDINHHS/>", "a.xml")
    before = await keeping.versions()
    await keeping.send(b"<GIAMDINHHS/>", "b.xml")
    assert await keeping.versions() == before
    assert {type for type, _, _ in (name.partition("/") for name in before)} == {"Binary", "DocumentReference"}


async def test_what_comes_on_standard_input_is_kept_too(keeping: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body = dossier(total(), total(MA_LK="LK2"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
    report = await import_records(keeping.context, [STDIN])
    (document,) = await keeping.stored("DocumentReference")
    (part,) = await keeping.stored("Binary")
    assert (report.stored, document["description"], base64.b64decode(part["data"])) == (2, "stdin", body)
    for head in await keeping.stored("Provenance"):
        assert head["entity"][1]["what"]["reference"] == f"DocumentReference/{document['id']}"
        assert head["entity"][0]["what"]["display"].startswith("stdin #")


async def test_of_an_archive_the_archive_is_kept(keeping: Desk) -> None:
    with zipfile.ZipFile(keeping.folder / "a.zip", "w") as archive:
        archive.writestr("inner/record.json", as_json(basic()))
    report = await import_records(keeping.context, [keeping.folder / "a.zip"])
    assert report.stored == 1
    (document,) = await keeping.stored("DocumentReference")
    (head,) = await keeping.stored("Provenance")
    assert document["description"] == "a.zip"
    assert head["entity"][1]["what"]["reference"] == f"DocumentReference/{document['id']}"


async def test_nothing_is_kept_unless_the_setting_says_so(desk: Desk) -> None:
    await desk.send(dossier(total()))
    assert not await desk.stored("Binary")
    assert all(len(head["entity"]) == 1 for head in await desk.stored("Provenance"))


async def test_signatures_are_told_in_the_report_and_their_absence_only_counted(desk: Desk) -> None:
    unsigned = dossier(total())
    report = await desk.send(unsigned)
    assert report.rules[("information", "signature-absent")] == 1
    assert b"signature-absent" not in as_csv(report)
    signed = b'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/>'
    report = await desk.send(unsigned.replace(b"<CHUKYDONVI/>", b"<CHUKYDONVI>" + signed + b"</CHUKYDONVI>"), "b.xml")
    assert (report.read, report.unchanged, report.with_warnings) == (1, 1, 0)  # the warning is about the file
    assert b"signature-invalid" in as_csv(report)
    told = report.as_json(FORMATS)["rules"]
    assert [one["rule"] for one in told if one["severity"] == "warning"] == ["signature-invalid"]
