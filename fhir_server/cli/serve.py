"""`fhir-server serve`: a port, a database, the sample at the first start, and worker processes until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from types import FrameType
from typing import Any

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from fhir_server.cli.database import database
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.logs import configure_logs
from fhir_server.cli.parents import end_with_the_parent
from fhir_server.cli.sample import load_sample, sample_is_wanted
from fhir_server.cli.settings import pass_on, unknown_variables, without_secrets
from fhir_server.cli.tls import tls_options
from fhir_server.config import VERSION, Settings
from fhir_server.http.protocol import BoundedProtocol
from fhir_server.model.rare_collections import collect_rarely
from fhir_server.store.mongo import open_store
from fhir_server.store.values import StartError

log = structlog.get_logger("fhir_server.serve")

DRAIN_SECONDS = 30  # requests that run when the signal comes may take this long
HUNG_SECONDS = 30  # a process that is silent so long is replaced; on a busy machine a healthy one starts for many
BACKLOG = 2048

TRY = (
    ("metadata", "what this server can do"),
    ("Patient?name=nguyen%20van%20an", "people by name, with or without marks"),
    (
        "Patient?name=nguyen%20van%20an&_revinclude=Condition:patient&_revinclude=Immunization:patient"
        "&_revinclude=AllergyIntolerance:patient",
        "the same people with their diseases, immunisations and allergies",
    ),
    ("Condition?_include=Condition:patient&_count=5", "the latest diagnoses with their patients"),
)


def serve(settings: Settings, sample: bool | None) -> None:
    """Serves until SIGTERM or SIGINT. sample: True loads it in any case, False never, None at the first start of an
    embedded MongoDB. Raises CannotRun."""
    started = time.monotonic()
    refuse_open_network(settings)
    tls = tls_options(settings)
    if settings.mappings is not None or settings.trusted_certificates is not None:
        from fhir_server.cli.records import known_formats

        known_formats(settings)  # a faulty one is told now, not when the first file comes
    configure_logs(settings.log_level)
    if not settings.asks_who:
        log.info("open mode: nobody is asked who they are; everyone who reaches this server reads and writes all")
    for name in unknown_variables(os.environ):
        _say(f"{name} is no setting; is it misspelt?")
    with _stopped_by_signals(), contextlib.closing(listen(settings)) as listener:
        address = address_of(settings.host, listener, "https" if tls else "http")
        wanted = sample_is_wanted(settings) if sample is None else sample
        threading.Thread(target=import_module, args=["fhir_server.app"]).start()  # while mongod starts
        with database(settings) as running:
            lacks_terminology = asyncio.run(_try_store(running))
            _say(f"MongoDB: {_described(settings)} ({time.monotonic() - started:.1f} s)")
            if wanted:
                load_sample(running, _say)
            if lacks_terminology:
                from fhir_server.cli.terminology import publish_shipped

                publish_shipped(running, _say)
            _announce_when_ready(address, started)
            _run(running, listener, tls)
    _say("Stopped.")


def refuse_open_network(settings: Settings) -> None:
    if not settings.asks_who and not settings.open and not _is_loopback(settings.host):
        raise CannotRun(
            f"FHIR_HOST={settings.host} would open this server to the network, and nobody would be asked who they are. "
            "Say who may come in: FHIR_ISSUERS=FILE names the authorization servers whose tokens count, "
            "FHIR_CLIENTS=yes lets in registered systems (`fhir-server clients add`); docs/security.md tells how. "
            "FHIR_OPEN=yes serves everybody all the same.",
            WRONG_USE,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _try_store(settings: Settings) -> bool:
    """Raises CannotRun, before the workers of the server would each fail for the same reason. Gives whether shipped
    terminology is to be stored."""
    try:
        store = await open_store(settings.mongodb_uri or "", settings)
    except StartError as fault:
        raise CannotRun(without_secrets(str(fault))) from None
    from fhir_server.operations.publish import is_published  # its imports are made while mongod starts

    try:
        return settings.publish_terminology and not await is_published(store)
    finally:
        await store.close()


def listen(settings: Settings) -> socket.socket:
    """The bound socket, taken before anything slow is done. Raises CannotRun."""
    try:
        family, _, _, _, place = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        # It listens at once: two servers may be bound to one port until the first of them does.
        listener = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as fault:
        where = f"{settings.host}:{settings.port}"
        raise CannotRun(f"Cannot listen on {where}: {fault.strerror}. Choose another port with FHIR_PORT.") from None
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def address_of(host: str, listener: socket.socket, scheme: str = "http") -> str:
    """Where this machine itself reaches the server: `http://127.0.0.1:8080`."""
    with contextlib.suppress(ValueError):
        number = ipaddress.ip_address(host)
        if number.is_unspecified:
            number = ipaddress.ip_address("127.0.0.1" if number.version == 4 else "::1")
        host = f"[{number}]" if number.version == 6 else str(number)
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _described(settings: Settings) -> str:
    if settings.mongodb_uri is not None:
        return f"your own, database {settings.mongodb_database}"
    return f"embedded, data in {settings.data_dir.resolve()}"


def _run(settings: Settings, listener: socket.socket, tls: Mapping[str, Any]) -> None:
    pass_on(settings, "host", "port", "workers", "mongodb_uri")
    config = uvicorn.Config(
        "fhir_server.cli.serve:worker",
        factory=True,
        workers=settings.workers,
        loop=f"fhir_server.http.accepting:{'SharingLoop' if settings.workers > 1 else 'LoneLoop'}",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=HUNG_SECONDS,
        **tls,
    )
    if settings.workers == 1:
        uvicorn.Server(config).run(sockets=[listener])
    else:
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise CannotRun("the server processes did not start; the log says why")


def worker() -> object:
    """The application of one server process, by the environment alone."""
    settings = Settings()
    if settings.workers > 1:
        collect_rarely()
        configure_logs(settings.log_level)
        end_with_the_parent()
    from fhir_server.app import build_app

    return build_app(settings)


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT end the block as if it were done, after everything inside it has been closed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce_when_ready(address: str, started: float) -> None:
    def announce() -> None:
        while not _answers(address):
            time.sleep(0.05)
        from fhir_server.app import BASE_PATH

        base = f"{address}{BASE_PATH}"
        lines = [f"FHIR R4 server {VERSION} is ready at {base} ({time.monotonic() - started:.1f} s). Try:"]
        lines += [f"  {base}/{path}\n      {meaning}" for path, meaning in TRY]
        _say("\n".join([*lines, "Ctrl-C stops it."]))

    threading.Thread(target=announce, name="announce", daemon=True).start()


def _answers(address: str) -> bool:
    """The listening socket is there already: the request waits in its queue until a worker takes it."""
    scheme, _, place = address.partition("://")
    if scheme == "https":
        return _shakes_hands(place)
    connection = HTTPConnection(place, timeout=300)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _shakes_hands(place: str) -> bool:
    """Whether TLS answers, which it does when the application has started. Whose certificate it is does not matter: it
    is our own, and may be for a name that this machine does not know itself by."""
    host, _, port = place.rpartition(":")
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=300) as plain:
            anybody.wrap_socket(plain).close()
    except OSError:
        return False
    return True


def _say(text: str) -> None:
    print(text, flush=True)
