"""Code systems that were loaded as tables: every question and every search that lists in memory answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.model.resources import decode, encode
from fhir_server.operations.load_table import load_table, remove_table
from fhir_server.operations.publish import is_published, publish
from fhir_server.records.importing import import_records
from fhir_server.records.report import RecordOutcome
from fhir_server.routes import dispatch
from fhir_server.terminology.catalogue import Catalogue
from fhir_server.terminology.table_files import TableFile
from tests.terminology_files import DISEASE, DISEASES, FINDING, SITE, THROAT, icd10_csv, loinc_zip, snomed_zip

ICD10 = "http://hl7.org/fhir/sid/icd-10"
VN_ICD10 = "http://fhir.hl7.org.vn/core/CodeSystem/vn-icd10-cs"
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
OLD = (("J02.7", "Viêm họng theo danh mục cũ"), ("J02.9", "Viêm họng (tên cũ)"))


def silent(what: str, done: int, total: int | None) -> None:
    """Nobody looks on."""


@pytest.fixture(scope="module")
async def loaded(own_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Context]:
    """A server with two editions of ICD-10, SNOMED CT and LOINC."""
    folder = tmp_path_factory.mktemp("tables")
    async with open_context(own_settings) as context:
        for file in (
            TableFile(icd10_csv(folder / "old.csv", OLD), version="4469/QĐ-BYT"),
            TableFile(icd10_csv(folder / "new.csv"), version="06/2026/TT-BYT"),
            TableFile(snomed_zip(folder / "sct.zip")),
            TableFile(loinc_zip(folder / "Loinc_2.80.zip")),
        ):
            await load_table(context, file, silent)
        yield context


async def get(context: Context, path: str, query: str = "") -> dict[str, Any]:
    request = FhirRequest("GET", tuple(path.split("/")), tuple(parse_qsl(query)))
    told: dict[str, Any] = decode((await dispatch(context, request)).body)
    return told


async def post(context: Context, path: str, resource: dict[str, Any], query: str = "") -> dict[str, Any]:
    request = FhirRequest("POST", tuple(path.split("/")), tuple(parse_qsl(query)), resource=resource)
    told: dict[str, Any] = decode((await dispatch(context, request)).body)
    return told


def a_set(*include: dict[str, Any], exclude: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    compose: dict[str, Any] = {"include": list(include)}
    if exclude:
        compose["exclude"] = exclude
    return {"resourceType": "ValueSet", "status": "active", "compose": compose}


def is_a(system: str, code: str, op: str = "is-a") -> dict[str, Any]:
    return {"system": system, "filter": [{"property": "concept", "op": op, "value": code}]}


def codes_of(expanded: dict[str, Any]) -> list[str]:
    return [one["code"] for one in expanded["expansion"].get("contains", [])]


def value(parameters: dict[str, Any], name: str) -> Any:
    found = (one for one in parameters["parameter"] if one["name"] == name)
    return next((next(item for key, item in one.items() if key != "name") for one in found), None)


async def expanded(context: Context, value_set: dict[str, Any], query: str = "") -> list[str]:
    return codes_of(await post(context, "ValueSet/$expand", value_set, query))


# --- questions -------------------------------------------------------------------------------------------------------


async def test_the_edition_of_the_day_answers_under_every_url_of_the_system(loaded: Context) -> None:
    path = "CodeSystem/$lookup"
    for system in (ICD10, VN_ICD10):
        for day, name in (("2026-06-30", "Viêm họng (tên cũ)"), ("2026-07-01", "Viêm họng cấp, không đặc hiệu")):
            told = await get(loaded, path, f"system={system}&code=J02.9&date={day}")
            assert value(told, "display") == name
        named = await get(loaded, path, f"system={system}&code=J02.7&version=4469/QĐ-BYT")
        assert value(named, "version") == "4469/QĐ-BYT"
        with pytest.raises(FhirError) as refused:
            await get(loaded, path, f"system={system}&code=J02.7&date=2026-07-01")
        assert refused.value.kind is Kind.NOT_FOUND


async def test_a_lookup_tells_parents_children_and_marks(loaded: Context) -> None:
    told = await get(loaded, "CodeSystem/$lookup", f"system={VN_ICD10}&code=J02.8")
    properties = [one["part"] for one in told["parameter"] if one["name"] == "property"]
    named = {(part[0]["valueCode"], part[1].get("valueCode")) for part in properties}
    assert {("parent", "J02"), ("child", "J02.80")} <= named
    for spelling in ("J03.9", "J03.9†", "J03.9*"):
        assert value(await get(loaded, "CodeSystem/$lookup", f"system={VN_ICD10}&code={spelling}"), "display")


async def test_a_wrong_code_of_a_table_is_told_with_its_neighbours(loaded: Context) -> None:
    told = await get(loaded, "CodeSystem/$validate-code", f"url={ICD10}&code=J02.6&date=2026-08-01")
    assert value(told, "result") is False
    assert "J02.0 (Viêm họng do liên cầu)" in value(told, "message")
    by_name = f"url={ICD10}&code=X99&display=viem mui hong cap"
    assert "J00 (Viêm mũi họng cấp)" in value(await get(loaded, "CodeSystem/$validate-code", by_name), "message")


@pytest.mark.parametrize(
    ("system", "one", "other", "outcome"),
    [
        (ICD10, "J00-J99", "J02.80", "subsumes"),
        (ICD10, "J02.80", "J02", "subsumed-by"),
        (ICD10, "J00", "J02", "not-subsumed"),
        (SNOMED, FINDING, "363746003", "subsumes"),
        (SNOMED, "363746003", "363746003", "equivalent"),
        (SNOMED, THROAT, "363746003", "not-subsumed"),
        (LOINC, "LP9000-1", "9001-9", "subsumes"),
    ],
)
async def test_the_hierarchy_of_a_table_subsumes(
    loaded: Context, system: str, one: str, other: str, outcome: str
) -> None:
    told = await get(loaded, "CodeSystem/$subsumes", f"system={system}&codeA={one}&codeB={other}")
    assert value(told, "outcome") == outcome


# --- expansions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("include", "codes"),
    [
        ([is_a(SNOMED, DISEASE)], {DISEASE, "363746003"}),
        ([is_a(SNOMED, DISEASE, "descendent-of")], {"363746003"}),
        ([is_a(VN_ICD10, "J02.80", "generalizes")], {"J02.80", "J02.8", "J02", "J00-J06", "J00-J99"}),
        ([{"system": SNOMED, "filter": [{"property": SITE, "op": "=", "value": THROAT}]}], {"363746003"}),
        ([{"system": LOINC, "filter": [{"property": "CLASS", "op": "in", "value": "CHEM,X"}]}], {"9001-9", "9002-7"}),
        (
            [{"system": LOINC, "filter": [{"property": "answer-list", "op": "exists", "value": "true"}]}],
            {"LA9001-1", "LA9002-9"},
        ),
        (
            [{"system": ICD10, "filter": [{"property": "code", "op": "regex", "value": "J0[03].*"}]}],
            {"J00", "J00-J06", "J00-J99", "J03", "J03.9"},
        ),
        (
            [{"system": ICD10, "filter": [{"property": "parent", "op": "=", "value": "J02"}]}],
            {"J02.0", "J02.8", "J02.9"},
        ),
        (
            [
                {"system": LOINC, "concept": [{"code": "9001-9"}, {"code": "none"}]},
                {"system": "urn:vn-basic:CodeSystem:sex"},
            ],
            {"9001-9", "1", "2", "3"},
        ),
        ([{"valueSet": ["http://snomed.info/sct?fhir_vs=isa/64572001"]}], {DISEASE, "363746003"}),
        (
            [{"system": SNOMED, "filter": [{"property": "concept", "op": "in", "value": "723264001"}]}],
            {THROAT, "363746003"},
        ),
    ],
)
async def test_what_an_expansion_of_tables_lists_is_a_member_and_nothing_else(
    loaded: Context, include: list[dict[str, Any]], codes: set[str]
) -> None:
    told = await post(loaded, "ValueSet/$expand", a_set(*include))
    assert set(codes_of(told)) == codes
    assert told["expansion"]["total"] == len(codes)
    listed = [(one["system"], one["code"]) for one in told["expansion"]["contains"]]
    for system, code in [*listed, (SNOMED, "1000004"), (ICD10, "J02.9"), (LOINC, "9003-5")]:
        coding = {"name": "coding", "valueCoding": {"system": system, "code": code}}
        asked = {"resourceType": "Parameters", "parameter": [{"name": "valueSet", "resource": a_set(*include)}, coding]}
        asked["parameter"].append({"name": "abstract", "valueBoolean": True})
        judged = value(await post(loaded, "ValueSet/$validate-code", asked), "result")
        assert judged is (code in codes), (system, code)


async def test_excludes_and_value_sets_narrow_what_tables_list(loaded: Context) -> None:
    everything = is_a(VN_ICD10, "J02")
    without = a_set(everything, exclude=[is_a(VN_ICD10, "J02.8"), {"system": VN_ICD10, "concept": [{"code": "J02"}]}])
    assert await expanded(loaded, without) == ["J02.0", "J02.9"]
    both = a_set({**everything, "valueSet": ["http://snomed.info/sct?fhir_vs"]})
    assert await expanded(loaded, both) == []


async def test_pages_of_tables_and_lists_put_together_are_the_whole(loaded: Context) -> None:
    mixed = a_set(is_a(VN_ICD10, "J00-J99"), {"system": "urn:vn-basic:CodeSystem:sex"}, {"system": LOINC})
    whole = await expanded(loaded, mixed)
    assert len(whole) == len(set(whole)) == 10 + 3 + 8
    pages = [await expanded(loaded, mixed, f"offset={offset}&count=4") for offset in range(0, 24, 4)]
    assert [code for page in pages for code in page] == whole


async def test_a_filter_needs_no_marks_and_inactive_codes_are_left_out_on_demand(loaded: Context) -> None:
    assert await expanded(loaded, a_set({"system": VN_ICD10}), "filter=hong lien") == ["J02.0"]
    assert await expanded(loaded, a_set({"system": VN_ICD10}), "filter=j02.8") == ["J02.8", "J02.80"]
    assert await expanded(loaded, a_set({"system": SNOMED}), "filter=thing") == ["1000004"]
    assert await expanded(loaded, a_set({"system": SNOMED}), "filter=thing&activeOnly=true") == []
    assert "J00-J99" not in await expanded(loaded, a_set({"system": VN_ICD10}), "excludeNotForUI=true")


@pytest.mark.parametrize(
    ("url", "codes"),
    [
        ("http://snomed.info/sct?fhir_vs", 7),
        ("http://snomed.info/sct/900000000000207008/version/20260101?fhir_vs=isa/404684003", 3),
        ("http://snomed.info/sct?fhir_vs=refset/723264001", 2),
        ("http://loinc.org/vs", 8),
        ("http://loinc.org/vs/LL900-1", 2),
    ],
)
async def test_the_value_sets_that_a_system_implies_are_known(loaded: Context, url: str, codes: int) -> None:
    request = FhirRequest("GET", ("ValueSet", "$expand"), (("url", url),))
    assert decode((await dispatch(loaded, request)).body)["expansion"]["total"] == codes


async def test_the_filter_finds_codes_of_tables_by_the_names_of_a_supplement(loaded: Context) -> None:
    concepts = [{"code": "1000004", "designation": [{"language": "vi", "value": "Vật thử"}]}]
    supplement = {
        "resourceType": "CodeSystem", "url": "urn:test:more", "status": "active", "content": "supplement",
        "supplements": SNOMED, "concept": concepts,
    }  # fmt: skip
    made = await dispatch(loaded, FhirRequest("POST", ("CodeSystem",), resource=supplement))
    for value_set, filter, codes in (
        (a_set({"system": SNOMED}), "vat thu", ["1000004"]),
        (a_set({"system": SNOMED}), "vật", ["1000004"]),
        (a_set({"system": SNOMED}), "vat khac", []),
        (a_set({"system": SNOMED, "concept": [{"code": "138875005"}]}), "vat", []),
    ):
        assert await expanded(loaded, value_set, f"filter={filter}") == codes
    await dispatch(loaded, FhirRequest("DELETE", ("CodeSystem", decode(made.body)["id"])))


async def test_an_expansion_as_of_a_day_is_of_the_edition_of_that_day(loaded: Context) -> None:
    everything = a_set({"system": ICD10})
    assert "J02.7" in await expanded(loaded, everything, "date=2026-01-01")
    assert "J02.7" not in await expanded(loaded, everything, "date=2026-08-01")
    forced = f"system-version={ICD10}|4469/QĐ-BYT"
    assert "J02.7" in await expanded(loaded, everything, forced)


async def test_the_shipped_set_of_hiv_codes_can_be_listed_once_icd_10_is_loaded(loaded: Context) -> None:
    assert codes_of(await get(loaded, "ValueSet/hiv-icd10/$expand")) == []


# --- searches --------------------------------------------------------------------------------------------------------


async def test_a_search_goes_down_and_up_in_a_table(loaded: Context) -> None:
    names = {}
    for system, code in ((ICD10, "J02.80"), (ICD10, "J00"), (SNOMED, "363746003")):
        condition = {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/nobody"},
            "code": {"coding": [{"system": system, "code": code}]},
        }
        names[(await post(loaded, "Condition", condition))["id"]] = code
    for query, codes in (
        (f"code:below={ICD10}|J02", {"J02.80"}),
        (f"code:below={ICD10}|J00-J99", {"J02.80", "J00"}),
        (f"code:above={SNOMED}|363746003", {"363746003"}),
        (f"code:in={SNOMED}?fhir_vs=isa/404684003", {"363746003"}),
        (f"code:not-in={SNOMED}?fhir_vs=isa/404684003", {"J02.80", "J00"}),
    ):
        name, _, wanted = query.partition("=")
        answer = await dispatch(loaded, FhirRequest("GET", ("Condition",), ((name, wanted),)))
        entries = decode(answer.body).get("entry", [])
        assert {names[entry["resource"]["id"]] for entry in entries} == codes, query


async def test_a_table_can_be_found_as_a_code_system_without_its_concepts(loaded: Context) -> None:
    for url in (ICD10, VN_ICD10):
        entries = (await get(loaded, "CodeSystem", f"url={url}"))["entry"]
        found = {entry["resource"]["version"]: entry["resource"] for entry in entries}
        assert found["06/2026/TT-BYT"]["count"] == 10
        assert found["06/2026/TT-BYT"]["content"] == "not-present"
        assert found["4469/QĐ-BYT"]["id"] != found["06/2026/TT-BYT"]["id"]
    id = found["06/2026/TT-BYT"]["id"]
    told = await get(loaded, f"CodeSystem/{id}/$subsumes", "codeA=J02&codeB=J02.9")
    assert value(told, "outcome") == "subsumes"


# --- loading ---------------------------------------------------------------------------------------------------------


def another_process(context: Context) -> Catalogue:
    """What a second server process on the same database knows."""
    return Catalogue(context.terminology.shipped, context.terminology.naming, context.store)


async def test_the_same_file_again_changes_nothing_and_another_takes_its_place(loaded: Context, tmp_path: Path) -> None:
    url, other = "urn:test:CodeSystem:again", another_process(loaded)
    file = TableFile(icd10_csv(tmp_path / "icd.csv"), version="1", system=url)
    assert (await load_table(loaded, file, silent)).written == 10
    assert (await load_table(loaded, file, silent)).written == 0
    before = next(table for table in await loaded.store.tables.ready() if table.head["url"] == url)
    icd10_csv(file.path, DISEASES[:1])
    assert (await load_table(loaded, file, silent)).codes == 4
    after = next(table for table in await loaded.store.tables.ready() if table.head["url"] == url)
    assert after.number != before.number
    await other.follow()
    assert await other.ask(lambda known: known.lookup(url, "J02.0")) is not None
    assert await other.ask(lambda known: known.lookup(url, "J02.9")) is None
    await remove_table(loaded, after)
    await other.follow()
    assert await other.ask(lambda known: known.code_system(url)) is None
    assert "entry" not in await get(loaded, "CodeSystem", f"url={url}")


async def test_a_load_that_was_cut_off_goes_on_where_it_stopped(loaded: Context, tmp_path: Path) -> None:
    url = "urn:test:CodeSystem:cut"
    file = TableFile(icd10_csv(tmp_path / "icd.csv"), version="1", system=url)

    class CutError(Exception):
        """The lights go out."""

    def cut(what: str, done: int, total: int | None) -> None:
        if what == "Writing":
            raise CutError

    with pytest.raises(CutError):
        await load_table(loaded, file, cut)
    with pytest.raises(FhirError):
        await get(loaded, "CodeSystem/$lookup", f"system={url}&code=J02.9")
    again = await load_table(loaded, file, silent)
    assert (again.codes, again.written) == (10, 0)  # the one batch was there already
    assert value(await get(loaded, "CodeSystem/$lookup", f"system={url}&code=J02.9"), "display")


async def test_an_import_tells_of_codes_that_the_table_of_the_day_does_not_have(
    loaded: Context, tmp_path: Path
) -> None:
    person = {"ho_ten": "Nguyễn Văn Thử", "ngay_sinh": "1985-03-02", "gioi_tinh": "1", "so_dinh_danh": "038085000999"}
    diseases = [{"loai_benh": "2", "ma_benh": code, "ten_benh": "Viêm họng"} for code in ("J02.9", "J02.0")]
    record = {
        "ma_ho_so": "38280-000999",
        "ma_cskcb": "38280",
        "ngay_cap_nhat": "2026-03-02T09:30",
        "hanh_chinh": person,
        "tien_su": {"benh_tat": diseases},
    }
    path = tmp_path / "records.ndjson"
    path.write_bytes(encode(record))
    outcomes: list[RecordOutcome] = []
    await import_records(loaded, [path], None, outcomes.append)
    (told,) = [one for one in outcomes[0].problems if one.rule == "unknown-code"]
    assert (outcomes[0].status, told.severity, told.found) == ("stored", "warning", "J02.0")  # of the list of later
    assert "ma_benh" in told.field.split(", ")
    assert told.allowed[0].startswith("J02.7 (Viêm họng theo danh mục cũ)")
    assert "02/03/2026" in told.text[1]


# --- what is shipped, as resources -----------------------------------------------------------------------------------


async def test_what_is_shipped_can_be_stored_as_resources_and_clients_may_change_it(loaded: Context) -> None:
    def count(done: int, total: int | None) -> None:
        """Nobody looks on."""

    stored = await publish(loaded, count)
    assert stored > 1_000
    assert await publish(loaded, count) == 0
    assert await is_published(loaded.store)
    for type, query in (
        ("CodeSystem", "url=urn:vn-basic:CodeSystem:ward"),
        ("CodeSystem", "url=http://terminology.hl7.org/CodeSystem/v3-ActCode"),
        ("ValueSet", "url=urn:vn-basic:ValueSet:ward"),
        ("ConceptMap", "url=urn:vn-basic:ConceptMap:ward-succession"),
        ("NamingSystem", "value=http://fhir.ehealth.gov.vn/core/sid/national_id"),
        ("StructureDefinition", "url=urn:vn-basic:StructureDefinition:patient"),
        ("OperationDefinition", "url=urn:vn-basic:OperationDefinition:record"),
        ("SearchParameter", "url=urn:vn-basic:SearchParameter:residence&base=Patient"),
    ):
        assert len((await get(loaded, type, query))["entry"]) == 1, query
    lookup = "system=urn:vn-basic:CodeSystem:sex&code=1"
    assert value(await get(loaded, "CodeSystem/$lookup", lookup), "display") == "Nam"
    mine = await get(loaded, "CodeSystem/sex")
    mine["concept"][0]["display"] = "nam giới"
    request = FhirRequest("PUT", ("CodeSystem", "sex"), resource=mine)
    assert (await dispatch(loaded, request)).status == 200
    assert value(await get(loaded, "CodeSystem/$lookup", lookup), "display") == "nam giới"
    assert await publish(loaded, count) == 0
