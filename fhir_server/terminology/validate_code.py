"""CodeSystem/$validate-code and ValueSet/$validate-code, R4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import msgspec

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import CodeSystem, Coding, Concept
from fhir_server.terminology.folding import fold_name
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.membership import is_member

# Neighbours that are named when a code is wrong.
NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a code. display: a name that it must have. abstract: a grouping may be used here. on: the day.
    language: of the display that is told."""

    display: str | None = None
    abstract: bool = True
    on: date | None = None
    language: str | None = None


class Judgement(msgspec.Struct, frozen=True):
    """What is said of a code. valid: None when what is loaded cannot tell. message and vi: why, in English and
    Vietnamese, "" when all is well. display: the right one. neighbours: codes that may have been meant."""

    valid: bool | None
    message: str = ""
    vi: str = ""
    display: str | None = None
    neighbours: tuple[Coding, ...] = ()

    def resource(self, language: str | None = None) -> Resource:
        """As Parameters: result, message, display. language: `vi` for the message in Vietnamese. A code that nothing is
        known of is not valid (R4 ValueSet/$validate-code: the server cannot say that it is)."""
        parts: list[Resource] = [{"name": "result", "valueBoolean": self.valid is True}]
        message = self.vi if (language or "").lower().startswith("vi") else self.message
        if message:
            parts.append({"name": "message", "valueString": message})
        if self.display:
            parts.append({"name": "display", "valueString": self.display})
        return {"resourceType": "Parameters", "parameter": parts}


def code_in_system(
    terminology: Terminology, system: str, code: str, display: str | None = None, on: date | None = None
) -> Judgement:
    """Whether a system has a code on a day, and whether the display is one of its names.

    Raises FhirError(NOT_FOUND) for a system that is not loaded; and Unread.
    """
    return code_of(terminology, system, code, Asked(display, on=on))


def code_of(terminology: Terminology, system: str, code: str, asked: Asked) -> Judgement:
    """The same for all that can be asked. system: URL or `url|version`."""
    found = terminology.code_system(system, asked.on)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the code system {system[:200]!r} is not loaded")
    return judge(terminology, found, code, asked)


def code_in_value_set(
    terminology: Terminology, value_set: Resource, coding: Coding | str, on: date | None = None
) -> Judgement:
    """Whether a Coding, or a bare code, is in a value set on a day. R4 ValueSet/$validate-code."""
    if isinstance(coding, str):
        return member(terminology, value_set, Coding("", coding), Asked(on=on))
    return member(terminology, value_set, coding, Asked(coding.display, on=on))


def member(terminology: Terminology, value_set: Resource, coding: Coding, asked: Asked) -> Judgement:
    """The same for all that can be asked. A coding with the system "" is looked for in every system; one with a version
    is of that version."""
    system, code = coding.system or None, coding.code
    if system and coding.version:
        terminology = terminology.pinned({system: coding.version})
    verdict = is_member(terminology, value_set, system, code, asked.on)
    title = value_set.get("title") or value_set.get("name") or value_set.get("url", "the value set")
    found = terminology.code_system(system, asked.on) if system else None
    if verdict is True:
        return judge(terminology, found, code, asked) if found is not None and found.has(code) else Judgement(True)
    if verdict is None:
        return Judgement(
            None,
            f"whether {code!r} is in {title} cannot be told: a code system it needs is not loaded",
            f"không xác định được mã {code!r} có thuộc {title} hay không: chưa nạp danh mục cần thiết",
        )
    near = _near(found, code, asked) if found is not None and found.get(code) is None else ()
    return Judgement(
        False,
        f"{code!r} is not in {title}" + _meant(near, "; there are "),
        f"mã {code!r} không thuộc {title}" + _meant(near, "; có "),
        neighbours=near,
    )


def judge(terminology: Terminology, system: CodeSystem, code: str, asked: Asked) -> Judgement:
    """Whether a system has a code as it is asked for. Raises Unread."""
    title = system.title
    if not system.period.holds(asked.on):
        why = (f"{title} was not in force on {asked.on}", f"{title} không có hiệu lực vào ngày {asked.on}")
        return Judgement(False, *why)
    concept = system.get(code)
    if concept is None:
        return _unknown(system, code, asked)
    concept = terminology.supplemented(system.url, concept)
    display = concept.display_in(asked.language)
    if concept.abstract and not asked.abstract:
        why = (f"{code!r} of {title} is abstract: a grouping", f"mã {code!r} của {title} chỉ là mã nhóm")
        return Judgement(False, *why, display=display)
    if asked.display and not _bears(concept, asked.display):
        return Judgement(
            False,
            f"{asked.display!r} is not a name of {code!r}, which is {concept.display!r}",
            f"{asked.display!r} không phải tên của mã {code!r} (đúng là {concept.display!r})",
            display,
        )
    if concept.active(asked.on):
        return Judgement(True, display=display)
    # Without a day an inactive code is told and not refused: records of before keep it.
    why = (f"{code!r} of {title} is not active", f"mã {code!r} của {title} không còn hiệu lực")
    return Judgement(asked.on is None, *why, display=display)


def _unknown(system: CodeSystem, code: str, asked: Asked) -> Judgement:
    near = _near(system, code, asked)
    if system.has(code) is None:
        return Judgement(
            None,
            f"{system.title} is only loaded in part and does not tell of {code!r}",
            f"{system.title} mới được nạp một phần, không có thông tin về mã {code!r}",
            neighbours=near,
        )
    return Judgement(
        False,
        f"{system.title} has no code {code!r}" + _meant(near, "; there are "),
        f"{system.title} không có mã {code!r}" + _meant(near, "; có "),
        neighbours=near,
    )


def _near(system: CodeSystem, code: str, asked: Asked) -> tuple[Coding, ...]:
    """What may have been meant: the code that bears the display, then codes like the wrong one. For people to choose
    from, never taken as the code."""
    named = system.find(asked.display) if asked.display else None
    near = [one for one in system.neighbours(code, NEIGHBOURS) if named is None or one.code != named.code]
    return tuple(system.coding(one) for one in ([named, *near] if named else near)[:NEIGHBOURS])


def _meant(near: tuple[Coding, ...], before: str) -> str:
    return before + ", ".join(map(named, near)) if near else ""


def named(coding: Coding | Concept) -> str:
    """`14758 (Phường Hàm Rồng)`."""
    return f"{coding.code} ({coding.display})" if coding.display else coding.code


def _bears(concept: Concept, display: str) -> bool:
    key = fold_name(display)
    return any(fold_name(name) == key for name in concept.names())
