"""The application, wired in one visible place: data and store into a context, the context into the FHIR endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_server.audit.access import Origin
from fhir_server.audit.trail import Trail
from fhir_server.config import DATA_ROOT, VERSION, Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import shipped_profiles
from fhir_server.http import openapi
from fhir_server.http.address import AddressOf, addresses
from fhir_server.http.authorization import authorization
from fhir_server.http.cors import allowed_origins
from fhir_server.http.endpoint import FhirEndpoint
from fhir_server.http.errors import framework_fault
from fhir_server.http.gateway import gateway
from fhir_server.http.pages import pages
from fhir_server.http.records import records
from fhir_server.http.secure_headers import SecureHeaders
from fhir_server.interactions.deferral import Deferrals
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.narrowing import NarrowingRules
from fhir_server.model.ids import new_id, now
from fhir_server.model.rare_collections import rare_collections
from fhir_server.model.resources import decode
from fhir_server.operations.records_changed import numbering
from fhir_server.operations.reindex import following, take_up
from fhir_server.operations.renarrow import require_rules
from fhir_server.routes import dispatch
from fhir_server.search.extract import Extractor
from fhir_server.search.lookup import Codes
from fhir_server.search.model import SearchModel
from fhir_server.security.consents import sweeping
from fhir_server.security.gate import Gate, open_gate
from fhir_server.security.issuers import IssuersError
from fhir_server.security.pace import DAY, Pace
from fhir_server.store.embedded import Embedded
from fhir_server.store.mongo import open_store
from fhir_server.store.values import StartError
from fhir_server.terminology.catalogue import Catalogue
from fhir_server.terminology.expand import codes
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.naming import NamingSystems
from fhir_server.terminology.translate import units
from fhir_server.validation.conformance import Conformance, Severities
from fhir_server.validation.validate import Validator

BASE_PATH = "/fhir"
log = structlog.get_logger("fhir_server.start")


class Application(FastAPI):
    """FastAPI for documents, health and the other endpoints. What is below the base path goes to `fhir` at once: the
    way through the framework takes as long as all the rest of a read."""

    fhir: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and (path.startswith(f"{BASE_PATH}/") or path == BASE_PATH):
            await self.fhir(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def build_app(settings: Settings) -> FastAPI:
    """The ASGI application. Its lifespan opens the store; `settings.mongodb_uri` None starts the embedded one."""
    held: list[Context] = []
    gates: list[Gate] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            with _told_why():
                context = await stack.enter_async_context(open_context(settings))
                gate = await stack.enter_async_context(_gated(settings, context))
            held.append(context if gate is None else _bounded(context).with_(smart=gate.configuration))
            gates[:] = [gate] if gate else []
            async with following(context, new_id()), sweeping(context), numbering(context, new_id()):
                with rare_collections():
                    yield
            held.clear()

    def gate_of() -> Gate | None:
        return gates[0] if gates else None

    app = Application(
        title="FHIR server for Việt Nam", version=VERSION, lifespan=lifespan, redoc_url=None, docs_url=None
    )
    app.state.context = lambda: held[0]
    app.add_exception_handler(HTTPException, framework_fault)
    app.add_exception_handler(RequestValidationError, framework_fault)
    app.include_router(pages(lambda: held[0], lambda: app.openapi()))
    context_of = partial(_context, settings, held, addresses(settings.trusted_proxies))
    app.include_router(authorization(lambda request: context_of(request.scope), gate_of))
    app.include_router(records(lambda request: context_of(request.scope), gate_of))
    if settings.gateway_accounts is not None:
        routes = gateway(lambda request: context_of(request.scope), settings.gateway_accounts, settings.gateway_pace)
        app.include_router(routes)
    _describe(app, held)
    app.router.redirect_slashes = False
    app.fhir = FhirEndpoint(BASE_PATH, context_of, gate_of)
    for middleware in _middleware(settings):
        app.user_middleware.insert(0, middleware)
        app.fhir = middleware.cls(app.fhir, *middleware.args, **middleware.kwargs)
    return app


@contextmanager
def _told_why() -> Iterator[None]:
    """Of a start that fails the log would keep no more than where: what is at fault is told by itself."""
    try:
        yield
    except (StartError, IssuersError) as fault:
        log.error("cannot start", why=str(fault))
        raise


def _middleware(settings: Settings) -> Iterator[Middleware]:
    """What stands around everything that is served, the innermost first."""
    if crossing := allowed_origins(settings.cors_origins):
        yield Middleware(CORSMiddleware, **crossing)
    yield Middleware(SecureHeaders, is_https=(settings.base_url or settings.own_url).startswith("https://"))


def _bounded(context: Context) -> Context:
    """With what one client may ask for."""
    settings, limit = context.settings, partial(Pace, context.store, clock=context.clock)
    often = f"asks more than {settings.pace:g} times a second"
    pace = limit("pace", settings.pace, often).spend if settings.pace else None
    much = f"has taken away the records of {settings.export_quota} people in a day"
    quota = limit("quota", settings.export_quota / DAY, much, burst=DAY).spend if settings.export_quota else None
    return context.with_(pace=pace, quota=quota)


@asynccontextmanager
async def _gated(settings: Settings, context: Context) -> AsyncIterator[Gate | None]:
    """The gate while the server runs; None in open mode."""
    if not settings.asks_who:
        yield None
        return
    lists = decode((DATA_ROOT / "profiles" / "vn_basic" / "access.json").read_bytes())
    gate = await open_gate(settings, context, lists)
    try:
        yield gate
    finally:
        await gate.close()


def _describe(app: FastAPI, held: list[Context]) -> None:
    """Adds the FHIR paths to the document that FastAPI makes of its own routes."""
    own = app.openapi

    def document() -> dict[str, Any]:
        made = own()
        beside = {path: openapi.with_refusals(item) for path, item in made["paths"].items() if path[:5] != BASE_PATH}
        return {**made, "paths": {**beside, **openapi.paths(held[0].capability, BASE_PATH)}}

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _context(settings: Settings, held: list[Context], address_of: AddressOf, scope: Scope) -> Context:
    """The shared context with what is told of this request: the base URL, which is the one the client used unless one
    is set, the caller's address and the request id."""
    base = held[0].base
    if settings.base_url is None:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        base = f"{scope['scheme']}://{host.decode('latin-1')}{BASE_PATH}" if host else base
    return held[0].with_(base=base, origin=Origin(address_of(scope), scope.get("request_id", "")))


