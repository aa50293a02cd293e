"""Patient/$merge and Patient/$unmerge: two records of one person joined, and taken apart again.

R4 has neither. `$merge` is shaped as Patient-merge of FHIR R6: source-patient and target-patient as References, or
*-patient-identifier as Identifiers that one Patient alone bears; result-patient: what the target shall be; preview:
tells what would be done. `$unmerge` takes the source alone. The answer is Parameters with input, outcome and result.
"""

from __future__ import annotations

from fhir_server.definitions.operations import Parameter
from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.interactions.content import resource_of
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Shown
from fhir_server.interactions.matching import match
from fhir_server.model.outcomes import outcome
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, encode
from fhir_server.operations.parameters import Arguments, taken
from fhir_server.records.patient_joins import Merged
from fhir_server.records.patient_merge import merge_patients
from fhir_server.records.patient_unmerge import unmerge_patients

_SOURCE = (Parameter("source-patient", "Reference"), Parameter("source-patient-identifier", "Identifier", many=True))
_TARGET = (Parameter("target-patient", "Reference"), Parameter("target-patient-identifier", "Identifier", many=True))
_MERGE = (*_SOURCE, *_TARGET, Parameter("result-patient", "Patient"), Parameter("preview", "boolean"))


async def merge_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with the target as it is now. Raises FhirError as `merge_patients`; INVALID or REQUIRED for parameters."""
    asked = taken(context, request, _MERGE)
    source, target = await _patient(context, asked, "source"), await _patient(context, asked, "target")
    preview = asked.one("preview") is True
    merged = await merge_patients(context, source, target, asked.one("result-patient"), preview)
    told = f"Patient/{source} {'would be' if preview else 'was'} joined into Patient/{target}"
    return _answer(request, merged, told, preview)


async def unmerge_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with the source as it is again. Raises FhirError as `unmerge_patients`; INVALID or REQUIRED."""
    asked = taken(context, request, _SOURCE)
    source = await _patient(context, asked, "source")
    merged = await unmerge_patients(context, source)
    return _answer(request, merged, f"Patient/{source} stands alone again", False)


async def _patient(context: Context, asked: Arguments, side: str) -> str:
    """The id of the Patient that is meant. Raises FhirError REQUIRED, VALUE, NOT_FOUND, MULTIPLE_MATCHES."""
    by_reference, by_number = f"{side}-patient", f"{side}-patient-identifier"
    reference, numbers = asked.one(by_reference), asked.all(by_number)
    if reference is not None:
        named = literal(reference.get("reference", ""))
        if named is None or named.type != "Patient" or named.base not in (None, f"{context.base}/"):
            raise FhirError(Kind.VALUE, f"{by_reference} is a reference such as Patient/12", asked.at(by_reference))
        return named.id
    if not numbers:
        raise FhirError(Kind.REQUIRED, f"the parameter {by_reference} is required", (by_reference,))
    pairs = tuple(("identifier", f"{_escaped(one, 'system')}|{_escaped(one, 'value')}") for one in numbers)
    found = await match(context, "Patient", pairs, context.store)
    if len(found) != 1:
        kind, many = (Kind.MULTIPLE_MATCHES, "several Patients bear") if found else (Kind.NOT_FOUND, "no Patient bears")
        raise FhirError(kind, f"{many} the {by_number}", asked.at(by_number))
    return found[0].id


def _escaped(number: Resource, name: str) -> str:
    """R4 Search, Escaping Search Parameters: what has a meaning in a search value stands behind a backslash."""
    return "".join(f"\\{one}" if one in "\\,$|" else one for one in str(number.get(name, "")))


def _answer(request: FhirRequest, merged: Merged, told: str, preview: bool) -> FhirResponse:
    counts = ", ".join(f"{count} {type}" for type, count in merged.rewritten.items())
    issues = [Issue("information", "informational", f"{told}; references in {counts or 'no other resource'}")]
    issues += [Issue("warning", "business-rule", text) for text in merged.told]
    parameters = [{"name": "outcome", "resource": outcome(issues)}, {"name": "result", "resource": merged.patient}]
    if request.resource is not None or request.body.strip():
        parameters.insert(0, {"name": "input", "resource": resource_of(request)})
    made = {"resourceType": "Parameters", "parameter": parameters}
    return FhirResponse(200, encode(made), shown=Shown(is_recorded=not preview))
