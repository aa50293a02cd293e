"""The whole application on a real MongoDB, asked over ASGI as a client would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from fhir_server.app import build_app
from fhir_server.config import Settings


class Client:
    """A FHIR client of few words: paths below the base, JSON in and out."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

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


@pytest.fixture
def app_settings(mongodb_uri: str, database_name: str) -> Settings:
    return Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)


@pytest.fixture
async def client(app_settings: Settings) -> AsyncIterator[Client]:
    app = build_app(app_settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Client(http)
