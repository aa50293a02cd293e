"""The application with access control, and a small world of people to ask about."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    register,
)

from fhir_server.app import build_app
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from tests.conftest import empty, new_database
from tests.security.callers import ADMIN, EVERYTHING, Caller, Login

Ask = Callable[..., Caller]


@pytest.fixture(scope="session")
def login() -> Login:
    return Login()


@pytest.fixture(scope="session")
def issuers(login: Login, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return login.write(tmp_path_factory.mktemp("issuers"))


@pytest.fixture(scope="session")
def guarded(mongodb_uri: str, mongodb: MongoClient[dict[str, Any]], issuers: Path) -> Iterator[Settings]:
    """Settings with access control and a token endpoint, for one application that all tests share."""
    with new_database(mongodb) as name:
        yield Settings(
            mongodb_uri=mongodb_uri, mongodb_database=name, issuers=issuers, clients=True, trusted_proxies="10.0.0.0/8"
        )


class Commands(CommandListener):
    """What the application has asked MongoDB since `seen` was emptied: (name, command)."""

    def __init__(self) -> None:
        self.seen: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=1_000)

    def started(self, event: CommandStartedEvent) -> None:
        self.seen.append((event.command_name, event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Only what is asked is kept."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Only what is asked is kept."""


@pytest.fixture(scope="session")
def commands() -> Commands:
    """Listens to every client that is made from now on."""
    listener = Commands()
    register(listener)
    return listener


@pytest.fixture(scope="session")
async def app(guarded: Settings, commands: Commands) -> AsyncIterator[FastAPI]:
    made = build_app(guarded)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture(scope="session")
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.fixture(scope="session")
def ask(http: httpx.AsyncClient, login: Login) -> Ask:
    """A caller by scope and claims."""

    def made(scope: str, **claims: Any) -> Caller:
        return Caller(http, login.token(scope, **claims))

    return made


@pytest.fixture(scope="session")
def admin_of_all(ask: Ask) -> Caller:
    return ask(EVERYTHING, iss=ADMIN)


@pytest.fixture(scope="module")
async def admin(
    admin_of_all: Caller, running: Context, mongodb: MongoClient[dict[str, Any]], guarded: Settings
) -> Caller:
    """Who sees everything, of a store that is empty when the module begins."""
    await running.trail.flush()
    empty(mongodb[guarded.mongodb_database])
    return admin_of_all


@pytest.fixture(scope="session")
def running(app: FastAPI) -> Context:
    """The context of the running application, for what a test must see from within."""
    found: Context = app.state.context()
    return found
