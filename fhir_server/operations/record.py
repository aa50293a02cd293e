"""Patient/[id]/$record: a person's record in a Vietnamese format, made of FHIR by the same tables that read it.

An operation of our own. format: hssk831, bhxh, ksk, basic or tiemchung. form: xml, json, ndjson or csv where the format
has several. facility: in whose name it is written. The answer is the file; who accepts FHIR alone gets it in a Binary.
"""

from __future__ import annotations

import base64

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.content import resource_of
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import encode
from fhir_server.records.export import Export, export_of
from fhir_server.records.export_files import MEDIA_TYPES, body, forms, together
from fhir_server.records.export_people import PersonRecord, records_of, today
from fhir_server.records.importing import formats_of

_PARAMETERS = ("format", "form", "facility")


async def record_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with the file. Raises FhirError NOT_FOUND for a person who is not there or has nothing that the format
    records, INVALID for parameters that make no sense."""
    asked = _asked(request)
    export = export_named(context, asked.get("format", ""))
    form = asked.get("form", forms(export)[0])
    if form not in forms(export):
        raise FhirError(Kind.VALUE, f"form is one of {', '.join(forms(export))}", ("form",))
    id = request.segments[1]
    found = [one async for one in records_of(context, export, [id], asked.get("facility", ""))]
    if not found:
        raise FhirError(Kind.NOT_FOUND, f"there is no record of Patient/{id} in the format {export.format.name}")
    await context.count_people(1)
    return _answer(context, request, export, form, found if together(export) else found[:1])


def _asked(request: FhirRequest) -> dict[str, str]:
    asked = dict(request.query)
    if request.method == "POST" and (request.resource is not None or request.body.strip()):
        for one in resource_of(request).get("parameter") or ():
            value = next((value for name, value in one.items() if name.startswith("value")), "")
            asked[str(one.get("name"))] = str(value)
    unknown = sorted(set(asked) - set(_PARAMETERS))
    if unknown:
        text = f"$record takes {', '.join(_PARAMETERS)}, not {unknown[0][:64]!r}"
        raise FhirError(Kind.INVALID, text, (unknown[0][:64],))
    return asked


def export_named(context: Context, name: str) -> Export:
    """The format of that name, to be written. Raises FhirError VALUE."""
    formats = formats_of(context.settings).writable
    if name not in formats:
        raise FhirError(Kind.VALUE, f"format is one of {', '.join(formats)}", ("format",))
    return export_of(formats[name])


def _answer(
    context: Context, request: FhirRequest, export: Export, form: str, found: list[PersonRecord]
) -> FhirResponse:
    first = found[0]
    content = body(export, [one.content for one in found], form, first.facility, today(context))
    if "fhir" in request.headers.get("accept", ""):
        held = {"contentType": MEDIA_TYPES[form], "data": base64.b64encode(content).decode()}
        return FhirResponse(200, encode({"resourceType": "Binary", **held}))
    name = f"{export.format.name}-{first.patient}.{form}"
    return FhirResponse(200, content, {"Content-Disposition": f'attachment; filename="{name}"'}, MEDIA_TYPES[form])
