"""The report of an import in all its forms: it names the place, masks numbers, tells what to do in two languages."""

from __future__ import annotations

import ast
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from records_sources import FORMATS

from fhir_server.config import DATA_ROOT
from fhir_server.records.advice import advice, rules
from fhir_server.records.masking import mask
from fhir_server.records.report import PROBLEMS_LIMIT, ImportReport, RecordOutcome
from fhir_server.records.report_files import COLUMNS, as_csv, report_file
from fhir_server.records.report_page import page
from fhir_server.records.source import Place, Problem

SOURCES = Path(__file__).resolve().parents[2] / "fhir_server" / "records"
WRONG = Problem("error", "value", ("cannot be read", "không đọc được"), "NGAY_SINH", "038085000123", ("a", "b"))
HOSTILE = Problem("warning", "differs", ("<script>", "<b>"), "=cmd()", "<img src=x onerror=alert(1)>")


def outcome(*problems: Problem, status: str = "refused", number: int = 1) -> RecordOutcome:
    masks, content = FORMATS.by_name["bhxh"].masks, {"XML1": {"SO_CCCD": "38085000123"}}
    place = Place("/tmp/x/a.xml", number, 7, "", masks.key("LK038085000123", content))
    return RecordOutcome(place, "bhxh", status, tuple(map(masks.problem, problems)))  # type: ignore[arg-type]


def report(*outcomes: RecordOutcome) -> ImportReport:
    made = ImportReport()
    for one in outcomes:
        made.add(one)
    return made


def named_rules() -> set[str]:
    """Every rule that the code or a mapping can tell: the second argument of Problem, the first of refusal and tell."""
    found: set[str] = set()
    for file in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                place = {"Problem": 1, "refusal": 0, "tell": 0}.get(name)
                if place is not None and len(node.args) > place:
                    given = node.args[place]
                    if isinstance(given, ast.Constant) and isinstance(given.value, str):
                        found.add(given.value)
    for mapping in DATA_ROOT.glob("mappings/*/mapping.json"):
        waiting = list(json.loads(mapping.read_text("utf-8"))["resources"])
        while waiting:
            group = waiting.pop()
            waiting += group.get("resources", ())
            found |= {note["rule"] for note in group.get("notes", ())}
    return found


def test_every_rule_that_can_be_told_says_what_to_do_in_both_languages() -> None:
    assert named_rules() - set(rules()) == set()
    assert all(all((*told.meaning, *told.do)) for told in rules().values())


def test_every_form_names_place_rule_and_what_to_do_and_masks_the_number(tmp_path: Path) -> None:
    told = report(outcome(WRONG))
    forms = {"csv": as_csv(told).decode(), "html": page(told, FORMATS).decode()}
    forms["json"] = json.dumps(told.as_json(FORMATS), ensure_ascii=False)
    forms["outcome"] = json.dumps(told.as_outcome(), ensure_ascii=False)
    forms["text"] = told.as_text(FORMATS)
    for name, text in forms.items():
        assert "a.xml" in text, name
        assert "NGAY_SINH" in text, name
        assert "038085000123" not in text, name
        assert "038*******23" in text, name
        assert "không đọc được" in text, name
        if name != "text":
            assert all(do in text for do in advice("value").do), name


def test_what_a_file_holds_is_neither_markup_nor_a_formula_in_the_report() -> None:
    told = report(outcome(HOSTILE, status="stored"))
    html = page(told, FORMATS).decode()
    assert "<script>" not in html
    assert "<img" not in html
    (row,) = list(csv.DictReader(io.StringIO(as_csv(told).decode("utf-8-sig"))))
    assert row["field"] == "'=cmd()"
    assert row["value"] == HOSTILE.found


def test_the_counts_are_of_records() -> None:
    told = report(outcome(WRONG), outcome(HOSTILE, status="stored"), outcome(status="unchanged"))
    whole = told.as_json(FORMATS)
    names = ("read", "stored", "unchanged", "refused", "with_warnings")
    assert [whole[name] for name in names] == [3, 1, 1, 1, 1]
    assert {(one["severity"], one["rule"], one["count"]) for one in whole["rules"]} == {
        ("error", "value", 1),
        ("warning", "differs", 1),
    }


