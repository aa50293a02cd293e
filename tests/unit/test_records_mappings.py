"""The mapping data itself: whole, honest about what it leaves out, and true to R4."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from records_sources import FORMATS

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.records.formats import GUIDES, Formats, MappingFault
from fhir_server.records.importing import map_records
from fhir_server.records.mapping_checks import mapping_faults
from fhir_server.records.mapping_files import all_groups
from fhir_server.records.sample import write_sample
from fhir_server.records.targets import steps
from fhir_server.validation.validate import Validator

NAMES = sorted(FORMATS.by_name)
EXTENSIONS = orjson.loads((DATA_ROOT / "profiles" / "vn_basic" / "extensions.json").read_bytes())["extensions"]


def rows(name: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for group in all_groups(FORMATS.by_name[name].data["resources"]):
        for row in group["rows"]:
            yield group, row


@pytest.mark.parametrize("name", NAMES)
def test_every_row_says_what_it_means_and_names_only_what_exists(name: str) -> None:
    assert list(mapping_faults(FORMATS.by_name[name])) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_row_writes_into_what_is_shared_by_all_resources_of_a_group(name: str) -> None:
    """`fixed` is copied only where rows of the group itself write; others may not write there."""
    fixed = {
        group["name"]: set(group.get("fixed", {})) for group in all_groups(FORMATS.by_name[name].data["resources"])
    }
    for _, row in rows(name):
        if "on" in row:
            assert steps(row["target"])[0][0] not in fixed[row["on"]]


def test_every_extension_kind_has_our_own_url_and_only_known_guides() -> None:
    for kind, by_guide in EXTENSIONS.items():
        assert "vn-basic" in by_guide, kind
        assert set(by_guide) <= set(GUIDES)


@pytest.mark.parametrize(("name", "count"), [("hssk831", 173), ("ksk", 260)])
def test_each_field_of_an_xml_record_is_mapped_or_left_out_with_a_reason(name: str, count: int) -> None:
    format = FORMATS.by_name[name]
    tables = orjson.loads((format.folder / "checks.json").read_bytes())["tables"]
    within = {path[:length] for path in format.known for length in range(1, len(path) + 1)}
    paths = {(*filter(None, table["at"].split("/")), field) for table in tables for field in table["fields"]}
    assert len(paths) == count
    assert paths - within - format.left_out.keys() == set()
    assert format.known & format.left_out.keys() == set()


@pytest.mark.parametrize("restricted", ["", "hiv,tb"])
def test_each_field_of_the_insurance_tables_is_mapped_or_left_out_with_a_reason(restricted: str) -> None:
    format = Formats.load(DATA_ROOT, restricted=restricted).by_name["bhxh"]
    read = {(path[0], path[-1]) for path in format.known if path}
    tables = orjson.loads((format.folder / "rules.json").read_bytes())["tables"]
    fields = {(table["at"][1:], one[1]) for table in tables for one in table["fields"]}
    assert len(fields) == 481
    assert {table for table, _ in fields} == {f"XML{number}" for number in range(16)}
    unread = fields - read
    assert {one for one in unread if one not in format.left_out and one[:1] not in format.left_out} == set()
    assert {table for table, _ in unread} == {"XML12", "XML1", *(() if restricted else ("XML6", "XML15"))}
    assert {one for one in unread if one[0] == "XML1"} == {("XML1", "STT")}


def test_every_field_of_the_basic_schema_is_mapped_or_left_out() -> None:
    format = FORMATS.by_name["basic"]
    schema = orjson.loads((format.folder / "schema.json").read_bytes())
    assert set(_leaves(schema, ())) - format.known - format.left_out.keys() == set()


def _leaves(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if schema.get("type") == "array":
        yield from _leaves(schema["items"], path)
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path


@pytest.fixture(scope="module")
def commune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commune")
    write_sample(40, 13, folder)
    return folder


@pytest.mark.parametrize("guide", GUIDES)
def test_every_resource_mapped_from_a_commune_is_valid_base_r4(commune: Path, guide: str) -> None:
    validator = Validator(Definitions.load(DATA_ROOT))
    seen = set()
    for outcome, bundle in map_records([commune], Formats.load(DATA_ROOT, guide)):
        assert bundle is not None, outcome.problems
        assert validator.validate(bundle, "Bundle") == []
        seen |= {entry["resource"]["resourceType"] for entry in bundle["entry"]}
    assert {"Patient", "Condition", "Immunization", "AllergyIntolerance", "Encounter", "Coverage"} <= seen


@pytest.mark.parametrize(
    ("guide", "number", "ward"),
    [
        ("moh", "http://fhir.ehealth.gov.vn/core/sid/national_id", "ward"),
        (
            "vn-core",
            "http://fhir.hl7.org.vn/core/sid/cccd",
            "http://fhir.hl7.org.vn/core/StructureDefinition/vn-ext-ward",
        ),
        ("vn-basic", "urn:vn-basic:sid:cccd", "urn:vn-basic:StructureDefinition:ward"),
    ],
)
def test_the_guide_chooses_the_uris_that_are_written(commune: Path, guide: str, number: str, ward: str) -> None:
    texts = [
        orjson.dumps(entry["resource"], default=str).decode()
        for _, bundle in map_records([commune / "hssk831"], Formats.load(DATA_ROOT, guide))
        for entry in (bundle or {"entry": []})["entry"]
        if entry["resource"]["resourceType"] == "Patient"
    ]
    assert any(f'"{number}"' in text and f'"url":"{ward}"' in text for text in texts)


def test_mapping_the_same_files_twice_gives_the_same_bundles(commune: Path) -> None:
    first = [bundle for _, bundle in map_records([commune], FORMATS)]
    assert first == [bundle for _, bundle in map_records([commune], FORMATS)]


GUEST: Mapping[str, Any] = {
    "format": "guest",
    "version": "1",
    "title": {"vi": "Sổ khách", "en": "Guests"},
    "container": {"kind": "csv"},
    "record": {"key": [["/so"]], "facility": ["/tram"], "date": {"source": ["/ngay"], "as": "date_from_dmy"}},
    "resources": [
        {
            "name": "patient",
            "type": "Patient",
            "rows": [{"source": "ten", "target": "name[0]", "as": "person_name", "vi": "Tên", "en": "Name"}],
        }
    ],
}


def guests(folder: Path, mapping: Mapping[str, Any]) -> Formats:
    (folder / "guest").mkdir()
    (folder / "guest" / "mapping.json").write_bytes(orjson.dumps(mapping))
    layout = {"known_by": ["so", "ten"], "rows": {"": {"into": ""}}}
    (folder / "guest" / "csv.json").write_bytes(orjson.dumps(layout))
    return Formats.load(DATA_ROOT, more=folder)


def test_a_format_of_a_folder_of_ones_own_is_read_like_those_that_are_shipped(tmp_path: Path) -> None:
    formats = guests(tmp_path, GUEST)
    (tmp_path / "guests.csv").write_text("so,tram,ngay,ten\n1,38280,02/03/2026,Lê Văn Minh\n", "utf-8")
    ((outcome, bundle),) = map_records([tmp_path / "guests.csv"], formats)
    assert (outcome.format, outcome.problems) == ("guest", ())
    assert bundle is not None
    assert bundle["entry"][0]["resource"]["name"][0]["family"] == "Lê"
    assert formats.by_name["basic"].plan == FORMATS.by_name["basic"].plan  # what was stored by others stays as it is


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"souce": "ten", "target": "name[0]"}, "patient, the row of 'name[0]': a row says nothing of souce"),
        ({"source": "ten", "target": "name[0]", "as": "nmae"}, "'nmae' is missing or does not exist"),
        ({"source": "ten", "target": "name[0", "vi": "", "en": ""}, "'name[0' is no target path"),
        ({"source": "ten", "target": "extension[wrad].valueCode"}, "there is no kind of extension 'wrad'"),
        ({"source": "ten", "target": "name[0]", "when": {"ten": {"like": "x"}}}, "no such condition"),
    ],
)
def test_a_mapping_that_cannot_be_compiled_is_told_with_its_place(
    tmp_path: Path, row: Mapping[str, Any], told: str
) -> None:
    with pytest.raises(MappingFault, match=re.escape(told)) as fault:
        guests(tmp_path, {**GUEST, "resources": [{"name": "patient", "type": "Patient", "rows": [row]}]})
    assert str(fault.value).startswith(str(tmp_path / "guest" / "mapping.json"))


def test_names_of_a_mapping_that_do_not_exist_are_told_before_a_file_comes(tmp_path: Path) -> None:
    row = {
        "source": "ten",
        "target": "code",
        "on": "person",
        "as": "concept",
        "with": {"list": "wrad"},
    }
    format = guests(tmp_path, {**GUEST, "resources": [{**GUEST["resources"][0], "rows": [row]}]}).by_name["guest"]
    assert [fault.partition(": ")[2] for fault in mapping_faults(format)] == [
        "no 'vi' says what it means",
        "no 'en' says what it means",
        "there is no list 'wrad'",
        "there is no group 'person'",
    ]


def test_the_format_of_the_how_to_page_works_as_it_says(tmp_path: Path) -> None:
    page = (DATA_ROOT / "docs" / "how-to" / "write-a-mapping.md").read_text("utf-8")
    (tmp_path / "formats" / "weighing").mkdir(parents=True)
    for name, content in re.findall(r"^\$ cat > (\S+) <<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE):
        (tmp_path / name).write_text(content, "utf-8")
    formats = Formats.load(DATA_ROOT, more=tmp_path / "formats")
    assert list(mapping_faults(formats.by_name["weighing"])) == []
    told = list(map_records([tmp_path / "weighing.csv"], formats))
    assert [outcome.problems for outcome, _ in told] == [(), ()]
    types = [[entry["resource"]["resourceType"] for entry in (bundle or {})["entry"]] for _, bundle in told]
    assert types == [["Patient", "Encounter", "Observation", "Observation"], ["Patient", "Encounter", "Observation"]]


def test_two_formats_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "basic").mkdir()
    (tmp_path / "basic" / "mapping.json").write_bytes(orjson.dumps(GUEST))
    with pytest.raises(MappingFault, match="there is a format 'basic' already"):
        Formats.load(DATA_ROOT, more=tmp_path)


def test_the_mapping_tables_of_the_documentation_are_what_the_data_says() -> None:
    script = DATA_ROOT / "scripts" / "mapping_tables.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
