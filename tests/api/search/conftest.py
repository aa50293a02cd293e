"""One small world of resources for all search tests of a module, asked over ASGI as a client would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import groupby, islice
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.app import build_app, open_context
from fhir_server.config import Settings
from fhir_server.interactions.planning import draft
from fhir_server.store.documents import live_document
from fhir_server.store.values import Put
from tests.api.search.world import WORLD

Bundle = dict[str, Any]


class Searcher:
    """Asks searches. Queries are written as in the standard and percent-encoded here, but for `%`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def answer(self, query: str, **headers: str) -> httpx.Response:
        url = query if query.startswith("http") else f"/fhir/{quote(query, safe='/?&=%$,:+*!~();@-._')}"
        return await self.http.get(url, headers=headers)

    async def bundle(self, query: str, **headers: str) -> Bundle:
        answer = await self.answer(query, **headers)
        assert answer.status_code == 200, answer.text
        bundle: Bundle = answer.json()
        return bundle

    async def ids(self, query: str, mode: str = "match") -> list[str]:
        """`Type/id` of the entries of one mode, in order, over all pages."""
        return [name for bundle in await self.pages(query) for name in names(bundle, mode)]

    async def pages(self, query: str) -> list[Bundle]:
        found = [await self.bundle(query)]
        while (link := following(found[-1])) is not None:
            found.append(await self.bundle(link))
            assert len(found) < 1000
        return found

    async def refusal(self, query: str, status: int = 400, **headers: str) -> str:
        """The diagnostics of an answer that is an OperationOutcome."""
        answer = await self.answer(query, **headers)
        assert answer.status_code == status, answer.text
        return " ".join(issue["diagnostics"] for issue in answer.json()["issue"])

    async def put(self, *resources: dict[str, Any]) -> None:
        for resource in resources:
            path = f"/fhir/{resource['resourceType']}/{resource['id']}"
            answer = await self.http.put(path, json=resource)
            assert answer.status_code in (200, 201), answer.text


def names(bundle: Bundle, mode: str = "match") -> list[str]:
    entries = [entry for entry in bundle.get("entry", []) if entry["search"]["mode"] == mode]
    return [f"{entry['resource']['resourceType']}/{entry['resource'].get('id')}" for entry in entries]


def link_of(bundle: Bundle, relation: str) -> str | None:
    return next((link["url"] for link in bundle.get("link", []) if link["relation"] == relation), None)


def following(bundle: Bundle) -> str | None:
    return link_of(bundle, "next")


async def fill(settings: Settings, mongodb: MongoClient[dict[str, Any]], resources: Iterable[dict[str, Any]]) -> None:
    """Stores many resources, one type after the other, as documents: to send them all would take most of a test."""
    database = mongodb[settings.mongodb_database]
    async with open_context(settings) as context:
        for type, ones in groupby(resources, lambda one: str(one["resourceType"])):
            first = await draft(context, one := next(ones), one["id"])  # which makes the collection and its indexes
            await context.store.transact(lambda transaction, first=first: transaction.apply([Put(first)]))  # type: ignore[misc]
            while made := list(islice(ones, 1000)):
                drafts = [await draft(context, one, one["id"]) for one in made]
                now = context.clock()
                database[type].insert_many(
                    [live_document(one, None, now + n, "PUT", 1) for n, one in enumerate(drafts)]
                )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Searcher]:
    app = build_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Searcher(http)


@pytest.fixture(scope="module")
async def world(own_settings: Settings) -> AsyncIterator[Searcher]:
    """A server that holds `WORLD`. Its tests only read."""
    async with serving(own_settings) as searcher:
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in WORLD
        ]
        answer = await searcher.http.post(
            "/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )
        assert answer.status_code == 200, answer.text
        yield searcher


@pytest.fixture
async def empty(mongodb_uri: str, database_name: str) -> AsyncIterator[Searcher]:
    """A server of the test's own, with nothing in it."""
    async with serving(Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)) as searcher:
        yield searcher
