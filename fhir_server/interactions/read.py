"""read and vread, with conditional read. R4 RESTful API, read and vread."""

from __future__ import annotations

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import is_unchanged, version_headers
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.recording import shown_one
from fhir_server.model.resources import encode
from fhir_server.search.result_parameters import ResultReader, Unusable
from fhir_server.store.values import Stored


async def read(context: Context, request: FhirRequest) -> FhirResponse:
    """The current version. 404 when it never was, 410 with the last version's ETag when it was deleted."""
    type, id = request.segments
    writable_type(context, type, "read")
    stored = await context.store.read(type, id, context.view)
    if stored is None and type == "StructureDefinition":
        stored = _loaded(context, id)
    return _answer(context, request, stored, f"{type}/{id}")


def _loaded(context: Context, id: str) -> Stored | None:
    """A profile that is shipped or came in a package: it can be read as if it were stored, in its first version."""
    conformance = context.validator.conformance
    found = conformance.profiles.by_id(id) if conformance is not None else None
    return Stored("StructureDefinition", id, 1, 0, encode(found)) if found is not None else None


async def vread(context: Context, request: FhirRequest) -> FhirResponse:
    """One version. 410 when that version is the deletion."""
    type, id, _, version = request.segments
    writable_type(context, type, "vread")
    number = int(version) if version.isdigit() and len(version) < 10 else -1
    stored = await context.store.vread(type, id, number, context.view)
    return _answer(context, request, stored, f"{type}/{id}/_history/{version}")


def _answer(context: Context, request: FhirRequest, stored: Stored | None, name: str) -> FhirResponse:
    if stored is None:
        raise FhirError(Kind.NOT_FOUND, f"{name} is not known here")
    headers = version_headers(stored)
    if stored.deleted:
        raise FhirError(Kind.DELETED, f"{name} was deleted", headers=headers)
    shown = shown_one(stored)
    if is_unchanged(request.headers, stored):
        return FhirResponse(304, b"", headers, shown=shown)
    return FhirResponse(200, _shaped(context, request, stored), headers, updated=stored.updated, shown=shown)


def _shaped(context: Context, request: FhirRequest, stored: Stored) -> bytes:
    """The whole resource, or the part that `_summary` or `_elements` asks for (R4 RESTful API, read)."""
    asked = [(name, value) for name, value in request.query if name in ("_summary", "_elements")]
    if not asked:
        return stored.raw
    reader = ResultReader(context.search.parameters, (stored.type,), 1, 1)
    for name, value in asked:
        try:
            reader.take(name, value)
        except Unusable as fault:
            raise FhirError(Kind.VALUE, str(fault), (name,)) from None
    if reader.results.only_count:
        raise FhirError(Kind.VALUE, "_summary=count asks for a search, not for one resource", ("_summary",))
    return stored.raw if reader.results.is_whole else context.search.subsets.cut(stored.raw, reader.results)
