"""References: their form, the types they may point at, and contained resources (R4 Resource References)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fhir_server.model.references import conditional, literal
from fhir_server.model.resources import Resource, encode
from fhir_server.validation.messages import Report, quote

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^ \t\r\n]+")
# An id has no character that JSON escapes.
_FRAGMENT = re.compile(rb'"(#[A-Za-z0-9\-.]*)"')
_STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
_MOST_TARGETS_SHOWN = 12


def check_full_url(entry: Resource, where: str, report: Report) -> None:
    """A RESTful fullUrl must not disagree with the resource (R4 Bundle, entry.fullUrl)."""
    url, resource = entry.get("fullUrl"), entry.get("resource")
    parts = literal(url) if isinstance(url, str) and not url.startswith("urn:") else None
    if parts is None or not isinstance(resource, dict) or not isinstance(resource.get("id"), str):
        return
    own = f"{resource.get('resourceType')}/{resource['id']}"
    if f"{parts.type}/{parts.id}" != own or parts.version is not None:
        report.tell("full-url", f"{where}.fullUrl", found=quote(url), own=quote(own))


# (kind of message, property of the Reference, facts for the message)
Fault = tuple[str, str, Mapping[str, str]]


def reference_faults(
    reference: Resource, targets: frozenset[str], types: frozenset[str], contained: Mapping[str, str]
) -> tuple[Fault, ...]:
    """What is wrong with a Reference.

    targets: the resource types that its place allows, empty for any. types: all resource types of R4. contained: id →
    type of the resources that a `#id` may name. An absolute URL of another server is not held to the targets.
    """
    text = reference.get("reference")
    if not isinstance(text, str) or not text.strip():
        return ()  # structure tells
    if not text.startswith("#"):
        type = _type_in(text, types)
        if type is None:
            return (("reference-form", "reference", {"found": quote(text)}),)
    elif text == "#" or text[1:] in contained:
        type = contained.get(text[1:], "")
    else:
        return (("reference-contained", "reference", {"found": quote(text)}),)
    return tuple(_type_faults(type, reference.get("type"), targets)) if type in types else ()


def _type_faults(type: str, named: Any, targets: frozenset[str]) -> Iterator[Fault]:
    if targets and type not in targets:
        yield "reference-target", "reference", {"found": type, "allowed": _shown(targets)}
    elif isinstance(named, str) and named.removeprefix(_STRUCTURE) != type:
        yield "reference-type", "type", {"found": type, "expected": quote(named)}


def _type_in(text: str, types: frozenset[str]) -> str | None:
    """The resource type a reference names; "" when its form is good and names none; None when it is no reference."""
    parts = literal(text)
    if parts is not None and parts.base is None:
        return parts.type if parts.type in types else None
    asked = conditional(text)
    if asked is not None:
        return asked[0] if asked[0] in types else None
    return "" if _ABSOLUTE.fullmatch(text) else None


def contained_types(resource: Resource) -> Mapping[str, str]:
    """Id → type of each contained resource that has both."""
    if "contained" not in resource:
        return {}
    found = ((one.get("id"), one.get("resourceType")) for one in _dicts(resource.get("contained")))
    return {id: type for id, type in found if isinstance(id, str) and isinstance(type, str)}


def check_contained(resource: Resource, path: str, report: Report) -> None:
    """dom-3: each contained resource is referred to from the container, or refers to the container as `#`."""
    contained = list(_dicts(resource.get("contained")))
    if not contained:
        return
    outside = set(_fragments({key: value for key, value in resource.items() if key != "contained"}))
    inside = [set(_fragments(one)) for one in contained]
    uses = Counter(text for texts in inside for text in texts)
    for place, (one, own) in enumerate(zip(contained, inside, strict=True)):
        id = one.get("id", "")
        if not isinstance(id, str) or "#" in own:
            continue
        link = f"#{id}"
        if not id or (link not in outside and uses[link] == (link in own)):  # without an id nothing can refer to it
            found = quote(id) if id else str(one.get("resourceType"))
            report.tell("contained-unused", f"{path}.contained[{place}]", found=found)


def _fragments(value: Resource) -> Iterator[str]:
    """Every text below a value that is `#` or begins so: references, canonicals, uris and urls alike.

    Read from the JSON text, which is written and searched many times faster than the values are walked.
    """
    return (found.decode() for found in _FRAGMENT.findall(encode(value)))


def _dicts(value: Any) -> Iterator[Resource]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _shown(targets: frozenset[str]) -> str:
    names = sorted(targets)
    more = f", … (+{len(names) - _MOST_TARGETS_SHOWN})" if len(names) > _MOST_TARGETS_SHOWN else ""
    return ", ".join(names[:_MOST_TARGETS_SHOWN]) + more
