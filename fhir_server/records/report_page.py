"""The report of an import as one HTML page that a clerk reads, prints and mails: Vietnamese first, English below."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fhir_server.records.advice import advice
from fhir_server.records.formats import Formats
from fhir_server.records.report import ImportReport, RecordOutcome
from fhir_server.records.source import Problem

ROWS_LIMIT = 5_000  # rows of the page; the CSV has all
_STATUS = {
    "stored": "đã lưu / stored", "unchanged": "không đổi / unchanged", "refused": "từ chối / refused",
    "": "cả tệp / the file",
}  # fmt: skip
_SEVERITY = {"error": "lỗi", "warning": "cảnh báo", "information": "thông tin"}

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bad: #b3261e; --warn: #8a5a00; --good: #1b6b3a; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --warn: #ffc46b; --good: #7fd6a0; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
.counts { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; list-style: none; }
.counts li { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; min-width: 7rem; }
.counts b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
.wide :is(td:nth-child(2), td:nth-child(5)) { min-width: 9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
th { background: var(--soft); } td.n { text-align: right; font-variant-numeric: tabular-nums; }
small { opacity: .75; display: block; } code { overflow-wrap: anywhere; }
.error { color: var(--bad); } .warning { color: var(--warn); } .information { color: var(--good); }
@media print { body { max-width: none; margin: 0; } }
""".strip()


def page(report: ImportReport, formats: Formats) -> bytes:
    """The whole page. Everything that came from a file is escaped and masked."""
    return "\n".join(_lines(report, formats)).encode("utf-8", "replace")


def _lines(report: ImportReport, formats: Formats) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="vi"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>Báo cáo nhập hồ sơ</title><style>{_STYLE}</style></head><body>"
    yield "<h1>Báo cáo nhập hồ sơ <small>Report of the import</small></h1>"
    yield from _counts(report)
    yield from _rules(report)
    yield from _problems(report)
    yield from _left(report, formats)
    yield "</body></html>"


def _counts(report: ImportReport) -> Iterator[str]:
    told = (
        ("đã đọc", "read", report.read),
        ("đã lưu", "stored", report.stored),
        ("không đổi", "unchanged", report.unchanged),
        ("từ chối", "refused", report.refused),
        ("có cảnh báo", "with warnings", report.with_warnings),
    )
    items = (f"<li><b>{count}</b>{vi}<small>{en}</small></li>" for vi, en, count in told)
    yield f'<ul class="counts">{"".join(items)}</ul>'


def _rules(report: ImportReport) -> Iterator[str]:
    if not report.rules:
        yield "<p>Không có vấn đề nào. <small>Nothing to tell.</small></p>"
        return
    yield "<h2>Cần làm gì <small>What to do</small></h2><table>"
    yield "<tr><th>Mức</th><th>Vấn đề</th><th>Số lần</th><th>Cách xử lý</th></tr>"
    for (severity, rule), count in sorted(report.rules.items(), key=lambda one: (_gravity(one[0][0]), -one[1])):
        told = advice(rule)
        yield (
            f'<tr><td class="{escape(severity)}">{_both(_SEVERITY.get(severity, severity), severity)}</td>'
            f'<td>{_both(told.meaning[1], told.meaning[0])}</td><td class="n">{count}</td>'
            f"<td>{_both(told.do[1], told.do[0])}</td></tr>"
        )
    yield "</table>"


def _problems(report: ImportReport) -> Iterator[str]:
    rows = [(one, problem) for one in report.records for problem in one.problems]
    if not rows:
        return
    # What refused a record comes first: that is what somebody has to act on.
    rows.sort(key=lambda pair: _gravity(pair[1].severity))
    yield '<h2>Từng hồ sơ <small>Record by record</small></h2><div class="wide"><table>'
    yield "<tr><th>Nơi</th><th>Hồ sơ</th><th>Mức</th><th>Trường</th><th>Giá trị</th><th>Nội dung</th></tr>"
    for outcome, problem in rows[:ROWS_LIMIT]:
        yield _row(outcome, problem)
    yield "</table></div>"
    more = len(rows) - ROWS_LIMIT
    if more > 0 or report.more_problems:
        count = max(0, more) + report.more_problems
        yield f"<p>… và {count} vấn đề khác; xem báo cáo CSV. <small>{count} more; see the CSV report.</small></p>"


def _gravity(severity: str) -> int:
    return list(_SEVERITY).index(severity)


def _row(outcome: RecordOutcome, problem: Problem) -> str:
    place = outcome.place
    inner = problem.place
    name = place.file.replace("\\", "/").rpartition("/")[2]
    at = [f"#{place.record}"] if place.record else []
    line = outcome.line_of(problem)
    at += [f"dòng {line}"] if line else []
    at += [inner.part] if inner and inner.part else []
    severity = problem.severity
    cells = (
        f'<td title="{escape(place.file)}">{escape(name)}<small>{escape(", ".join(at))}</small></td>',
        f"<td><code>{escape(place.key)}</code><small>{_STATUS[outcome.status_told]}</small></td>",
        f'<td class="{escape(severity)}">{_both(_SEVERITY.get(severity, severity), problem.rule)}</td>',
        f"<td><code>{escape(problem.field)}</code></td>",
        f"<td><code>{escape(problem.found)}</code></td>",
        f"<td>{_both(_said(problem, 1), _said(problem, 0))}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _said(problem: Problem, language: int) -> str:
    allowed = problem.allowed[language]
    return problem.text[language] + (f" ({allowed})" if allowed else "")


def _left(report: ImportReport, formats: Formats) -> Iterator[str]:
    told = report.as_json(formats)
    rows = [(one["format"], one["field"], one["count"], one["vi"], one["en"]) for one in told["kept_out"]]
    rows += [
        (one["format"], one["field"], one["count"], "trường không có trong ánh xạ", "a field the mapping does not know")
        for one in told["unknown_fields"]
    ]
    if not rows:
        return
    yield "<h2>Không chuyển sang FHIR <small>Not taken over</small></h2><table>"
    yield "<tr><th>Định dạng</th><th>Trường</th><th>Số lần</th><th>Lý do</th></tr>"
    for format, field, count, vi, en in rows:
        yield (
            f"<tr><td>{escape(format)}</td><td><code>{escape(field)}</code></td>"
            f'<td class="n">{count}</td><td>{_both(vi, en)}</td></tr>'
        )
    yield "</table>"


def _both(vi: str, en: str) -> str:
    return f'{escape(vi)}<small lang="en">{escape(en)}</small>'
