"""The report of an import: what became of each record, and why, in Vietnamese and English; personal numbers masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fhir_server.errors import Issue
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import Resource
from fhir_server.records.advice import advice
from fhir_server.records.formats import Formats
from fhir_server.records.source import Place, Problem

Status = Literal["stored", "unchanged", "refused"]

# Problems of refused records kept word for word, and as many of the others; more are counted only.
PROBLEMS_LIMIT = 10_000
COUNTED_ONLY = frozenset({"signature-absent"})  # true of most files, and nothing for anybody to do
_R4_CODES = {"required": "required", "value": "value", "schema": "structure", "too-large": "too-long"}


_COUNTS = ("read", "stored", "unchanged", "refused", "with_warnings")


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What became of one record, as it may be shown: personal numbers are masked (see `masking`). resources: how many
    it holds; written: how many of them changed the store; what several records of a group speak of counts with one of
    them."""

    place: Place
    format: str
    status: Status
    problems: tuple[Problem, ...] = ()
    patient: str | None = None
    resources: int = 0
    written: int = 0

    @property
    def is_counted_only(self) -> bool:
        """True for what speaks of a file and gives nobody anything to do."""
        return not self.place.record and {problem.rule for problem in self.problems} == COUNTED_ONLY

    @property
    def status_told(self) -> str:
        """The status of a record; "" of what only speaks of a file."""
        return self.status if self.place.record or self.status == "refused" else ""

    def line_of(self, problem: Problem) -> int | None:
        """Where a problem stands: in its part, where that is a document of its own, else in the file."""
        inner = problem.place
        return inner.line if inner is not None and inner.part and inner.line else self.place.line

    def as_json(self) -> dict[str, Any]:
        whole: dict[str, Any] = {
            "file": self.place.file,
            "record": self.place.record,
            "line": self.place.line,
            "key": self.place.key,
            "format": self.format,
            "status": self.status_told,
            "patient": self.patient,
            "resources": self.resources,
            "written": self.written,
            "problems": [problem_as_json(problem) for problem in self.problems],
        }
        return {name: value for name, value in whole.items() if value not in (None, "", [])}


def problem_as_json(problem: Problem) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "severity": problem.severity,
        "rule": problem.rule,
        "field": problem.field,
        "found": problem.found,
        "en": problem.text[0],
        "vi": problem.text[1],
        "allowed_en": problem.allowed[0],
        "allowed_vi": problem.allowed[1],
        "do_en": advice(problem.rule).do[0],
        "do_vi": advice(problem.rule).do[1],
    }
    if problem.place is not None and problem.place.part:
        whole |= {"part": problem.place.part, "line": problem.place.line}
    return {name: value for name, value in whole.items() if value not in (None, "")}


