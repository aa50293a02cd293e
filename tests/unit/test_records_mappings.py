"""The mapping data itself: whole, honest about what it leaves out, and true to R4."""

from __future__ import annotations

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
from fhir_server.records.formats import GUIDES, Formats
from fhir_server.records.importing import map_records
from fhir_server.records.mapping import OWNERS
from fhir_server.records.sample import write_sample
from fhir_server.records.targets import steps
from fhir_server.records.transforms import TRANSFORMS
from fhir_server.validation.validate import Validator

NAMES = sorted(FORMATS.by_name)
EXTENSIONS = orjson.loads((DATA_ROOT / "profiles" / "vn_basic" / "extensions.json").read_bytes())["extensions"]
ROW = {
    "source",
    "target",
    "as",
    "with",
    "when",
    "default",
    "absent",
    "wrong",
    "vi",
    "en",
    "link",
    "value",
    "line",
    "on",
    "derived",
    "copy_of",
}
GROUP = {
    "name", "type", "owner", "each", "each_of", "split", "group_by", "when", "key", "date", "fixed", "items", "needs",
    "notes", "labels", "only", "derived", "rows", "resources",
}  # fmt: skip


def groups(data: Any) -> Iterator[Mapping[str, Any]]:
    for group in data.get("resources", ()):
        yield group
        yield from groups(group)


def rows(name: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for group in groups(FORMATS.by_name[name].data):
        for row in group["rows"]:
            yield group, row


@pytest.mark.parametrize("name", NAMES)
def test_every_row_says_what_it_means_in_both_languages_and_nothing_unknown(name: str) -> None:
    for group in groups(FORMATS.by_name[name].data):
        assert set(group) <= GROUP, group["name"]
        assert group.get("owner", "record") in OWNERS
    for group, row in rows(name):
        assert set(row) <= ROW, (group["name"], row)
        assert row["vi"], row["en"]
        assert sum(kind in row for kind in ("source", "link", "value", "line")) == 1, row
        assert row.get("absent", "leave") in ("leave", "tell", "refuse")
        assert row.get("wrong", "refuse") in ("tell", "refuse")


@pytest.mark.parametrize("name", NAMES)
def test_rows_name_transforms_maps_lists_numbers_and_extensions_that_exist(name: str) -> None:
    codes, naming = FORMATS.tools.codes, FORMATS.tools.naming
    for _, row in rows(name):
        transforms = row.get("as", "text")
        assert set(transforms if isinstance(transforms, list) else [transforms]) <= TRANSFORMS.keys()
        options = row.get("with", {})
        for name_of_list in filter(None, [options.get("list")]):
            assert codes.uri(name_of_list, None)
        for map in [*options.get("maps", ()), *filter(None, [options.get("map")])]:
            assert codes.allowed(map) or codes.translate(map, "", None) == []
        kinds = [*options.get("kinds", ()), *(options[key] for key in ("kind", "otherwise") if key in options)]
        assert set(kinds) <= naming.by_kind.keys()
        for step, label in steps(row["target"]):
            kind = (label or "").partition(":")[0].rstrip("#")
            assert step != "extension" or kind in EXTENSIONS or (not kind and ":" in (label or "")), label


@pytest.mark.parametrize("name", NAMES)
def test_no_row_writes_into_what_is_shared_by_all_resources_of_a_group(name: str) -> None:
    """`fixed` is copied only where rows of the group itself write; others may not write there."""
    fixed = {group["name"]: set(group.get("fixed", {})) for group in groups(FORMATS.by_name[name].data)}
    for _, row in rows(name):
        if "on" in row:
            assert steps(row["target"])[0][0] not in fixed[row["on"]]


def test_every_extension_kind_has_our_own_url_and_only_known_guides() -> None:
    for kind, by_guide in EXTENSIONS.items():
        assert "vn-basic" in by_guide, kind
        assert set(by_guide) <= set(GUIDES)


def test_each_field_of_the_health_record_is_mapped_or_left_out_with_a_reason() -> None:
    format = FORMATS.by_name["hssk831"]
    tables = orjson.loads((format.folder / "checks.json").read_bytes())["tables"]
    within = {path[:length] for path in format.known for length in range(1, len(path) + 1)}
    paths = {(*filter(None, table["at"].split("/")), field) for table in tables for field in table["fields"]}
    assert len(paths) == 173
    assert paths - within - format.left_out.keys() == set()
    assert format.known & format.left_out.keys() == set()


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
    write_sample(80, 11, folder)
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


def test_the_mapping_tables_of_the_documentation_are_what_the_data_says() -> None:
    script = DATA_ROOT / "scripts" / "mapping_tables.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
