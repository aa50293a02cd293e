"""An AuditEvent as the person reads it whose record was looked at: Vietnamese first, English below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from html import escape
from typing import Any

from fhir_server.model.resources import Resource

COLUMNS = (
    ("Lúc", "when"),
    ("Ai", "who"),
    ("Đơn vị", "organisation"),
    ("Phần mềm", "application"),
    ("Làm gì", "what"),
    ("Vì sao", "why"),
    ("Kết quả", "outcome"),
)
Text = tuple[str, str]  # Vietnamese, English

# By the code of the subtype, else of the type.
_WHAT: Mapping[str, Text] = {
    "read": ("xem", "read"),
    "vread": ("xem bản cũ", "read an old version"),
    "history-instance": ("xem lịch sử", "read the history"),
    "history-type": ("xem lịch sử", "read histories"),
    "history-system": ("xem lịch sử", "read all histories"),
    "search-type": ("tìm kiếm", "searched"),
    "search-system": ("tìm kiếm", "searched"),
    "create": ("thêm", "added"),
    "update": ("sửa", "changed"),
    "patch": ("sửa", "changed"),
    "delete": ("xóa", "deleted"),
    "operation": ("dùng chức năng", "used a function"),
    "transaction": ("ghi", "wrote"),
    "110107": ("nhập hồ sơ", "imported a record"),
    "110106": ("xuất hồ sơ", "exported the record"),
    "110101": ("xem nhật ký truy cập", "read the record of accesses"),
    "destroy": ("xóa vĩnh viễn", "erased for good"),
    "erase-ask": ("yêu cầu xóa vĩnh viễn", "asked for erasure"),
    "erase-confirm": ("xác nhận xóa vĩnh viễn", "confirmed an erasure"),
    "attest": ("ghi nhận sự đồng ý", "noted a consent"),
    "amend": ("ghi yêu cầu của người dân", "noted a petition"),
    "access": ("xem yêu cầu của người dân", "read petitions"),
}
_WHY: Mapping[str, Text] = {
    "TREAT": ("điều trị", "treatment"),
    "ETREAT": ("cấp cứu", "emergency treatment"),
    "BTG": ("khẩn cấp", "emergency"),
    "HPAYMT": ("thanh toán", "payment"),
    "HOPERAT": ("quản lý", "operations"),
    "HRESCH": ("nghiên cứu", "research"),
    "PUBHLTH": ("y tế công cộng", "public health"),
    "PATRQT": ("theo yêu cầu của người bệnh", "the patient asked for it"),
}
_ANSWERED, _REFUSED = ("được trả lời", "answered"), ("bị từ chối", "refused")
_SELF = ("chính người bệnh", "the patient")
_OPEN = ("không hỏi là ai", "nobody was asked who they are")

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } small { opacity: .75; display: block; } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #8884; }
th { background: #8881; } td:first-child { white-space: nowrap; font-variant-numeric: tabular-nums; }
@media print { body { max-width: none; margin: 0; } }
""".strip()


@dataclass(frozen=True, slots=True)
class Told:
    """One access; texts in both languages where they are ours, alike where they are names."""

    when: str
    who: Text
    organisation: Text
    application: Text
    what: Text
    why: Text
    outcome: Text

    def in_language(self, english: bool) -> tuple[str, ...]:
        """The columns of one language."""
        texts = (self.who, self.organisation, self.application, self.what, self.why, self.outcome)
        return (self.when, *(text[english] for text in texts))


def told(event: Resource, patient: str, names: Mapping[str, str], zone: tzinfo) -> Told:
    """patient: `Patient/1`, whose record it is. names: of agents, by reference, where known. zone: of times."""
    by: dict[str, list[Text]] = {"who": [], "organisation": [], "application": []}
    for agent in event["agent"]:
        reference = (agent.get("who") or {}).get("reference", "")
        kind = (
            "organisation" if reference.startswith("Organization/") else "who" if agent["requestor"] else "application"
        )
        by[kind].append(_SELF if reference == patient else _name(agent, names))
    who, organisation, application = (_joined(texts) for texts in by.values())
    code = (event.get("subtype") or [event["type"]])[0]["code"]
    what = _WHAT.get(code) or _WHAT.get(event["type"]["code"]) or (code, code)
    why = _joined([_why(one) for one in event.get("purposeOfEvent") or ()])
    status = event.get("outcomeDesc", "")
    outcome = (
        _ANSWERED if event["outcome"] == "0" else _joined([_REFUSED, (f"({status})",) * 2]) if status else _REFUSED
    )
    when = datetime.fromisoformat(event["recorded"]).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    return Told(when, who, organisation, application, what, why, outcome)


def agents_of(event: Resource) -> Iterator[str]:
    """The references of its agents."""
    for agent in event["agent"]:
        reference = (agent.get("who") or {}).get("reference")
        if reference:
            yield reference


def _name(agent: Mapping[str, Any], names: Mapping[str, str]) -> Text:
    who = agent.get("who") or {}
    reference = who.get("reference", "")
    name = names.get(reference) or reference or agent.get("name") or agent.get("altId") or who.get("display") or ""
    return _OPEN if name == "open" else (name, name)


def _why(purpose: Mapping[str, Any]) -> Text:
    code = purpose["coding"][0]["code"]
    vi, en = _WHY.get(code, (code, code))
    reason = purpose.get("text")
    return (f"{vi}: {reason}", f"{en}: {reason}") if reason else (vi, en)


def _joined(texts: Iterable[Text]) -> Text:
    found = list(texts)
    return " ".join(vi for vi, _ in found), " ".join(en for _, en in found)


def page(rows: Iterable[Told], patient: str, older: str | None = None) -> bytes:
    """A page to read and print. Everything that callers sent is escaped. older: URL of what was before."""
    return "\n".join(_lines(rows, patient, older)).encode("utf-8", "replace")


def _lines(rows: Iterable[Told], patient: str, older: str | None) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="vi"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>Ai đã xem hồ sơ</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>Ai đã xem hồ sơ {escape(patient)} <small>Who looked at this record</small></h1>"
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f"<th>{vi}<small>{en}</small></th>" for vi, en in COLUMNS)
    yield "</tr></thead><tbody>"
    for row in rows:
        both = zip(row.in_language(False), row.in_language(True), strict=True)
        yield "<tr>" + "".join(f"<td>{_cell(vi, en)}</td>" for vi, en in both) + "</tr>"
    yield "</tbody></table></div>"
    if older is not None:
        yield f'<p><a href="{escape(older)}">Trước đó<small>Older</small></a></p>'
    yield "</body></html>"


def _cell(vi: str, en: str) -> str:
    return escape(vi) if vi == en else f"{escape(vi)}<small>{escape(en)}</small>"
