"""The value set that an operation is about: of the path, sent along, named by URL, or bound to an element."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.model.resources import Resource
from fhir_server.operations.coded import refuse_two, versioned
from fhir_server.operations.parameters import Arguments
from fhir_server.terminology.load import Terminology

_STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"


def value_set(
    context: Context, asked: Arguments, given: Resource | None, on: date | None
) -> Callable[[Terminology], Resource]:
    """How a question finds it. given: the one of the path.

    Raises FhirError(REQUIRED) when none is named, FhirError(INVALID) when several are, FhirError(NOT_FOUND) for a
    context that binds none; the question raises FhirError(NOT_FOUND) for one that is not loaded, and Unread.
    """
    refuse_two(asked, given, "valueSet", "url", "context")
    inline = given or asked.one("valueSet")
    if inline is not None:
        return lambda known: inline
    if "context" in asked:
        key = _bound(context, asked)
    elif "url" in asked:
        key = versioned(asked.one("url"), asked.one("valueSetVersion"))
    else:
        raise FhirError(Kind.REQUIRED, "name the value set by url, or send it as valueSet", ("url",))
    return lambda known: _known(known, key, on, asked.at("context" if "context" in asked else "url"))


def _known(terminology: Terminology, key: str, on: date | None, place: tuple[str, ...]) -> Resource:
    found = terminology.value_set(key, on)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the value set {key[:200]!r} is not loaded", place)
    return found


def _bound(context: Context, asked: Arguments) -> str:
    """`http://hl7.org/fhir/StructureDefinition/Patient#Patient.gender`: the value set that R4 binds to the element."""
    url, _, path = str(asked.one("context")).partition("#")
    type, _, below = path.partition(".")
    element = context.definitions.element(type, below) if below and url in ("", _STRUCTURE + type) else None
    if element is None or element.binding is None:
        text = "the context names no element of R4 that a value set is bound to"
        raise FhirError(Kind.NOT_FOUND, text, asked.at("context"))
    return element.binding.value_set