def test_what_speaks_of_a_file_is_no_record_with_a_status() -> None:
    told = report(outcome(HOSTILE, status="unchanged", number=0))
    assert (told.read, told.unchanged, told.with_warnings) == (0, 0, 0)
    (row,) = list(csv.DictReader(io.StringIO(as_csv(told).decode("utf-8-sig"))))
    assert (row["status"], "status" in told.records[0].as_json()) == ("", False)
    assert "cả tệp / the file" in page(told, FORMATS).decode()


@pytest.mark.parametrize(("part", "line"), [("", 7), ("XML3", 2)])
def test_the_line_is_that_of_the_file_but_within_a_document_of_its_own(part: str, line: int) -> None:
    told = report(outcome(replace(WRONG, place=Place("", 0, 2, part))))
    (row,) = list(csv.DictReader(io.StringIO(as_csv(told).decode("utf-8-sig"))))
    assert row["line"] == str(line)
    assert f"dòng {line}" in page(told, FORMATS).decode()
    assert told.records[0].as_json()["problems"][0].get("line", 7) == line


def test_refused_records_are_told_word_for_word_however_many_warnings_came_before() -> None:
    told = report(*(outcome(HOSTILE, status="stored", number=n) for n in range(PROBLEMS_LIMIT + 5)), outcome(WRONG))
    assert told.more_problems == 5
    assert [one.status for one in told.records if one.status == "refused"] == ["refused"]


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "json", "html", "txt"])
def test_a_report_file_is_of_the_form_that_its_suffix_says(tmp_path: Path, suffix: str) -> None:
    told, path = report(outcome(WRONG)), tmp_path / f"report.{suffix}"
    with report_file(path, FORMATS) as file:
        file.add(outcome(WRONG))
        file.end(told)
    text = path.read_text("utf-8-sig")
    starts = {"csv": ",".join(COLUMNS), "json": '{"read":1', "html": "<!doctype html>"}
    assert text.startswith(starts.get(suffix, '{"file":'))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("038085000123", "038*******23"),
        ("DN4383820000123", "DN4**********23"),
        ("202603020815", "202603020815"),
        ("20260302", "20260302"),
        ("201385000123", "201*******23"),
        ("02/03/1985", "02/03/1985"),
    ],
)
def test_personal_numbers_are_masked_and_dates_are_not(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("2603020000123", "2603020000123"),  # by which a clerk finds the dossier
        ("38280.DN4383820000123.2", "38280.DN4**********23.2"),
        ("12-038185000124", "12-038*******24"),
        ("4383820000123", "438********23"),  # the person's, as the record says
        ("GD038085000123", "GD038*******23"),  # of whomever
    ],
)
def test_the_key_of_a_record_is_told_but_for_a_personal_number_within_it(key: str, shown: str) -> None:
    numbers = {"SO_CCCD": "038185000124", "MA_THE_BHYT": ["DN4383820000123", "4383820000123"]}
    assert FORMATS.by_name["bhxh"].masks.key(key, {"XML1": numbers}) == shown
    assert FORMATS.by_name["hssk831"].masks.key("3820000123", _general(MABHXH="3820000123")) == "382*****23"


def _general(**fields: str) -> dict[str, object]:
    return {"HOSOSUCKHOE": {"THONGTINCHUNG": fields}}


@pytest.mark.parametrize(
    ("format", "field", "found", "shown"),
    [
        ("bhxh", "XML1/T_BHTT", "1250000.00", "1250000.00"),
        ("bhxh", "MA_LK", "2603020000123", "2603020000123"),
        ("bhxh", "NGAY_VAO", "202613450815", "202613450815"),
        ("bhxh", "T_BHTT", "038085000123", "038*******23"),  # columns that slipped
        ("bhxh", "SO_CCCD", "VNEID0000108", "VNEID0****08"),
        ("bhxh", "DIA_CHI", "số 4383820000123", "số 438********23"),
        ("hssk831", "MABHXH", "3820000123", "382*****23"),
        ("hssk831", "a field of nobody", "3820000123", "382*****23"),
    ],
)
def test_a_value_is_masked_by_what_its_field_is(format: str, field: str, found: str, shown: str) -> None:
    told = FORMATS.by_name[format].masks.problem(Problem("error", "value", ("a", "b"), field, found, (found, "")))
    assert (told.found, told.allowed[0]) == (shown, shown)
