"""Value sets that nobody has to define: their URL says what they hold. R4 pages "Using SNOMED CT" and "Using LOINC"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fhir_server.model.resources import Resource

_SNOMED = re.compile(
    r"(?P<system>http://snomed\.info/sct)(?P<edition>/[0-9]+(?:/version/[0-9]{8})?)?\?fhir_vs"
    r"(?:=isa/(?P<root>[0-9]{6,18})|=refset/(?P<refset>[0-9]{6,18}))?",
    re.ASCII,
)
_LOINC = re.compile(r"(?P<system>http://loinc\.org)/vs(?:/(?P<id>L[LP][0-9]+-[0-9]))?", re.ASCII)


def implicit(url: str) -> Resource | None:
    """The value set that a URL of SNOMED CT or LOINC stands for: all codes, those below one, those of a reference set,
    or an answer list. None for any other URL."""
    found = _SNOMED.fullmatch(url)
    if found is not None:
        version = found["system"] + found["edition"] if found["edition"] and "/version/" in found["edition"] else None
        filter = _is_a(found["root"]) if found["root"] else _in(found["refset"]) if found["refset"] else None
        return whole(url, found["system"], version, filter)
    found = _LOINC.fullmatch(url)
    if found is None:
        return None
    id = found["id"]
    if id and id.startswith("LL"):
        return whole(url, found["system"], None, {"property": "answer-list", "op": "=", "value": id})
    return whole(url, found["system"], None, _is_a(id) if id else None)


def _is_a(root: str) -> Mapping[str, Any]:
    return {"property": "concept", "op": "is-a", "value": root}


def _in(reference_set: str) -> Mapping[str, Any]:
    return {"property": "concept", "op": "in", "value": reference_set}


def whole(url: str, system: str, version: str | None = None, filter: Mapping[str, Any] | None = None) -> Resource:
    """The value set of all codes of a system, or of those that fit a filter."""
    part: dict[str, Any] = {"system": system}
    if version:
        part["version"] = version
    if filter:
        part["filter"] = [dict(filter)]
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": {"include": [part]}}
