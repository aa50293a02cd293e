"""CodeSystem/$validate-code and ValueSet/$validate-code. R4 sections 4.8.17 and 4.9.17."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import CodeSystem, Coding, Concept
from fhir_server.terminology.folding import fold_name
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.membership import is_member

# Neighbours that are named when a code is wrong.
_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a code. valid: None when what is loaded cannot tell. message and vi: why, in English and
    Vietnamese, "" when all is well. display: the right one. neighbours: codes that may have been meant."""

    valid: bool | None
    message: str = ""
    vi: str = ""
    display: str | None = None
    neighbours: tuple[Coding, ...] = ()

    def resource(self) -> Resource:
        """As Parameters: result, message, display. A code that nothing is known of is not valid (R4 section 4.9.17:
        the server cannot say that it is)."""
        parts: list[Resource] = [{"name": "result", "valueBoolean": self.valid is True}]
        if self.message:
            parts.append({"name": "message", "valueString": self.message})
        if self.display:
            parts.append({"name": "display", "valueString": self.display})
        return {"resourceType": "Parameters", "parameter": parts}


def code_in_system(
    terminology: Terminology, system: str, code: str, display: str | None = None, on: date | None = None
) -> Judgement:
    """Whether a system has a code on a day, and whether the display is one of its names.

    Raises FhirError(NOT_FOUND) for a system that is not loaded.
    """
    found = terminology.code_system(system)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the code system {system[:200]!r} is not loaded")
    return _judge(found, code, display, on)


def code_in_value_set(
    terminology: Terminology, value_set: Resource, coding: Coding | str, on: date | None = None
) -> Judgement:
    """Whether a Coding, or a bare code, is in a value set on a day. R4 section 4.9.17."""
    system, code = (None, coding) if isinstance(coding, str) else (coding.system, coding.code)
    display = None if isinstance(coding, str) else coding.display
    verdict = is_member(terminology, value_set, system, code, on)
    title = value_set.get("title") or value_set.get("name") or value_set.get("url", "the value set")
    found = terminology.code_system(system) if system else None
    if verdict is True:
        return _judge(found, code, display, on) if found is not None and found.has(code) else Judgement(True)
    if verdict is None:
        return Judgement(
            None,
            f"whether {code!r} is in {title} cannot be told: a code system it needs is not loaded",
            f"không xác định được mã {code!r} có thuộc {title} hay không: chưa nạp danh mục cần thiết",
        )
    return Judgement(
        False,
        f"{code!r} is not in {title}",
        f"mã {code!r} không thuộc {title}",
        neighbours=_neighbours(found, code) if found is not None else (),
    )


def _judge(system: CodeSystem, code: str, display: str | None, on: date | None) -> Judgement:
    title = system.title
    if not system.period.holds(on):
        return Judgement(False, f"{title} was not in force on {on}", f"{title} không có hiệu lực vào ngày {on}")
    concept = system.get(code)
    if concept is None:
        return _unknown(system, code)
    if not concept.active(on):
        why = (f"{code!r} of {title} is not active", f"mã {code!r} của {title} không còn hiệu lực")
        return Judgement(False, *why, display=concept.display)
    if display and not _bears(concept, display):
        return Judgement(
            False,
            f"{display!r} is not a name of {code!r}, which is {concept.display!r}",
            f"{display!r} không phải tên của mã {code!r} (đúng là {concept.display!r})",
            concept.display,
        )
    return Judgement(True, display=concept.display)


def _unknown(system: CodeSystem, code: str) -> Judgement:
    neighbours = _neighbours(system, code)
    if system.has(code) is None:
        return Judgement(
            None,
            f"{system.title} is only loaded in part and does not tell of {code!r}",
            f"{system.title} mới được nạp một phần, không có thông tin về mã {code!r}",
            neighbours=neighbours,
        )
    meant = ", ".join(f"{one.code} ({one.display})" for one in neighbours)
    return Judgement(
        False,
        f"{system.title} has no code {code!r}" + (f"; there are {meant}" if meant else ""),
        f"{system.title} không có mã {code!r}" + (f"; có {meant}" if meant else ""),
        neighbours=neighbours,
    )


def _bears(concept: Concept, display: str) -> bool:
    key = fold_name(display)
    return any(fold_name(name) == key for name in concept.names())


def _neighbours(system: CodeSystem, code: str) -> tuple[Coding, ...]:
    """Listed codes that begin as the wrong one does, longest likeness first; for people, never taken as the code."""
    for length in range(len(code), 0, -1):
        start = code[:length]
        alike = [one for one in system.concepts.values() if one.code.startswith(start) and one.code != code]
        if alike:
            return tuple(system.coding(one) for one in alike[:_NEIGHBOURS])
    return ()
