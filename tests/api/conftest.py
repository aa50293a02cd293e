"""The whole application on a real MongoDB, asked over ASGI as a client would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.app import build_app
from fhir_server.config import Settings
from tests.conftest import empty, new_database


class Client:
    """A FHIR client of few words: paths below the base, JSON in and out."""

    def __init__(self, http: httpx.AsyncClient, app: FastAPI) -> None:
        self.http = http
        self.app = app

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None or isinstance(body, bytes | str):
            named.setdefault("content-type", "application/fhir+json")
            return await self.http.request(method, f"/fhir/{path}".rstrip("/"), content=body, headers=named)
        return await self.http.request(method, f"/fhir/{path}".rstrip("/"), json=body, headers=named)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.send("GET", path, **headers)

    async def created(self, resource: dict[str, Any]) -> dict[str, Any]:
        answer = await self.send("POST", resource["resourceType"], resource)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    """An application of its own, for a test that needs other settings."""
    app = build_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Client(http, app)


@pytest.fixture(scope="session")
async def shared(
    mongodb_uri: str, mongodb: MongoClient[dict[str, Any]]
) -> AsyncIterator[tuple[Client, Database[dict[str, Any]]]]:
    """One application for all tests, since most of a test's time would go into starting one, and its database."""
    with new_database(mongodb) as name:
        async with serving(Settings(mongodb_uri=mongodb_uri, mongodb_database=name)) as made:
            yield made, mongodb[name]


@pytest.fixture
def client(shared: tuple[Client, Database[dict[str, Any]]]) -> Client:
    """The shared application over an empty store."""
    made, database = shared
    empty(database)
    return made


@pytest.fixture
async def emptied(client: Client) -> AsyncIterator[None]:
    """What a test of terminology has stored is deleted as a client would: the application shall know."""
    yield
    for type in ("CodeSystem", "ValueSet", "NamingSystem"):
        for entry in (await client.get(f"{type}?_elements=id")).json().get("entry", ()):
            await client.send("DELETE", f"{type}/{entry['resource']['id']}")
