"""patch and conditional patch: JSON Patch, JSON Merge Patch (RFC 7396) and FHIRPath Patch. R4 RESTful API, patch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from typing import Any

import jsonpatch
import jsonpointer

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.content import answer
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.fhirpath_patch import FhirpathPatch
from fhir_server.interactions.headers import if_match
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.write import Change, Write
from fhir_server.interactions.writing import perform
from fhir_server.model.json_body import decode_body
from fhir_server.model.resources import Resource, copy_of, encode
from fhir_server.store.values import LARGEST_RESOURCE_BYTES

_FAULTS = (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError)
# What a patch is in JSON, where its content type says so.
_KINDS: Mapping[str, type] = {"application/json-patch+json": list, "application/merge-patch+json": dict}
OPERATION_LIMIT = 1000  # operations of one patch: far above use, low enough to bound the time


async def patch(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with what the patch made of the current version; 422 when it cannot be applied."""
    type, id = request.segments
    return await _patch(context, request, type, id)


async def conditional_patch(context: Context, request: FhirRequest) -> FhirResponse:
    return await _patch(context, request, request.segments[0], None)


async def _patch(context: Context, request: FhirRequest, type: str, id: str | None) -> FhirResponse:
    writable_type(context, type, "patch")
    change = change_of_body(context, request)
    criteria = request.query if id is None else None
    write = Write("PATCH", type, id=id, criteria=criteria, change=change, expected=if_match(request.headers))
    return await perform(context, write, partial(answer, context, request, type))


def change_of_body(context: Context, request: FhirRequest) -> Change:
    """The change that a body means: a Parameters is a FHIRPath Patch, an array a JSON Patch, any other object a merge
    patch, whatever JSON it is called (fhirpy sends a partial resource as plain JSON) but another kind of patch."""
    value: Any = request.resource
    if value is None:
        value = decode_body(request.body) if request.body.strip() else None
    called = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = _KINDS.get(called)
    if wanted is not None and not isinstance(value, wanted):
        text = f"a body of {called} is a JSON {'array' if wanted is list else 'object'}"
        raise FhirError(Kind.STRUCTURE, text)
    if isinstance(value, list):
        return json_patch(value)
    if not isinstance(value, dict):
        raise FhirError(Kind.STRUCTURE, "a patch is a Parameters, a JSON array of operations or an object to merge")
    if value.get("resourceType") == "Parameters":
        return FhirpathPatch(context.definitions).change(value)
    return merge_patch(value)


def change_of_entry(context: Context, resource: Resource | None) -> Change:
    """In a bundle a patch travels as a Parameters, or as a Binary of content type application/json-patch+json."""
    if resource is not None and resource.get("resourceType") == "Parameters":
        return FhirpathPatch(context.definitions).change(resource, "resource")
    if resource is None or resource.get("resourceType") != "Binary":
        raise FhirError(Kind.INVALID, "a PATCH entry holds a Parameters, or its JSON Patch in a Binary", ("resource",))
    try:
        body = base64.b64decode(resource.get("data") or "", validate=True)
    except (binascii.Error, ValueError):
        raise FhirError(Kind.VALUE, "Binary.data is no base64", ("resource.data",)) from None
    called = {"content-type": str(resource.get("contentType", ""))}
    return change_of_body(context, FhirRequest("PATCH", headers=called, body=body))


def json_patch(operations: list[Any]) -> Change:
    """RFC 6902. Raises FhirError for a malformed patch; the change raises UNPROCESSABLE when it cannot be applied."""
    if len(operations) > OPERATION_LIMIT:
        raise FhirError(Kind.TOO_COSTLY, f"a patch holds at most {OPERATION_LIMIT} operations")
    steps = [_step(place, operation) for place, operation in enumerate(operations)]

    def change(resource: Resource) -> Resource:
        patched: Any = copy_of(resource)
        copied = 0
        for place, step in enumerate(steps):
            try:
                copied += _size_copied(operations[place], patched)
                patched = step.apply(patched, in_place=True)
            except jsonpatch.JsonPatchTestFailed:
                raise _impossible(place, "the test of the patch failed: another value is there, or none") from None
            except (*_FAULTS, KeyError, RecursionError):  # what they say repeats what is stored
                raise _impossible(place, "the patch cannot be applied: its path does not lead there") from None
            if copied > LARGEST_RESOURCE_BYTES:
                raise _impossible(place, "the patch copies more than a resource can hold")
        if not isinstance(patched, dict):
            raise FhirError(Kind.UNPROCESSABLE, "the patch leaves no resource")
        return patched

    return change


def _step(place: int, operation: Any) -> jsonpatch.JsonPatch:
    try:
        return jsonpatch.JsonPatch([operation])
    except (*_FAULTS, AttributeError) as fault:
        raise FhirError(Kind.INVALID, f"this is no JSON Patch: {_shown(fault)}", (f"[{place}]",)) from None


def _size_copied(operation: Resource, target: Any) -> int:
    """Bytes of what a copy makes twice; a few dozen of them could otherwise fill the memory by doubling."""
    if operation["op"] != "copy":
        return 0
    return len(encode(jsonpointer.resolve_pointer(target, operation["from"])))


def _impossible(place: int, text: str) -> FhirError:
    return FhirError(Kind.UNPROCESSABLE, text, (f"[{place}]",))


def _shown(fault: BaseException) -> str:
    return str(fault)[:200]


def merge_patch(partial: Resource) -> Change:
    """RFC 7396: null removes, objects merge, everything else replaces."""

    def change(resource: Resource) -> Resource:
        merged = _merge(resource, partial)
        return merged if isinstance(merged, dict) else resource

    return change


def _merge(target: Any, partial: Any) -> Any:
    if not isinstance(partial, dict):
        return partial
    kept = dict(target) if isinstance(target, dict) else {}
    for name, value in partial.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = _merge(kept.get(name), value)
    return kept