@asynccontextmanager
async def open_context(settings: Settings, migrates: bool = False) -> AsyncIterator[Context]:
    """All that interactions need, for the server and for the command line. migrates: for what brings changed rules of
    access to the data, and so may open them. Raises StartError in one sentence."""
    async with AsyncExitStack() as stack:
        uri = settings.mongodb_uri
        if uri is None:
            embedded = Embedded(settings.data_dir, settings.mongodb_cache_mb)
            uri = embedded.start()
            stack.callback(embedded.stop)
        context = await stack.enter_async_context(_context_on(settings, uri))
        if not migrates:
            await require_rules(context)
        yield context


async def _codes(terminology: Catalogue, modifier: str, value: str) -> Codes:
    return await terminology.ask(lambda known: codes(known, modifier, value))


@asynccontextmanager
async def _context_on(settings: Settings, uri: str) -> AsyncIterator[Context]:
    definitions = Definitions.load(DATA_ROOT)
    capability = Capability.load(DATA_ROOT / "capability_statement.json").under(settings)
    naming = NamingSystems.load(DATA_ROOT)
    base = settings.base_url or f"{settings.own_url}{BASE_PATH}"
    extractor = Extractor(definitions, settings.zone, naming.canonical, base.rstrip("/"))
    shipped = Terminology.load(DATA_ROOT)
    severities = Severities.of(settings.profile_faults)
    conformance = Conformance(definitions, shipped, shipped_profiles(DATA_ROOT), severities, settings.zone)
    store = await open_store(uri, settings)
    terminology = Catalogue(shipped, naming, store)
    search = SearchModel(
        definitions, extractor, settings, capability, partial(_codes, terminology), partial(units, shipped)
    )
    deferrals = Deferrals(owner=new_id())
    trail = Trail(store, search, settings.audit, now, new_id)
    try:
        context = Context(
            settings=settings,
            definitions=definitions,
            capability=capability,
            store=store,
            search=search,
            validator=Validator(definitions, conformance),
            terminology=terminology,
            clock=now,
            new_id=new_id,
            rules=NarrowingRules.load(
                DATA_ROOT / "profiles" / "vn_basic" / "narrowing.json",
                shipped,
                settings.restricted_classes,
                base.rstrip("/"),
            ),
            dispatch=dispatch,
            deferrals=deferrals,
            base=base,
            trail=trail,
        )
        store.ledger.index_by(lambda resource: search.index(resource, store.registry))
        await terminology.adopt()
        await take_up(context)
        yield context
    finally:
        await deferrals.close()
        await trail.close()
        await store.close()
