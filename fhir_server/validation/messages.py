"""What validation says: one row a kind of fault, with its R4 issue code and its text in English and Vietnamese."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir_server.definitions.structures import Constraint
from fhir_server.errors import Issue
from fhir_server.model.resources import Digits

# More faults than this are counted, not told: the answer to a hostile body stays small.
MOST_ISSUES = 200
_LONGEST_QUOTE = 60
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Message:
    code: str
    en: str
    vi: str


MESSAGES: Mapping[str, Message] = {
    "not-a-resource": Message(
        "structure",
        "a resource is a JSON object with a resourceType; {found} was sent",
        "tài nguyên phải là một đối tượng JSON có resourceType; nhận được {found}",
    ),
    "no-resource-type": Message("required", "resourceType is missing", "thiếu resourceType"),
    "unknown-type": Message(
        "structure", "{found} is not a resource type of R4", "{found} không phải là loại tài nguyên của R4"
    ),
    "other-type": Message(
        "structure", "{expected} is expected, {found} was sent", "cần {expected}, nhận được {found}"
    ),
    "unknown-element": Message(
        "structure", "{type} has no element {found} in R4", "{type} trong R4 không có phần tử {found}"
    ),
    "too-deep": Message(
        "structure", "values nest deeper than {most} levels", "dữ liệu lồng nhau sâu hơn {most} tầng"
    ),
    "not-an-object": Message(
        "structure", "a JSON object ({type}) is expected, {found} was sent",
        "cần đối tượng JSON ({type}), nhận được {found}",
    ),
    "not-a-list": Message(
        "structure", "the element repeats, so a JSON array is expected; {found} was sent",
        "phần tử được lặp lại nên phải là mảng JSON; nhận được {found}",
    ),
    "not-single": Message(
        "structure", "the element does not repeat: one value is expected, not an array",
        "phần tử không được lặp lại: cần một giá trị, không phải mảng",
    ),
    "empty-list": Message("structure", "an array must not be empty", "mảng không được rỗng"),
    "empty-object": Message(
        "structure", "an element must have a value or children (ele-1)",
        "phần tử phải có giá trị hoặc phần tử con (ele-1)",
    ),
    "null": Message("structure", "null is no value in FHIR", "null không phải là giá trị trong FHIR"),
    "nothing-at-place": Message(
        "structure", "this place of the array has neither a value nor an extension",
        "vị trí này của mảng không có giá trị lẫn phần mở rộng",
    ),
    "required": Message(
        "required", "{element} is required ({min}..{max})", "bắt buộc phải có {element} ({min}..{max})"
    ),
    "not-allowed": Message("structure", "{element} is not allowed here", "không được dùng {element} ở đây"),
    "several-choices": Message(
        "structure", "only one of {found} is allowed", "chỉ được dùng một trong {found}"
    ),
    "wrong-json-type": Message(
        "value", "{type} is written as a JSON {expected}; {found} was sent",
        "{type} phải viết dưới dạng {expected} của JSON; nhận được {found}",
    ),
    "format": Message(
        "value", "{found} is not a valid {type} (for example {example})",
        "{found} không đúng dạng {type} (ví dụ {example})",
    ),
    "too-long": Message(
        "too-long", "the text has {found} characters, {most} are allowed",
        "chuỗi dài {found} ký tự, chỉ cho phép {most}",
    ),
    "out-of-range": Message(
        "value", "{found} is out of range for {type} ({example})", "{found} ngoài phạm vi của {type} ({example})"
    ),
    "code": Message(
        "code-invalid", "{found} is not in the value set {value_set} (required binding){choices}",
        "{found} không thuộc tập giá trị {value_set} (ràng buộc bắt buộc){choices}",
    ),
    "concept": Message(
        "code-invalid", "no coding is from the value set {value_set} (required binding){choices}",
        "không có mã nào thuộc tập giá trị {value_set} (ràng buộc bắt buộc){choices}",
    ),
    "invariant": Message("invariant", "{key}: {human}", "vi phạm quy tắc {key}: {human_vi}"),
    "reference-form": Message(
        "value", "{found} is no reference: Type/id, an absolute URL, urn:uuid:, urn:oid: or #id is expected",
        "{found} không phải là tham chiếu: cần Type/id, URL tuyệt đối, urn:uuid:, urn:oid: hoặc #id",
    ),
    "reference-target": Message(
        "structure", "a reference to {found} is not allowed here, only to {allowed}",
        "không được tham chiếu đến {found} ở đây, chỉ được đến {allowed}",
    ),
    "reference-type": Message(
        "structure", "the reference is to {found} but its type says {expected}",
        "tham chiếu trỏ đến {found} nhưng type ghi {expected}",
    ),
    "reference-contained": Message(
        "invariant", "ref-1: there is no contained resource with the id of {found}",
        "ref-1: không có tài nguyên contained nào mang id của {found}",
    ),
    "contained-unused": Message(
        "invariant", "dom-3: nothing in the resource refers to the contained resource {found}",
        "dom-3: không có chỗ nào trong tài nguyên tham chiếu đến tài nguyên contained {found}",
    ),
    "full-url": Message(
        "invalid", "{found} is not where {own} stands: the fullUrl must agree with the resource and name no version",
        "{found} không phải địa chỉ của {own}: fullUrl phải khớp với tài nguyên và không kèm phiên bản",
    ),
    "narrative-xml": Message(
        "invariant", "txt-1: the narrative is not well-formed XHTML: {found}: line {line}, column {column}",
        "txt-1: phần văn bản không phải là XHTML hợp lệ: dòng {line}, cột {column}",
    ),
    "narrative-surrogate": Message(
        "invariant", "txt-1: the narrative is not well-formed XHTML: a lone surrogate",
        "txt-1: phần văn bản không phải là XHTML hợp lệ: có ký tự thay thế (surrogate) đứng một mình",
    ),
    "narrative-doctype": Message(
        "invariant", "txt-1: a document type declaration is not allowed in a narrative",
        "txt-1: không được khai báo DOCTYPE trong phần văn bản",
    ),
    "narrative-root": Message(
        "invariant", "txt-1: the root of a narrative is {found}, a <div> of http://www.w3.org/1999/xhtml is expected",
        "txt-1: gốc của phần văn bản là {found}, cần <div> của http://www.w3.org/1999/xhtml",
    ),
    "narrative-element": Message(
        "invariant", "txt-1: the element {found} is not allowed in a narrative",
        "txt-1: không được dùng phần tử {found} trong phần văn bản",
    ),
    "narrative-attribute": Message(
        "invariant", "txt-1: the attribute {found} is not allowed in a narrative",
        "txt-1: không được dùng thuộc tính {found} trong phần văn bản",
    ),
    "narrative-script": Message(
        "invariant", "txt-1: a script in {found} is not allowed in a narrative",
        "txt-1: không được đặt mã lệnh (script) trong {found} của phần văn bản",
    ),
    "narrative-blank": Message(
        "invariant", "txt-2: the narrative has no text", "txt-2: phần văn bản không có nội dung"
    ),
    "profile-min": Message(
        "required", "{element}: at least {min} needed, {found} found ({profile})",
        "cần ít nhất {min} {element}, có {found} ({profile})",
    ),
    "profile-max": Message(
        "structure", "{element}: at most {max} allowed, {found} found ({profile})",
        "chỉ được tối đa {max} {element}, có {found} ({profile})",
    ),
    "profile-type": Message(
        "structure", "the type {found} is not allowed, only {allowed} ({profile})",
        "không được dùng kiểu {found}, chỉ được {allowed} ({profile})",
    ),
    "profile-value": Message(
        "value", "the value must be {expected} ({profile})", "giá trị phải là {expected} ({profile})"
    ),
    "profile-pattern": Message(
        "value", "the value must contain {expected} ({profile})", "giá trị phải chứa {expected} ({profile})"
    ),
    "profile-length": Message(
        "value", "the text has {found} characters, {min} to {max} are allowed ({profile})",
        "chuỗi dài {found} ký tự, cho phép từ {min} đến {max} ({profile})",
    ),
    "profile-range": Message(
        "value", "{found} is not within {min} to {max} ({profile})",
        "{found} không nằm trong khoảng {min} đến {max} ({profile})",
    ),
    "profile-target": Message(
        "structure", "a reference to {found} is not allowed here, only to {allowed} ({profile})",
        "không được tham chiếu đến {found} ở đây, chỉ được đến {allowed} ({profile})",
    ),
    "profile-code": Message(
        "code-invalid", "no code is from the value set {value_set} ({strength} binding of {profile}){near}",
        "không có mã nào thuộc tập giá trị {value_set} (ràng buộc {strength} của {profile}){near_vi}",
    ),
    "profile-invariant": Message(
        "invariant", "{key}: {human} ({profile})", "vi phạm quy tắc {key}: {human_vi} ({profile})"
    ),
    "extension-context": Message(
        "extension", "the extension {profile} may not stand here, only on {allowed}",
        "không được dùng phần mở rộng {profile} ở đây, chỉ ở {allowed}",
    ),
    "extension-modifier": Message(
        "extension", "the extension {profile} changes what its place means: it belongs in modifierExtension",
        "phần mở rộng {profile} làm thay đổi ý nghĩa của phần tử chứa nó nên phải nằm trong modifierExtension",
    ),
    "extension-no-modifier": Message(
        "extension", "the extension {profile} is no modifier: it belongs in extension, not in modifierExtension",
        "phần mở rộng {profile} không làm thay đổi ý nghĩa nên phải nằm trong extension, không phải modifierExtension",
    ),
    "context-invariant": Message(
        "invariant", "where the extension {profile} stands, this must hold: {expression}",
        "nơi có phần mở rộng {profile} phải thỏa: {expression}",
    ),
    "profile-closed": Message(
        "structure", "the item is in none of the slices {allowed} ({profile})",
        "phần tử không thuộc lát cắt nào trong {allowed} ({profile})",
    ),
    "profile-order": Message(
        "structure", "the item is out of the order of the slices {allowed} ({profile})",
        "phần tử không đúng thứ tự các lát cắt {allowed} ({profile})",
    ),
    "profile-unknown": Message(
        "not-supported", "the profile {found} is not loaded, so nothing was checked against it",
        "hồ sơ {found} chưa được nạp nên không kiểm tra theo hồ sơ này",
    ),
    "profile-must-support": Message(
        "informational", "not given, though {profile} marks them must-support: {found}",
        "chưa có các phần tử mà {profile} đánh dấu must-support: {found}",
    ),
    "profile-other-type": Message(
        "structure", "the profile {profile} is of {expected}, not of {found}",
        "hồ sơ {profile} dành cho {expected}, không phải {found}",
    ),
}  # fmt: skip


_VIETNAMESE = {
    "an object": "một đối tượng", "an array": "một mảng", "string": "chuỗi", "boolean": "giá trị true/false",
    "integer": "số nguyên", "number": "số", "text that is not blank": "văn bản không để trống",
}  # fmt: skip


class Report(msgspec.Struct):
    """The issues found so far, bounded."""

    issues: list[Issue] = []
    untold: int = 0
    # True when something nests too deep to be looked at as a whole.
    is_cut_short: bool = False

    def tell(self, kind: str, path: str, **facts: Any) -> None:
        """Adds a fault of one kind at a FHIRPath; facts fill its text."""
        self.is_cut_short |= kind == "too-deep"
        self._add("error", MESSAGES[kind], path, facts)

    def warn(self, kind: str, path: str, **facts: Any) -> None:
        self._add("warning", MESSAGES[kind], path, facts)

    def inform(self, kind: str, path: str, **facts: Any) -> None:
        self._add("information", MESSAGES[kind], path, facts)

    def _add(self, severity: str, message: Message, path: str, facts: Mapping[str, Any]) -> None:
        if len(self.issues) >= MOST_ISSUES:
            self.untold += 1
            return
        en = message.en.format(**facts)
        vi = message.vi.format(**{name: _VIETNAMESE.get(fact, fact) for name, fact in facts.items()})
        self.issues.append(Issue(severity, message.code, en, (path,), vi))

    def told(self) -> list[Issue]:
        """All issues, and how many more there are when not all were told."""
        if not self.untold:
            return self.issues
        more = f"{self.untold} more faults are not told", f"còn {self.untold} lỗi khác không liệt kê"
        return [*self.issues, Issue("information", "informational", more[0], (), more[1])]


def asked(constraint: Constraint) -> dict[str, str]:
    """The facts of a broken invariant."""
    human = constraint.human
    return {"key": constraint.key, "human": human, "human_vi": constraint.human_vi or human}


def quote(value: Any) -> str:
    """A sender's value for a message: what it is, or its first characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value[:_LONGEST_QUOTE]}…'" if len(value) > _LONGEST_QUOTE else f"'{value}'"
    if isinstance(value, Digits):
        return value.text[:_LONGEST_QUOTE]
    if isinstance(value, int) and value.bit_length() > 128:
        return f"[{value.bit_length()} bits]"
    return str(value)[:_LONGEST_QUOTE]


def child(path: str, key: str) -> str:
    """The FHIRPath of a child; a key that is no name is written between backticks."""
    if _PLAIN_NAME.fullmatch(key) and len(key) <= _LONGEST_QUOTE:
        return f"{path}.{key}"
    shown = key[:_LONGEST_QUOTE].replace("\\", "\\\\").replace("`", "\\`")
    return f"{path}.`{shown}`"