@dataclass(slots=True)
class ImportReport:
    """Counts of records and resources, and the problems of each record.

    kept_out: (format, source path) -> values that the mapping leaves out on purpose; unknown: those it does not know.
    more_problems: how many are not in `records`, which holds only records with something to tell.
    """

    read: int = 0
    stored: int = 0
    unchanged: int = 0
    refused: int = 0
    with_warnings: int = 0
    resources: int = 0
    written: int = 0
    files: int = 0
    more_problems: int = 0
    kept_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)  # (severity, rule) -> how often
    records: list[RecordOutcome] = field(default_factory=list)
    _held: Counter[bool] = field(default_factory=Counter)  # of refused records or not -> problems in `records`

    def add(self, one: RecordOutcome) -> None:
        """Counts one outcome. What speaks of a file and not of a record (record 0) is no record."""
        if one.place.record or one.status == "refused":
            self.read += 1
            setattr(self, one.status, getattr(self, one.status) + 1)
        self.resources += one.resources if one.status != "refused" else 0
        self.written += one.written
        severities = {problem.severity for problem in one.problems}
        if one.place.record and one.status != "refused" and "warning" in severities:
            self.with_warnings += 1
        for problem in one.problems:
            self.rules[(problem.severity, problem.rule)] += 1
        refused = one.status == "refused"
        if not one.problems or one.is_counted_only:
            return
        if self._held[refused] < PROBLEMS_LIMIT:
            self.records.append(one)
            self._held[refused] += len(one.problems)
        else:
            self.more_problems += len(one.problems)

    def join(self, other: ImportReport) -> None:
        """Adds what another process found in its share of the same files."""
        for name in (
            "read",
            "stored",
            "unchanged",
            "refused",
            "with_warnings",
            "resources",
            "written",
            "more_problems",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.files = max(self.files, other.files)
        self.kept_out.update(other.kept_out)
        self.unknown.update(other.unknown)
        self.rules.update(other.rules)
        self.records += other.records

    def name_files(self) -> None:
        """Calls files by their names alone: of a file that was sent, the folder it lay in meanwhile tells nothing."""
        self.records = [replace(one, place=replace(one.place, file=_name(one.place.file))) for one in self.records]

    def as_json(self, formats: Formats) -> dict[str, Any]:
        """The whole report."""
        return {
            "read": self.read,
            "stored": self.stored,
            "unchanged": self.unchanged,
            "refused": self.refused,
            "with_warnings": self.with_warnings,
            "resources": self.resources,
            "resources_written": self.written,
            "rules": [_rule_as_json(*named, count) for named, count in self.rules.most_common()],
            "kept_out": list(_kept_out(self.kept_out, formats)),
            "unknown_fields": [
                {"format": format, "field": path, "count": count}
                for (format, path), count in self.unknown.most_common(200)
            ],
            "records": [one.as_json() for one in self.records],
            "more_problems": self.more_problems,
        }

    def as_text(self, formats: Formats, language: str = "vi") -> str:
        """The report for people, `vi` or `en`."""
        place = 1 if language == "vi" else 0
        return "\n".join(_text_lines(self, formats, place))

    def as_outcome(self) -> Resource:
        """An OperationOutcome: one issue a problem, the place of the record as expression-like diagnostics."""
        issues = [_issue(one, problem) for one in self.records for problem in one.problems]
        text = f"{self.stored} stored, {self.unchanged} unchanged, {self.refused} refused of {self.read} records"
        vi = f"{self.read} hồ sơ: lưu {self.stored}, không đổi {self.unchanged}, từ chối {self.refused}"
        return outcome([Issue("information", "informational", text, vi=vi), *issues])


def _name(file: str) -> str:
    return file.rpartition("/")[2]


def _rule_as_json(severity: str, rule: str, count: int) -> dict[str, Any]:
    (en, vi), (do_en, do_vi) = advice(rule).meaning, advice(rule).do
    told = {"severity": severity, "rule": rule, "count": count}
    return told | {"en": en, "vi": vi, "do_en": do_en, "do_vi": do_vi}


def _kept_out(counts: Mapping[tuple[str, str], int], formats: Formats) -> Iterator[dict[str, Any]]:
    for (format, path), count in sorted(counts.items()):
        reason = formats.by_name[format].left_out.get(tuple(path.split("/")), {"vi": "", "en": ""})
        yield {"format": format, "field": path, "count": count, "vi": reason["vi"], "en": reason["en"]}


def where(place: Place) -> str:
    """`file.xml, #3, LK0001, line 120`: file, number and key of the record, line, as far as they are known."""
    parts = [place.file]
    parts += [f"#{place.record}"] if place.record else []
    parts += [place.key] if place.key else []
    parts += [f"line {place.line}"] if place.line else []
    return ", ".join(parts)


def _issue(one: RecordOutcome, problem: Problem) -> Issue:
    at = f"{where(one.place)}: "
    field = f"{problem.field}: " if problem.field else ""
    found = f" (found {problem.found})" if problem.found else ""
    found_vi = f" (nhận được {problem.found})" if problem.found else ""
    allowed = f"; allowed: {problem.allowed[0]}" if problem.allowed[0] else ""
    allowed_vi = f"; cho phép: {problem.allowed[1]}" if problem.allowed[1] else ""
    code = _R4_CODES.get(problem.rule, "invalid" if problem.severity == "error" else "processing")
    do = advice(problem.rule).do
    english = at + field + problem.text[0] + found + allowed
    vi = at + field + problem.text[1] + found_vi + allowed_vi
    return Issue(problem.severity, code, f"{english}. {do[0]}", vi=f"{vi}. {do[1]}")


_WORDS = (
    ("records", "stored", "unchanged", "refused", "with warnings", "resources written", "kept out", "fields not known"),
    ("hồ sơ", "lưu", "không đổi", "từ chối", "có cảnh báo", "tài nguyên đã ghi", "chưa chuyển", "trường không rõ"),
)
_SEVERITIES = ({"error": "error", "warning": "warning"}, {"error": "lỗi", "warning": "cảnh báo"})


def _text_lines(report: ImportReport, formats: Formats, place: int) -> Iterator[str]:
    words = _WORDS[place]
    counts = (report.read, report.stored, report.unchanged, report.refused, report.with_warnings, report.written)
    yield ", ".join(f"{word}: {count}" for word, count in zip(words, counts, strict=False))
    for one in _kept_out(report.kept_out, formats):
        yield f"{words[6]}: {one['format']} {one['field']} ×{one['count']} ({one['en' if place == 0 else 'vi']})"
    for (format, path), count in report.unknown.most_common(50):
        yield f"{words[7]}: {format} {path} ×{count}"
    for outcome_ in report.records:
        for problem in outcome_.problems:
            severity = _SEVERITIES[place].get(problem.severity, problem.severity)
            found = f" «{problem.found}»" if problem.found else ""
            allowed = f" ({problem.allowed[place]})" if problem.allowed[place] else ""
            part = f" {problem.place.part}" if problem.place and problem.place.part else ""
            text = f"{problem.field} {problem.text[place]}{found}{allowed}"
            yield f"{where(outcome_.place)}{part} {severity}: {text}"
    if report.more_problems:
        yield f"… +{report.more_problems}"
