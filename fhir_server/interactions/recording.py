"""What is put on record of a request: which interaction it is, what it named, and what its answer showed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec.structs import replace

from fhir_server.audit.access import OPEN, UNKNOWN, Access, Agent, Touched
from fhir_server.audit.hiding import holds_number
from fhir_server.errors import FhirError
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Pairs, Shown
from fhir_server.interactions.rights import NOBODY, Caller
from fhir_server.model.references import is_id
from fhir_server.search.parse import query_pairs
from fhir_server.store.values import Stored

# Interactions on each kind of place (R4 RESTful API, Summary), by method; HEAD is GET.
_SYSTEM = {"GET": "search-system", "POST": "transaction"}
_TYPE = {"GET": "search-type", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_INSTANCE = {"GET": "read", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_HISTORIES = ("history-system", "history-type", "history-instance")
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# What holds nobody's data is not put on record.
OF_NOBODY = (("metadata",), (".well-known", "smart-configuration"))
# Interactions of which the named resource says all, unless there is a query.
_OF_ONE = frozenset({"read", "vread", "update", "patch", "delete", "history-instance"})
_OF_PATIENTS = frozenset({"patient", "subject"})


def interaction_of(method: str, segments: Sequence[str]) -> str:
    """The code of the interaction (CodeSystem restful-interaction); `operation` for what is none."""
    method = "GET" if method == "HEAD" else method
    last = segments[-1] if segments else ""
    if last == "_search":
        return "search-type" if len(segments) > 1 else "search-system"
    if "_history" in segments:
        return "vread" if last != "_history" else _HISTORIES[min(len(segments) - 1, 2)]
    if last.startswith("$"):
        return "operation"
    if len(segments) == 3:
        return "search-type"
    table = (_SYSTEM, _TYPE, _INSTANCE)[min(len(segments), 2)]
    return table.get(method, "operation")


def agent_of(context: Context) -> Agent:
    """The caller as it is put on record."""
    return _agent(context.caller, context.origin.address, context.origin.emergency, context.settings.asks_who)


@lru_cache(maxsize=1_000)
def _agent(caller: Caller, address: str | None, emergency: str | None, asks_who: bool) -> Agent:
    if caller == NOBODY:
        return replace(UNKNOWN if asks_who else OPEN, address=address)
    return Agent(
        user=caller.user or (f"Patient/{caller.patient}" if caller.patient is not None else None),
        subject=caller.subject if caller.subject != caller.client else "",
        client=caller.client,
        roles=(caller.unit,) if caller.unit is not None else (),
        organisation=caller.organisation,
        purposes=caller.purposes,
        emergency=emergency,
        address=address,
    )


async def note(context: Context, request: FhirRequest, response: FhirResponse) -> None:
    """Puts a request on record with its answer, unless that was done with what it wrote. Raises FhirError."""
    shown, segments = response.shown, request.segments
    if not context.trail.is_on or shown.is_recorded or segments in OF_NOBODY:
        return
    interaction = shown.interaction or interaction_of(request.method, segments)
    resources = shown.resources or _named(segments)
    if response.status >= 400:
        # An id that was only tried out may be anybody's number.
        resources = tuple(one for one in resources if not holds_number(one.id))
        interaction = "login" if response.status == 401 else interaction
    query = request.query + _form(request) if shown.query is None else shown.query
    await context.trail.note(
        Access(
            interaction,
            agent_of(context),
            response.status,
            context.clock(),
            context.origin.request,
            resources,
            (*shown.patients, *_patients_in(query)) if query else shown.patients,
            segments,
            query if query or not resources or interaction not in _OF_ONE else None,
            segments[-1][1:] if interaction == "operation" and segments else None,
        )
    )


async def token_asked(context: Context, client: str, status: int, details: Pairs) -> None:
    """Puts a request for an access token on record. client: "" when nobody has proven who it is."""
    agent = Agent(client=client, address=context.origin.address)
    await context.trail.note(Access("login", agent, status, context.clock(), context.origin.request, details=details))


def _form(request: FhirRequest) -> Pairs:
    """The parameters in the body of a POST _search, where they can be read."""
    if request.segments[-1:] != ("_search",) or not request.body:
        return ()
    try:
        return query_pairs(request.body.decode())
    except (FhirError, UnicodeDecodeError):
        return ()


def _patients_in(query: Pairs) -> Iterator[str]:
    """The patients that a search names, so that one without a hit is among those about them, too."""
    for name, value in query:
        code = name.partition(":")[0]
        if code in _OF_PATIENTS:
            for one in value.split(","):
                id = one.removeprefix("Patient/")
                if is_id(id) and (code == "patient" or len(id) < len(one) or name == f"{code}:Patient"):
                    yield id


def _named(segments: tuple[str, ...]) -> tuple[Touched, ...]:
    """The resource in a path, `Patient/1`; as it was asked for, whether it exists or not."""
    if len(segments) < 2 or not segments[0][:1].isupper() or not segments[0].isalpha() or not is_id(segments[1]):
        return ()
    version = segments[3] if len(segments) == 4 else ""
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else None
    return (Touched(segments[0], segments[1], number),)


def shown_one(stored: Stored) -> Shown:
    """Of an answer that is one version of one resource."""
    patients = (stored.patient,) if stored.patient is not None else ()
    return Shown((Touched(stored.type, stored.id, stored.version),), patients)


def shown_many(found: Iterable[Stored], query: Pairs | None = None) -> Shown:
    """Of an answer that lists resources: whose they are, not which."""
    patients = dict.fromkeys(stored.patient for stored in found if stored.patient is not None)
    return Shown(patients=tuple(patients), query=query)


# What became of one thing in a transaction: method, status, the resource, the patient whose compartment it is in.
Outcome = tuple[str, int, Touched | None, str | None]


def accesses(context: Context, outcomes: Iterable[Outcome]) -> list[Access]:
    """What a transaction did: one access for all that it did by one kind of interaction."""
    resources: dict[tuple[str, int], list[Touched]] = defaultdict(list)
    patients: dict[tuple[str, int], list[str]] = defaultdict(list)
    for method, status, touched, patient in outcomes:
        kind = _WRITES[method], status
        resources[kind] += [touched] if touched is not None else []
        patients[kind] += [patient] if patient is not None else []
    moment = context.clock()
    return [
        Access(
            interaction,
            agent_of(context),
            status,
            moment,
            context.origin.request,
            tuple(named),
            tuple(patients[interaction, status]),
        )
        for (interaction, status), named in resources.items()
    ]


def imported(context: Context, written: Sequence[Stored]) -> list[Access]:
    """What a group of imported records has changed, as one access: it names the people, and the Provenance of each
    record names its resources."""
    if not written:
        return []
    details = (("resources", str(len(written))),)
    patients = shown_many(written).patients
    request = context.origin.request
    return [Access("import", agent_of(context), 200, context.clock(), request, (), patients, details=details)]


def import_ended(context: Context, counts: Mapping[str, str]) -> Access:
    """A whole import, with what it came to."""
    request = context.origin.request
    return Access("import", agent_of(context), 200, context.clock(), request, details=tuple(counts.items()))
