"""The route table: which interaction answers which method and path. R4 RESTful API, Summary, lists the paths.

Paths are FHIR-shaped: a type starts with a capital letter, an operation with `$`, everything else that starts with `_`
is a word of the standard; so `$everything` is never taken for an id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.batch import batch_or_transaction
from fhir_server.interactions.capabilities import capabilities, smart_configuration
from fhir_server.interactions.create import create
from fhir_server.interactions.deferral import PATH, cancel_deferred, deferred_answer, is_deferred
from fhir_server.interactions.delete import conditional_delete, delete
from fhir_server.interactions.exchange import Context, Dispatch, FhirRequest, FhirResponse
from fhir_server.interactions.history import history
from fhir_server.interactions.inside import Inside
from fhir_server.interactions.once import with_key
from fhir_server.interactions.patch import conditional_patch, patch
from fhir_server.interactions.read import read, vread
from fhir_server.interactions.recording import OF_NOBODY, note
from fhir_server.interactions.rights import ALL_RIGHTS, Rights
from fhir_server.interactions.search import search
from fhir_server.interactions.update import conditional_update, update
from fhir_server.model.references import is_id
from fhir_server.operations.everything import everything_operation
from fhir_server.operations.import_records import import_records_operation
from fhir_server.operations.table import OPERATIONS, Operation

Methods = Mapping[str, Dispatch]


@dataclass(frozen=True, slots=True)
class Route:
    """One shape of path and what each method does there. Words: Type, id, version, Other, or the literal segment.

    operation: the operation at this path, which is there only where the capability statement declares it.
    """

    shape: tuple[str, ...]
    methods: Methods
    operation: Operation | None = None


def _get(interaction: Dispatch, **more: Dispatch) -> Methods:
    return {"GET": interaction, "HEAD": interaction, **more}


def _called(operation: Operation) -> Methods:
    posted = {"POST": operation.interaction}
    return _get(operation.interaction, **posted) if operation.by_get else posted


_TYPE = _get(search, POST=create, PUT=conditional_update, PATCH=conditional_patch, DELETE=conditional_delete)

# No path fits two shapes; what is asked for most stands first.
ROUTES = (
    Route(("Type", "id"), _get(read, PUT=update, PATCH=patch, DELETE=delete)),
    Route(("Type",), _TYPE),
    Route((), _get(search, POST=batch_or_transaction)),
    Route(("metadata",), _get(capabilities)),
    Route((".well-known", "smart-configuration"), _get(smart_configuration)),
    Route(("_search",), {"POST": search}),
    Route(("_history",), _get(history)),
    Route((PATH, "id"), _get(deferred_answer, DELETE=cancel_deferred)),
    Route(("Type", "_search"), {"POST": search}),
    Route(("Type", "_history"), _get(history)),
    Route(("Type", "id", "_history"), _get(history)),
    Route(("Type", "id", "_history", "version"), _get(vread)),
    Route(("Type", "id", "Other"), _get(search)),
    Route(("Type", "id", "Other", "_search"), {"POST": search}),
    *(Route(shape, _called(operation), operation) for operation in OPERATIONS for shape in operation.shapes()),
)

_BY_LENGTH = {size: tuple(route for route in ROUTES if len(route.shape) == size) for size in range(8)}

# What may be answered later (Prefer: respond-async): the interactions that can take long.
DEFERRABLE = frozenset((batch_or_transaction, search, everything_operation, import_records_operation))


async def respond(context: Context, request: FhirRequest) -> FhirResponse:
    """Answers a client: by the table, once where it has an Idempotency-Key, and later where it prefers that."""
    interaction, context = await _entered(context, request)
    context = await with_key(context, request)
    if interaction in DEFERRABLE and is_deferred(request):
        return await context.deferrals.accept(context, request)
    return await interaction(context, request)


async def dispatch(context: Context, request: FhirRequest) -> FhirResponse:
    """Answers by the table what is asked within another request, and puts it on record.

    Raises FhirError NOT_FOUND, UNKNOWN_TYPE or METHOD_NOT_ALLOWED with Allow.
    """
    try:
        interaction, entered = await _entered(context, request)
        response = await interaction(entered, request)
    except FhirError as fault:
        await note(context, request, FhirResponse(fault.kind.status))
        raise
    await note(context, request, response)
    return response


async def _entered(context: Context, request: FhirRequest) -> tuple[Dispatch, Context]:
    """The interaction, and the context with the view that the caller has there. Every request and every entry of a
    batch comes through here. Raises FhirError FORBIDDEN where the type or the operation alone forbids it, THROTTLED."""
    if request.segments not in OF_NOBODY:
        await context.count_request()
    route = _find(context, request.segments)
    interaction = route.methods.get(request.method)
    if interaction is None:
        allowed = ", ".join(sorted(route.methods))
        text = f"{request.method[:16]} is not allowed here; allowed: {allowed}"
        raise FhirError(Kind.METHOD_NOT_ALLOWED, text, headers={"Allow": allowed})
    if route.operation is not None and not route.operation.by_get and isinstance(context.store, Inside):
        text = f"${route.operation.name} writes by itself and cannot be part of a transaction"
        raise FhirError(Kind.INVALID, text, ("request.url",))
    return interaction, context if context.rights is ALL_RIGHTS else _with_view(context, route, request, interaction)


def _with_view(context: Context, route: Route, request: FhirRequest, interaction: Dispatch) -> Context:
    """A write reads by what the caller may search, for its conditions; `perform_all` holds it to the rest."""
    rights, segments = context.rights, request.segments
    if route.operation is not None and route.operation.scope is None:
        rights.require_operation(route.operation.name)
    is_read = interaction in (read, vread) or (interaction is history and len(segments) > 2)
    is_read = is_read or (route.operation is not None and len(segments) == 3)
    if is_read:
        rights.require("read", segments[0])
    elif interaction in (search, history):
        _require_search(rights, segments)
    return context.with_(view=rights.view("read" if is_read else "search"))


def _require_search(rights: Rights, segments: tuple[str, ...]) -> None:
    """Of one type that type; of a compartment the type looked for in it; of all types any."""
    path = [part for part in segments if part not in ("_search", "_history")]
    type = path[-1] if path else "*"
    if type == "*":
        rights.require_any("search")
    else:
        rights.require("search", type)


def _find(context: Context, segments: tuple[str, ...]) -> Route:
    if segments[:1] and _fits("Type", segments[0]) and segments[0] not in context.capability.types:
        raise FhirError(Kind.UNKNOWN_TYPE, f"this server has no resource type {segments[0][:64]!r}")
    for route in _BY_LENGTH.get(len(segments), ()):
        fits = all(map(_fits, route.shape, segments))
        if fits and (route.operation is None or _is_declared(context, route.operation.name, segments)):
            return route
    _refuse_misshapen(segments)
    raise FhirError(Kind.NOT_FOUND, "there is nothing at this path; GET metadata tells what is")


def _refuse_misshapen(segments: tuple[str, ...]) -> None:
    """Raises FhirError VALUE where an id or a version stands that is none; words of the standard are no such thing."""
    named = len(segments) > 1 and _fits("Type", segments[0]) and segments[1][0] not in "_$"
    if named and not is_id(segments[1]):
        text = "this is not a logical id of R4: 1 to 64 letters, digits, - and ."
        raise FhirError(Kind.VALUE, text, (f"{segments[0]}.id",))
    if named and len(segments) == 4 and segments[2] == "_history" and not is_id(segments[3]):
        raise FhirError(Kind.VALUE, "this is not a version id", (f"{segments[0]}.meta.versionId",))


def _is_declared(context: Context, operation: str, segments: tuple[str, ...]) -> bool:
    if len(segments) == 1:
        return operation in context.capability.system_operations
    return operation in context.capability.types[segments[0]].operations


def _fits(word: str, segment: str) -> bool:
    if word == "Type":
        return segment.isascii() and segment.isalpha() and segment[:1].isupper()
    if word == "Other":
        return segment == "*" or _fits("Type", segment)
    if word in ("id", "version"):
        return is_id(segment)
    return word == segment
