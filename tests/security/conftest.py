"""The application with access control, and a small world of people to ask about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from pymongo import MongoClient

from fhir_server.app import build_app
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from tests.security.callers import ADMIN, EVERYTHING, Caller, Login

Ask = Callable[..., Caller]


@pytest.fixture(scope="session")
def login() -> Login:
    return Login()


@pytest.fixture(scope="session")
def issuers(login: Login, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return login.write(tmp_path_factory.mktemp("issuers"))


@pytest.fixture(scope="module")
def guarded(mongodb_uri: str, mongodb: MongoClient[dict[str, Any]], issuers: Path) -> Iterator[Settings]:
    """Settings with access control on a database for the module."""
    name = f"test_{uuid4().hex}"
    yield Settings(mongodb_uri=mongodb_uri, mongodb_database=name, issuers=issuers, trusted_proxies="10.0.0.0/8")
    mongodb.drop_database(name)


@pytest.fixture(scope="module")
async def app(guarded: Settings) -> AsyncIterator[FastAPI]:
    made = build_app(guarded)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture(scope="module")
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.fixture(scope="module")
def ask(http: httpx.AsyncClient, login: Login) -> Ask:
    """A caller by scope and claims."""

    def made(scope: str, **claims: Any) -> Caller:
        return Caller(http, login.token(scope, **claims))

    return made


@pytest.fixture(scope="module")
def admin(ask: Ask) -> Caller:
    return ask(EVERYTHING, iss=ADMIN)


@pytest.fixture(scope="module")
def running(app: FastAPI) -> Context:
    """The context of the running application, for what a test must see from within."""
    found: Context = app.state.context()
    return found
